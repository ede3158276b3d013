#include "control/index/mesh.h"

#include "libs/base/check.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {
Cidr cidr(IpAddr ip, unsigned prefix) {
  auto c = Cidr::make(ip, prefix);
  TULLE_CHECK(c.has_value());
  return *c;
}
}  // namespace

Cidr local_pod_network() { return cidr(IpAddr::v4(127, 64, 0, 0), 11); }
Cidr local_service_network() { return cidr(IpAddr::v4(127, 96, 0, 0), 11); }

MeshConfig MeshConfig::local() {
  MeshConfig out;
  out.networks = {local_pod_network(), local_service_network()};
  out.client_networks = {local_pod_network()};
  out.opaque_ports = *parse_port_set("25,587,3306,4444,5432,6379,9300,11211");
  return out;
}

std::string MeshConfig::service_name(std::string_view ns, std::string_view name) const {
  return cat(name, ".", ns, ".svc.", cluster_domain);
}

std::string MeshConfig::identity(std::string_view ns, std::string_view service_account) const {
  return cat(service_account, ".", ns, ".serviceaccount.identity.", control_namespace, ".", trust_domain);
}

bool is_default_policy(std::string_view name) {
  for (std::string_view p : {"deny", "audit", "all-unauthenticated", "all-authenticated", "cluster-unauthenticated",
                             "cluster-authenticated"})
    if (p == name) return true;
  return false;
}

}  // namespace tulle::control
