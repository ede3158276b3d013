#include "proxy/app/heap.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "libs/base/fd.h"

namespace tulle::proxy {

size_t resident_bytes() {
  Fd fd(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  char text[128];
  ssize_t n = fd ? ::read(fd.get(), text, sizeof text) : 0;
  std::string_view rest(text, n > 0 ? static_cast<size_t>(n) : 0);
  rest.remove_prefix(std::min(rest.size(), rest.find(' ') + 1));
  size_t pages = 0;
  std::from_chars(rest.data(), rest.data() + rest.size(), pages);
  return pages * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

namespace {

size_t bytes_in_use() {
  auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

}  // namespace

bool HeapKeeper::worth_it(size_t resident, size_t in_use) {
  size_t beyond = resident > in_use ? resident - in_use : 0;
  kept_ = std::min(kept_, beyond);
  return beyond > kept_ + worth_ && beyond > 2 * worth_;
}

void HeapKeeper::done(size_t resident, size_t in_use) { kept_ = resident > in_use ? resident - in_use : 0; }

void HeapKeeper::look() {
  if (!worth_it(resident_bytes(), bytes_in_use())) return;
  ::malloc_trim(0);
  done(resident_bytes(), bytes_in_use());
}

}  // namespace tulle::proxy
