// Private to libs/wire: conversions that several messages share, between generated messages (only named here, so that
// no header of theirs leaks) and our values.
//
// Reading never stops early: a wrong field is reported through the At of its place, the first report becomes the
// error of the whole message. So readers are plain functions from message to value.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/wire/outbound.h"
#include "libs/wire/types.h"

namespace google::protobuf {
class Duration;
class Timestamp;
class MessageLite;
}  // namespace google::protobuf
namespace io::linkerd::proxy {
namespace net {
class IPAddress;
class IPNetwork;
class TcpAddress;
}  // namespace net
namespace meta {
class Metadata;
}
namespace http_types {
class HttpMethod;
class Scheme;
class Headers;
}  // namespace http_types
namespace http_route {
class HostMatch;
class HeaderMatch;
class HttpRouteMatch;
class HttpFailureInjector;
class RequestHeaderModifier;
class ResponseHeaderModifier;
class RequestRedirect;
class Ratio;
class Timeouts;
}  // namespace http_route
namespace grpc_route {
class GrpcRouteMatch;
class GrpcFailureInjector;
}  // namespace grpc_route
namespace tls_route {
class SniMatch;
}
namespace destination {
class WeightedAddr;
}
}  // namespace io::linkerd::proxy

namespace tulle::wire {

namespace pb = ::io::linkerd::proxy;

// The state of reading one message: the first error, and how much memory its values may still take (a message of a
// few bytes can ask for very many values).
struct Reading {
  std::string error;
  size_t room = 128u << 20;
};

// A place in a message: "http1.routes[0].hosts[2]".
class At {
 public:
  explicit At(Reading& reading, std::string_view name = {}, int index = -1)
      : reading_(reading), name_(name), index_(index) {}
  At(const At& up, std::string_view name, int index = -1)
      : reading_(up.reading_), up_(&up), name_(name), index_(index) {}
  At(const At&) = delete;

  // Reports that what stands here is wrong; the first report counts.
  void bad(std::string_view why) const;
  // Takes memory for `count` values of `size` bytes; false, with a report, where there is too little.
  bool take(size_t count, size_t size) const;
  // Nothing wrong has been found in the message so far.
  bool ok() const { return reading_.error.empty(); }
  std::string path() const;

 private:
  Reading& reading_;
  const At* up_ = nullptr;
  std::string_view name_;
  int index_;
};

// The most that a whole message may have, in bytes.
inline constexpr size_t kMaxMessage = 16u << 20;

// Fills `m` from bytes; an error names `what`.
Result<> parse(Bytes bytes, google::protobuf::MessageLite& m, std::string_view what);
// Map entries in order of their keys, so that equal values have equal bytes.
std::string serialize(const google::protobuf::MessageLite& m);

// Parses a message of type M and reads it with read(const M&, const At&).
template <class M, class F>
auto decode_message(Bytes bytes, std::string_view what, F read)
    -> Result<decltype(read(M(), std::declval<const At&>()))> {
  M m;
  TULLE_TRY_VOID(parse(bytes, m, what));
  Reading reading;
  auto out = read(m, At(reading));
  if (!reading.error.empty()) return fail(Code::kInvalid, cat(what, ": ", reading.error), Side::kPeer);
  return out;
}

// Reads each element of a repeated field with read(element, at).
template <class P, class F>
auto read_list(const P& in, const At& up, std::string_view name, F read) {
  std::vector<decltype(read(in[0], up))> out;
  if (!At(up, name).take(static_cast<size_t>(in.size()), sizeof out[0])) return out;
  out.reserve(static_cast<size_t>(in.size()));
  for (int i = 0; i < in.size(); ++i) out.push_back(read(in[i], At(up, name, i)));
  return out;
}
template <class P>
std::vector<std::string> read_strings(const P& in, const At& up, std::string_view name) {
  return read_list(in, up, name, [](const std::string& s, const At&) { return s; });
}
template <class P>
void write_strings(const std::vector<std::string>& in, P* out) {
  for (const auto& s : in) *out->Add() = s;
}

template <class M>
Labels read_labels(const M& in, const At& up, std::string_view name) {
  Labels out;
  if (At(up, name).take(in.size(), sizeof(*out.begin()) + 4 * sizeof(void*))) out.insert(in.begin(), in.end());
  return out;
}
template <class M>
void write_labels(const Labels& in, M* out) {
  for (const auto& [k, v] : in) (*out)[k] = v;
}

// Numbers.
uint16_t read_port(uint32_t n, const At& at);           // 1–65535
uint16_t read_optional_port(uint32_t n, const At& at);  // 0–65535
uint16_t read_status(uint32_t n, const At& at);         // 100–999

Duration read_duration(const google::protobuf::Duration& m, const At& at);
void write(Duration v, google::protobuf::Duration& m);
WallTime read_time(const google::protobuf::Timestamp& m, const At& at);
void write(WallTime v, google::protobuf::Timestamp& m);

IpAddr read_ip(const pb::net::IPAddress& m, const At& at);
void write(IpAddr v, pb::net::IPAddress& m);
SocketAddr read_addr(const pb::net::TcpAddress& m, const At& at);  // port ≥ 1
void write(const SocketAddr& v, pb::net::TcpAddress& m);
Cidr read_cidr(const pb::net::IPNetwork& m, const At& at);
void write(const Cidr& v, pb::net::IPNetwork& m);

Metadata read_metadata(const pb::meta::Metadata& m, const At& at);
void write(const Metadata& v, pb::meta::Metadata& m);

std::string read_method(const pb::http_types::HttpMethod& m, const At& at);
void write_method(const std::string& v, pb::http_types::HttpMethod& m);
std::string read_scheme(const pb::http_types::Scheme& m, const At& at);
void write_scheme(const std::string& v, pb::http_types::Scheme& m);
// Of tap: any names and values.
HeaderList read_raw_headers(const pb::http_types::Headers& m, const At& at);
void write(const HeaderList& v, pb::http_types::Headers& m);

HostMatch read_host(const pb::http_route::HostMatch& m, const At& at);
HostMatch read_host(const pb::tls_route::SniMatch& m, const At& at);
void write(const HostMatch& v, pb::http_route::HostMatch& m);
void write(const HostMatch& v, pb::tls_route::SniMatch& m);
RouteMatch read_match(const pb::http_route::HttpRouteMatch& m, const At& at);
RouteMatch read_match(const pb::grpc_route::GrpcRouteMatch& m, const At& at);
void write(const RouteMatch& v, pb::http_route::HttpRouteMatch& m);
void write(const RouteMatch& v, pb::grpc_route::GrpcRouteMatch& m);

InjectHttpFailure read_filter(const pb::http_route::HttpFailureInjector& m, const At& at);
InjectGrpcFailure read_filter(const pb::grpc_route::GrpcFailureInjector& m, const At& at);
Redirect read_filter(const pb::http_route::RequestRedirect& m, const At& at);
ModifyRequest read_filter(const pb::http_route::RequestHeaderModifier& m, const At& at);
ModifyResponse read_filter(const pb::http_route::ResponseHeaderModifier& m, const At& at);
void write(const InjectHttpFailure& v, pb::http_route::HttpFailureInjector& m);
void write(const InjectGrpcFailure& v, pb::grpc_route::GrpcFailureInjector& m);
void write(const Redirect& v, pb::http_route::RequestRedirect& m);
void write(const ModifyRequest& v, pb::http_route::RequestHeaderModifier& m);
void write(const ModifyResponse& v, pb::http_route::ResponseHeaderModifier& m);

Timeouts read_timeouts(const pb::http_route::Timeouts& m, const At& at);
void write(const Timeouts& v, pb::http_route::Timeouts& m);

Endpoint read_endpoint(const pb::destination::WeightedAddr& m, const At& at);
void write(const Endpoint& v, pb::destination::WeightedAddr& m);

// A filter of any kind of route: `M` is a generated Filter with some of these members. A kind it does not have is
// left out by the writer, for the caller built a route that its protocol cannot carry.
template <class M>
Filter read_any_filter(const M& m, const At& at) {
  if constexpr (requires { m.has_failure_injector(); })
    if (m.has_failure_injector()) return read_filter(m.failure_injector(), At(at, "failure_injector"));
  if constexpr (requires { m.has_redirect(); })
    if (m.has_redirect()) return read_filter(m.redirect(), At(at, "redirect"));
  if constexpr (requires { m.has_request_header_modifier(); })
    if (m.has_request_header_modifier())
      return read_filter(m.request_header_modifier(), At(at, "request_header_modifier"));
  if constexpr (requires { m.has_response_header_modifier(); })
    if (m.has_response_header_modifier())
      return read_filter(m.response_header_modifier(), At(at, "response_header_modifier"));
  if constexpr (requires { m.has_invalid(); })
    if (m.has_invalid()) return Invalid{m.invalid().message()};
  if constexpr (requires { m.has_forbidden(); })
    if (m.has_forbidden()) return Forbidden{};
  return UnknownFilter{};
}
template <class M>
void write_any_filter(const Filter& v, M& m) {
  if constexpr (requires { m.mutable_redirect(); })
    if (auto* f = std::get_if<InjectHttpFailure>(&v)) write(*f, *m.mutable_failure_injector());
  if constexpr (requires { m.mutable_failure_injector()->code(); })
    if (auto* f = std::get_if<InjectGrpcFailure>(&v)) write(*f, *m.mutable_failure_injector());
  if constexpr (requires { m.mutable_redirect(); })
    if (auto* f = std::get_if<Redirect>(&v)) write(*f, *m.mutable_redirect());
  if constexpr (requires { m.mutable_request_header_modifier(); })
    if (auto* f = std::get_if<ModifyRequest>(&v)) write(*f, *m.mutable_request_header_modifier());
  if constexpr (requires { m.mutable_response_header_modifier(); })
    if (auto* f = std::get_if<ModifyResponse>(&v)) write(*f, *m.mutable_response_header_modifier());
  if constexpr (requires { m.mutable_invalid(); })
    if (auto* f = std::get_if<Invalid>(&v)) m.mutable_invalid()->set_message(f->message);
  if constexpr (requires { m.mutable_forbidden(); })
    if (std::holds_alternative<Forbidden>(v)) m.mutable_forbidden();
}
template <class M>
std::vector<Filter> read_filters(const M& in, const At& up) {
  return read_list(in, up, "filters", [](const auto& m, const At& at) { return read_any_filter(m, at); });
}

}  // namespace tulle::wire
