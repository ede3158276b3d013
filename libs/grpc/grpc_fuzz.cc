// What a gRPC peer says. The first byte says how large the pieces of the body are; the text after it is also read as a
// grpc-message and a grpc-status.
#include <cstdint>

#include "libs/base/check.h"
#include "libs/grpc/framing.h"
#include "libs/grpc/status.h"

using namespace tulle;
using namespace tulle::grpc;

namespace {
// All messages of a body in pieces, and how it ended.
std::string read(Bytes in, size_t piece) {
  MessageReader reader;
  std::string text;
  for (size_t i = 0; i < in.size(); i += piece) {
    reader.push(in.substr(i, piece));
    for (;;) {
      auto message = reader.next();
      if (!message) return cat(text, "error ", message.error().reason);
      if (!*message) break;
      append(text, "<", **message, ">");
    }
  }
  return cat(text, reader.clean() ? "clean" : "cut");
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  Bytes in(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::string whole = read(in, in.size() + 1);
  TULLE_CHECK(read(in, 1 + data[0]) == whole);

  Buffer framed;
  append_message(in, framed);
  if (in.size() <= kMaxMessage) TULLE_CHECK(read(framed.view(), 1 + data[0]) == cat("<", in, ">clean"));

  TULLE_CHECK(decode_message(encode_message(in)) == in);
  size_t line = in.find('\n');
  http::Headers fields;
  fields.add("grpc-status", in.substr(0, line));
  fields.add("grpc-message", line == in.npos ? "" : in.substr(line + 1));
  Status status = read_status(data[0] * 3, fields);
  http::Headers written;
  write_status(status, written);
  Status again = read_status(200, written);
  TULLE_CHECK(again.code == status.code && again.message == status.message);
  return 0;
}
