// How long to wait before trying again: doubling, with a ceiling and jitter.
#pragma once

#include <algorithm>

#include "libs/base/random.h"
#include "libs/base/time.h"

namespace tulle::proxy {

struct Backoff {
  Duration min = 100ms;
  Duration max = 10s;  // ≥ min
  double jitter = 0;   // ≥ 0: a delay d becomes one evenly from [d, d · (1 + jitter)], the ceiling still holding
  bool operator==(const Backoff&) const = default;
};

// The delay after so many failures in a row (≥ 1).
inline Duration backoff_delay(const Backoff& b, unsigned failures, Rng& rng) {
  Duration d = b.min;
  for (unsigned i = 1; i < failures && d < b.max; ++i) d *= 2;
  d = std::min(d, b.max);
  return std::min(b.max, d + Duration(static_cast<int64_t>(static_cast<double>(d.count()) * b.jitter * rng.unit())));
}

}  // namespace tulle::proxy
