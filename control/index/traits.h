// What several roles ask about a port: is it opaque, is it meshed, how is it named. Pure.
#pragma once

#include <string>
#include <string_view>

#include "control/index/index.h"

namespace tulle::control {

// The annotation or, failing that, that of its namespace; nothing where neither has it.
std::optional<std::string_view> effective_annotation(const Snapshot& snapshot, const Metadata& meta,
                                                     std::string_view key);

inline constexpr std::string_view kOpaquePorts = "config.linkerd.io/opaque-ports";
inline constexpr std::string_view kSkipInboundPorts = "config.linkerd.io/skip-inbound-ports";
inline constexpr std::string_view kDefaultInboundPolicy = "config.linkerd.io/default-inbound-policy";

// The opaque ports of a resource: its annotation, else its namespace's, else the mesh's. An annotation that cannot be
// read counts as none.
PortSet opaque_ports(const Snapshot& snapshot, const Metadata& meta);

// How the proxy is to treat what arrives at that port of the pod: opaque by annotation or default list.
bool pod_port_is_opaque(const Snapshot& snapshot, const Pod& pod, uint16_t port);
// As its clients see a port of a Service: by appProtocol, else by annotation or default list.
bool service_port_is_opaque(const Snapshot& snapshot, const Service& service, const ServicePort& port);

// The Server that has that port of the pod; null: none. The first in order of precedence wins.
std::shared_ptr<const Server> server_of(const Snapshot& snapshot, const Pod& pod, uint16_t port);

// What a proxy says of itself: {"ns": …, "pod": …, "nodeName": …}, or "ns:NAME" of old. Anything else is empty.
struct WorkloadToken {
  std::string ns;
  std::string pod;
  std::string external_workload;
  std::string node;
};
// Error: the text is neither form.
Result<WorkloadToken> parse_workload_token(std::string_view text);

}  // namespace tulle::control
