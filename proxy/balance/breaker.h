// Failure accrual: takes an endpoint that keeps failing out of the balancer and lets one probe through now and then.
// Pure: clock and randomness are passed in. One per endpoint, owned by its balancer on one worker; no allocation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "libs/base/random.h"
#include "libs/base/time.h"
#include "libs/wire/outbound.h"
#include "proxy/balance/backoff.h"

namespace tulle::proxy {

// How a response counts. kRateLimited: 429 or gRPC RESOURCE_EXHAUSTED. kNone: it says nothing about the endpoint (the
// client went away before the answer).
enum class Outcome : uint8_t { kSuccess, kFailure, kRateLimited, kNone };

class Breaker {
 public:
  enum class State : uint8_t {
    kClosed,   // in use
    kOpen,     // out until retry_at()
    kProbing,  // its one probe is on its way
  };
  enum class Change : uint8_t { kNone, kTripped, kReopened /* the probe failed */, kRestored };
  // Which life of the breaker a request belongs to: answers from an earlier one are ignored.
  struct Ticket {
    uint32_t life = 0;
    explicit Ticket(uint32_t l) : life(l) {}
  };

  // Without a policy it never trips.
  Breaker(const std::optional<wire::FailureAccrual>& policy, TimePoint now);

  State state() const { return state_; }
  // Whether it may be given a request now: closed, or open long enough for a probe.
  bool ready(TimePoint now) const { return state_ == State::kClosed || (state_ == State::kOpen && now >= retry_at_); }
  // When ready() next becomes true by the passing of time; kNever if that is not what it waits for.
  TimePoint retry_at() const { return state_ == State::kOpen ? retry_at_ : kNever; }

  // A request is sent; only when ready(now).
  Ticket begin(TimePoint now);
  // Its answer is classified, or it ended without one (kNone).
  Change end(Ticket ticket, Outcome outcome, TimePoint now, Rng& rng);

 private:
  // The success rate over a window, as a ring of ten buckets.
  struct Window {
    static constexpr int kBuckets = 10;
    struct Bucket {
      uint32_t total = 0;
      uint32_t good = 0;
    };
    Duration bucket{};
    TimePoint started;
    size_t at = 0;
    std::array<Bucket, kBuckets> buckets{};

    void add(bool good, TimePoint now);
    void clear(TimePoint now);
    Bucket sum() const;
  };

  bool should_trip(Outcome outcome, TimePoint now);
  void open(TimePoint now, Rng& rng);

  enum class Mode : uint8_t { kNever, kConsecutive, kUnified };
  Mode mode_ = Mode::kNever;
  State state_ = State::kClosed;
  uint32_t life_ = 0;
  uint32_t failures_in_row_ = 0;
  uint32_t max_in_row_ = 0;  // 0: not looked at
  uint32_t min_requests_ = 0;
  uint32_t threshold_ = 0;  // of 10,000; 0: not looked at
  TimePoint retry_at_{};
  Backoff backoff_;
  Window window_;
};

}  // namespace tulle::proxy
