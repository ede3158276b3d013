#include "control/destination/destination.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr uint32_t kWeight = 10'000;
constexpr uint16_t kTransportPort = 4143;
// What Linkerd's control plane says of every proxy: one that no longer answers is given up after 13 s.
constexpr wire::Http2KeepAlive kMeshedKeepAlive{.interval = 10s, .timeout = 3s, .while_idle = true};
constexpr uint16_t kAdminPort = 4191;

Result<Target> parse_service(std::string_view host, uint16_t port, std::string_view domain, std::string_view path) {
  auto bad = [&] {
    return fail(Code::kInvalid, cat("found ", quoted(path), "; accepted: NAME.NAMESPACE.svc.", domain, "[:PORT]"),
                Side::kClient);
  };
  std::string suffix = cat(".svc.", domain);
  if (!host.ends_with(suffix)) return bad();
  host.remove_suffix(suffix.size());
  auto labels = split(host, '.');
  if (labels.size() != 2 && labels.size() != 3) return bad();
  for (std::string_view l : labels)
    if (l.empty()) return bad();
  ServiceTarget out;
  out.port = port;
  if (labels.size() == 3) out.host = labels[0];
  out.service = {std::string(labels.back()), std::string(labels[labels.size() - 2])};
  return Target(std::move(out));
}

bool skips_proxy(const Snapshot& snapshot, const Pod& pod, uint16_t port) {
  auto text = effective_annotation(snapshot, pod.meta, kSkipInboundPorts);
  if (!text) return false;
  auto ports = parse_port_set(*text);
  return ports && ports->contains(port);
}

wire::Endpoint bare_endpoint(SocketAddr addr, std::string_view zone) {
  wire::Endpoint out;
  out.addr = addr;
  out.weight = kWeight;
  if (!zone.empty()) out.labels["zone"] = zone;
  out.labels["zone_locality"] = "unknown";
  return out;
}

// Where requests to a port of a Service go on a pod: the port it listens on and the one it is reached at; nothing if
// the pod has no such port.
std::optional<PodPort> resolve(const Pod& pod, const ServicePort* port, uint16_t requested) {
  const PodPort* found = pod.find_port(port ? port->target : PortRef(requested));
  if (found) return *found;
  return std::nullopt;
}

void add_pods(const Snapshot& snapshot, const ServiceEntry& entry, const ServiceTarget& target, EndpointSet& out) {
  const ServicePort* port = entry.spec->find_port(target.port);
  bool opaque = port && service_port_is_opaque(snapshot, *entry.spec, *port);
  for (const PodPtr& pod : entry.pods) {
    if (!pod->ready && !entry.spec->publish_not_ready) continue;
    if (!target.host.empty() && pod->meta.name != target.host) continue;
    if (auto p = resolve(*pod, port, target.port))
      out.endpoints.push_back(pod_endpoint(snapshot, *pod, p->port, p->served, opaque));
  }
}

void add_slices(const ServiceEntry& entry, const ServiceTarget& target, EndpointSet& out) {
  const ServicePort* port = entry.spec->find_port(target.port);
  for (const auto& slice : entry.slices) {
    uint16_t number = 0;
    for (const EndpointSlice::Port& p : slice->ports)
      if (port ? p.name == port->name : p.port == target.port) number = p.port;
    if (number == 0) continue;
    for (const EndpointSlice::Endpoint& e : slice->endpoints) {
      if (!e.ready || (!target.host.empty() && e.hostname != target.host)) continue;
      for (IpAddr ip : e.addresses) out.endpoints.push_back(bare_endpoint({ip, number}, e.zone));
    }
  }
}

wire::DestinationProfile endpoint_profile(const Snapshot& snapshot, SocketAddr addr) {
  wire::DestinationProfile out;
  out.retry_budget = wire::RetryBudget{};
  PodPtr pod = snapshot.pod_at(addr.ip);
  if (!pod) {
    out.endpoint = bare_endpoint(addr, "");
    out.endpoint->labels.clear();
    out.opaque = snapshot.mesh().opaque_ports.contains(addr.port);
    return out;
  }
  uint16_t port = addr.port, served = addr.port;
  for (const PodPort& p : pod->ports)
    if (p.port == addr.port || p.served == addr.port) {
      port = p.port;
      served = p.served;
    }
  out.endpoint = pod_endpoint(snapshot, *pod, port, served, false);
  out.endpoint->labels["namespace"] = pod->meta.ns;
  out.opaque =
      out.endpoint->hint == wire::ProtocolHint::kOpaque || (pod->meshed && pod_port_is_opaque(snapshot, *pod, port));
  return out;
}

Result<wire::DestinationProfile> service_profile(const Snapshot& snapshot, const ServiceEntry& entry, uint16_t number) {
  wire::DestinationProfile out;
  const Service& service = *entry.spec;
  if (!service.external_name.empty())
    return fail(Code::kInvalid, cat(service.meta.ref().to_string(), " is a name for ", service.external_name),
                Side::kClient);
  const ServicePort* port = service.find_port(number);
  if (!port) return out;  // no profile: the outbound policy says what to do
  out.name = snapshot.mesh().service_name(service.meta.ns, service.meta.name);
  out.parent = {"core", "Service", service.meta.name, service.meta.ns, "", number};
  out.retry_budget = wire::RetryBudget{};
  out.opaque = service_port_is_opaque(snapshot, service, *port);
  return out;
}

}  // namespace

Result<Target> parse_target(std::string_view path, std::string_view cluster_domain) {
  if (path.size() > 512) return fail(Code::kInvalid, "a path of more than 512 bytes", Side::kClient);
  auto parts = split_host_port(path);
  if (!parts) return fail(Error(parts.error()).with("path"));
  uint16_t port = parts->port == 0 ? 80 : parts->port;
  if (auto ip = IpAddr::parse(parts->host)) return Target(SocketAddr(*ip, port));
  return parse_service(parts->host, port, cluster_domain, path);
}

wire::Endpoint pod_endpoint(const Snapshot& snapshot, const Pod& pod, uint16_t port, uint16_t served, bool opaque) {
  const MeshConfig& mesh = snapshot.mesh();
  wire::Endpoint out;
  out.addr = {pod.address, served};
  out.weight = kWeight;
  auto zone = pod.meta.labels.find("topology.kubernetes.io/zone");
  out.labels = {{"pod", pod.meta.name},
                {"serviceaccount", pod.service_account},
                {"zone", zone == pod.meta.labels.end() ? "" : zone->second},
                {"zone_locality", "unknown"}};
  if (!pod.meshed || skips_proxy(snapshot, pod, port)) return out;
  out.labels["control_plane_ns"] = mesh.control_namespace;
  std::string identity = mesh.identity(pod.meta.ns, pod.service_account);
  out.tls = wire::TlsIdentity{wire::TlsIdentity::Kind::kDns, identity, identity};
  auto server = server_of(snapshot, pod, port);
  opaque =
      opaque || pod_port_is_opaque(snapshot, pod, port) || (server && server->protocol == Server::Protocol::kOpaque);
  out.http2.emplace().keep_alive = kMeshedKeepAlive;
  out.hint = opaque ? wire::ProtocolHint::kOpaque : wire::ProtocolHint::kH2;
  if (port != kAdminPort) out.opaque_transport_port = kTransportPort;
  return out;
}

Result<EndpointSet> endpoints(const Snapshot& snapshot, const ServiceTarget& target) {
  EndpointSet out;
  const ServiceEntry* entry = snapshot.endpoints(target.service);
  if (!entry) return out;
  if (!entry->spec->external_name.empty())
    return fail(Code::kInvalid, cat(target.service.to_string(), " is a name for ", entry->spec->external_name),
                Side::kClient);
  out.exists = true;
  out.labels = {{"service", target.service.name}, {"namespace", target.service.ns}};
  add_pods(snapshot, *entry, target, out);
  add_slices(*entry, target, out);
  auto by_address = [](const wire::Endpoint& a, const wire::Endpoint& b) { return a.addr < b.addr; };
  std::sort(out.endpoints.begin(), out.endpoints.end(), by_address);
  auto same = [](const wire::Endpoint& a, const wire::Endpoint& b) { return a.addr == b.addr; };
  out.endpoints.erase(std::unique(out.endpoints.begin(), out.endpoints.end(), same), out.endpoints.end());
  return out;
}

std::vector<wire::Update> diff(const EndpointSet* from, const EndpointSet& to) {
  static const EndpointSet kEmpty;
  const EndpointSet& before = from ? *from : kEmpty;
  bool relabelled = from && from->labels != to.labels;
  wire::Update add, remove, none;
  auto a = before.endpoints.begin();
  for (const wire::Endpoint& e : to.endpoints) {
    for (; a != before.endpoints.end() && a->addr < e.addr; ++a) remove.remove.push_back(a->addr);
    bool known = a != before.endpoints.end() && a->addr == e.addr;
    if (!known || relabelled || !(*a == e)) add.add.push_back(e);
    if (known) ++a;
  }
  for (; a != before.endpoints.end(); ++a) remove.remove.push_back(a->addr);

  std::vector<wire::Update> out;
  if (!add.add.empty()) {
    add.labels = to.labels;
    out.push_back(std::move(add));
  }
  if (!remove.remove.empty()) {
    remove.kind = wire::Update::Kind::kRemove;
    out.push_back(std::move(remove));
  }
  if (to.endpoints.empty() && (!from || from->exists != to.exists)) {
    none.kind = wire::Update::Kind::kNoEndpoints;
    none.exists = to.exists;
    out.push_back(std::move(none));
  }
  return out;
}

Result<wire::DestinationProfile> profile(const Snapshot& snapshot, const Target& target) {
  if (auto* addr = std::get_if<SocketAddr>(&target)) {
    if (const ServiceEntry* entry = snapshot.service_at(addr->ip)) return service_profile(snapshot, *entry, addr->port);
    return endpoint_profile(snapshot, *addr);
  }
  const auto& named = std::get<ServiceTarget>(target);
  if (named.host.empty()) {
    const ServiceEntry* entry = snapshot.service(named.service);
    if (!entry) return fail(Code::kNotFound, cat("no such service: ", named.service.to_string()), Side::kClient);
    return service_profile(snapshot, *entry, named.port);
  }
  if (const ServiceEntry* entry = snapshot.endpoints(named.service))
    for (const PodPtr& pod : entry->pods)
      if (pod->meta.name == named.host) return endpoint_profile(snapshot, {pod->address, named.port});
  return fail(Code::kNotFound, cat("no instance ", named.host, " of ", named.service.to_string()), Side::kClient);
}

}  // namespace tulle::control
