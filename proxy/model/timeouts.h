// The deadlines of one request. Pure.
#pragma once

#include "libs/http/message.h"
#include "libs/wire/types.h"

namespace tulle::proxy {

// The route's timeouts, changed by l5d-timeout, l5d-request-timeout (which wins over it) and l5d-response-timeout where
// the route lets them count. A header that is not a duration is ignored.
wire::Timeouts request_timeouts(const wire::Timeouts& route, bool headers_count, const http::Headers& headers);

// The client's own deadline from grpc-timeout: the call is worthless after it. Nothing: none, or unreadable.
std::optional<Duration> grpc_timeout(const http::Headers& headers);

}  // namespace tulle::proxy
