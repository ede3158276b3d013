#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "proxy/balance/backoff.h"
#include "proxy/balance/budget.h"
#include "proxy/balance/ewma.h"
#include "proxy/balance/p2c.h"

namespace tulle::proxy {
namespace {

const TimePoint kStart(1000s);

TEST(Ewma, BeginsAtTheDefaultRtt) {
  EXPECT_EQ(PeakEwma(30ms, 10s, kStart).estimate(kStart), 30e6);
  EXPECT_EQ(PeakEwma(0ms, 10s, kStart).estimate(kStart), 1e6) << "at least 1 ms";
}
TEST(Ewma, AHigherSampleReplaces) {
  PeakEwma e(30ms, 10s, kStart);
  e.add(1s, kStart + 1ms);
  EXPECT_EQ(e.estimate(kStart + 1ms), 1e9);
}
TEST(Ewma, ALowerSampleLetsItFade) {
  PeakEwma e(1s, 10s, kStart);
  e.add(100ms, kStart + 10s);
  EXPECT_NEAR(e.estimate(kStart + 10s), 1e9 * std::exp(-1.0), 1);
  for (int i = 0; i < 10'000; ++i) e.add(100ms, kStart + 10s + i * 10ms);
  EXPECT_NEAR(e.estimate(kStart + 110s), 1e8, 1e5) << "often or seldom heard, it ends at what is true";
}
TEST(Ewma, FadesWhileNothingIsHeard) {
  PeakEwma e(1s, 10s, kStart);
  EXPECT_NEAR(e.estimate(kStart + 10s), 1e9 * std::exp(-1.0), 1);
  EXPECT_NEAR(e.estimate(kStart + 1000h), 0, 1e-9);
  EXPECT_EQ(e.estimate(kStart), 1e9) << "reading changes nothing";
}
TEST(Ewma, AFadedPeakIsReplacedByWhatIsTrueNow) {
  PeakEwma e(1s, 10s, kStart);
  e.add(100ms, kStart + 30s);
  EXPECT_EQ(e.estimate(kStart + 30s), 1e8);
}
TEST(Ewma, MomentsBeforeTheLastCountAsIt) {
  PeakEwma e(1s, 10s, kStart);
  EXPECT_EQ(e.estimate(kStart - 10s), 1e9);
  e.add(500ms, kStart - 10s);
  EXPECT_EQ(e.estimate(kStart), 1e9);
}
TEST(Ewma, ZeroDecayIsSafe) {
  PeakEwma e(1s, 0s, kStart);
  e.add(5ms, kStart);
  e.add(5ms, kStart + 1s);
  EXPECT_NEAR(e.estimate(kStart + 1s), 5e6, 1);
  EXPECT_FALSE(std::isnan(e.estimate(kStart + 2s)));
}
TEST(Ewma, PendingIncreasesLoad) {
  PeakEwma e(10ms, 10s, kStart);
  EXPECT_EQ(e.load(0, kStart), 1e7);
  EXPECT_EQ(e.load(3, kStart), 4e7);
}

TEST(Penalty, TakesTheGreatest) {
  PeakEwma e(30ms, 10s, kStart);
  EXPECT_EQ(penalised_rtt(1ms, e, kStart, 5s, std::nullopt, 300s), 5s);
  EXPECT_EQ(penalised_rtt(6s, e, kStart, 5s, std::nullopt, 300s), 6s);
  EXPECT_EQ(penalised_rtt(1ms, e, kStart, 5s, 20s, 300s), 20s);
  EXPECT_EQ(penalised_rtt(1ms, e, kStart, 5s, 1s, 300s), 5s) << "a small hint is floored at the penalty";
  EXPECT_EQ(penalised_rtt(1ms, e, kStart, 5s, 400s, 300s), 300s) << "a great one is capped";
  e.add(9s, kStart);
  EXPECT_EQ(penalised_rtt(1ms, e, kStart, 5s, std::nullopt, 300s), 9s);
}

TEST(P2c, FewEndpoints) {
  Rng rng(1);
  EXPECT_EQ(p2c(std::span<const double>(), rng), kNoChoice);
  EXPECT_EQ(p2c(std::vector<double>{7}, rng), 0u);
  std::vector<double> two = {7, 3};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(p2c(two, rng), 1u);
}
TEST(P2c, NeverTheWorstAndAllOthers) {
  Rng rng(2);
  std::vector<double> loads = {1, 2, 4, 8};
  std::map<size_t, int> seen;
  for (int i = 0; i < 60'000; ++i) ++seen[p2c(loads, rng)];
  // Of the six pairs, the best wins in three, the next in two, the third in one.
  EXPECT_NEAR(seen[0], 30'000, 1000);
  EXPECT_NEAR(seen[1], 20'000, 1000);
  EXPECT_NEAR(seen[2], 10'000, 1000);
  EXPECT_EQ(seen[3], 0);
}
TEST(P2c, EqualLoadsShareEqually) {
  Rng rng(3);
  std::vector<double> loads(5, 1.0);
  std::map<size_t, int> seen;
  for (int i = 0; i < 50'000; ++i) ++seen[p2c(loads, rng)];
  for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(seen[i], 10'000, 600);
}
// With the noise of real answers two equal endpoints share equally over any quarter of a minute, not just on average.
TEST(P2c, LateAnswersDoNotDecide) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    TimePoint now = kStart;
    std::vector<PeakEwma> endpoints(2, PeakEwma(3ms, 10s, now));
    int first = 0, all = 0;
    for (TimePoint end = now + 15s; now < end; now += 20ms, ++all) {
      size_t i = p2c(2, rng, [&](size_t j) { return endpoints[j].load(0, now); });
      first += i == 0;
      endpoints[i].add(rng.below(100) < 15 ? 10ms : 3ms, now);
    }
    EXPECT_NEAR(first, all / 2, all / 2 / 5) << "seed " << seed;
  }
}
// What the demo shows: an endpoint that is slow part of the time gets far less while it is, and its share again after.
// Ten times as slow is forgotten after decay × ln 10 = 23 s.
TEST(P2c, SlowEndpointShedsAndRecovers) {
  Rng rng(4);
  TimePoint now = kStart;
  std::vector<PeakEwma> endpoints(3, PeakEwma(30ms, 10s, now));
  auto run = [&](Duration span, Duration rtt_of_0) {
    std::map<size_t, int> seen;
    for (TimePoint end = now + span; now < end; now += 5ms) {
      size_t i = p2c(3, rng, [&](size_t j) { return endpoints[j].load(0, now); });
      ++seen[i];
      endpoints[i].add(i == 0 ? rtt_of_0 : 3ms, now);
    }
    return seen;
  };
  run(10s, 3ms);
  auto slow = run(10s, 30ms);
  EXPECT_LT(slow[0], 2000 / 3 / 2);
  run(30s, 3ms);
  auto after = run(20s, 3ms);
  EXPECT_NEAR(after[0], 4000 / 3, 4000 / 3 / 5);
}
TEST(RoundRobin, TakesTurns) {
  RoundRobin r;
  EXPECT_EQ(r.pick(0), kNoChoice);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(r.pick(3), i % 3);
}

TEST(Backoff, DoublesUpToTheMost) {
  Rng rng(1);
  Backoff b(100ms, 1s, 0);
  EXPECT_EQ(b.next(rng), 100ms);
  EXPECT_EQ(b.next(rng), 200ms);
  EXPECT_EQ(b.next(rng), 400ms);
  EXPECT_EQ(b.next(rng), 800ms);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(b.next(rng), 1s);
  b.reset();
  EXPECT_EQ(b.next(rng), 100ms);
}
TEST(Backoff, JitterAddsUpToItsShareAndNeverPassesTheMost) {
  Rng rng(2);
  Duration least = 1h, most = 0s;
  for (int i = 0; i < 1000; ++i) {
    Backoff b(100ms, 10s, 0.5);
    Duration d = b.next(rng);
    least = std::min(least, d);
    most = std::max(most, d);
  }
  EXPECT_GE(least, 100ms);
  EXPECT_LT(least, 105ms);
  EXPECT_LE(most, 150ms);
  EXPECT_GT(most, 145ms);
  Backoff b(800ms, 1s, 100);
  for (int i = 0; i < 100; ++i) EXPECT_LE(b.next(rng), 1s);
  EXPECT_EQ(Backoff(0s, 0s, 1).next(rng), 0s);
  Backoff huge(Duration::max(), Duration::max(), 1);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(huge.next(rng), Duration::max());
}

TEST(Budget, MinimumIsThereWithoutTraffic) {
  RetryBudget b(0.2, 10, 10s, kStart);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(b.withdraw(kStart)) << i;
  EXPECT_FALSE(b.withdraw(kStart));
  EXPECT_TRUE(b.withdraw(kStart + 11s)) << "what was spent is forgotten after the ttl";
}
TEST(Budget, RatioOfRequests) {
  RetryBudget b(0.2, 0, 10s, kStart);
  EXPECT_FALSE(b.withdraw(kStart));
  for (int i = 0; i < 100; ++i) b.deposit(kStart);
  int allowed = 0;
  while (b.withdraw(kStart)) ++allowed;
  EXPECT_EQ(allowed, 20);
}
TEST(Budget, DepositsExpire) {
  RetryBudget b(1, 0, 10s, kStart);
  b.deposit(kStart);
  EXPECT_TRUE(b.balance() >= 1);
  EXPECT_FALSE(b.withdraw(kStart + 11s));
  b.deposit(kStart + 1000h);
  EXPECT_TRUE(b.withdraw(kStart + 1000h));
}

}  // namespace
}  // namespace tulle::proxy
