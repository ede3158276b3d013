// Choosing an endpoint. Pure functions over those that are ready; no allocation.
#pragma once

#include <cstddef>
#include <span>

#include "libs/base/random.h"

namespace tulle::proxy {

inline constexpr size_t kNoChoice = static_cast<size_t>(-1);

// Two loads within this factor are alike. A peak estimate moves by as much with every late answer; ranking by it would
// leave out whoever was late last for seconds, and of two endpoints one would get nearly everything. Below 2, so that
// one request more in flight is still seen.
inline constexpr double kAlike = 1.9;

// Power of two choices: of two different ones of n at random the one with the clearly lower load_of(index) wins, the
// first where they are alike. kNoChoice if n is 0.
template <class LoadOf>
size_t p2c(size_t n, Rng& rng, LoadOf&& load_of) {
  if (n <= 1) return n == 1 ? 0 : kNoChoice;
  size_t a = rng.below(static_cast<uint32_t>(n));
  size_t b = rng.below(static_cast<uint32_t>(n - 1));
  if (b >= a) ++b;
  return load_of(b) * kAlike < load_of(a) ? b : a;
}
inline size_t p2c(std::span<const double> loads, Rng& rng) {
  return p2c(loads.size(), rng, [&](size_t i) { return loads[i]; });
}

// One after another, whatever their load; only there to compare with (TULLE_PROXY_BALANCER=round-robin).
class RoundRobin {
 public:
  size_t pick(size_t n) { return n == 0 ? kNoChoice : next_++ % n; }

 private:
  size_t next_ = 0;
};

}  // namespace tulle::proxy
