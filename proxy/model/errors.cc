#include "proxy/model/errors.h"

#include <algorithm>

#include "libs/base/check.h"
#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

// gRPC codes by name, for the table.
enum Grpc : int {
  kInvalidArgument = 3,
  kDeadline = 4,
  kNotFound = 5,
  kPermission = 7,
  kExhausted = 8,
  kPrecondition = 9,
  kAborted = 10,
  kInternal = 13,
  kUnavailable = 14,
};

constexpr ErrorRow kTable[] = {
    {Reason::kUnexpected, "unexpected", "unexpected", 500, kInternal, true},
    {Reason::kInvalidPolicy, "invalid-policy", "unexpected", 500, kInternal, true},
    {Reason::kBadRequest, "bad-request", "bad request", 400, kInvalidArgument, true},
    {Reason::kTooLarge, "too-large", "too large", 431, kExhausted, true},
    {Reason::kConnectFailed, "connect-failed", "i/o", 502, kUnavailable, true},
    {Reason::kConnectTimeout, "connect-timeout", "connect timeout", 504, kDeadline, true},
    {Reason::kConnectionLost, "connection-lost", "i/o", 502, kUnavailable, true},
    {Reason::kTlsFailed, "tls-failed", "i/o", 502, kUnavailable, true},
    {Reason::kIdentityMismatch, "identity-mismatch", "identity required", 502, kUnavailable, true},
    {Reason::kNoDispatcher, "no-dispatcher", "no dispatcher", 502, kUnavailable, true},
    {Reason::kFailFast, "fail-fast", "failfast", 504, kDeadline, true},
    {Reason::kNoEndpoints, "no-endpoints", "failfast", 504, kDeadline, true},
    {Reason::kNoDiscovery, "no-discovery", "no discovery", 504, kDeadline, true},
    {Reason::kLoadShed, "load-shed", "loadshed", 503, kUnavailable, true},
    {Reason::kTimeout, "timeout", "response timeout", 504, kDeadline, false},
    {Reason::kNoRoute, "no-route", "no route", 404, kNotFound, false},
    {Reason::kAmbiguousPath, "ambiguous-path", "ambiguous path", 400, kInvalidArgument, false},
    {Reason::kDenied, "denied", "unauthorized", 403, kPermission, false},
    {Reason::kForbidden, "forbidden", "forbidden", 403, kPermission, false},
    {Reason::kRateLimited, "rate-limited", "rate limited", 429, kExhausted, false},
    {Reason::kLoop, "loop", "gateway loop", 508, kAborted, true},
    {Reason::kRedirect, "redirect", "redirect", 0, kNotFound, false},
    {Reason::kInjectedHttp, "injected-http", "injected http", 0, kPrecondition, false},
    {Reason::kInjectedGrpc, "injected-grpc", "injected grpc", 200, -1, false},
    {Reason::kShutdown, "shutdown", "shutdown", 503, kUnavailable, true},
};
static_assert([] {
  for (size_t i = 0; i < std::size(kTable); ++i)
    if (static_cast<size_t>(kTable[i].reason) != i) return false;
  return true;
}());

Reason reason_of(const Error& e) {
  switch (e.code) {
    case Code::kProtocol: return e.side == Side::kClient ? Reason::kBadRequest : Reason::kConnectionLost;
    case Code::kTooLarge: return e.side == Side::kClient ? Reason::kTooLarge : Reason::kConnectionLost;
    case Code::kCancelled:
    case Code::kClosed:
    case Code::kReset:
    case Code::kIo: return Reason::kConnectionLost;
    case Code::kTimeout: return e.retry == Retry::kSafe ? Reason::kConnectTimeout : Reason::kTimeout;
    case Code::kConnect: return Reason::kConnectFailed;
    case Code::kTls: return Reason::kTlsFailed;
    case Code::kIdentity: return Reason::kIdentityMismatch;
    case Code::kExhausted: return Reason::kLoadShed;
    case Code::kUnavailable: return Reason::kFailFast;
    case Code::kNotFound: return Reason::kNoRoute;
    case Code::kDenied: return Reason::kDenied;
    case Code::kInvalid: return e.side == Side::kClient ? Reason::kBadRequest : Reason::kUnexpected;
    case Code::kUnimplemented:
    case Code::kInternal: return Reason::kUnexpected;
  }
  return Reason::kUnexpected;
}

}  // namespace

std::span<const ErrorRow> error_table() { return kTable; }

const ErrorRow& error_row(Reason reason) {
  auto i = static_cast<size_t>(reason);
  TULLE_CHECK(i < std::size(kTable));
  return kTable[i];
}

ProxyError::ProxyError(Reason why, std::string what) : reason(why), text(std::move(what)) {
  const ErrorRow& row = error_row(why);
  http_status = row.http_status;
  grpc_status = row.grpc_status;
  fatal = row.fatal;
}

ProxyError proxy_error(const Error& e) { return ProxyError(reason_of(e), e.reason); }

http::ResponseHead error_head(const ProxyError& e, bool grpc, bool emit, bool close) {
  http::ResponseHead head;
  if (grpc) {
    head.status = 200;
    head.headers.add(http::HeaderId::kContentType, "application/grpc");
    head.headers.add(http::HeaderId::kGrpcStatus, cat(e.grpc_status));
    if (emit) head.headers.add(http::HeaderId::kGrpcMessage, percent_encode(std::string_view(e.text).substr(0, 1024)));
  } else {
    head.status = e.http_status;
  }
  head.reason = http::reason_phrase(head.status);
  head.headers.add(http::HeaderId::kContentLength, "0");
  if (!e.location.empty()) head.headers.add("location", e.location);
  if (emit) {
    head.headers.add(http::HeaderId::kL5dProxyError, header_safe(e.text));
    if (e.fatal) head.headers.add(http::HeaderId::kL5dProxyConnection, "close");
  }
  if (close) head.headers.add(http::HeaderId::kConnection, "close");
  return head;
}

std::string header_safe(std::string_view text) {
  std::string out(text.substr(0, 1024));
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    if (c >= ' ' && c <= '~' && c != '%') {
      out.push_back(c);
    } else {
      auto u = static_cast<uint8_t>(c);
      append(out, '%', kHex[u >> 4], kHex[u & 15]);
    }
  }
  return out;
}

}  // namespace tulle::proxy
