#include "libs/wire/transport.h"

#include <algorithm>

#include "libs/wire/convert.h"
#include "transport.pb.h"

namespace tulle::wire {
namespace {

namespace pt = ::transport::l5d::io;

TransportHeader read_header(const pt::Header& m, const At& at) {
  TransportHeader out;
  if (m.port() < 1 || m.port() > 65535) At(at, "port").bad(cat(m.port(), " is not a port from 1 to 65535"));
  out.port = static_cast<uint16_t>(m.port());
  out.name = m.name();
  if (out.name.size() > 253) At(at, "name").bad("longer than 253 bytes");
  if (m.session_protocol().has_http1()) out.session = TransportHeader::Session::kHttp1;
  else if (m.session_protocol().has_http2()) out.session = TransportHeader::Session::kHttp2;
  return out;
}

}  // namespace

std::string encode(const TransportHeader& v) {
  pt::Header m;
  m.set_port(v.port);
  m.set_name(v.name);
  if (v.session == TransportHeader::Session::kHttp1) m.mutable_session_protocol()->mutable_http1();
  if (v.session == TransportHeader::Session::kHttp2) m.mutable_session_protocol()->mutable_http2();
  std::string payload = serialize(m);
  auto n = static_cast<uint32_t>(payload.size());
  return cat(kTransportPreface, static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
             static_cast<char>(n), payload);
}

Result<std::optional<ParsedTransportHeader>> parse_transport_header(Bytes received) {
  constexpr size_t kFixed = kTransportPreface.size() + 4;
  auto bad = [](std::string why) { return fail(Code::kProtocol, cat("transport header: ", why), Side::kClient); };
  size_t seen = std::min(received.size(), kTransportPreface.size());
  if (received.substr(0, seen) != kTransportPreface.substr(0, seen))
    return bad(cat("the connection begins with ", quoted(received.substr(0, 24)), " instead of the preface"));
  if (received.size() < kFixed) return std::optional<ParsedTransportHeader>();
  uint32_t n = 0;
  for (size_t i = kTransportPreface.size(); i < kFixed; ++i) n = n << 8 | static_cast<uint8_t>(received[i]);
  if (n > kTransportHeaderMax - kFixed)
    return bad(cat(n, " bytes; at most ", kTransportHeaderMax - kFixed, " are accepted"));
  if (received.size() - kFixed < n) return std::optional<ParsedTransportHeader>();
  auto header = decode_message<pt::Header>(received.substr(kFixed, n), "transport header", read_header);
  if (!header) return fail(Code::kProtocol, std::move(header.error().reason), Side::kClient);
  return ParsedTransportHeader{std::move(*header), kFixed + n};
}

}  // namespace tulle::wire
