// Workloads that `tulle run` has registered, as Pods. Pure: it gives events; who holds a registration open, and for how
// long, is the caller's. Single-threaded.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "control/source/resource.h"
#include "libs/base/random.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::control {

// Where the addresses come from (control/index has them).
class AddressSource {
 public:
  virtual ~AddressSource() = default;
  virtual Result<IpAddr> take_next() = 0;
  // This very one; false: it is in use or no address of pods.
  virtual bool take(IpAddr ip) = 0;
  virtual void release(IpAddr ip) = 0;
};

struct RegisterRequest {
  std::string name;  // "": one is made
  std::string ns = "default";
  std::string service;  // "": a mere client
  std::string service_account = "default";
  Labels labels;
  Labels annotations;
  std::vector<PodPort> ports;     // served 0: chosen here
  std::optional<IpAddr> address;  // the one it had, after a restart of the control plane
  bool ready = false;             // the same
  int64_t pid = 0;
};

struct Workload {
  std::string id;
  std::shared_ptr<const Pod> pod;
  int64_t pid = 0;
  bool held = false;
  TimePoint hold_by;  // while it is not held: removed then
};

struct WorkloadOptions {
  uint16_t first_unprivileged_port = 1024;  // ports below are served 20000 higher
  Duration hold_within = 10s;
};

class Workloads {
 public:
  // `addresses` outlives this.
  Workloads(WorkloadOptions options, AddressSource& addresses, Rng rng)
      : options_(options), addresses_(addresses), rng_(rng) {}

  // Errors: kInvalid names the field; kDenied: a workload of that name is held; kExhausted.
  // The events are appended to `events`.
  Result<const Workload*> add(RegisterRequest request, TimePoint now, std::vector<Event>& events);
  // Its address cannot be bound: gives it another. kNotFound.
  Result<const Workload*> move(std::string_view id, std::vector<Event>& events);
  // kNotFound. No event where nothing changes.
  Result<> set_ready(std::string_view id, bool ready, std::vector<Event>& events);
  // From now until removed, it stays. kNotFound; kDenied: it is held already.
  Result<const Workload*> hold(std::string_view id);
  void remove(std::string_view id, std::vector<Event>& events);
  // Those that nobody came to hold in time.
  std::vector<std::string> not_held(TimePoint now) const;

  const Workload* find(std::string_view id) const;
  const Workload* find(const Ref& ref) const;
  size_t size() const { return by_id_.size(); }

 private:
  Result<> check(const RegisterRequest& request) const;
  Result<> assign_served_ports(std::vector<PodPort>& ports) const;
  std::string fresh_name(const RegisterRequest& request);

  WorkloadOptions options_;
  AddressSource& addresses_;
  Rng rng_;
  std::map<std::string, Workload, std::less<>> by_id_;
  std::map<Ref, std::string> ids_;
};

}  // namespace tulle::control
