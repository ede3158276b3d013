// HeapKeeper: gives memory back that a burst has left behind. One per process, on the control thread.
#pragma once

#include <cstddef>

namespace tulle::proxy {

class HeapKeeper {
 public:
  // Called about once a second. When much more is resident than the heap has handed out, what is free goes back to the
  // system: glibc by itself gives back only the end of a heap, and the peak of an attack would stay for good.
  void look();
  // The decision alone, for tests; bytes. True at most once for the same waste: what could not be given back before is
  // not tried again until it has grown.
  bool worth_it(size_t resident, size_t in_use);
  // What was left after that.
  void done(size_t resident, size_t in_use);

 private:
  size_t kept_ = 0;  // resident beyond what is in use, after the last time: code, stacks, fragments
};

}  // namespace tulle::proxy
