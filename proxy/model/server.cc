#include "proxy/model/server.h"

#include <algorithm>

namespace tulle::proxy {
namespace {

std::string label(const wire::Labels& labels, const std::string& key) {
  auto it = labels.find(key);
  return it == labels.end() ? std::string() : it->second;
}

std::vector<Authorization> compile_authzs(const std::vector<wire::Authz>& in) { return {in.begin(), in.end()}; }

wire::InboundRoute default_route() { return {wire::Metadata::default_named("default"), {}, {}, {wire::InboundRule()}}; }

}  // namespace

ServerPolicyPtr compile_server(const wire::Server& in, std::optional<IpAddr> pod_ip) {
  auto out = std::make_shared<ServerPolicy>();
  out->kind = in.kind;
  out->detect_timeout = in.detect_timeout;
  out->server = {label(in.labels, "group"), label(in.labels, "kind"), label(in.labels, "name"), "", "", 0};
  out->rate_limit = in.rate_limit;
  out->authorizations = compile_authzs(in.authorizations);
  out->authorizations.emplace_back(localhost_authz(pod_ip));
  for (const auto& a : in.authorizations)
    out->audit |= a.metadata.name == "audit" && (a.metadata.is_default() || a.metadata.kind.empty());

  std::vector<wire::InboundRoute> routes = in.routes;
  if (routes.empty() && in.kind != wire::Server::Kind::kOpaque && in.kind != wire::Server::Kind::kTls)
    routes = {default_route()};
  auto table = RouteTable::compile(
      routes, in.kind == wire::Server::Kind::kGrpc ? RouteTable::Kind::kGrpc : RouteTable::Kind::kHttp);
  if (!table) return invalid_server(std::move(table).error().reason);
  out->table = std::move(*table);
  for (const auto& r : routes) {
    InboundRoute route{r.metadata, compile_authzs(r.authorizations), {}};
    for (const auto& rule : r.rules) route.rules.push_back({rule.filters});
    out->routes.push_back(std::move(route));
  }
  return out;
}

bool ServerPolicy::has_routes() const {
  return !std::ranges::all_of(routes, [](const InboundRoute& r) { return r.metadata.is_default(); });
}

ServerPolicyPtr invalid_server(std::string why) {
  auto out = std::make_shared<ServerPolicy>();
  out->server = wire::Metadata::default_named("invalid");
  out->invalid = why.empty() ? "invalid policy" : std::move(why);
  return out;
}

ServerPolicyPtr unanswered_server() {
  auto out = std::make_shared<ServerPolicy>();
  out->server = wire::Metadata::default_named("no-discovery");
  out->invalid = "the control plane has not said who may use this port";
  out->invalid_reason = Reason::kNoDiscovery;
  return out;
}

std::optional<wire::Server> default_server(std::string_view name, const std::vector<Cidr>& cluster_networks,
                                           Duration detect_timeout, bool opaque) {
  wire::Server s;
  s.kind = opaque ? wire::Server::Kind::kOpaque : wire::Server::Kind::kDetect;
  s.detect_timeout = detect_timeout;
  s.labels = {{"group", ""}, {"kind", "default"}, {"name", std::string(name)}};
  if (name == "deny") return s;

  wire::Authz a;
  a.metadata = wire::Metadata::default_named(std::string(name));
  a.labels = s.labels;
  std::string_view authn = name;
  bool cluster = name.starts_with("cluster-");
  if (cluster) authn.remove_prefix(8);
  else if (name.starts_with("all-")) authn.remove_prefix(4);
  else if (name != "audit") return std::nullopt;

  if (authn == "unauthenticated" || name == "audit") {
    a.authn = wire::Authz::Authn::kUnauthenticated;
  } else if (authn == "tls-unauthenticated" || authn == "mtls-unauthenticated") {
    a.authn = wire::Authz::Authn::kTlsUnauthenticated;
  } else if (authn == "authenticated") {
    a.authn = wire::Authz::Authn::kTlsIdentities;
    a.suffixes = {""};
  } else {
    return std::nullopt;
  }
  if (cluster)
    for (const auto& net : cluster_networks) a.networks.push_back({net, {}});
  else a.networks = {{*Cidr::make(IpAddr::v4(0), 0), {}}, {*Cidr::make(IpAddr::v6(0, 0), 0), {}}};
  s.authorizations = {a};
  return s;
}

}  // namespace tulle::proxy
