#include <cstdlib>
#include <new>

#include "libs/base/sanitized.h"
#include "libs/rt/task.h"

namespace tulle::rt::detail {
namespace {

constexpr size_t kClass = 128, kClasses = 16;  // frames up to 2 KiB
constexpr size_t kKeep = kSanitized ? 0 : 64;  // of each class

// Memory only, as malloc's own caches are: no frame is ever shared between threads.
struct FramePool {
  struct Free {
    Free* next;
  };
  Free* lists[kClasses] = {};
  size_t kept[kClasses] = {};
  ~FramePool() {
    for (Free*& list : lists)
      while (list) std::free(std::exchange(list, list->next));
  }
};
thread_local FramePool pool;

}  // namespace

void* allocate_frame(size_t size) {
  size_t c = (size - 1) / kClass;
  if (c < kClasses) {
    if (auto* f = pool.lists[c]) {
      pool.lists[c] = f->next;
      --pool.kept[c];
      return f;
    }
    size = (c + 1) * kClass;
  }
  void* p = std::malloc(size);
  TULLE_CHECK(p != nullptr);
  return p;
}

void free_frame(void* frame, size_t size) noexcept {
  size_t c = (size - 1) / kClass;
  if (c >= kClasses || pool.kept[c] >= kKeep) return std::free(frame);
  auto* f = static_cast<FramePool::Free*>(frame);
  f->next = pool.lists[c];
  pool.lists[c] = f;
  ++pool.kept[c];
}

}  // namespace tulle::rt::detail
