// A retry budget: retries may be a share of the requests of the last ttl, plus a few a second, so that retries never
// multiply an overload. Pure: the clock is passed in; no allocation; one per route, owned by a worker.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "libs/base/time.h"

namespace tulle::proxy {

class RetryBudget {
 public:
  // ratio: retries per request, 0–1000. min_per_second: allowed whatever the traffic. ttl ≥ 1 s.
  RetryBudget(double ratio, uint32_t min_per_second, Duration ttl, TimePoint now)
      : per_request_(ratio),
        reserve_(static_cast<double>(min_per_second) * to_seconds(ttl)),
        slot_(std::max<Duration>(ttl / kSlots, 1ms)),
        started_(now) {}

  // A request (not a retry) was sent.
  void deposit(TimePoint now) {
    expire(now);
    slots_[at_] += per_request_;
  }
  // Takes the price of one retry; false: the budget is spent.
  bool withdraw(TimePoint now) {
    expire(now);
    if (balance() < 1 - 1e-6) return false;  // sums of ratios are not exact
    slots_[at_] -= 1;
    return true;
  }
  // Retries that could be made now.
  double balance() const {
    double sum = reserve_;
    for (double s : slots_) sum += s;
    return sum;
  }

 private:
  static constexpr int kSlots = 10;

  void expire(TimePoint now) {
    auto passed = (now - started_) / slot_;
    if (passed <= 0) return;
    started_ += slot_ * passed;
    for (int64_t i = 0; i < std::min<int64_t>(passed, kSlots); ++i) {
      at_ = (at_ + 1) % kSlots;
      slots_[at_] = 0;
    }
  }

  double per_request_;
  double reserve_;
  Duration slot_;
  TimePoint started_;
  size_t at_ = 0;
  std::array<double, kSlots> slots_{};
};

}  // namespace tulle::proxy
