// Broken invariants. TULLE_CHECK: going on could do harm, so the process ends with the place and the reason.
// TULLE_BUG: harmless to go on; it is counted (tulle_bugs_total), logged once per place, and goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace tulle::detail {
[[noreturn]] void check_failed(const char* file, int line, const char* condition);
void report_bug(const char* file, int line, std::string_view what, std::atomic<uint32_t>& times_here);
}  // namespace tulle::detail

namespace tulle {
// How often any TULLE_BUG was met in this process.
uint64_t bug_count();
}  // namespace tulle

#define TULLE_CHECK(condition)                                       \
  do {                                                               \
    if (!(condition)) [[unlikely]]                                   \
      ::tulle::detail::check_failed(__FILE__, __LINE__, #condition); \
  } while (0)

#define TULLE_BUG(what)                                                  \
  do {                                                                   \
    static std::atomic<uint32_t> times_here{0};                          \
    ::tulle::detail::report_bug(__FILE__, __LINE__, (what), times_here); \
  } while (0)
