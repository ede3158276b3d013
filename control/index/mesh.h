// What is the same for a whole mesh, from the flags of tulle-control.
#pragma once

#include <string>
#include <vector>

#include "control/index/ports.h"
#include "libs/base/addr.h"

namespace tulle::control {

struct MeshConfig {
  std::string cluster_domain = "cluster.local";
  std::string trust_domain = "cluster.local";
  std::string control_namespace = "linkerd";
  std::string default_inbound_policy = "all-unauthenticated";
  // Addresses inside the mesh: an unknown one in here is no way out.
  std::vector<Cidr> networks;
  // Addresses that "cluster-…" policies allow clients from.
  std::vector<Cidr> client_networks;
  PortSet opaque_ports;  // where no annotation says otherwise

  // Local mode: pods in 127.64.0.0/11, services in 127.96.0.0/11, Linkerd's default opaque ports.
  static MeshConfig local();

  // "api.shop.svc.cluster.local"
  std::string service_name(std::string_view ns, std::string_view name) const;
  // "api.shop.serviceaccount.identity.linkerd.cluster.local"
  std::string identity(std::string_view ns, std::string_view service_account) const;
};

// Pods' and services' addresses in local mode (DESIGN §7.6–7.7).
Cidr local_pod_network();
Cidr local_service_network();

// One of Linkerd's six default inbound policies.
bool is_default_policy(std::string_view name);

}  // namespace tulle::control
