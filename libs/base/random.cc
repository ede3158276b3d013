#include "libs/base/random.h"

#include <sys/random.h>

#include <bit>

#include "libs/base/check.h"

namespace tulle {

Rng::Rng(uint64_t seed) {
  // splitmix64, as the authors of xoshiro advise for seeding.
  for (uint64_t& s : s_) {
    uint64_t z = (seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    s = z ^ (z >> 31);
  }
}

Rng Rng::from_system() {
  uint64_t seed = 0;
  TULLE_CHECK(getrandom(&seed, sizeof seed, 0) == sizeof seed);
  return Rng(seed);
}

uint64_t Rng::next() {
  uint64_t result = std::rotl(s_[0] + s_[3], 23) + s_[0];
  uint64_t t = s_[1] << 17;
  s_[2] ^= s_[0];
  s_[3] ^= s_[1];
  s_[1] ^= s_[2];
  s_[0] ^= s_[3];
  s_[2] ^= t;
  s_[3] = std::rotl(s_[3], 45);
  return result;
}

}  // namespace tulle
