// A growing run of bytes: appended at the end, consumed at the front. Holds no memory while empty, because most
// connections are idle most of the time.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "libs/base/strings.h"

namespace tulle {

class Buffer {
 public:
  Buffer() = default;
  ~Buffer() { release(); }
  Buffer(Buffer&& o) noexcept { swap(o); }
  Buffer& operator=(Buffer&& o) noexcept {
    if (this != &o) {
      release();
      swap(o);
    }
    return *this;
  }

  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  Bytes view() const { return Bytes(data_ + begin_, size()); }
  // Valid until the next change; for parsers that work in place.
  char* data() { return data_ + begin_; }

  void append(Bytes bytes);
  void append(char c) {
    *prepare(1) = c;
    commit(1);
  }
  // Room for at least n more bytes; write there, then commit what was written.
  char* prepare(size_t n);
  void commit(size_t n) { end_ += n; }
  // Drops the first n bytes; the memory goes when none is left. n ≤ size().
  void consume(size_t n);
  void drop_back(size_t n) { end_ -= n; }  // n ≤ size()
  void clear() { release(); }
  void swap(Buffer& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(capacity_, o.capacity_);
    std::swap(begin_, o.begin_);
    std::swap(end_, o.end_);
  }

 private:
  void release();

  char* data_ = nullptr;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace tulle
