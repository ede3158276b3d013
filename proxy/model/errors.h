// The answers that a proxy makes up itself: one table from the reason to status codes (docs/errors.md explains each
// row to its readers; a test compares the two). Linkerd's codes, with the reason named.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/http/message.h"

namespace tulle::proxy {

enum class Reason : uint8_t {
  kUnexpected,     // a bug, or an error that has no better row
  kInvalidPolicy,  // the control plane sent a policy that cannot be used
  kBadRequest,     // the client's request breaks the protocol
  kTooLarge,       // its head is over a limit
  kConnectFailed,  // the endpoint refused or is unreachable
  kConnectTimeout,
  kConnectionLost,    // the endpoint closed, reset or broke the protocol before its response
  kTlsFailed,         // the handshake with the endpoint failed
  kIdentityMismatch,  // the endpoint is not who was required
  kNoDispatcher,      // the route's backend does not say where to go
  kFailFast,          // no endpoint was ready for the fail-fast time
  kNoEndpoints,       // discovery knows of none
  kNoDiscovery,       // the control plane has not said anything about the target in time
  kLoadShed,          // too many requests wait already
  kTimeout,           // a deadline of the route passed before the response began
  kNoRoute,
  kAmbiguousPath,  // the path could be read so that another rule were for it
  kDenied,         // authorization
  kForbidden,      // the route itself refuses (egress policy)
  kRateLimited,
  kLoop,          // the request came back to the proxy that sent it
  kRedirect,      // a route's filter
  kInjectedHttp,  // a route's filter
  kInjectedGrpc,  // a route's filter
  kShutdown,      // the proxy is draining and takes nothing new
};

struct ErrorRow {
  Reason reason;
  std::string_view name;   // in logs and docs/errors.md: "connect-timeout"
  std::string_view label;  // Linkerd's, of *_http_errors_total{error=…}: "i/o", "failfast", …; ours where it has none
  int http_status;         // 0: given by the filter
  int grpc_status;         // −1: given by the filter
  bool fatal;              // the client's connection is closed after the answer
};
std::span<const ErrorRow> error_table();
const ErrorRow& error_row(Reason reason);
inline std::string_view reason_name(Reason reason) { return error_row(reason).name; }

// What a made-up answer says. Linkerd writes `text` as l5d-proxy-error (and grpc-message) where it may.
struct ProxyError {
  Reason reason = Reason::kUnexpected;
  int http_status = 500;
  int grpc_status = 13;
  bool fatal = true;
  std::string text;
  std::string location;  // kRedirect only

  ProxyError() = default;
  // From the table.
  ProxyError(Reason why, std::string what);
};

// The row for an error of a connection or stream. A timeout that is safe to retry passed before the peer could see the
// request: it was connecting. `e.side` is kClient for what the client's own bytes caused.
ProxyError proxy_error(const Error& e);

// Writes the answer's head: status, content-length 0 or the gRPC trailers-only form (for a gRPC request over HTTP/2),
// location. `emit`: with l5d-proxy-error (or grpc-message), and l5d-proxy-connection: close if fatal. `close`: also
// connection: close, for HTTP/1 clients that are not another proxy. What is written is always a valid field value.
http::ResponseHead error_head(const ProxyError& e, bool grpc, bool emit, bool close);

// A message as a header may carry it: printable ASCII, anything else becomes '?', at most 1,024 bytes.
std::string header_safe(std::string_view text);
// grpc-message's percent-encoding (PROTOCOL-HTTP2.md).
std::string percent_encode(std::string_view text);

}  // namespace tulle::proxy
