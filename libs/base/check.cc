#include "libs/base/check.h"

#include <cstdio>
#include <cstdlib>

#include "libs/base/log.h"

namespace tulle {
namespace {
std::atomic<uint64_t> bugs{0};
}

uint64_t bug_count() { return bugs.load(std::memory_order_relaxed); }

void detail::check_failed(const char* file, int line, const char* condition) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
  std::abort();
}

void detail::report_bug(const char* file, int line, std::string_view what, std::atomic<uint32_t>& times_here) {
  bugs.fetch_add(1, std::memory_order_relaxed);
  if (times_here.fetch_add(1, std::memory_order_relaxed) == 0)
    log_error("bug: please report this", {{"what", what}, {"file", file}, {"line", line}});
}

}  // namespace tulle
