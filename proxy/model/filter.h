// The filters of a route or backend, applied to the head of a request or response. Pure; randomness is passed in.
#pragma once

#include <optional>
#include <span>

#include "libs/base/random.h"
#include "libs/http/message.h"
#include "libs/wire/types.h"
#include "proxy/model/errors.h"
#include "proxy/model/route.h"

namespace tulle::proxy {

// Runs the request filters in order. Something: they answer the request themselves (redirect, injected failure, a
// filter that is not known); the head may be changed then. `match` says how the rule matched, for prefix replacement.
// `scheme`: of the request where its target does not say ("http").
// Header modifiers leave alone what frames a message or names its connection (content-length, transfer-encoding,
// connection, …): changing those would let a policy split messages.
std::optional<ProxyError> filter_request(std::span<const wire::Filter> filters, const RuleMatch& match,
                                         http::RequestHead& head, std::string_view scheme, Rng& rng);
// Runs the response filters in order.
void filter_response(std::span<const wire::Filter> filters, http::ResponseHead& head);

// Opaque and TLS routes: why a connection must not go on; only the first filter counts, as in Linkerd.
std::optional<ProxyError> filter_stream(std::span<const wire::Filter> filters);

}  // namespace tulle::proxy
