#include "control/policy/outbound.h"

#include <algorithm>

#include "control/index/traits.h"
#include "control/policy/match.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using wire::Distribution;

wire::Backend balancer(const MeshConfig& mesh, const Ref& service, uint16_t port) {
  wire::Backend out;
  out.metadata = {"core", "Service", service.name, service.ns, "", port};
  out.kind = wire::Balancer{cat(mesh.service_name(service.ns, service.name), ":", port), {}};
  out.queue = wire::Queue{};
  return out;
}

Distribution first_available(wire::Backend backend) {
  Distribution out;
  out.kind = Distribution::Kind::kFirstAvailable;
  out.backends.push_back({std::move(backend), 1, {}, {}});
  return out;
}

wire::Route default_route(std::string name, Distribution backends, bool http) {
  wire::Rule rule;
  if (http) rule.matches.push_back(match_all());
  rule.backends = std::move(backends);
  wire::Route out;
  out.metadata = wire::Metadata::default_named(std::move(name));
  out.rules.push_back(std::move(rule));
  return out;
}

// A backend of a rule. What cannot be served answers 500 with the reason and keeps its share.
wire::RouteBackend backend(const Snapshot& snapshot, const BackendRef& ref) {
  wire::RouteBackend out;
  out.weight = ref.weight;
  Ref service{ref.ns, ref.name};
  std::string broken;
  if (!ref.group.empty() || ref.kind != "Service") broken = cat("unsupported backend type ", ref.group, "/", ref.kind);
  else if (!ref.port) broken = cat("port is missing for Service ", ref.name);
  else if (!snapshot.service(service)) broken = cat("Service not found ", ref.name);
  if (broken.empty()) {
    out.backend = balancer(snapshot.mesh(), service, *ref.port);
    out.filters = route_filters(ref.filters, false);
  } else {
    out.backend.metadata = {
        ref.group.empty() ? "core" : ref.group, ref.kind, ref.name, ref.ns, "", ref.port.value_or(0)};
    out.backend.queue = wire::Queue{};
    out.filters.push_back(failure(500, std::move(broken)));
  }
  return out;
}

wire::Rule convert_rule(const Snapshot& snapshot, const RouteRule& rule, const wire::Backend& own) {
  wire::Rule out;
  out.matches = route_matches(rule.matches);
  if (out.matches.empty()) out.matches.push_back(match_all());
  out.filters = route_filters(rule.filters, false);
  out.timeouts.request = rule.request_timeout;
  if (rule.backends.empty()) {
    out.backends = first_available(own);
  } else {
    out.backends.kind = Distribution::Kind::kRandomAvailable;
    for (const BackendRef& ref : rule.backends) out.backends.backends.push_back(backend(snapshot, ref));
    bool any =
        std::any_of(rule.backends.begin(), rule.backends.end(), [](const BackendRef& b) { return b.weight > 0; });
    if (!any) {
      out.backends = {};
      out.filters.push_back(failure(500, "all backends have weight 0"));
    }
  }
  for (wire::RouteBackend& b : out.backends.backends) b.request_timeout = rule.backend_timeout;
  return out;
}

bool has_parent(const HttpRoute& route, const Ref& service, uint16_t port) {
  for (const ParentRef& p : route.parents)
    if (p.group.empty() && p.kind == "Service" && p.ns == service.ns && p.name == service.name &&
        (!p.port || *p.port == port))
      return true;
  return false;
}

// Producer routes (of the Service's namespace) for everybody, consumer routes for their own namespace.
std::vector<wire::Route> http_routes(const Snapshot& snapshot, const Ref& service, uint16_t port,
                                     std::string_view client_ns, const wire::Backend& own) {
  std::vector<wire::Route> out;
  for (const auto& route : snapshot.routes_of_service(service)) {
    if (route->meta.ns != service.ns && route->meta.ns != client_ns) continue;
    if (!has_parent(*route, service, port)) continue;
    wire::Route r;
    r.metadata = route_metadata(*route);
    r.hosts = host_matches(route->hostnames);
    for (const RouteRule& rule : route->rules) r.rules.push_back(convert_rule(snapshot, rule, own));
    out.push_back(std::move(r));
  }
  if (out.empty()) out.push_back(default_route("http", first_available(own), true));
  return out;
}

wire::OutboundPolicy service_policy(const Snapshot& snapshot, const Ref& service, uint16_t port,
                                    std::string_view client_ns) {
  using Kind = wire::OutboundPolicy::Kind;
  wire::OutboundPolicy out;
  out.metadata = {"core", "Service", service.name, service.ns, "", port};
  wire::Backend own = balancer(snapshot.mesh(), service, port);
  const ServiceEntry* entry = snapshot.service(service);
  const ServicePort* declared = entry ? entry->spec->find_port(port) : nullptr;
  if (declared && service_port_is_opaque(snapshot, *entry->spec, *declared)) out.kind = Kind::kOpaque;
  else if (declared && declared->app_protocol)
    out.kind = *declared->app_protocol == "http" ? Kind::kHttp1 : Kind::kHttp2;
  else out.kind = Kind::kDetect;

  if (out.kind == Kind::kOpaque || out.kind == Kind::kDetect)
    out.opaque.push_back(default_route("opaq", first_available(own), false));
  if (out.kind == Kind::kOpaque) return out;
  auto routes = http_routes(snapshot, service, port, client_ns, own);
  if (out.kind != Kind::kHttp2) out.http1.routes = routes;
  if (out.kind != Kind::kHttp1) out.http2.routes = std::move(routes);
  return out;
}

wire::OutboundPolicy undefined_port(const Service& service, uint16_t port) {
  wire::OutboundPolicy out;
  out.kind = wire::OutboundPolicy::Kind::kOpaque;
  out.metadata = {"core", "Service", service.meta.name, service.meta.ns, "", port};
  wire::Route route = default_route("undefined-port", {}, false);
  route.rules[0].filters.push_back(wire::Forbidden{});
  out.opaque.push_back(std::move(route));
  return out;
}

wire::OutboundPolicy straight_on(SocketAddr addr) {
  wire::Endpoint endpoint;
  endpoint.addr = addr;
  wire::Backend backend;
  backend.metadata = wire::Metadata::default_named("egress-fallback");
  backend.kind = std::move(endpoint);
  backend.queue = wire::Queue{};
  wire::OutboundPolicy out;
  out.metadata = wire::Metadata::default_named("egress-fallback");
  out.opaque.push_back(default_route("egress-fallback", first_available(backend), false));
  out.http1.routes.push_back(default_route("egress-fallback", first_available(backend), true));
  out.http2.routes = out.http1.routes;
  return out;
}

Result<wire::OutboundPolicy> by_authority(const Snapshot& snapshot, std::string_view authority,
                                          std::string_view client_ns) {
  auto parts = split_host_port(authority);
  if (!parts || authority.size() > 512)
    return fail(Code::kInvalid, cat("found authority ", quoted(authority), "; accepted: NAME.NAMESPACE.svc[:PORT]"),
                Side::kClient);
  std::string_view host = parts->host;
  if (host.ends_with('.')) host.remove_suffix(1);
  std::string domain = cat(".", snapshot.mesh().cluster_domain);
  if (host.ends_with(domain)) host.remove_suffix(domain.size());
  auto labels = split(host, '.');
  if (labels.size() != 3 || labels[2] != "svc" || labels[0].empty() || labels[1].empty())
    return fail(Code::kNotFound, cat("no such service: ", quoted(authority)), Side::kClient);
  Ref service{std::string(labels[1]), std::string(labels[0])};
  return service_policy(snapshot, service, parts->port == 0 ? 80 : parts->port, client_ns);
}

}  // namespace

Result<wire::OutboundPolicy> outbound_policy(const Snapshot& snapshot, const wire::TrafficSpec& spec) {
  auto token = parse_workload_token(spec.source_workload);
  if (!token) return fail(Error(token.error()).with("source_workload"));
  if (auto* authority = std::get_if<std::string>(&spec.target)) return by_authority(snapshot, *authority, token->ns);
  SocketAddr addr = std::get<SocketAddr>(spec.target);
  if (const ServiceEntry* entry = snapshot.service_at(addr.ip)) {
    const Service& service = *entry->spec;
    if (!service.find_port(addr.port)) return undefined_port(service, addr.port);
    return service_policy(snapshot, service.meta.ref(), addr.port, token->ns);
  }
  for (const Cidr& network : snapshot.mesh().networks)
    if (network.contains(addr.ip))
      return fail(Code::kNotFound, cat("no such service: ", addr.to_string()), Side::kClient);
  return straight_on(addr);
}

}  // namespace tulle::control
