#include "libs/wire/inbound.h"

#include "inbound.pb.h"
#include "libs/wire/convert.h"

namespace tulle::wire {
namespace {

using wire::write;

namespace pi = pb::inbound;

Authz read_authz(const pi::Authz& m, const At& at) {
  Authz out;
  out.networks = read_list(m.networks(), at, "networks", [](const auto& n, const At& a) {
    return Network{read_cidr(n.net(), At(a, "net")),
                   read_list(n.except(), a, "except", [](const auto& e, const At& b) { return read_cidr(e, b); })};
  });
  out.labels = read_labels(m.labels(), at, "labels");
  out.metadata = read_metadata(m.metadata(), At(at, "metadata"));
  if (out.metadata == Metadata()) {
    auto label = [&](const char* key) { return out.labels.contains(key) ? out.labels[key] : std::string(); };
    out.metadata = {label("group"), label("kind"), label("name"), "", "", 0};
  }
  const auto& tls = m.authentication().meshtls();
  if (m.authentication().has_unauthenticated()) out.authn = Authz::Authn::kUnauthenticated;
  else if (tls.has_unauthenticated()) out.authn = Authz::Authn::kTlsUnauthenticated;
  else if (tls.has_identities()) out.authn = Authz::Authn::kTlsIdentities;
  if (out.authn != Authz::Authn::kTlsIdentities) return out;

  At here(at, "authentication.meshTLS.identities");
  out.identities = read_list(tls.identities().identities(), here, "identities", [](const auto& i, const At& a) {
    if (i.name().empty()) a.bad("an empty name");
    return i.name();
  });
  out.suffixes = read_list(tls.identities().suffixes(), here, "suffixes", [](const auto& s, const At& a) {
    std::string suffix;
    for (const auto& part : s.parts()) {
      if (part.empty()) a.bad("an empty part");
      append(suffix, suffix.empty() ? "" : ".", part);
    }
    return suffix;
  });
  return out;
}

void write(const Authz& v, pi::Authz& m) {
  for (const auto& n : v.networks) {
    auto& out = *m.add_networks();
    write(n.net, *out.mutable_net());
    for (const auto& e : n.except) write(e, *out.add_except());
  }
  write_labels(v.labels, m.mutable_labels());
  if (v.metadata != Metadata()) write(v.metadata, *m.mutable_metadata());
  auto& authn = *m.mutable_authentication();
  switch (v.authn) {
    case Authz::Authn::kUnknown: break;
    case Authz::Authn::kUnauthenticated: authn.mutable_unauthenticated(); break;
    case Authz::Authn::kTlsUnauthenticated: authn.mutable_meshtls()->mutable_unauthenticated(); break;
    case Authz::Authn::kTlsIdentities: {
      auto& ids = *authn.mutable_meshtls()->mutable_identities();
      for (const auto& name : v.identities) ids.add_identities()->set_name(name);
      for (const auto& suffix : v.suffixes) {
        auto& s = *ids.add_suffixes();
        if (suffix.empty()) continue;
        for (std::string_view part : split(suffix, '.')) s.add_parts(std::string(part));
      }
      break;
    }
  }
}

std::vector<Authz> read_authzs(const auto& in, const At& up) {
  return read_list(in, up, "authorizations", [](const auto& m, const At& at) { return read_authz(m, at); });
}

template <class P>
std::vector<InboundRoute> read_routes(const P& in, const At& up, std::string_view name) {
  return read_list(in, up, name, [](const auto& m, const At& at) {
    InboundRoute out;
    out.metadata = read_metadata(m.metadata(), At(at, "metadata"));
    out.hosts = read_list(m.hosts(), at, "hosts", [](const auto& h, const At& a) { return read_host(h, a); });
    out.authorizations = read_authzs(m.authorizations(), at);
    out.rules = read_list(m.rules(), at, "rules", [](const auto& r, const At& a) {
      return InboundRule{
          read_list(r.matches(), a, "matches", [](const auto& x, const At& b) { return read_match(x, b); }),
          read_filters(r.filters(), a)};
    });
    return out;
  });
}
template <class P>
void write_routes(const std::vector<InboundRoute>& in, P* out) {
  for (const auto& v : in) {
    auto& m = *out->Add();
    if (v.metadata != Metadata()) write(v.metadata, *m.mutable_metadata());
    for (const auto& h : v.hosts) write(h, *m.add_hosts());
    for (const auto& a : v.authorizations) write(a, *m.add_authorizations());
    for (const auto& r : v.rules) {
      auto& rule = *m.add_rules();
      for (const auto& x : r.matches) write(x, *rule.add_matches());
      for (const auto& f : r.filters) write_any_filter(f, *rule.add_filters());
    }
  }
}

RateLimit read_rate_limit(const pi::HttpLocalRateLimit& m, const At& at) {
  RateLimit out;
  out.metadata = read_metadata(m.metadata(), At(at, "metadata"));
  out.total_rps = m.total().requestspersecond();
  out.identity_rps = m.identity().requestspersecond();
  out.overrides = read_list(m.overrides(), at, "overrides", [](const auto& o, const At& a) {
    return RateLimit::Override{o.limit().requestspersecond(),
                               read_list(o.clients().identities(), At(a, "clients"), "identities",
                                         [](const auto& i, const At&) { return i.name(); })};
  });
  return out;
}
void write(const RateLimit& v, pi::HttpLocalRateLimit& m) {
  if (v.metadata != Metadata()) write(v.metadata, *m.mutable_metadata());
  if (v.total_rps) m.mutable_total()->set_requestspersecond(v.total_rps);
  if (v.identity_rps) m.mutable_identity()->set_requestspersecond(v.identity_rps);
  for (const auto& o : v.overrides) {
    auto& out = *m.add_overrides();
    out.mutable_limit()->set_requestspersecond(o.rps);
    for (const auto& name : o.identities) out.mutable_clients()->add_identities()->set_name(name);
  }
}

// Http1 and Http2 look alike.
template <class M>
void read_http(const M& m, const At& at, Server& out) {
  out.routes = read_routes(m.routes(), at, "routes");
  if (m.has_local_rate_limit()) out.rate_limit = read_rate_limit(m.local_rate_limit(), At(at, "local_rate_limit"));
}
template <class M>
void write_http(const Server& v, M& m) {
  write_routes(v.routes, m.mutable_routes());
  if (v.rate_limit) write(*v.rate_limit, *m.mutable_local_rate_limit());
}

Server read_server(const pi::Server& m, const At& up) {
  Server out;
  const auto& p = m.protocol();
  At at(up, "protocol");
  if (p.has_detect()) {
    const auto& d = p.detect();
    At here(at, "detect");
    if (d.has_timeout()) out.detect_timeout = read_duration(d.timeout(), At(here, "timeout"));
    out.routes = read_routes(d.http_routes(), here, "http_routes");
    if (d.has_http_local_rate_limit())
      out.rate_limit = read_rate_limit(d.http_local_rate_limit(), At(here, "http_local_rate_limit"));
  } else if (p.has_opaque()) {
    out.kind = Server::Kind::kOpaque;
  } else if (p.has_tls()) {
    out.kind = Server::Kind::kTls;
  } else if (p.has_http1()) {
    out.kind = Server::Kind::kHttp1;
    read_http(p.http1(), At(at, "http1"), out);
  } else if (p.has_http2()) {
    out.kind = Server::Kind::kHttp2;
    read_http(p.http2(), At(at, "http2"), out);
  } else if (p.has_grpc()) {
    out.kind = Server::Kind::kGrpc;
    out.routes = read_routes(p.grpc().routes(), At(at, "grpc"), "routes");
  } else {
    at.bad("no protocol that is known");
  }
  out.server_ips =
      read_list(m.server_ips(), up, "server_ips", [](const auto& ip, const At& a) { return read_ip(ip, a); });
  out.authorizations = read_authzs(m.authorizations(), up);
  out.labels = read_labels(m.labels(), up, "labels");
  return out;
}

}  // namespace

std::string encode(const PortSpec& v) {
  pi::PortSpec m;
  m.set_workload(v.workload);
  m.set_port(v.port);
  return serialize(m);
}

std::string encode(const Server& v) {
  pi::Server m;
  auto& p = *m.mutable_protocol();
  switch (v.kind) {
    case Server::Kind::kDetect:
      write(v.detect_timeout, *p.mutable_detect()->mutable_timeout());
      write_routes(v.routes, p.mutable_detect()->mutable_http_routes());
      if (v.rate_limit) write(*v.rate_limit, *p.mutable_detect()->mutable_http_local_rate_limit());
      break;
    case Server::Kind::kOpaque: p.mutable_opaque(); break;
    case Server::Kind::kTls: p.mutable_tls(); break;
    case Server::Kind::kHttp1: write_http(v, *p.mutable_http1()); break;
    case Server::Kind::kHttp2: write_http(v, *p.mutable_http2()); break;
    case Server::Kind::kGrpc: write_routes(v.routes, p.mutable_grpc()->mutable_routes()); break;
  }
  for (const auto& ip : v.server_ips) write(ip, *m.add_server_ips());
  for (const auto& a : v.authorizations) write(a, *m.add_authorizations());
  write_labels(v.labels, m.mutable_labels());
  return serialize(m);
}

Result<PortSpec> decode_port_spec(Bytes bytes) {
  return decode_message<pi::PortSpec>(bytes, "PortSpec", [](const auto& m, const At& at) {
    if (m.workload().size() > 64 * 1024) At(at, "workload").bad("longer than 64 kB");
    return PortSpec{m.workload(), read_port(m.port(), At(at, "port"))};
  });
}
Result<Server> decode_server(Bytes bytes) { return decode_message<pi::Server>(bytes, "Server", read_server); }

}  // namespace tulle::wire
