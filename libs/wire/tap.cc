#include "libs/wire/tap.h"

#include "libs/wire/convert.h"
#include "tap.pb.h"

namespace tulle::wire {
namespace {

using wire::write;

namespace pt = pb::tap;
using Kind = TapMatch::Kind;

constexpr int kMaxDepth = 32;

void read_tcp(const pt::ObserveRequest::Match::Tcp& m, const At& at, bool source, TapMatch& out) {
  if (m.has_netmask()) {
    out.kind = source ? Kind::kSourceNet : Kind::kDestinationNet;
    auto net = Cidr::make(read_ip(m.netmask().ip(), At(at, "netmask.ip")), m.netmask().mask());
    if (!net || m.netmask().mask() == 0) At(at, "netmask.mask").bad("not a prefix length of at least 1");
    else out.net = *net;
  } else if (m.has_ports()) {
    out.kind = source ? Kind::kSourcePorts : Kind::kDestinationPorts;
    out.min = read_optional_port(m.ports().min(), At(at, "ports.min"));
    out.max = m.ports().max() == 0 ? out.min : read_port(m.ports().max(), At(at, "ports.max"));
    if (out.min > out.max) At(at, "ports").bad("min is greater than max");
  } else {
    at.bad("neither netmask nor ports");
  }
}

void read_text(const pt::ObserveRequest::Match::Http::StringMatch& m, const At& at, TapMatch& out) {
  if (!m.has_exact() && !m.has_prefix()) at.bad("neither exact nor prefix");
  out.prefix = m.has_prefix();
  out.text = m.has_prefix() ? m.prefix() : m.exact();
}

void read_http(const pt::ObserveRequest::Match::Http& m, const At& at, TapMatch& out) {
  if (m.has_scheme()) {
    out.kind = Kind::kScheme;
    out.text = read_scheme(m.scheme(), At(at, "scheme"));
  } else if (m.has_method()) {
    out.kind = Kind::kMethod;
    out.text = read_method(m.method(), At(at, "method"));
  } else if (m.has_authority()) {
    out.kind = Kind::kAuthority;
    read_text(m.authority(), At(at, "authority"), out);
  } else if (m.has_path()) {
    out.kind = Kind::kPath;
    read_text(m.path(), At(at, "path"), out);
  } else {
    at.bad("no kind of match that is known");
  }
}

TapMatch read_match(const pt::ObserveRequest::Match& m, const At& at, int depth) {
  TapMatch out;
  auto part = [&](const auto& sub, const At& a) { return read_match(sub, a, depth + 1); };
  auto label = [&](Kind kind, const auto& l) {
    out.kind = kind;
    out.key = l.key();
    out.text = l.value();
  };
  if (depth > kMaxDepth) {
    at.bad(cat("nested more than ", kMaxDepth, " deep"));
  } else if (m.has_all()) {
    out.parts = read_list(m.all().matches(), At(at, "all"), "matches", part);
  } else if (m.has_any()) {
    out.kind = Kind::kAny;
    out.parts = read_list(m.any().matches(), At(at, "any"), "matches", part);
  } else if (m.has_not_()) {
    out.kind = Kind::kNot;
    out.parts.push_back(part(m.not_(), At(at, "not")));
  } else if (m.has_source()) {
    read_tcp(m.source(), At(at, "source"), true, out);
  } else if (m.has_destination()) {
    read_tcp(m.destination(), At(at, "destination"), false, out);
  } else if (m.has_http()) {
    read_http(m.http(), At(at, "http"), out);
  } else if (m.has_destination_label()) {
    label(Kind::kDestinationLabel, m.destination_label());
  } else if (m.has_route_label()) {
    label(Kind::kRouteLabel, m.route_label());
  } else {
    at.bad("no kind of match that is known");
  }
  return out;
}

void write(const TapMatch& v, pt::ObserveRequest::Match& m) {
  auto tcp = [&](pt::ObserveRequest::Match::Tcp& t) {
    if (v.kind == Kind::kSourceNet || v.kind == Kind::kDestinationNet) {
      write(v.net.ip(), *t.mutable_netmask()->mutable_ip());
      t.mutable_netmask()->set_mask(v.net.prefix());
    } else {
      t.mutable_ports()->set_min(v.min);
      t.mutable_ports()->set_max(v.max);
    }
  };
  auto text = [&](pt::ObserveRequest::Match::Http::StringMatch& s) {
    if (v.prefix) s.set_prefix(v.text);
    else s.set_exact(v.text);
  };
  auto label = [&](pt::ObserveRequest::Match::Label& l) {
    l.set_key(v.key);
    l.set_value(v.text);
  };
  switch (v.kind) {
    case Kind::kAll:
      m.mutable_all();
      for (const auto& p : v.parts) write(p, *m.mutable_all()->add_matches());
      break;
    case Kind::kAny:
      m.mutable_any();
      for (const auto& p : v.parts) write(p, *m.mutable_any()->add_matches());
      break;
    case Kind::kNot:
      m.mutable_not_();
      if (!v.parts.empty()) write(v.parts[0], *m.mutable_not_());
      break;
    case Kind::kSourceNet:
    case Kind::kSourcePorts: tcp(*m.mutable_source()); break;
    case Kind::kDestinationNet:
    case Kind::kDestinationPorts: tcp(*m.mutable_destination()); break;
    case Kind::kDestinationLabel: label(*m.mutable_destination_label()); break;
    case Kind::kRouteLabel: label(*m.mutable_route_label()); break;
    case Kind::kScheme: write_scheme(v.text, *m.mutable_http()->mutable_scheme()); break;
    case Kind::kMethod: write_method(v.text, *m.mutable_http()->mutable_method()); break;
    case Kind::kAuthority: text(*m.mutable_http()->mutable_authority()); break;
    case Kind::kPath: text(*m.mutable_http()->mutable_path()); break;
  }
}

template <class M>
TapStreamId read_id(const M& m) {
  return {m.id().base(), m.id().stream()};
}
template <class M>
void write_id(const TapStreamId& v, M& m) {
  m.mutable_id()->set_base(v.base);
  m.mutable_id()->set_stream(v.stream);
}
std::optional<HeaderList> read_if(bool has, const pb::http_types::Headers& m, const At& at) {
  if (!has) return std::nullopt;
  return read_raw_headers(m, at);
}

TapRequestInit read_event(const pt::TapEvent::Http::RequestInit& m, const At& at) {
  TapRequestInit out{read_id(m), read_method(m.method(), At(at, "method")),
                     "",         m.authority(),
                     m.path(),   read_if(m.has_headers(), m.headers(), At(at, "headers"))};
  if (m.has_scheme()) out.scheme = read_scheme(m.scheme(), At(at, "scheme"));
  return out;
}
TapResponseInit read_event(const pt::TapEvent::Http::ResponseInit& m, const At& at) {
  return {read_id(m), read_duration(m.since_request_init(), At(at, "since_request_init")),
          read_status(m.http_status(), At(at, "http_status")),
          read_if(m.has_headers(), m.headers(), At(at, "headers"))};
}
TapResponseEnd read_event(const pt::TapEvent::Http::ResponseEnd& m, const At& at) {
  TapResponseEnd out{read_id(m),
                     read_duration(m.since_request_init(), At(at, "since_request_init")),
                     read_duration(m.since_response_init(), At(at, "since_response_init")),
                     m.response_bytes(),
                     std::nullopt,
                     std::nullopt,
                     read_if(m.has_trailers(), m.trailers(), At(at, "trailers"))};
  if (m.eos().has_grpc_status_code()) out.grpc_status = m.eos().grpc_status_code();
  if (m.eos().has_reset_error_code()) out.reset_code = m.eos().reset_error_code();
  return out;
}

void write(const TapRequestInit& v, pt::TapEvent::Http& event) {
  auto& m = *event.mutable_request_init();
  write_id(v.id, m);
  write_method(v.method, *m.mutable_method());
  if (!v.scheme.empty()) write_scheme(v.scheme, *m.mutable_scheme());
  m.set_authority(v.authority);
  m.set_path(v.path);
  if (v.headers) write(*v.headers, *m.mutable_headers());
}
void write(const TapResponseInit& v, pt::TapEvent::Http& event) {
  auto& m = *event.mutable_response_init();
  write_id(v.id, m);
  write(v.since_request, *m.mutable_since_request_init());
  m.set_http_status(v.status);
  if (v.headers) write(*v.headers, *m.mutable_headers());
}
void write(const TapResponseEnd& v, pt::TapEvent::Http& event) {
  auto& m = *event.mutable_response_end();
  write_id(v.id, m);
  write(v.since_request, *m.mutable_since_request_init());
  write(v.since_response, *m.mutable_since_response_init());
  m.set_response_bytes(v.response_bytes);
  if (v.grpc_status) m.mutable_eos()->set_grpc_status_code(*v.grpc_status);
  if (v.reset_code) m.mutable_eos()->set_reset_error_code(*v.reset_code);
  if (v.trailers) write(*v.trailers, *m.mutable_trailers());
}

TapEvent read_tap_event(const pt::TapEvent& m, const At& at) {
  TapEvent out;
  out.source = read_addr(m.source(), At(at, "source"));
  out.destination = read_addr(m.destination(), At(at, "destination"));
  out.source_labels = read_labels(m.source_meta().labels(), at, "source_meta.labels");
  out.destination_labels = read_labels(m.destination_meta().labels(), at, "destination_meta.labels");
  out.route_labels = read_labels(m.route_meta().labels(), at, "route_meta.labels");
  int direction = m.proxy_direction();
  if (direction < 0 || direction > 2) At(at, "proxy_direction").bad("not a direction that is known");
  out.direction = static_cast<TapEvent::Direction>(direction);
  const auto& http = m.http();
  At here(at, "http");
  if (http.has_request_init()) out.event = read_event(http.request_init(), At(here, "request_init"));
  else if (http.has_response_init()) out.event = read_event(http.response_init(), At(here, "response_init"));
  else if (http.has_response_end()) out.event = read_event(http.response_end(), At(here, "response_end"));
  else here.bad("no event that is known");
  return out;
}

}  // namespace

std::string encode(const ObserveRequest& v) {
  pt::ObserveRequest m;
  m.set_limit(v.limit);
  write(v.match, *m.mutable_match());
  if (v.extract_headers) m.mutable_extract()->mutable_http()->mutable_headers();
  return serialize(m);
}

std::string encode(const TapEvent& v) {
  pt::TapEvent m;
  write(v.source, *m.mutable_source());
  write(v.destination, *m.mutable_destination());
  write_labels(v.source_labels, m.mutable_source_meta()->mutable_labels());
  write_labels(v.destination_labels, m.mutable_destination_meta()->mutable_labels());
  write_labels(v.route_labels, m.mutable_route_meta()->mutable_labels());
  m.set_proxy_direction(static_cast<pt::TapEvent::ProxyDirection>(v.direction));
  std::visit([&](const auto& event) { write(event, *m.mutable_http()); }, v.event);
  return serialize(m);
}

Result<ObserveRequest> decode_observe_request(Bytes bytes) {
  return decode_message<pt::ObserveRequest>(bytes, "ObserveRequest", [](const auto& m, const At& at) {
    ObserveRequest out;
    out.limit = m.limit();
    if (out.limit == 0) At(at, "limit").bad("must be at least 1");
    out.match = read_match(m.match(), At(at, "match"), 0);
    out.extract_headers = m.extract().http().has_headers();
    return out;
  });
}
Result<TapEvent> decode_tap_event(Bytes bytes) {
  return decode_message<pt::TapEvent>(bytes, "TapEvent", read_tap_event);
}

}  // namespace tulle::wire
