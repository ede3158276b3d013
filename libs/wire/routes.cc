// Matches, filters and timeouts: http_types, http_route, grpc_route, tls_route.
#include <algorithm>

#include "grpc_route.pb.h"
#include "http_route.pb.h"
#include "http_types.pb.h"
#include "libs/wire/convert.h"
#include "tls_route.pb.h"

namespace tulle::wire {
namespace {

constexpr std::string_view kMethods[] = {"GET",     "POST",    "PUT",  "DELETE", "PATCH",
                                         "OPTIONS", "CONNECT", "HEAD", "TRACE"};

// RFC 9110 §5.6.2.
bool is_token(std::string_view s) {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}
bool is_field_value(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) {
    auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= ' ' && u != 0x7f);
  });
}

std::string read_field_name(const std::string& name, const At& at) {
  if (!is_token(name) || name.size() > 1024) at.bad(cat(quoted(name), " is not a header name"));
  return to_lower(name);
}

HeaderList read_headers(const pb::http_types::Headers& m, const At& up) {
  return read_list(m.headers(), up, "headers", [](const auto& h, const At& at) {
    if (!is_field_value(h.value()))
      At(at, "value").bad(cat(quoted(h.value()), " has characters that no header may have"));
    return std::pair<std::string, std::string>(read_field_name(h.name(), At(at, "name")), std::string(trim(h.value())));
  });
}

template <class M>
HeaderModifier read_modifier(const M& m, const At& at) {
  return {read_headers(m.add(), At(at, "add")), read_headers(m.set(), At(at, "set")),
          read_list(m.remove(), at, "remove", [](const std::string& s, const At& a) { return read_field_name(s, a); })};
}
template <class M>
void write_modifier(const HeaderModifier& v, M& m) {
  if (!v.add.empty()) write(v.add, *m.mutable_add());
  if (!v.set.empty()) write(v.set, *m.mutable_set());
  write_strings(v.remove, m.mutable_remove());
}

template <class M>
HostMatch read_host_match(const M& m, const At& at) {
  if (m.has_exact()) {
    if (m.exact().empty()) At(at, "exact").bad("an empty name matches nothing");
    return {HostMatch::Kind::kExact, m.exact()};
  }
  HostMatch out{HostMatch::Kind::kSuffix, ""};
  if (!m.has_suffix()) at.bad("neither exact nor suffix");
  const auto& labels = m.suffix().reverse_labels();
  for (int i = labels.size(); i-- > 0;) {
    if (labels[i].empty() || labels[i].find('.') != std::string::npos)
      At(at, "suffix.reverse_labels", i).bad(cat(quoted(labels[i]), " is not one label of a name"));
    append(out.name, labels[i], i > 0 ? "." : "");
  }
  return out;
}
template <class M>
void write_host_match(const HostMatch& v, M& m) {
  if (v.kind == HostMatch::Kind::kExact) return m.set_exact(v.name);
  auto labels = split(v.name, '.');
  if (v.name.empty()) labels.clear();
  m.mutable_suffix();
  for (size_t i = labels.size(); i-- > 0;) m.mutable_suffix()->add_reverse_labels(std::string(labels[i]));
}

ValueMatch read_header_match(const pb::http_route::HeaderMatch& m, const At& at) {
  if (!m.has_exact() && !m.has_regex()) at.bad("neither exact nor regex");
  return {read_field_name(m.name(), At(at, "name")), m.has_regex(), m.has_regex() ? m.regex() : m.exact()};
}
ValueMatch read_query_match(const pb::http_route::QueryParamMatch& m, const At& at) {
  if (!m.has_exact() && !m.has_regex()) at.bad("neither exact nor regex");
  if (m.name().empty()) At(at, "name").bad("a query parameter must have a name");
  return {m.name(), m.has_regex(), m.has_regex() ? m.regex() : m.exact()};
}
template <class M>
void write_value_match(const ValueMatch& v, M& m) {
  m.set_name(v.name);
  if (v.regex) m.set_regex(v.value);
  else m.set_exact(v.value);
}

PathMatch read_path(const pb::http_route::PathMatch& m, const At& at) {
  if (m.has_exact()) return {PathMatch::Kind::kExact, m.exact()};
  if (m.has_prefix()) return {PathMatch::Kind::kPrefix, m.prefix()};
  if (m.has_regex()) return {PathMatch::Kind::kRegex, m.regex()};
  at.bad("none of exact, prefix and regex");
  return {};
}

Ratio read_ratio(bool has, const pb::http_route::Ratio& m, const At& at) {
  if (!has) return {};
  if (m.denominator() == 0) at.bad("the denominator is 0");
  return {m.numerator(), m.denominator()};
}
void write_ratio(const Ratio& v, pb::http_route::Ratio& m) {
  m.set_numerator(v.numerator);
  m.set_denominator(v.denominator);
}

}  // namespace

std::string read_method(const pb::http_types::HttpMethod& m, const At& at) {
  if (m.has_unregistered()) {
    if (!is_token(m.unregistered()))
      At(at, "unregistered").bad(cat(quoted(m.unregistered()), " is not an HTTP method"));
    return m.unregistered();
  }
  auto n = static_cast<size_t>(m.registered());
  if (!m.has_registered() || n >= std::size(kMethods)) {
    At(at, "registered").bad(m.has_registered() ? cat(n, " is not a method that is known") : "no method");
    return {};
  }
  return std::string(kMethods[n]);
}
void write_method(const std::string& v, pb::http_types::HttpMethod& m) {
  auto* known = std::find(std::begin(kMethods), std::end(kMethods), v);
  if (known == std::end(kMethods)) m.set_unregistered(v);
  else m.set_registered(static_cast<pb::http_types::HttpMethod::Registered>(known - kMethods));
}

std::string read_scheme(const pb::http_types::Scheme& m, const At& at) {
  if (m.has_unregistered()) return m.unregistered();
  if (m.has_registered() && m.registered() == pb::http_types::Scheme::HTTP) return "http";
  if (m.has_registered() && m.registered() == pb::http_types::Scheme::HTTPS) return "https";
  at.bad("no scheme that is known");
  return {};
}
void write_scheme(const std::string& v, pb::http_types::Scheme& m) {
  if (v == "http") m.set_registered(pb::http_types::Scheme::HTTP);
  else if (v == "https") m.set_registered(pb::http_types::Scheme::HTTPS);
  else m.set_unregistered(v);
}

HeaderList read_raw_headers(const pb::http_types::Headers& m, const At& up) {
  return read_list(m.headers(), up, "headers",
                   [](const auto& h, const At&) { return std::pair<std::string, std::string>(h.name(), h.value()); });
}
void write(const HeaderList& v, pb::http_types::Headers& m) {
  for (const auto& [name, value] : v) {
    auto& h = *m.add_headers();
    h.set_name(name);
    h.set_value(value);
  }
}

HostMatch read_host(const pb::http_route::HostMatch& m, const At& at) { return read_host_match(m, at); }
HostMatch read_host(const pb::tls_route::SniMatch& m, const At& at) { return read_host_match(m, at); }
void write(const HostMatch& v, pb::http_route::HostMatch& m) { write_host_match(v, m); }
void write(const HostMatch& v, pb::tls_route::SniMatch& m) { write_host_match(v, m); }

RouteMatch read_match(const pb::http_route::HttpRouteMatch& m, const At& at) {
  RouteMatch out;
  if (m.has_path()) out.path = read_path(m.path(), At(at, "path"));
  if (m.has_method()) out.method = read_method(m.method(), At(at, "method"));
  out.headers = read_list(m.headers(), at, "headers", read_header_match);
  out.query = read_list(m.query_params(), at, "query_params", read_query_match);
  return out;
}
RouteMatch read_match(const pb::grpc_route::GrpcRouteMatch& m, const At& at) {
  RouteMatch out;
  if (!m.rpc().service().empty() || !m.rpc().method().empty()) out.rpc = RpcMatch{m.rpc().service(), m.rpc().method()};
  out.headers = read_list(m.headers(), at, "headers", read_header_match);
  return out;
}
void write(const RouteMatch& v, pb::http_route::HttpRouteMatch& m) {
  if (v.path) {
    auto& p = *m.mutable_path();
    switch (v.path->kind) {
      case PathMatch::Kind::kExact: p.set_exact(v.path->text); break;
      case PathMatch::Kind::kPrefix: p.set_prefix(v.path->text); break;
      case PathMatch::Kind::kRegex: p.set_regex(v.path->text); break;
    }
  }
  if (v.method) write_method(*v.method, *m.mutable_method());
  for (const auto& h : v.headers) write_value_match(h, *m.add_headers());
  for (const auto& q : v.query) write_value_match(q, *m.add_query_params());
}
void write(const RouteMatch& v, pb::grpc_route::GrpcRouteMatch& m) {
  if (v.rpc) {
    m.mutable_rpc()->set_service(v.rpc->service);
    m.mutable_rpc()->set_method(v.rpc->method);
  }
  for (const auto& h : v.headers) write_value_match(h, *m.add_headers());
}

InjectHttpFailure read_filter(const pb::http_route::HttpFailureInjector& m, const At& at) {
  return {read_status(m.status(), At(at, "status")), m.message(),
          read_ratio(m.has_ratio(), m.ratio(), At(at, "ratio"))};
}
InjectGrpcFailure read_filter(const pb::grpc_route::GrpcFailureInjector& m, const At& at) {
  if (m.code() > 16) At(at, "code").bad(cat(m.code(), " is not a gRPC status from 0 to 16"));
  return {static_cast<uint8_t>(m.code()), m.message(), read_ratio(m.has_ratio(), m.ratio(), At(at, "ratio"))};
}
Redirect read_filter(const pb::http_route::RequestRedirect& m, const At& at) {
  Redirect out;
  if (m.has_scheme()) out.scheme = read_scheme(m.scheme(), At(at, "scheme"));
  out.host = m.host();
  if (!is_field_value(out.host)) At(at, "host").bad(cat(quoted(out.host), " is not a host"));
  if (m.has_path()) {
    if (m.path().has_full()) out.full_path = m.path().full();
    else if (m.path().has_prefix()) out.path_prefix = m.path().prefix();
    else At(at, "path").bad("neither full nor prefix");
    if (!is_field_value(m.path().full()) || !is_field_value(m.path().prefix())) At(at, "path").bad("not a path");
  }
  out.port = read_optional_port(m.port(), At(at, "port"));
  if (m.status() != 0) {
    if (m.status() < 300 || m.status() > 399) At(at, "status").bad(cat(m.status(), " is not a status from 300 to 399"));
    out.status = static_cast<uint16_t>(m.status());
  }
  return out;
}
ModifyRequest read_filter(const pb::http_route::RequestHeaderModifier& m, const At& at) {
  return {read_modifier(m, at)};
}
ModifyResponse read_filter(const pb::http_route::ResponseHeaderModifier& m, const At& at) {
  return {read_modifier(m, at)};
}

void write(const InjectHttpFailure& v, pb::http_route::HttpFailureInjector& m) {
  m.set_status(v.status);
  m.set_message(v.message);
  write_ratio(v.ratio, *m.mutable_ratio());
}
void write(const InjectGrpcFailure& v, pb::grpc_route::GrpcFailureInjector& m) {
  m.set_code(v.code);
  m.set_message(v.message);
  write_ratio(v.ratio, *m.mutable_ratio());
}
void write(const Redirect& v, pb::http_route::RequestRedirect& m) {
  if (!v.scheme.empty()) write_scheme(v.scheme, *m.mutable_scheme());
  m.set_host(v.host);
  if (v.full_path) m.mutable_path()->set_full(*v.full_path);
  else if (v.path_prefix) m.mutable_path()->set_prefix(*v.path_prefix);
  m.set_port(v.port);
  m.set_status(v.status);
}
void write(const ModifyRequest& v, pb::http_route::RequestHeaderModifier& m) { write_modifier(v.headers, m); }
void write(const ModifyResponse& v, pb::http_route::ResponseHeaderModifier& m) { write_modifier(v.headers, m); }

Timeouts read_timeouts(const pb::http_route::Timeouts& m, const At& at) {
  Timeouts out;
  if (m.has_response()) out.response = read_duration(m.response(), At(at, "response"));
  if (m.has_request()) out.request = read_duration(m.request(), At(at, "request"));
  if (m.has_idle()) out.idle = read_duration(m.idle(), At(at, "idle"));
  return out;
}
void write(const Timeouts& v, pb::http_route::Timeouts& m) {
  if (v.response) write(*v.response, *m.mutable_response());
  if (v.request) write(*v.request, *m.mutable_request());
  if (v.idle) write(*v.idle, *m.mutable_idle());
}

}  // namespace tulle::wire
