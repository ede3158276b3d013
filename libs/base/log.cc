#include "libs/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "libs/base/check.h"
#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle {
namespace {

// The one process-wide object: a log has one destination, as standard error is one.
struct LogState {
  std::atomic<LogLevel> level{LogLevel::kInfo};
  std::mutex mutex;
  std::string filter = "info";
  LogFormat format = LogFormat::kPlain;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::shared_ptr<spdlog::logger> logger;

  LogState() {
    auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    logger = std::make_shared<spdlog::logger>("tulle", sink);
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::trace);
    logger->flush_on(spdlog::level::trace);
  }
};
LogState& state() {
  static LogState s;
  return s;
}

std::optional<LogLevel> parse_level(std::string_view s) {
  constexpr std::string_view kNames[] = {"trace", "debug", "info", "warn", "error", "off"};
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (iequals(s, kNames[i])) return static_cast<LogLevel>(i);
  return std::nullopt;
}

Result<LogLevel> parse_filter(std::string_view filter) {
  std::optional<LogLevel> general, ours;
  for (std::string_view part : split(filter, ',')) {
    part = trim(part);
    if (part.empty()) continue;
    size_t eq = part.rfind('=');
    auto level = parse_level(eq == part.npos ? part : part.substr(eq + 1));
    if (!level)
      return fail(Code::kInvalid, cat("log filter ", quoted(part),
                                      ": expected LEVEL or TARGET=LEVEL with a LEVEL of "
                                      "trace, debug, info, warn, error or off"));
    if (eq == part.npos) general = level;
    else if (auto target = part.substr(0, eq); target == "linkerd" || target == "tulle") ours = level;
  }
  return ours.value_or(general.value_or(LogLevel::kInfo));
}

constexpr std::string_view kLevelNames[] = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"};

// Bytes at the start of `s` that a terminal or a log's reader takes as text; 0: a control character (C0, DEL, C1), or
// no UTF-8.
size_t text_size(std::string_view s) {
  auto c = static_cast<unsigned char>(s[0]);
  if (c < 0x20 || c == 0x7f) return 0;
  bool c1 = c == 0xc2 && s.size() > 1 && static_cast<unsigned char>(s[1]) < 0xa0;
  return c < 0x80 ? 1 : c1 ? 0 : utf8_size(s);
}

// What came from outside cannot end the line, move a cursor or make a log's reader stumble.
void append_escaped(std::string& out, std::string_view s) {
  while (!s.empty()) {
    size_t n = text_size(s);
    if (n > 0) out.append(s.substr(0, n));
    else if (s[0] == '\n') out.append("\\n");
    else out.append("\\u00").append(hex(s.substr(0, 1)));
    s.remove_prefix(std::max<size_t>(n, 1));
  }
}

void append_json(std::string& out, std::string_view s) {
  out.push_back('"');
  for (size_t at; (at = s.find_first_of("\"\\")) != s.npos; s.remove_prefix(at + 1)) {
    append_escaped(out, s.substr(0, at));
    append(out, '\\', s[at]);
  }
  append_escaped(out, s);
  out.push_back('"');
}

bool needs_quotes(std::string_view v) {
  if (v.empty() || v.find_first_of(" \"\\=") != v.npos) return true;
  while (!v.empty()) {
    size_t n = text_size(v);
    if (n == 0) return true;
    v.remove_prefix(n);
  }
  return false;
}

}  // namespace

Result<> log_init(std::string_view filter, LogFormat format) {
  state().format = format;
  return log_set_filter(filter);
}

Result<> log_check_filter(std::string_view filter) {
  TULLE_TRY_VOID(parse_filter(filter));
  return {};
}

Result<> log_set_filter(std::string_view filter) {
  TULLE_TRY(LogLevel level, parse_filter(filter));
  std::lock_guard lock(state().mutex);
  state().filter = filter;
  state().level.store(level, std::memory_order_relaxed);
  return {};
}

std::string log_filter() {
  std::lock_guard lock(state().mutex);
  return state().filter;
}

bool log_enabled(LogLevel level) { return level >= state().level.load(std::memory_order_relaxed); }

std::string log_text(LogFormat format, Duration uptime, LogLevel level, std::string_view message, LogFields fields) {
  auto up = std::chrono::duration_cast<std::chrono::microseconds>(uptime).count();
  std::string_view level_name = kLevelNames[static_cast<size_t>(level)];
  std::string line;
  if (format == LogFormat::kJson) {
    append(line, "{\"uptime\":", static_cast<double>(up) / 1e6, ",\"level\":\"", level_name, "\",\"message\":");
    append_json(line, message);
    for (const auto& f : fields) {
      append(line, ",");
      append_json(line, f.key);
      append(line, ":");
      append_json(line, f.value);
    }
    line.push_back('}');
  } else {
    std::string ms = std::to_string(up / 1000 % 1000);
    std::string s = std::to_string(up / 1000000);
    append(line, "[", std::string(s.size() < 6 ? 6 - s.size() : 0, ' '), s, ".", std::string(3 - ms.size(), '0'), ms,
           "s] ", std::string(5 - level_name.size(), ' '), level_name, " ");
    append_escaped(line, message);
    for (const auto& f : fields) {
      append(line, " ", f.key, "=");
      if (needs_quotes(f.value)) append_json(line, f.value);
      else line.append(f.value);
    }
  }
  return line;
}

void log_line(LogLevel level, std::string_view message, LogFields fields) {
  Duration up = std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now() - state().start);
  std::string line = log_text(state().format, up, level, message, fields);
  state().logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace tulle
