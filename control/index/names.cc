#include "control/index/names.h"

#include "libs/base/strings.h"

namespace tulle::control {

wire::NameTable names(const Snapshot& snapshot, std::string_view ns) {
  wire::NameTable out;
  const std::string& domain = snapshot.mesh().cluster_domain;
  out.search = {cat(ns, ".svc.", domain), cat("svc.", domain), domain};
  out.zones = {domain};
  for (const auto& [ref, entry] : snapshot.all_services()) {
    if (!entry.spec->external_name.empty()) continue;
    wire::Name name{snapshot.mesh().service_name(ref.ns, ref.name), {}};
    if (entry.address) name.addresses.push_back(*entry.address);
    if (entry.spec->headless) {
      for (const PodPtr& pod : entry.pods) {
        if (!pod->ready && !entry.spec->publish_not_ready) continue;
        if (name.addresses.size() < 1000) name.addresses.push_back(pod->address);
        out.names.push_back({cat(pod->meta.name, ".", name.name), {pod->address}});
      }
    }
    out.names.push_back(std::move(name));
    if (out.names.size() >= 100'000) break;
  }
  // Ports of the host's own loopback that a pod was given (`tulle run --host`): what listens there is cli/pod's.
  out.names.push_back({"host", {IpAddr::v4(127, 0, 0, 2)}});
  return out;
}

}  // namespace tulle::control
