#include "libs/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <mutex>

#include "libs/base/check.h"
#include "libs/base/strings.h"

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

void append_json(std::string& out, std::string_view s) {
  out.push_back('"');
  for (char c : s) {
    if (c == '"' || c == '\\') append(out, '\\', c);
    else if (c == '\n') out.append("\\n");
    else if (static_cast<unsigned char>(c) < 0x20) out.append("\\u00").append(hex(Bytes(&c, 1)));
    else out.push_back(c);
  }
  out.push_back('"');
}

bool needs_quotes(std::string_view v) { return v.empty() || v.find_first_of(" \"\n\t\\=") != v.npos; }

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

void log_line(LogLevel level, std::string_view message, LogFields fields) {
  auto up =
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - state().start).count();
  std::string_view level_name = kLevelNames[static_cast<size_t>(level)];
  std::string line;
  if (state().format == LogFormat::kJson) {
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
           "s] ", std::string(5 - level_name.size(), ' '), level_name, " ", message);
    for (const auto& f : fields) {
      append(line, " ", f.key, "=");
      if (needs_quotes(f.value)) append_json(line, f.value);
      else line.append(f.value);
    }
  }
  state().logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace tulle
