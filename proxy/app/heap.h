// HeapKeeper: gives memory back that a burst has left behind. One per process, on the control thread.
#pragma once

#include <cstddef>

namespace tulle::proxy {

// What the process has in memory, its code included.
size_t resident_bytes();

class HeapKeeper {
 public:
  static constexpr size_t kUsual = 8 * 1024 * 1024;
  // `worth`: bytes from which on it is worth it.
  explicit HeapKeeper(size_t worth = kUsual) : worth_(worth) {}
  // Called about once a second. When much more is resident than the heap has handed out, what is free goes back to the
  // system: glibc by itself gives back only the end of a heap, and the peak of an attack would stay for good.
  void look();
  // The decision alone, for tests; bytes. True at most once for the same waste: what could not be given back before is
  // not tried again until it has grown.
  bool worth_it(size_t resident, size_t in_use);
  // What was left after that.
  void done(size_t resident, size_t in_use);

 private:
  const size_t worth_;
  size_t kept_ = 0;  // resident beyond what is in use, after the last time: code, stacks, fragments
};

}  // namespace tulle::proxy
