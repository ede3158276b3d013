#include "libs/base/buffer.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "libs/base/buffered.h"
#include "libs/base/check.h"
#include "libs/base/sanitized.h"

namespace tulle {
namespace {

std::atomic<int64_t> told{0};  // bytes in blocks, of all threads; only a sum, which nobody waits for

// Blocks of common sizes are kept per thread: giving the top of the heap back to the system after each burst costs more
// than the copy itself (measured: 15–23 % of bulk traffic).
struct Pool {
  static constexpr size_t kSizes[] = {4096, 32 * 1024, 64 * 1024, 96 * 1024};
  static constexpr size_t kMost[] = {64, 8, 8, 16};
  static constexpr size_t kClasses = std::size(kSizes), kExact = 16 * 1024;
  char* kept[kClasses][64];
  size_t count[kClasses] = {};
  int64_t untold = 0;
  // The class of a block of at least so many bytes; kClasses: none, it is made as it is asked for.
  static size_t class_of(size_t bytes) {
    if (bytes > kSizes[0] && bytes <= kExact) return kClasses;
    size_t i = 0;
    while (i < kClasses && bytes > kSizes[i]) ++i;
    return i;
  }
  void tell(int64_t bytes) {
    constexpr int64_t kTell = 64 * 1024;
    untold += bytes;
    if (untold < kTell && untold > -kTell) return;
    told.fetch_add(untold, std::memory_order_relaxed);
    untold = 0;
  }
  ~Pool() {
    told.fetch_add(untold, std::memory_order_relaxed);
    for (size_t i = 0; i < kClasses; ++i)
      while (count[i]) std::free(kept[i][--count[i]]);
  }
};
thread_local Pool pool;

char* take(size_t& capacity) {
  size_t i = Pool::class_of(capacity);
  if (i < Pool::kClasses) capacity = Pool::kSizes[i];
  pool.tell(static_cast<int64_t>(capacity));
  if (i < Pool::kClasses && pool.count[i]) return pool.kept[i][--pool.count[i]];
  char* block = static_cast<char*>(std::malloc(capacity));
  TULLE_CHECK(block != nullptr);
  return block;
}

void give(char* block, size_t capacity) {
  pool.tell(-static_cast<int64_t>(capacity));
  size_t i = Pool::class_of(capacity);
  bool kept = !kSanitized && i < Pool::kClasses && capacity == Pool::kSizes[i] && pool.count[i] < Pool::kMost[i];
  if (kept) pool.kept[i][pool.count[i]++] = block;
  else std::free(block);
}

}  // namespace

size_t buffered_bytes() { return static_cast<size_t>(std::max<int64_t>(0, told.load(std::memory_order_relaxed))); }

void Buffer::release() {
  if (data_) give(data_, capacity_);
  data_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

char* Buffer::prepare(size_t n) {
  if (capacity_ - end_ >= n) return data_ + end_;
  size_t used = size();
  if (begin_ >= used && capacity_ - used >= n) {
    std::memmove(data_, data_ + begin_, used);
  } else {
    size_t wanted = used + n;
    if (data_ && wanted < capacity_ * 2) wanted = capacity_ * 2;
    char* block = take(wanted);
    if (used) std::memcpy(block, data_ + begin_, used);
    if (data_) give(data_, capacity_);
    data_ = block;
    capacity_ = wanted;
  }
  begin_ = 0;
  end_ = used;
  return data_ + end_;
}

void Buffer::append(Bytes bytes) {
  if (bytes.empty()) return;
  std::memcpy(prepare(bytes.size()), bytes.data(), bytes.size());
  commit(bytes.size());
}

void Buffer::consume(size_t n) {
  TULLE_CHECK(n <= size());
  begin_ += n;
  if (begin_ == end_) release();
}

}  // namespace tulle
