#include "proxy/app/heap.h"

#include <gtest/gtest.h>

namespace tulle::proxy {
namespace {

constexpr size_t kMb = 1024 * 1024;

TEST(HeapKeeper, GivesBackWhatABurstLeft) {
  HeapKeeper k;
  EXPECT_FALSE(k.worth_it(9 * kMb, 2 * kMb)) << "code, stacks";
  EXPECT_FALSE(k.worth_it(50 * kMb, 42 * kMb)) << "in use";
  EXPECT_TRUE(k.worth_it(50 * kMb, 4 * kMb)) << "the burst is over";
  k.done(11 * kMb, 4 * kMb);
  EXPECT_FALSE(k.worth_it(11 * kMb, 4 * kMb));
  EXPECT_FALSE(k.worth_it(13 * kMb, 3 * kMb));
  EXPECT_TRUE(k.worth_it(40 * kMb, 4 * kMb)) << "another one";
}

TEST(HeapKeeper, DoesNotTryForeverWhatDoesNotHelp) {
  HeapKeeper k;
  EXPECT_TRUE(k.worth_it(60 * kMb, 10 * kMb));
  k.done(50 * kMb, 10 * kMb);  // fragments
  EXPECT_FALSE(k.worth_it(50 * kMb, 10 * kMb));
  EXPECT_FALSE(k.worth_it(57 * kMb, 10 * kMb));
  EXPECT_TRUE(k.worth_it(59 * kMb, 10 * kMb));
}

}  // namespace
}  // namespace tulle::proxy
