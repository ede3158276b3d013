// Structured logging to standard error, over spdlog (which only log.cc sees).
//
//   log_warn("endpoint unreachable", {{"addr", addr.to_string()}, {"error", e.reason}});
//
// A line is "[   uptime] LEVEL message key=value …" (plain) or one JSON object (json). Any thread may log.
// The filter is Linkerd's (reference: LINKERD2_PROXY_LOG): comma-separated `level` or `target=level`; the targets
// "linkerd" and "tulle" both name this program, other targets are accepted and have no effect.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle {

enum class LogLevel { kTrace, kDebug, kInfo, kWarn, kError, kOff };
enum class LogFormat { kPlain, kJson };

struct LogField {
  std::string_view key;
  std::string value;
  LogField(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, long long v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, unsigned long long v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, int v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, unsigned v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, long v) : key(k), value(std::to_string(v)) {}
  LogField(std::string_view k, unsigned long v) : key(k), value(std::to_string(v)) {}
};
using LogFields = std::initializer_list<LogField>;

// Sets format and level; call once before threads start. Error: names the part of the filter that is wrong.
Result<> log_init(std::string_view filter, LogFormat format);
// Whether the filter could be set; the same errors.
Result<> log_check_filter(std::string_view filter);
// Changes the filter at run time; any thread.
Result<> log_set_filter(std::string_view filter);
std::string log_filter();

bool log_enabled(LogLevel level);
void log_line(LogLevel level, std::string_view message, LogFields fields);
// The line alone, without its end. Control characters, and bytes that are no UTF-8, are escaped wherever they stand.
std::string log_text(LogFormat format, Duration uptime, LogLevel level, std::string_view message, LogFields fields);

inline void log_debug(std::string_view m, LogFields f = {}) {
  if (log_enabled(LogLevel::kDebug)) log_line(LogLevel::kDebug, m, f);
}
inline void log_info(std::string_view m, LogFields f = {}) {
  if (log_enabled(LogLevel::kInfo)) log_line(LogLevel::kInfo, m, f);
}
inline void log_warn(std::string_view m, LogFields f = {}) {
  if (log_enabled(LogLevel::kWarn)) log_line(LogLevel::kWarn, m, f);
}
inline void log_error(std::string_view m, LogFields f = {}) {
  if (log_enabled(LogLevel::kError)) log_line(LogLevel::kError, m, f);
}

}  // namespace tulle
