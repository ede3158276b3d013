#include "proxy/balance/breaker.h"

#include <gtest/gtest.h>

namespace tulle::proxy {
namespace {

using Change = Breaker::Change;
using State = Breaker::State;
const TimePoint kStart(1000s);

wire::FailureAccrual consecutive(uint32_t max) {
  return {wire::ConsecutiveFailures{max, {1s, 100s, 0, false}}, std::nullopt};
}
wire::FailureAccrual unified(double threshold, uint32_t min_requests, uint32_t max_in_row = 0) {
  return {wire::UnifiedAccrual{threshold, 10s, min_requests, max_in_row, {1s, 100s, 0, false}}, std::nullopt};
}

struct Bench {
  explicit Bench(std::optional<wire::FailureAccrual> policy) : breaker(policy, kStart) {}
  Breaker breaker;
  TimePoint now = kStart;
  Rng rng{1};

  Change request(Outcome o) {
    EXPECT_TRUE(breaker.ready(now));
    return breaker.end(breaker.begin(now), o, now, rng);
  }
};

TEST(Breaker, NoPolicyNeverTrips) {
  Bench b(std::nullopt);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.breaker.state(), State::kClosed);
}
TEST(Breaker, ZeroFailuresNeverTrips) {
  Bench b(consecutive(0));
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
}

// consecutive_failures.rs: transitions
TEST(Consecutive, Transitions) {
  Bench b(consecutive(3));
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kSuccess), Change::kNone) << "a success begins the row anew";
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
  EXPECT_EQ(b.breaker.state(), State::kOpen);
  EXPECT_EQ(b.breaker.retry_at(), kStart + 1s);
  EXPECT_FALSE(b.breaker.ready(b.now));

  b.now += 1s;
  ASSERT_TRUE(b.breaker.ready(b.now));
  auto probe = b.breaker.begin(b.now);
  EXPECT_EQ(b.breaker.state(), State::kProbing);
  EXPECT_FALSE(b.breaker.ready(b.now)) << "exactly one probe";
  EXPECT_EQ(b.breaker.retry_at(), kNever);
  EXPECT_EQ(b.breaker.end(probe, Outcome::kFailure, b.now, b.rng), Change::kReopened);
  EXPECT_EQ(b.breaker.retry_at(), b.now + 2s) << "the next delay";

  b.now += 2s;
  EXPECT_EQ(b.request(Outcome::kSuccess), Change::kRestored);
  EXPECT_EQ(b.breaker.state(), State::kClosed);
  for (int i = 0; i < 2; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
  EXPECT_EQ(b.breaker.retry_at(), b.now + 1s) << "success resets the back-off";
}

TEST(Breaker, AnswersFromBeforeAreIgnored) {
  Bench b(consecutive(1));
  auto slow_good = b.breaker.begin(b.now);
  auto slow_bad = b.breaker.begin(b.now);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
  EXPECT_EQ(b.breaker.end(slow_good, Outcome::kSuccess, b.now, b.rng), Change::kNone);
  EXPECT_EQ(b.breaker.state(), State::kOpen);
  b.now += 1s;
  auto probe = b.breaker.begin(b.now);
  EXPECT_EQ(b.breaker.end(slow_bad, Outcome::kFailure, b.now, b.rng), Change::kNone) << "not the probe's answer";
  EXPECT_EQ(b.breaker.end(probe, Outcome::kSuccess, b.now, b.rng), Change::kRestored);
}

TEST(Breaker, AProbeWithoutAnAnswerMakesRoom) {
  Bench b(consecutive(1));
  b.request(Outcome::kFailure);
  b.now += 1s;
  EXPECT_EQ(b.request(Outcome::kNone), Change::kNone);
  EXPECT_TRUE(b.breaker.ready(b.now)) << "the next probe at once";
  EXPECT_EQ(b.request(Outcome::kSuccess), Change::kRestored);
}

TEST(Consecutive, RateLimitIsNoFailure) {
  Bench b(consecutive(2));
  for (int i = 0; i < 10; ++i) EXPECT_EQ(b.request(Outcome::kRateLimited), Change::kNone);
  b.request(Outcome::kFailure);
  b.request(Outcome::kFailure);
  b.now += 1s;
  EXPECT_EQ(b.request(Outcome::kRateLimited), Change::kRestored) << "lenient on the probe";
}

TEST(Unified, SuccessRateAfterEnoughRequests) {
  Bench b(unified(0.5, 10));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone) << i;
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
}
TEST(Unified, RateAtTheThresholdIsGoodEnough) {
  Bench b(unified(0.5, 4));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(b.request(Outcome::kSuccess), Change::kNone);
    EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  }
}
TEST(Unified, OldRequestsAreForgotten) {
  Bench b(unified(0.5, 4));
  for (int i = 0; i < 3; ++i) b.request(Outcome::kFailure);
  b.now += 11s;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
}
TEST(Unified, SlidesByTenths) {
  Bench b(unified(0.5, 10));
  for (int i = 0; i < 5; ++i) b.request(Outcome::kFailure);
  b.now += 9s;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped) << "all ten within the window";
}
TEST(Unified, ConsecutiveFailuresFirst) {
  Bench b(unified(0.1, 1000, 3));
  for (int i = 0; i < 100; ++i) b.request(Outcome::kSuccess);
  b.request(Outcome::kFailure);
  b.request(Outcome::kFailure);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
}
TEST(Unified, RateLimitLowersTheRateButIsNoFailureInARow) {
  Bench b(unified(0.5, 10, 3));
  for (int i = 0; i < 9; ++i) EXPECT_EQ(b.request(Outcome::kRateLimited), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kRateLimited), Change::kTripped);
  b.now += 1s;
  EXPECT_EQ(b.request(Outcome::kRateLimited), Change::kReopened) << "for the probe it is a failure";
}
TEST(Unified, ThresholdZeroLooksAtNoRate) {
  Bench b(unified(0, 1, 5));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(b.request(Outcome::kFailure), Change::kNone);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
}
TEST(Unified, RestoredWithACleanWindow) {
  Bench b(unified(0.9, 2));
  b.request(Outcome::kFailure);
  EXPECT_EQ(b.request(Outcome::kFailure), Change::kTripped);
  b.now += 1s;
  EXPECT_EQ(b.request(Outcome::kSuccess), Change::kRestored);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(b.request(Outcome::kSuccess), Change::kNone);
}

TEST(Breaker, JitterStaysWithinTheMost) {
  Rng rng(7);
  wire::FailureAccrual policy{wire::ConsecutiveFailures{1, {1s, 4s, 0.5f, false}}, std::nullopt};
  Breaker b(policy, kStart);
  TimePoint now = kStart;
  Duration last = 0s;
  for (int i = 0; i < 50; ++i) {
    b.end(b.begin(now), Outcome::kFailure, now, rng);
    last = b.retry_at() - now;
    EXPECT_GE(last, 1s);
    EXPECT_LE(last, 4s);
    now = b.retry_at();
  }
  EXPECT_EQ(last, 4s);
}

}  // namespace
}  // namespace tulle::proxy
