#include "libs/base/buffer.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "libs/base/buffered.h"
#include "libs/base/check.h"
#include "libs/base/sanitized.h"

namespace tulle {
namespace {

std::atomic<int64_t> told{0};  // bytes in blocks, of all threads; only a sum, which nobody waits for

// Blocks of two common sizes are kept per thread: giving the top of the heap back to the system after each burst
// costs more than the copy itself (measured: 15–23 % of bulk traffic).
struct Pool {
  static constexpr size_t kSmall = 4096, kLarge = 96 * 1024;
  static constexpr size_t kMaxSmall = kSanitized ? 0 : 64, kMaxLarge = kSanitized ? 0 : 16;
  char* small[kMaxSmall + 1];
  char* large[kMaxLarge + 1];
  size_t smalls = 0, larges = 0;
  int64_t untold = 0;
  void count(int64_t bytes) {
    constexpr int64_t kTell = 64 * 1024;
    untold += bytes;
    if (untold < kTell && untold > -kTell) return;
    told.fetch_add(untold, std::memory_order_relaxed);
    untold = 0;
  }
  ~Pool() {
    told.fetch_add(untold, std::memory_order_relaxed);
    while (smalls) std::free(small[--smalls]);
    while (larges) std::free(large[--larges]);
  }
};
thread_local Pool pool;

char* take(size_t& capacity) {
  char* block = nullptr;
  if (capacity <= Pool::kSmall) capacity = Pool::kSmall;
  else if (capacity <= Pool::kLarge && capacity > 16 * 1024) capacity = Pool::kLarge;
  pool.count(static_cast<int64_t>(capacity));
  if (capacity == Pool::kSmall && pool.smalls) return pool.small[--pool.smalls];
  if (capacity == Pool::kLarge && pool.larges) return pool.large[--pool.larges];
  block = static_cast<char*>(std::malloc(capacity));
  TULLE_CHECK(block != nullptr);
  return block;
}

void give(char* block, size_t capacity) {
  pool.count(-static_cast<int64_t>(capacity));
  if (capacity == Pool::kSmall && pool.smalls < Pool::kMaxSmall) pool.small[pool.smalls++] = block;
  else if (capacity == Pool::kLarge && pool.larges < Pool::kMaxLarge) pool.large[pool.larges++] = block;
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
