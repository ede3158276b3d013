#include "libs/base/buffer.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "libs/base/buffered.h"

namespace tulle {
namespace {

TEST(Buffer, WhatBuffersHoldIsCounted) {
  constexpr size_t kSlack = 64 * 1024;
  size_t before = buffered_bytes();
  Buffer large;
  large.append(std::string(1 << 20, 'x'));
  EXPECT_GE(buffered_bytes() + kSlack, before + (1 << 20));
  // A block may be given back by another thread: the sum holds.
  std::thread([b = std::move(large)]() mutable { b.clear(); }).join();
  EXPECT_LE(buffered_bytes(), before + kSlack);

  std::vector<Buffer> many(100);
  for (Buffer& b : many) b.append("a little");
  EXPECT_GE(buffered_bytes() + kSlack, before + 100 * 4096);
  many.clear();
  EXPECT_LE(buffered_bytes(), before + kSlack);
}

}  // namespace
}  // namespace tulle
