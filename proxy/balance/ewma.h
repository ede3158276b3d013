// Peak-EWMA: how slow an endpoint is, quick to believe bad news and slow to forget it. Pure; one value per endpoint,
// owned by its balancer; no allocation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "libs/base/time.h"

namespace tulle::proxy {

class PeakEwma {
 public:
  // The estimate begins at default_rtt (at least 1 ms). decay (at least 1 ns): how long until old news counts 1/e.
  PeakEwma(Duration default_rtt, Duration decay, TimePoint now)
      : estimate_(static_cast<double>(std::max<Duration>(default_rtt, 1ms).count())),
        decay_(static_cast<double>(std::max<Duration>(decay, 1ns).count())),
        at_(now) {}

  // A request took rtt and ended now. A value above the faded estimate replaces it; a lower one leaves it fading by
  // e^(−Δt/decay), so that it ends at what is true now. (Linkerd's formula adds rtt·(1−e^(−Δt/decay)) to that; for an
  // endpoint that is seldom chosen it would put the estimate up again on a good answer, and keep it out for minutes.)
  // A moment before the last one counts as the last one.
  void add(Duration rtt, TimePoint now) {
    estimate_ = std::max(static_cast<double>(std::max<Duration>(rtt, 0ns).count()), estimate(now));
    at_ = std::max(at_, now);
  }

  // The estimate in nanoseconds, faded since the last sample so that an endpoint once slow is tried again.
  double estimate(TimePoint now) const { return estimate_ * weight_at(now); }

  // What the balancer compares: the estimate × (requests in flight + 1).
  double load(uint32_t pending, TimePoint now) const { return estimate(now) * (static_cast<double>(pending) + 1); }

 private:
  double weight_at(TimePoint now) const {
    if (now <= at_) return 1;
    return std::exp(-static_cast<double>((now - at_).count()) / decay_);
  }
  double estimate_;
  double decay_;
  TimePoint at_;
};

// The penalty variant: what a failed attempt counts as. The greatest of the measured time, the estimate, the penalty
// and what the endpoint asked for (Retry-After, grpc-retry-pushback-ms), the last capped at max_retry_after.
inline Duration penalised_rtt(Duration measured, const PeakEwma& ewma, TimePoint now, Duration penalty,
                              std::optional<Duration> asked_for, Duration max_retry_after) {
  Duration estimate(static_cast<int64_t>(ewma.estimate(now)));
  Duration asked = std::clamp(asked_for.value_or(0s), Duration(0s), std::max(max_retry_after, Duration(0s)));
  return std::max({measured, estimate, penalty, asked});
}

}  // namespace tulle::proxy
