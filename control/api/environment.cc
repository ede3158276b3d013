#include "control/api/api.h"
#include "control/index/traits.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

std::string opaque_list(const Plane& plane, const Pod& pod) {
  PortSet ports = opaque_ports(plane.index().snapshot(), pod.meta);
  std::string out;
  auto add = [&](std::string_view item) { append(out, out.empty() ? "" : ",", item); };
  for (auto [from, to] : ports.ranges) add(from == to ? cat(from) : cat(from, "-", to));
  for (const std::string& name : ports.names)
    if (const PodPort* p = pod.find_port(PortRef(name))) add(cat(p->port));
  return out;
}

std::string default_policy(const Plane& plane, const Pod& pod) {
  auto text = effective_annotation(plane.index().snapshot(), pod.meta, kDefaultInboundPolicy);
  if (text && is_default_policy(*text)) return std::string(*text);
  return plane.mesh().default_inbound_policy;
}

std::string networks(const std::vector<Cidr>& list) {
  std::string out;
  for (const Cidr& c : list) append(out, out.empty() ? "" : ",", c.to_string());
  return out;
}

}  // namespace

std::map<std::string, std::string> proxy_environment(const Plane& plane, const Pod& pod, SocketAddr grpc,
                                                     const std::string& token_path) {
  const MeshConfig& mesh = plane.mesh();
  std::string control = grpc.to_string();
  std::string ip = pod.address.to_string();
  std::string ports;
  for (const PodPort& p : pod.ports) append(ports, ports.empty() ? "" : ",", p.port);
  std::map<std::string, std::string> out = {
      {"DESTINATION_SVC_ADDR", control},
      {"POLICY_SVC_ADDR", control},
      {"IDENTITY_SVC_ADDR", control},
      {"DESTINATION_CONTEXT", cat(R"({"ns":")", pod.meta.ns, R"(","pod":")", pod.meta.name, R"("})")},
      {"POLICY_WORKLOAD", cat(R"({"ns":")", pod.meta.ns, R"(","pod":")", pod.meta.name, R"("})")},
      {"DESTINATION_PROFILE_SUFFIXES", cat("svc.", mesh.cluster_domain, ".")},
      {"DESTINATION_PROFILE_NETWORKS", networks(mesh.networks)},
      {"POLICY_CLUSTER_NETWORKS", networks(mesh.client_networks)},
      {"IDENTITY_LOCAL_NAME", mesh.identity(pod.meta.ns, pod.service_account)},
      {"IDENTITY_TRUST_ANCHORS", plane.authorities().roots.to_pem()},
      {"IDENTITY_TOKEN_FILE", token_path},
      {"INBOUND_DEFAULT_POLICY", default_policy(plane, pod)},
      {"INBOUND_IPS", ip},
      {"INBOUND_LISTEN_ADDR", cat(ip, ":4143")},
      {"ADMIN_LISTEN_ADDR", cat(ip, ":4191")},
      {"OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140"},
      {"INBOUND_PORTS", ports},
      {"INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", opaque_list(plane, pod)},
  };
  std::map<std::string, std::string> prefixed = {{"TULLE_PROXY_IDENTITY_EPHEMERAL", "true"}};
  for (auto& [name, value] : out) prefixed.emplace("LINKERD2_PROXY_" + name, std::move(value));
  return prefixed;
}

}  // namespace tulle::control
