// What run.cc puts together: parts from flags and files.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "control/api/api.h"
#include "control/app/options.h"
#include "libs/net/socket.h"
#include "libs/observe/metrics.h"

namespace tulle::control {

inline constexpr const char* kVersion = "0.1.0";

// The state, with keys and addresses from the state directory, which is made if it is not there. Error: a flag or a
// file is wrong; the reason names it.
Result<std::unique_ptr<Plane>> make_plane(const ControlOptions& options, WallTime now);

// The folder of the socket, where mesh.json and the workloads' files are.
std::string runtime_folder(const ControlOptions& options);

struct Listeners {
  std::unique_ptr<net::Listener> grpc, admin, api;
};
// Ports that are 0 become those of the last run where they are free: proxies that run know no others.
Result<Listeners> open_listeners(rt::Reactor& reactor, const ControlOptions& options);

// Writes the addresses of services if they have changed; tries again at the next call where it cannot.
void save_addresses(const ControlOptions& options, Plane& plane);

// mesh.json: the settings that /v1/mesh tells, for those who look for the ports.
Result<> write_mesh_file(const ControlOptions& options, Api& api);
void remove_mesh_file(const ControlOptions& options);

// Logs what is wrong with the manifests and was not so before. `known`: what was; kept up to date.
void log_problems(const Folder& folder, std::set<std::string>& known);

// Gauges of what there is; refreshed before they are shown.
class PlaneMetrics {
 public:
  PlaneMetrics(observe::Shard& shard, const Plane& plane);
  void refresh(uint64_t publishes);

 private:
  const Plane& plane_;
  observe::GaugeRef workloads_, services_, manifests_, problems_, topics_, issuer_ttl_;
  observe::CounterRef publishes_;
};

}  // namespace tulle::control
