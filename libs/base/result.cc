#include "libs/base/result.h"

#include <cerrno>
#include <cstring>

#include "libs/base/strings.h"

namespace tulle {

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kCancelled: return "cancelled";
    case Code::kClosed: return "closed";
    case Code::kReset: return "reset";
    case Code::kTimeout: return "timeout";
    case Code::kConnect: return "connect";
    case Code::kProtocol: return "protocol";
    case Code::kTls: return "tls";
    case Code::kIdentity: return "identity";
    case Code::kTooLarge: return "too-large";
    case Code::kExhausted: return "exhausted";
    case Code::kUnavailable: return "unavailable";
    case Code::kNotFound: return "not-found";
    case Code::kDenied: return "denied";
    case Code::kInvalid: return "invalid";
    case Code::kUnimplemented: return "unimplemented";
    case Code::kIo: return "io";
    case Code::kInternal: return "internal";
  }
  return "internal";
}

Error sys_error(std::string_view what, int err, Side side) {
  Code code = Code::kIo;
  Retry retry = Retry::kNever;
  switch (err) {
    case ECONNREFUSED:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
      code = Code::kConnect;
      retry = Retry::kSafe;
      break;
    case ETIMEDOUT:
      code = Code::kTimeout;
      retry = Retry::kIdempotentOnly;
      break;
    case ECONNRESET:
    case EPIPE:
    case ECONNABORTED:
      code = Code::kReset;
      retry = Retry::kIdempotentOnly;
      break;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: code = Code::kExhausted; break;
    default: break;
  }
  char text[128];
  return Error(code, cat(what, ": ", std::string_view(strerror_r(err, text, sizeof text))), side, retry, err);
}

}  // namespace tulle
