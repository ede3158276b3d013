// A gRPC message of so many bytes, framed, that is one protobuf field of bytes.
#pragma once

#include <string>

namespace tulle::bench {

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
