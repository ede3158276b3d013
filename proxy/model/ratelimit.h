// The local rate limit of an inbound port: GCRA, in total, for each client, and for named clients. The limits of one
// port are one RateLimiter, used from one worker; the clock is passed in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/strings.h"
#include "libs/base/time.h"
#include "libs/wire/inbound.h"

namespace tulle::proxy {

// Generic cell rate algorithm: one request every 1/rps, with a burst of rps.
class Gcra {
 public:
  // rps ≥ 1.
  explicit Gcra(uint32_t rps);
  // Takes a place; false: none is left.
  bool take(TimePoint now);
  // Nothing has been taken lately: as good as new.
  bool idle(TimePoint now) const { return next_ <= now; }

 private:
  Duration interval_;
  Duration burst_;
  TimePoint next_{};  // when the bucket would be empty again
};

class RateLimiter {
 public:
  // `shared_by`: how many workers share the port; each gets its part, at least 1.
  explicit RateLimiter(const wire::RateLimit& limit, uint32_t shared_by = 1);

  enum class Verdict : uint8_t { kAllowed, kTotal, kIdentity, kOverride };
  struct Result {
    Verdict verdict = Verdict::kAllowed;
    uint32_t rps = 0;  // the limit that was reached
    explicit operator bool() const { return verdict == Verdict::kAllowed; }
    // "total rate limit exceeded: 100rps", as Linkerd words it.
    std::string text() const;
  };
  // `identity` "" is every client without one, together. Clients that fall idle are forgotten; beyond 10,000 at once
  // further ones share one limit.
  Result check(std::string_view identity, TimePoint now);

 private:
  struct Named {
    uint32_t rps;
    Gcra gcra;
  };
  uint32_t part(uint32_t rps) const { return std::max(1u, rps / shared_by_); }
  uint32_t shared_by_;
  std::optional<Named> total_;
  uint32_t identity_rps_ = 0;
  std::vector<Named> overrides_;
  absl::flat_hash_map<std::string, size_t, StringHash, std::equal_to<>> override_of_;
  absl::flat_hash_map<std::string, Gcra, StringHash, std::equal_to<>> clients_;
  TimePoint swept_{};
};

}  // namespace tulle::proxy
