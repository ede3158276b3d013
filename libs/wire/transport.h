// The transport header: the first bytes inside TLS that one proxy sends to another's opaque-transport port (ALPN
// transport.l5d.io/v1), as on Linkerd's wire: preface, u32 big-endian length, protobuf.
#pragma once

#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kTransportAlpn = "transport.l5d.io/v1";
inline constexpr std::string_view kTransportPreface = "transport.l5d.io/v1\r\n\r\n";
// The longest whole header that is accepted, in bytes.
inline constexpr size_t kTransportHeaderMax = 64 * 1024;

struct TransportHeader {
  enum class Session : uint8_t { kOpaque, kHttp1, kHttp2 };
  uint16_t port = 0;  // of the application, or of `name` at a gateway; ≥ 1
  std::string name;   // "": the workload itself
  Session session = Session::kOpaque;
  bool operator==(const TransportHeader&) const = default;
};

// With preface and length, ready to send.
std::string encode(const TransportHeader& v);

struct ParsedTransportHeader {
  TransportHeader header;
  size_t size = 0;  // bytes it took; what follows belongs to the session
};
// Reads a header from the start of what has arrived. Nothing: more bytes are needed. Errors (kProtocol, side client):
// another preface, too long, malformed.
Result<std::optional<ParsedTransportHeader>> parse_transport_header(Bytes received);

}  // namespace tulle::wire
