// The state of a control plane, whole: what the sources said, the index of it, who watches what, keys and addresses.
// Pure: no sockets, no clock, no files; app/ feeds it and sends what it answers. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/destination/cache.h"
#include "control/identity/authority.h"
#include "control/identity/certify.h"
#include "control/index/addresses.h"
#include "control/index/index.h"
#include "control/index/watch.h"
#include "control/source/folder.h"
#include "control/source/workloads.h"

namespace tulle::control {

class Plane {
 public:
  struct Options {
    MeshConfig mesh = MeshConfig::local();
    WorkloadOptions workloads;
    CertifyOptions certify;
    Duration token_lifetime = 24h;
    Cidr pod_network = local_pod_network();
    uint32_t first_pod_address = 0;  // where to begin to offer them
    std::string saved_addresses;     // of services: ServiceAddresses::save() of the last run; "" at first
    Rng rng = Rng(0);
  };
  // Error: the saved addresses cannot be read.
  static Result<std::unique_ptr<Plane>> make(Options options, Authorities authorities);

  // Puts events into the index. `now`: Unix time. Watchers learn of them at the next publish(); on_dirty is called when
  // there is something to publish.
  void apply(const std::vector<Event>& events, int64_t now);
  // Tells the watchers of what has changed.
  void publish();
  std::function<void()> on_dirty;

  const MeshConfig& mesh() const { return index_.mesh(); }
  const Index& index() const { return index_; }
  // Changes whenever the index does.
  uint64_t generation() const { return generation_; }
  EndpointCache& endpoints() { return endpoints_; }
  WatchHub& hub() { return hub_; }
  const WatchHub& hub() const { return hub_; }
  Folder& folder() { return folder_; }
  const Folder& folder() const { return folder_; }
  Workloads& workloads() { return workloads_; }
  const Workloads& workloads() const { return workloads_; }
  ServiceAddresses& addresses() { return service_addresses_; }
  Authorities& authorities() { return authorities_; }
  const Authorities& authorities() const { return authorities_; }
  const Options& options() const { return options_; }

 private:
  Plane(Options options, Authorities authorities);

  Options options_;
  Authorities authorities_;
  ServiceAddresses service_addresses_;
  PodAddresses pod_addresses_;
  Index index_;
  WatchHub hub_;
  EndpointCache endpoints_;
  Folder folder_;
  Workloads workloads_;
  uint64_t generation_ = 0;
};

}  // namespace tulle::control
