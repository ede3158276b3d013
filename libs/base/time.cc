#include "libs/base/time.h"

#include <cstdio>
#include <ctime>
#include <limits>

#include "libs/base/strings.h"

namespace tulle {
namespace {
struct Unit {
  std::string_view name;
  int64_t ms;
};
constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
}  // namespace

Result<Duration> parse_duration(std::string_view text) {
  std::string_view s = trim(text);
  size_t digits = 0;
  while (digits < s.size() && is_digit(s[digits])) ++digits;
  auto count = parse_number<uint64_t>(s.substr(0, digits));
  std::string_view unit = s.substr(digits);
  if (count && *count == 0 && unit.empty()) return Duration::zero();
  if (count) {
    for (const Unit& u : kUnits) {
      if (unit != u.name) continue;
      constexpr auto kMaxMs = static_cast<uint64_t>(std::numeric_limits<int64_t>::max() / 1'000'000);
      if (*count > kMaxMs / static_cast<uint64_t>(u.ms))
        return fail(Code::kInvalid, cat("duration ", quoted(text), " is too long"));
      return std::chrono::milliseconds(static_cast<int64_t>(*count) * u.ms);
    }
  }
  return fail(Code::kInvalid, cat("duration ", quoted(text),
                                  ": expected a whole number and a unit of ms, s, m, h or d, such as 300ms or 10s"));
}

std::string format_duration(Duration d) {
  int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
  if (ms == 0) return "0s";
  const Unit* best = &kUnits[0];
  for (const Unit& u : kUnits)
    if (ms % u.ms == 0) best = &u;
  return cat(ms / best->ms, best->name);
}

std::string format_rfc3339(WallTime t) {
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
  std::time_t seconds = ms / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  char text[40];
  size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  n += static_cast<size_t>(std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(ms % 1000)));
  return std::string(text, n);
}

}  // namespace tulle
