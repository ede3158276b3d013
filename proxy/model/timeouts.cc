#include "proxy/model/timeouts.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::proxy {

wire::Timeouts request_timeouts(const wire::Timeouts& route, bool headers_count, const http::Headers& headers) {
  wire::Timeouts out = route;
  if (!headers_count) return out;
  auto read = [&](std::string_view name, std::optional<Duration>& into) {
    auto text = headers.get(name);
    if (!text) return;
    if (auto d = parse_duration(*text)) into = *d;
  };
  read("l5d-timeout", out.request);
  read("l5d-request-timeout", out.request);
  read("l5d-response-timeout", out.response);
  return out;
}

std::optional<Duration> grpc_timeout(const http::Headers& headers) {
  // Up to eight digits and a unit (PROTOCOL-HTTP2.md).
  auto text = headers.get(http::HeaderId::kGrpcTimeout);
  if (!text || text->size() < 2 || text->size() > 9) return std::nullopt;
  auto n = parse_number<uint32_t>(text->substr(0, text->size() - 1));
  if (!n) return std::nullopt;
  auto count = static_cast<int64_t>(*n);
  // The longest that nanoseconds hold: about 292 years.
  constexpr int64_t kMaxHours = INT64_MAX / 1'000'000'000 / 3600;
  switch (text->back()) {
    case 'H': return std::chrono::hours(std::min(count, kMaxHours));
    case 'M': return std::chrono::minutes(count);
    case 'S': return std::chrono::seconds(count);
    case 'm': return std::chrono::milliseconds(count);
    case 'u': return std::chrono::microseconds(count);
    case 'n': return std::chrono::nanoseconds(count);
    default: return std::nullopt;
  }
}

}  // namespace tulle::proxy
