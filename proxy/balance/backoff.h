// Exponential back-off with jitter, for reconnects and for the probes of a breaker. Pure: randomness is passed in.
#pragma once

#include <cstdint>

#include "libs/base/random.h"
#include "libs/base/time.h"

namespace tulle::proxy {

// The delays are min·2ⁿ up to max, each with a random part of up to jitter × itself added, and never more than max.
class Backoff {
 public:
  // 0 ≤ min ≤ max; jitter ≥ 0.
  Backoff(Duration min, Duration max, double jitter) : min_(min), max_(max), jitter_(jitter) {}

  // The next delay.
  Duration next(Rng& rng) {
    Duration base = n_ < 63 && min_.count() <= (max_.count() >> n_) ? min_ * (int64_t{1} << n_) : max_;
    if (base < max_) ++n_;
    double room = static_cast<double>((max_ - base).count());
    double extra = static_cast<double>(base.count()) * jitter_ * rng.unit();
    return base + Duration(static_cast<int64_t>(extra < room ? extra : room));
  }
  void reset() { n_ = 0; }

 private:
  Duration min_;
  Duration max_;
  double jitter_;
  unsigned n_ = 0;
};

}  // namespace tulle::proxy
