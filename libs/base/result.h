// Errors are values. A function that can fail returns Result<T>; nothing in libs/ or proxy/ throws.
//
// An Error carries exactly what the callers up the stack decide on: which HTTP status to answer with, whether a
// retry is allowed, how to label the metric, and what to tell the person who asks why (docs/errors.md).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace tulle {

// What went wrong. Stable: metrics and docs/errors.md use the names that `code_name` gives.
enum class Code : uint8_t {
  kCancelled,    // the one who asked went away
  kClosed,       // the connection ended in order where more was expected
  kReset,        // the connection or stream was reset
  kTimeout,      // a deadline passed
  kConnect,      // no connection could be made (refused, unreachable)
  kProtocol,     // the bytes break the protocol
  kTls,          // the handshake or a record failed
  kIdentity,     // the peer is not who it should be
  kTooLarge,     // over a limit on size
  kExhausted,    // over a limit on number: connections, streams, queue places
  kUnavailable,  // nothing ready to serve
  kNotFound,
  kDenied,   // policy says no
  kInvalid,  // a value given to us is wrong
  kUnimplemented,
  kIo,  // the system refused; see Error::sys
  kInternal,
};

// Who is at fault: decides between 4xx and 5xx and which side a metric counts it on.
enum class Side : uint8_t { kClient, kPeer, kSelf };

// Whether doing it again can be right. kSafe: the peer cannot have seen the request.
enum class Retry : uint8_t { kSafe, kIdempotentOnly, kNever };

struct Error {
  Code code = Code::kInternal;
  Side side = Side::kSelf;
  Retry retry = Retry::kNever;
  int sys = 0;         // errno, or 0
  std::string reason;  // for people: what, where and what would be accepted

  Error() = default;
  Error(Code c, std::string why, Side s = Side::kSelf, Retry r = Retry::kNever, int errno_value = 0)
      : code(c), side(s), retry(r), sys(errno_value), reason(std::move(why)) {}

  // The same error with "WHAT: " put in front of its reason.
  Error with(std::string_view what) && {
    reason.insert(0, ": ").insert(0, what);
    return std::move(*this);
  }
  Error with(std::string_view what) const& { return Error(*this).with(what); }
};

template <class T = void>
using Result = std::expected<T, Error>;

// The name of a code as metrics and docs/errors.md write it: "timeout", "connect", …
std::string_view code_name(Code code);

// The error of a system call that has just failed: reason "WHAT: <strerror>".
// `err` is an errno value; connection refusals and resets get their own codes.
Error sys_error(std::string_view what, int err, Side side = Side::kSelf);

inline std::unexpected<Error> fail(Code code, std::string why, Side side = Side::kSelf, Retry retry = Retry::kNever) {
  return std::unexpected<Error>(Error(code, std::move(why), side, retry));
}
inline std::unexpected<Error> fail(Error e) { return std::unexpected<Error>(std::move(e)); }

}  // namespace tulle

#define TULLE_CONCAT_(a, b) a##b
#define TULLE_CONCAT(a, b) TULLE_CONCAT_(a, b)

// TULLE_TRY(auto x, expr): x becomes the value, or the function returns the error.
// TULLE_TRY_VOID(expr): the same where there is no value. TULLE_CO_…: the same inside a coroutine.
#define TULLE_TRY_IMPL_(ret, tmp, decl, expr)          \
  auto tmp = (expr);                                   \
  if (!tmp) ret ::tulle::fail(std::move(tmp).error()); \
  decl = std::move(*tmp)
#define TULLE_TRY(decl, ...) TULLE_TRY_IMPL_(return, TULLE_CONCAT(try_, __COUNTER__), decl, (__VA_ARGS__))
#define TULLE_CO_TRY(decl, ...) TULLE_TRY_IMPL_(co_return, TULLE_CONCAT(try_, __COUNTER__), decl, (__VA_ARGS__))
#define TULLE_TRY_VOID(...)                                                                 \
  do {                                                                                      \
    if (auto try_r = (__VA_ARGS__); !try_r) return ::tulle::fail(std::move(try_r).error()); \
  } while (0)
#define TULLE_CO_TRY_VOID(...)                                                                 \
  do {                                                                                         \
    if (auto try_r = (__VA_ARGS__); !try_r) co_return ::tulle::fail(std::move(try_r).error()); \
  } while (0)
