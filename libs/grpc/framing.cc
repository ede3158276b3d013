#include "libs/grpc/framing.h"

namespace tulle::grpc {

void append_message(Bytes message, Buffer& out) {
  auto n = static_cast<uint32_t>(message.size());
  char* head = out.prepare(5 + message.size());
  head[0] = 0;
  for (int i = 0; i < 4; ++i) head[1 + i] = static_cast<char>(n >> (24 - 8 * i));
  out.commit(5);
  out.append(message);
}

Result<std::optional<std::string>> MessageReader::next() {
  Bytes in = buffer_.view();
  if (in.size() < 5) return std::nullopt;
  if (in[0] != 0)
    return fail(
        Code::kUnimplemented,
        in[0] == 1 ? "gRPC message: compression is not supported; send identity" : "gRPC message: unknown flags",
        Side::kPeer);
  uint32_t n = 0;
  for (int i = 1; i < 5; ++i) n = n << 8 | static_cast<unsigned char>(in[static_cast<size_t>(i)]);
  if (n > kMaxMessage)
    return fail(Code::kTooLarge, cat("gRPC message of ", n, " bytes: at most ", kMaxMessage, " are accepted"),
                Side::kPeer);
  if (in.size() - 5 < n) return std::nullopt;
  std::string message(in.substr(5, n));
  buffer_.consume(5 + n);
  return message;
}

}  // namespace tulle::grpc
