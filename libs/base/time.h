// Time. Code takes the moment as a parameter; only rt::Reactor reads the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace tulle {

using Duration = std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;
using TimePoint = std::chrono::time_point<Clock, Duration>;
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;
using namespace std::chrono_literals;

// A moment that is never reached: "no deadline".
inline constexpr TimePoint kNever = TimePoint::max();

inline double to_seconds(Duration d) { return std::chrono::duration<double>(d).count(); }
inline double to_ms(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

// Linkerd's grammar: whole number and unit ms, s, m, h or d ("0" needs none); no sign, fraction or inner space.
Result<Duration> parse_duration(std::string_view text);
// The shortest exact form of the same grammar, rounded to milliseconds: "300ms", "10s", "2m".
std::string format_duration(Duration d);
// "2026-11-24T08:00:00.000Z" (RFC 3339, UTC).
std::string format_rfc3339(WallTime t);

}  // namespace tulle
