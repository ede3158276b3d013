#include "proxy/outbound/time_limits.h"

namespace tulle::proxy::outbound {

void TimeLimits::look(const httpio::ServerExchange& client, TimePoint now) {
  uint64_t bytes = client.bytes_in() + client.bytes_out();
  if (upstream_) bytes += upstream_->bytes_in() + upstream_->bytes_out();
  if (std::exchange(moved_, false) || bytes != bytes_) active_ = now;
  bytes_ = bytes;
  if (!upstream_) request_sent_ = kNever;
  else if (request_sent_ == kNever && client.ended()) request_sent_ = now;
}

TimeLimits::Next TimeLimits::next() const {
  Next out;
  auto limit = [&](const std::optional<Duration>& d, TimePoint from, std::string_view name, std::string_view what) {
    if (!given(d) || from == kNever || *d >= out.at - from) return;
    out = {from + *d, {name, what, *d}};
  };
  if (!tunnel_) {
    limit(timeouts_.request, start_, "REQUEST_TIMEOUT", "request timeout");
    limit(attempt_, attempt_start_, "REQUEST_TIMEOUT", "backend request timeout");
    limit(timeouts_.response, request_sent_, "RESPONSE_STREAM_TIMEOUT", "response timeout");
  }
  limit(timeouts_.idle, active_, "IDLE_TIMEOUT", "idle timeout");
  return out;
}

rt::Task<std::optional<TimeLimits::Passed>> TimeLimits::passed(httpio::ServerExchange& client,
                                                               const rt::Running& exchange) {
  rt::Reactor& reactor = changed_.reactor();
  while (!exchange.done()) {
    TimePoint now = reactor.now();
    look(client, now);
    Next n = next();
    if (n.at <= now) co_return n.passed;
    // Bytes are not announced here, as they would be for nothing nearly always: they are looked for a few times within
    // the limits that they bear upon.
    auto often = [&](const std::optional<Duration>& d) {
      if (given(d)) n.at = std::min(n.at, now + std::max<Duration>(*d / 8, 1ms));
    };
    often(timeouts_.idle);
    if (!tunnel_ && request_sent_ == kNever) often(timeouts_.response);
    (void)co_await changed_.wait_until(n.at);
  }
  co_return std::nullopt;
}

}  // namespace tulle::proxy::outbound
