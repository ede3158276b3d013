// TimeLimits: how long one outbound exchange may take, by the timeouts of its route, and what has passed.
//
//   request   the client's request → the last byte of the response, all attempts
//   attempt   one attempt: choosing the endpoint, connecting, sending → the last byte of its response (backendRequest)
//   response  the request sent whole → the last byte of the response
//   idle      nothing moves in either direction
//
// Once the exchange has become a tunnel only `idle` counts. On the exchange's own reactor.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include "libs/httpio/exchange.h"
#include "libs/rt/scope.h"
#include "libs/rt/signal.h"
#include "proxy/model/timeouts.h"

namespace tulle::proxy::outbound {

class TimeLimits final : public rt::Runnable {
 public:
  TimeLimits(rt::Reactor& reactor, TimePoint start) : start_(start), changed_(reactor) {}

  // A timeout of zero is none.
  void set(const wire::Timeouts& t) { timeouts_ = t; }
  // One of the backends limits its attempts.
  void set_attempt(std::optional<Duration> timeout) { any_attempt_ |= given(timeout); }
  // The exchange may take as long as it likes.
  bool none() const {
    return !given(timeouts_.request) && !given(timeouts_.response) && !given(timeouts_.idle) && !any_attempt_;
  }

  // ---- What the exchange has got to
  void attempt(TimePoint now, std::optional<Duration> timeout) {
    attempt_start_ = now;
    attempt_ = given(timeout) ? timeout : std::nullopt;
    moved();
  }
  void sent_to(httpio::ClientExchange& upstream) {
    upstream_ = &upstream;
    moved();
  }
  void sent_to_nobody() { upstream_ = nullptr; }
  void tunnel() {
    tunnel_ = true;
    moved();
  }

  // The current attempt's endpoint had the whole request when the time was looked at last.
  bool request_sent() const { return request_sent_ != kNever; }

  struct Passed {
    std::string_view name;  // Linkerd's, for response_total{error=…}
    std::string_view what;
    Duration limit{};
  };
  // Waits until `exchange`, made with this object to be told of its end, is over (nothing) or has taken too long.
  rt::Task<std::optional<Passed>> passed(httpio::ServerExchange& client, const rt::Running& exchange);

 private:
  static bool given(const std::optional<Duration>& d) { return d && *d > Duration::zero(); }
  void run() override { changed_.notify(); }
  void moved() {
    moved_ = true;
    changed_.notify();
  }
  // Notes what has moved until now.
  void look(const httpio::ServerExchange& client, TimePoint now);
  struct Next {
    TimePoint at = kNever;
    Passed passed;
  };
  Next next() const;

  wire::Timeouts timeouts_;
  bool any_attempt_ = false;
  TimePoint start_;
  TimePoint attempt_start_;
  std::optional<Duration> attempt_;
  httpio::ClientExchange* upstream_ = nullptr;
  bool tunnel_ = false;
  bool moved_ = true;
  uint64_t bytes_ = 0;
  TimePoint active_{};  // something was seen to move
  TimePoint request_sent_ = kNever;
  rt::Signal changed_;
};

}  // namespace tulle::proxy::outbound
