// gRPC status codes, as https://grpc.io/docs/guides/status-codes/ and the protocol's PROTOCOL-HTTP2.md have them.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "libs/base/result.h"
#include "libs/base/strings.h"
#include "libs/http/message.h"

namespace tulle::grpc {

enum class StatusCode : uint8_t {
  kOk,
  kCancelled,
  kUnknown,
  kInvalidArgument,
  kDeadlineExceeded,
  kNotFound,
  kAlreadyExists,
  kPermissionDenied,
  kResourceExhausted,
  kFailedPrecondition,
  kAborted,
  kOutOfRange,
  kUnimplemented,
  kInternal,
  kUnavailable,
  kDataLoss,
  kUnauthenticated,
};
// "OK", "CANCELLED", "INVALID_ARGUMENT", …
std::string_view status_name(StatusCode code);

struct Status {
  StatusCode code = StatusCode::kOk;
  std::string message;
  Status() = default;
  Status(StatusCode c, std::string m = {}) : code(c), message(std::move(m)) {}  // NOLINT: reads as the value it is
  bool ok() const { return code == StatusCode::kOk; }
  std::string to_string() const;  // "NOT_FOUND: no such service"
};

template <class T>
using Outcome = std::expected<T, Status>;

// The status that an error of ours is for a gRPC peer.
Status to_status(const Error& e);
// The status of a finished call from its trailers (or from its head, when there were only trailers). Without a
// grpc-status it is made from the HTTP status.
Status read_status(int http_status, const http::Headers& fields);
void write_status(const Status& status, http::Headers& fields);

// Percent-encoding of grpc-message.
std::string encode_message(std::string_view text);
std::string decode_message(std::string_view text);

}  // namespace tulle::grpc
