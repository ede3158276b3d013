#include "libs/wire/convert.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/timestamp.pb.h>

#include "meta.pb.h"
#include "net.pb.h"

namespace tulle::wire {

void At::bad(std::string_view why) const {
  if (reading_.error.empty()) reading_.error = cat(path(), ": ", why);
}

bool At::take(size_t count, size_t size) const {
  if (count <= reading_.room / size) {
    reading_.room -= count * size;
    return true;
  }
  bad("too many values in one message");
  return false;
}

std::string At::path() const {
  std::string out = up_ ? up_->path() : "";
  if (!out.empty() && !name_.empty()) out.push_back('.');
  out.append(name_);
  if (index_ >= 0) append(out, '[', index_, ']');
  return out;
}

Result<> parse(Bytes bytes, google::protobuf::MessageLite& m, std::string_view what) {
  if (bytes.size() > kMaxMessage)
    return fail(Code::kTooLarge, cat(what, ": ", bytes.size(), " bytes; at most ", kMaxMessage, " are accepted"),
                Side::kPeer);
  google::protobuf::LogSilencer quiet;  // it would write a line of its own about bytes that are not UTF-8
  if (!m.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return fail(Code::kInvalid,
                cat(what, ": not a well-formed protobuf message, or text that is not UTF-8 (", bytes.size(), " bytes)"),
                Side::kPeer);
  return {};
}

std::string serialize(const google::protobuf::MessageLite& m) {
  std::string out;
  {
    google::protobuf::io::StringOutputStream stream(&out);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    m.SerializePartialToCodedStream(&coded);
  }
  return out;
}

uint16_t read_port(uint32_t n, const At& at) {
  if (n < 1 || n > 65535) at.bad(cat(n, " is not a port from 1 to 65535"));
  return static_cast<uint16_t>(n);
}
uint16_t read_optional_port(uint32_t n, const At& at) { return n == 0 ? 0 : read_port(n, at); }
uint16_t read_status(uint32_t n, const At& at) {
  if (n < 100 || n > 999) at.bad(cat(n, " is not an HTTP status from 100 to 999"));
  return static_cast<uint16_t>(n);
}

namespace {
constexpr int64_t kBillion = 1'000'000'000;
constexpr int64_t kMaxSeconds = INT64_MAX / kBillion - 1;
}  // namespace

Duration read_duration(const google::protobuf::Duration& m, const At& at) {
  if (m.seconds() < 0 || m.nanos() < 0) at.bad("a duration must not be negative");
  else if (m.seconds() > kMaxSeconds || m.nanos() >= kBillion) at.bad("the duration is too long or malformed");
  else return Duration(m.seconds() * kBillion + m.nanos());
  return 0s;
}
void write(Duration v, google::protobuf::Duration& m) {
  m.set_seconds(v.count() / kBillion);
  m.set_nanos(static_cast<int32_t>(v.count() % kBillion));
}

WallTime read_time(const google::protobuf::Timestamp& m, const At& at) {
  if (m.seconds() < 0 || m.seconds() > kMaxSeconds || m.nanos() < 0 || m.nanos() >= kBillion) {
    at.bad("a time must lie between the years 1970 and 2262");
    return {};
  }
  return WallTime(Duration(m.seconds() * kBillion + m.nanos()));
}
void write(WallTime v, google::protobuf::Timestamp& m) {
  int64_t ns = v.time_since_epoch().count();
  m.set_seconds(ns / kBillion);
  m.set_nanos(static_cast<int32_t>(ns % kBillion));
}

IpAddr read_ip(const pb::net::IPAddress& m, const At& at) {
  if (m.has_ipv4()) return IpAddr::v4(m.ipv4());
  if (m.has_ipv6()) return IpAddr::v6(m.ipv6().first(), m.ipv6().last());
  at.bad("neither ipv4 nor ipv6");
  return {};
}
void write(IpAddr v, pb::net::IPAddress& m) {
  if (v.is_v4()) {
    m.set_ipv4(v.v4_bits());
  } else {
    m.mutable_ipv6()->set_first(v.high());
    m.mutable_ipv6()->set_last(v.low());
  }
}
SocketAddr read_addr(const pb::net::TcpAddress& m, const At& at) {
  return SocketAddr(read_ip(m.ip(), At(at, "ip")), read_port(m.port(), At(at, "port")));
}
void write(const SocketAddr& v, pb::net::TcpAddress& m) {
  write(v.ip, *m.mutable_ip());
  m.set_port(v.port);
}
Cidr read_cidr(const pb::net::IPNetwork& m, const At& at) {
  IpAddr ip = read_ip(m.ip(), At(at, "ip"));
  unsigned prefix = m.prefix_len();
  // A mapped network counts its prefix from 128; one shorter than the mapping would be all of IPv6 and more.
  if (m.ip().has_ipv6() && ip.is_v4()) prefix = prefix >= 96 && prefix <= 128 ? prefix - 96 : 999;
  auto net = Cidr::make(ip, prefix);
  if (net) return *net;
  At(at, "prefix_len").bad(cat(m.prefix_len(), " is too long for ", ip.to_string()));
  return {};
}
void write(const Cidr& v, pb::net::IPNetwork& m) {
  write(v.ip(), *m.mutable_ip());
  m.set_prefix_len(v.prefix());
}

Metadata read_metadata(const pb::meta::Metadata& m, const At& at) {
  if (m.has_default_()) return Metadata::default_named(m.default_());
  if (!m.has_resource()) return {};
  const auto& r = m.resource();
  return {r.group(),      r.kind(),    r.name(),
          r.namespace_(), r.section(), read_optional_port(r.port(), At(at, "resource.port"))};
}
void write(const Metadata& v, pb::meta::Metadata& m) {
  if (v == Metadata::default_named(v.name)) {
    m.set_default_(v.name);
  } else if (v != Metadata()) {
    auto& r = *m.mutable_resource();
    r.set_group(v.group);
    r.set_kind(v.kind);
    r.set_name(v.name);
    r.set_namespace_(v.ns);
    r.set_section(v.section);
    r.set_port(v.port);
  }
}

}  // namespace tulle::wire
