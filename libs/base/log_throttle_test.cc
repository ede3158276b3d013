#include "libs/base/log_throttle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/strings.h"

namespace tulle {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Throttled : testing::Test {
  std::vector<std::string> lines;
  LogThrottle throttle{[this](LogLevel, std::string_view message, LogFields fields) {
    lines.emplace_back(message);
    for (const auto& f : fields) append(lines.back(), ' ', f.key, '=', f.value);
  }};
  TimePoint now{1h};

  std::vector<std::string> take() { return std::exchange(lines, {}); }
  void warn(std::string_view message, uint64_t which, int times = 1) {
    for (int i = 0; i < times; ++i) throttle.warn(now, message, which, {{"which", which}});
  }
};

TEST_F(Throttled, AFewAtOnceThenOneNowAndThen) {
  warn("down", 1, 8);
  EXPECT_THAT(take(), ElementsAre("down which=1", "down which=1", "down which=1", "down which=1", "down which=1"));
  now += LogThrottle::kEvery - 1ms;
  warn("down", 1);
  EXPECT_THAT(take(), IsEmpty());
  now += 1ms;
  warn("down", 1, 3);
  EXPECT_THAT(take(), ElementsAre("and more like it message=down lines=4", "down which=1"));
}

TEST_F(Throttled, WhatWasLeftOutIsSaidThoughNoMoreComes) {
  warn("down", 1, 100);
  take();
  for (int second = 1; second < 10; ++second) throttle.sweep(now + second * 1s);
  EXPECT_THAT(take(), IsEmpty());
  throttle.sweep(now + 10s);
  throttle.sweep(now + 20s);
  EXPECT_THAT(take(), ElementsAre("and more like it message=down lines=95"));
}

TEST_F(Throttled, QuietLetsAFewThroughAgain) {
  warn("down", 1, 5);
  now += 1h;
  take();
  warn("down", 1, 9);
  EXPECT_EQ(take().size(), 5u);
}

TEST_F(Throttled, EachKindHasItsOwn) {
  warn("down", 1, 9);
  warn("down", 2, 9);
  warn("denied", 1, 9);
  EXPECT_EQ(take().size(), 15u);
  throttle.sweep(now + 10s);
  EXPECT_THAT(take(), ElementsAre("and more like it message=down lines=8", "and more like it message=denied lines=4"));
}

TEST_F(Throttled, AllTogetherAreFewToo) {
  for (uint64_t which = 0; which < 100'000; ++which) warn("down", which);
  EXPECT_EQ(take().size(), LogThrottle::kAllAtOnce);
  for (int second = 0; second < 60; ++second) {
    now += 1s;
    for (uint64_t which = 0; which < 1000; ++which) warn("down", static_cast<uint64_t>(second) * 1000 + which);
    throttle.sweep(now);
  }
  EXPECT_LE(take().size(), 60u * 2 + 6);
}

TEST_F(Throttled, KindsWithoutEndShareOne) {
  for (uint64_t which = 0; which < 2000; ++which, now += LogThrottle::kAllEvery) warn("down", which);
  auto shared = LogThrottle::kAtOnce + 2000 * LogThrottle::kAllEvery / LogThrottle::kEvery;
  EXPECT_LE(take().size(), 2 * (LogThrottle::kKinds + static_cast<size_t>(shared)));
}

TEST_F(Throttled, KindsAreForgotten) {
  for (uint64_t which = 0; which < LogThrottle::kKinds + 5; ++which) warn("down", which);
  now += 1min;
  throttle.sweep(now);
  take();
  // There is room for new ones: each has its five lines.
  warn("down", 1'000'000, 9);
  warn("down", 1'000'001, 9);
  EXPECT_EQ(take().size(), 10u);
}

TEST_F(Throttled, NothingIsCountedThatTheFilterHides) {
  ASSERT_TRUE(log_set_filter("error"));
  warn("down", 1, 20);
  ASSERT_TRUE(log_set_filter("info"));
  throttle.sweep(now + 1h);
  EXPECT_THAT(take(), IsEmpty());
}

}  // namespace
}  // namespace tulle
