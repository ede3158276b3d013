// Length-prefixed messages (gRPC over HTTP/2): one byte of flags, four of length, the message.
#pragma once

#include <optional>
#include <string>

#include "libs/base/buffer.h"
#include "libs/base/result.h"

namespace tulle::grpc {

inline constexpr size_t kMaxMessage = 4 * 1024 * 1024;

void append_message(Bytes message, Buffer& out);

// Cuts messages out of a body that arrives in pieces. Bounded by kMaxMessage and one piece.
class MessageReader {
 public:
  void push(Bytes bytes) { buffer_.append(bytes); }
  // The next whole message, or nothing yet. Errors: kTooLarge; kUnimplemented for a compressed one.
  Result<std::optional<std::string>> next();
  // Nothing of an unfinished message is left.
  bool clean() const { return buffer_.empty(); }

 private:
  Buffer buffer_;
};

}  // namespace tulle::grpc
