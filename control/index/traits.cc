#include "control/index/traits.h"

#include <nlohmann/json.hpp>

#include "libs/base/strings.h"

namespace tulle::control {

std::optional<std::string_view> effective_annotation(const Snapshot& snapshot, const Metadata& meta,
                                                     std::string_view key) {
  if (auto own = meta.annotation(key)) return own;
  return snapshot.namespace_annotation(meta.ns, key);
}

PortSet opaque_ports(const Snapshot& snapshot, const Metadata& meta) {
  if (auto text = effective_annotation(snapshot, meta, kOpaquePorts))
    if (auto ports = parse_port_set(*text)) return std::move(*ports);
  return snapshot.mesh().opaque_ports;
}

bool pod_port_is_opaque(const Snapshot& snapshot, const Pod& pod, uint16_t port) {
  const PodPort* declared = pod.find_port(PortRef(port));
  return opaque_ports(snapshot, pod.meta).contains(port, declared ? std::string_view(declared->name) : "");
}

bool service_port_is_opaque(const Snapshot& snapshot, const Service& service, const ServicePort& port) {
  if (port.app_protocol) return *port.app_protocol != "http" && *port.app_protocol != "kubernetes.io/h2c";
  return opaque_ports(snapshot, service.meta).contains(port.port, port.name);
}

std::shared_ptr<const Server> server_of(const Snapshot& snapshot, const Pod& pod, uint16_t port) {
  for (const auto& server : snapshot.servers(pod.meta.ns)) {
    if (server->selects_external || !server->pods.selects(pod.meta.labels)) continue;
    if (auto* number = std::get_if<uint16_t>(&server->port)) {
      if (*number == port) return server;
    } else if (const PodPort* named = pod.find_port(server->port); named && named->port == port) {
      return server;
    }
  }
  return nullptr;
}

Result<WorkloadToken> parse_workload_token(std::string_view text) {
  WorkloadToken out;
  if (!text.starts_with('{')) {
    size_t colon = text.find(':');
    if (colon == text.npos || colon == 0)
      return fail(Code::kInvalid, cat("found ", quoted(text), "; accepted: {\"ns\": …, \"pod\": …} or NAMESPACE:POD"),
                  Side::kClient);
    out.ns = text.substr(0, colon);
    out.pod = text.substr(colon + 1);
    return out;
  }
  auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(Code::kInvalid, cat("not JSON: ", quoted(text)), Side::kClient);
  const std::pair<std::string_view, std::string*> fields[] = {
      {"ns", &out.ns}, {"pod", &out.pod}, {"external_workload", &out.external_workload}, {"nodeName", &out.node}};
  for (auto [field, to] : fields) {
    auto it = json.find(field);
    if (it == json.end()) continue;
    if (!it->is_string())
      return fail(Code::kInvalid, cat(field, ": found ", it->dump(), "; accepted: text"), Side::kClient);
    *to = it->get<std::string>();
  }
  return out;
}

}  // namespace tulle::control
