// Whether an attempt may be made again. Pure; the budget is proxy/balance/budget.h, the back-off
// proxy/balance/backoff.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libs/base/result.h"
#include "libs/http/message.h"
#include "libs/wire/outbound.h"

namespace tulle::proxy {

// The retry policy of one request: the route's, changed by the l5d-retry-* headers where the route lets them count.
// Nothing: no retries.
std::optional<wire::Retry> retry_policy(const std::optional<wire::Retry>& route, bool headers_count,
                                        const http::Headers& headers);
// Takes the l5d-retry-* and l5d-*timeout headers out, once they have been read.
void strip_l5d_request_headers(http::Headers& headers);

// Whether this response calls for another attempt: by HTTP status, or by the gRPC status in `fields` (of the head, or
// of trailers that followed at once).
bool is_retryable_response(const wire::Retry& retry, int http_status, const http::Headers& fields);

// Whether an attempt that failed with this error, before any of its response was passed on, may be made again.
// By its retry property: safe (the peer cannot have seen it) always; idempotent-only if the method is idempotent.
bool may_repeat(const Error& e, const http::RequestHead& head);

}  // namespace tulle::proxy
