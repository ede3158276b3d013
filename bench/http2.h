// What both HTTP/2 ends of the benches share.
#pragma once

#include <string>

#include "libs/http/h2.h"

namespace tulle::bench {

// Windows that never hold the load back, and no count of odd frames.
inline http::H2Options wide() {
  http::H2Options options;
  options.stream_window = 1 << 20;
  options.connection_window = 16 << 20;
  options.glitch_burst = 1 << 30;
  return options;
}

// A gRPC message of so many bytes, framed, that is one protobuf field of bytes.
inline std::string grpc_message(size_t size) {
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(size >> shift);
  size_t length = size - (size > 129 ? 3 : 2);
  out += '\x0a';  // field 1, bytes
  if (length > 127) {
    out += static_cast<char>(0x80 | (length & 0x7f));
    out += static_cast<char>(length >> 7);
  } else {
    out += static_cast<char>(length);
  }
  return out.append(length, 'x');
}

}  // namespace tulle::bench
