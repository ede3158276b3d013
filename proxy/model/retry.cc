#include "proxy/model/retry.h"

#include <algorithm>

#include "libs/base/strings.h"
#include "proxy/model/classify.h"

namespace tulle::proxy {
namespace {

constexpr std::string_view kRequestHeaders[] = {"l5d-retry-http",      "l5d-retry-grpc", "l5d-retry-limit",
                                                "l5d-retry-timeout",   "l5d-timeout",    "l5d-request-timeout",
                                                "l5d-response-timeout"};

// "5xx, gateway-error, 429, 500-504"; what is not one of these is left out.
std::vector<wire::StatusRange> parse_statuses(std::string_view text) {
  std::vector<wire::StatusRange> out;
  for (std::string_view item : split(text, ',')) {
    item = trim(item);
    if (item == "5xx") {
      out.push_back({500, 599});
    } else if (item == "gateway-error") {
      out.push_back({502, 504});
    } else {
      size_t dash = item.find('-');
      auto start = parse_number<uint16_t>(item.substr(0, dash));
      auto end = dash == item.npos ? start : parse_number<uint16_t>(item.substr(dash + 1));
      if (start && end && *start >= 100 && *start <= *end && *end <= 999) out.push_back({*start, *end});
    }
    if (out.size() >= 16) break;
  }
  return out;
}

uint32_t parse_codes(std::string_view text) {
  constexpr std::pair<std::string_view, int> kCodes[] = {
      {"cancelled", 1}, {"deadline-exceeded", 4}, {"resource-exhausted", 8}, {"internal", 13}, {"unavailable", 14}};
  uint32_t out = 0;
  for (std::string_view item : split(text, ','))
    for (auto [name, code] : kCodes)
      if (trim(item) == name) out |= 1u << code;
  return out;
}

}  // namespace

std::optional<wire::Retry> retry_policy(const std::optional<wire::Retry>& route, bool headers_count,
                                        const http::Headers& headers) {
  if (!headers_count) return route;
  auto http = headers.get(kRequestHeaders[0]);
  auto grpc = headers.get(kRequestHeaders[1]);
  auto limit = headers.get(kRequestHeaders[2]);
  auto timeout = headers.get(kRequestHeaders[3]);
  if (!http && !grpc && !limit && !timeout) return route;

  wire::Retry out;
  if (route) out = *route;
  else out.backoff = wire::Backoff{25ms, 250ms, 1.0f, false};
  if (http) out.statuses = parse_statuses(*http);
  if (grpc) out.grpc_codes = parse_codes(*grpc);
  if (limit) out.max_retries = parse_number<uint16_t>(trim(*limit)).value_or(static_cast<uint16_t>(out.max_retries));
  if (timeout)
    if (auto d = parse_duration(*timeout)) out.timeout = *d;
  if (out.statuses.empty() && out.grpc_codes == 0 && !route) return std::nullopt;
  return out;
}

void strip_l5d_request_headers(http::Headers& headers) {
  for (std::string_view name : kRequestHeaders) headers.remove(name);
}

bool is_retryable_response(const wire::Retry& retry, int http_status, const http::Headers& fields) {
  for (const auto& range : retry.statuses)
    if (http_status >= range.start && http_status <= range.end) return true;
  if (retry.grpc_codes == 0) return false;
  auto code = grpc_status(fields);
  return code && *code < 32 && (retry.grpc_codes >> *code & 1) != 0;
}

bool may_repeat(const Error& e, const http::RequestHead& head) {
  switch (e.retry) {
    case Retry::kSafe: return true;
    case Retry::kIdempotentOnly: return http::is_idempotent(head.method_kind);
    case Retry::kNever: return false;
  }
  return false;
}

}  // namespace tulle::proxy
