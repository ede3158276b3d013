#include "control/policy/inbound.h"

#include <algorithm>

#include "control/index/traits.h"
#include "control/policy/match.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr uint16_t kAdminPort = 4191;
constexpr std::string_view kRequireIdentityPorts = "config.linkerd.io/proxy-require-identity-inbound-ports";

std::vector<wire::Network> networks_of(const MeshConfig& mesh, bool cluster) {
  std::vector<wire::Network> out;
  if (cluster)
    for (const Cidr& c : mesh.client_networks) out.push_back({c, {}});
  else
    for (std::string_view all : {"0.0.0.0/0", "::/0"}) out.push_back({*Cidr::parse(all), {}});
  return out;
}

wire::Labels default_labels(std::string_view name) {
  return {{"group", ""}, {"kind", "default"}, {"name", std::string(name)}};
}

// What a default policy allows; nothing for "deny".
std::vector<wire::Authz> default_authorizations(const MeshConfig& mesh, std::string_view policy) {
  if (policy == "deny") return {};
  wire::Authz out;
  out.networks = networks_of(mesh, policy.starts_with("cluster-"));
  out.authn = wire::Authz::Authn::kUnauthenticated;
  if (policy.ends_with("-authenticated")) {
    out.authn = wire::Authz::Authn::kTlsIdentities;
    out.suffixes = {""};
  }
  out.metadata = wire::Metadata::default_named(std::string(policy));
  out.labels = default_labels(policy);
  return {out};
}

// Those who scrape and ask on this machine; pods keep their own way in.
std::vector<wire::Authz> admin_authorizations() {
  wire::Authz out;
  out.networks = {{*Cidr::parse("127.0.0.0/8"), {}}};
  out.authn = wire::Authz::Authn::kUnauthenticated;
  out.metadata = wire::Metadata::default_named("admin");
  out.labels = default_labels("admin");
  return {out};
}

std::string default_policy(const Snapshot& snapshot, const Pod& pod, uint16_t port) {
  std::string policy = snapshot.mesh().default_inbound_policy;
  if (auto text = effective_annotation(snapshot, pod.meta, kDefaultInboundPolicy); text && is_default_policy(*text))
    policy = *text;
  if (auto text = effective_annotation(snapshot, pod.meta, kRequireIdentityPorts))
    if (auto ports = parse_port_set(*text); ports && ports->contains(port)) {
      if (policy == "all-unauthenticated") policy = "all-authenticated";
      if (policy == "cluster-unauthenticated") policy = "cluster-authenticated";
    }
  return policy;
}

wire::InboundRoute default_route() {
  wire::InboundRoute out;
  out.metadata = wire::Metadata::default_named("default");
  out.rules.push_back({{match_all()}, {}});
  return out;
}

wire::Server default_server(const Snapshot& snapshot, const Pod& pod, uint16_t port) {
  wire::Server out;
  std::string policy = default_policy(snapshot, pod, port);
  bool admin = port == kAdminPort;
  out.kind =
      !admin && pod_port_is_opaque(snapshot, pod, port) ? wire::Server::Kind::kOpaque : wire::Server::Kind::kDetect;
  if (out.kind == wire::Server::Kind::kDetect) out.routes.push_back(default_route());
  out.authorizations = admin ? admin_authorizations() : default_authorizations(snapshot.mesh(), policy);
  out.labels = default_labels(admin ? "admin" : policy);
  return out;
}

bool has_parent(const HttpRoute& route, const Ref& server) {
  return std::any_of(route.parents.begin(), route.parents.end(), [&](const ParentRef& p) {
    return p.group == "policy.linkerd.io" && p.kind == "Server" && p.ns == server.ns && p.name == server.name;
  });
}

std::vector<wire::InboundRoute> server_routes(const Snapshot& snapshot, const Ref& server) {
  std::vector<wire::InboundRoute> out;
  for (const auto& route : snapshot.routes_of_server(server)) {
    if (route->meta.ns != server.ns || !has_parent(*route, server)) continue;
    wire::InboundRoute r;
    r.metadata = route_metadata(*route);
    r.hosts = host_matches(route->hostnames);
    for (const RouteRule& rule : route->rules) {
      r.rules.push_back({route_matches(rule.matches), route_filters(rule.filters, true)});
      if (r.rules.back().matches.empty()) r.rules.back().matches.push_back(match_all());
    }
    out.push_back(std::move(r));
  }
  if (out.empty()) out.push_back(default_route());
  return out;
}

wire::Server server_policy(const Snapshot& snapshot, const Server& server) {
  using Kind = wire::Server::Kind;
  wire::Server out;
  switch (server.protocol) {
    case Server::Protocol::kUnknown: out.kind = Kind::kDetect; break;
    case Server::Protocol::kHttp1: out.kind = Kind::kHttp1; break;
    case Server::Protocol::kHttp2: out.kind = Kind::kHttp2; break;
    case Server::Protocol::kGrpc: out.kind = Kind::kGrpc; break;
    case Server::Protocol::kOpaque: out.kind = Kind::kOpaque; break;
    case Server::Protocol::kTls: out.kind = Kind::kTls; break;
  }
  if (out.kind == Kind::kGrpc) {
    wire::InboundRoute route;
    route.metadata = wire::Metadata::default_named("default");
    route.rules.push_back({});
    out.routes.push_back(std::move(route));
  } else if (out.kind != Kind::kOpaque && out.kind != Kind::kTls) {
    out.routes = server_routes(snapshot, server.meta.ref());
  }
  out.authorizations = default_authorizations(snapshot.mesh(), server.access_policy);
  out.labels = {{"group", "policy.linkerd.io"}, {"kind", "server"}, {"name", server.meta.name}};
  return out;
}

}  // namespace

Result<wire::Server> inbound_policy(const Snapshot& snapshot, const wire::PortSpec& spec) {
  auto token = parse_workload_token(spec.workload);
  if (!token) return fail(Error(token.error()).with("workload"));
  PodPtr pod = snapshot.pod({token->ns, token->pod});
  if (token->pod.empty() || !pod)
    return fail(Code::kNotFound, cat("unknown server: ", quoted(spec.workload)), Side::kClient);
  if (auto server = server_of(snapshot, *pod, spec.port)) return server_policy(snapshot, *server);
  return default_server(snapshot, *pod, spec.port);
}

}  // namespace tulle::control
