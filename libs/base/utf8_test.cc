#include "libs/base/utf8.h"

#include <gtest/gtest.h>

namespace tulle {
namespace {

TEST(Utf8, SizesAndRefusals) {
  EXPECT_EQ(utf8_size("a"), 1u);
  EXPECT_EQ(utf8_size("ü"), 2u);
  EXPECT_EQ(utf8_size("√"), 3u);
  EXPECT_EQ(utf8_size("😀"), 4u);
  for (std::string_view bad : {"", "\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                               "\xf4\x90\x80\x80", "\xf5\x80\x80\x80"})
    EXPECT_EQ(utf8_size(bad), 0u);
}

}  // namespace
}  // namespace tulle
