// Fast randomness for balancing and jitter (xoshiro256++); never for keys. One per owner, seeded from outside, so
// that a test can repeat a run.
#pragma once

#include <cstdint>

namespace tulle {

class Rng {
 public:
  explicit Rng(uint64_t seed);
  // Seeded from the kernel.
  static Rng from_system();

  uint64_t next();
  // Evenly from [0, n); n ≥ 1.
  uint32_t below(uint32_t n) {
    return static_cast<uint32_t>((static_cast<uint64_t>(static_cast<uint32_t>(next() >> 32)) * n) >> 32);
  }
  // Evenly from [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t s_[4];
};

}  // namespace tulle
