// All resources, indexed: what there is, who selects whom, who has which address.
//
//   source ── events ──▶ Index ── Snapshot (what is true now) ──▶ roles' answers
//                          └── topics that changed ──▶ WatchHub ──▶ the subscriptions concerned
//
// One writer, on one thread, between turns of which nothing changes: a Snapshot is read within one turn and is never
// kept. The values it gives are immutable and shared. The cost of an event is that of the resources it touches, not of
// the mesh.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "control/index/addresses.h"
#include "control/index/mesh.h"
#include "control/index/topic.h"
#include "control/source/resource.h"

namespace tulle::control {

using PodPtr = std::shared_ptr<const Pod>;
using ServicePtr = std::shared_ptr<const Service>;

struct ServiceEntry {
  ServicePtr spec;                // never null
  std::optional<IpAddr> address;  // none: headless, ExternalName
  std::vector<PodPtr> pods;       // those it selects, ready or not, by name
  std::vector<std::shared_ptr<const EndpointSlice>> slices;
};

class Index;

// What is true now. Reading through it notes the topics read. Valid until the next Index::apply.
class Snapshot {
 public:
  Snapshot(const Index& index, TopicSet* read) : index_(index), read_(read) {}

  const MeshConfig& mesh() const;
  // Null: there is none. Its spec, address and routes only; for its pods and slices ask endpoints().
  const ServiceEntry* service(const Ref& ref) const;
  const ServiceEntry* endpoints(const Ref& ref) const;
  const ServiceEntry* service_at(IpAddr ip) const;
  PodPtr pod(const Ref& ref) const;
  PodPtr pod_at(IpAddr ip) const;
  // The Services that select a pod.
  std::vector<const ServiceEntry*> services_of(const Pod& pod) const;
  // The annotation of a namespace.
  std::optional<std::string_view> namespace_annotation(std::string_view ns, std::string_view key) const;
  // In order of precedence: older first, then by name.
  const std::vector<std::shared_ptr<const Server>>& servers(const std::string& ns) const;
  // Routes with that parent, in order of precedence.
  const std::vector<std::shared_ptr<const HttpRoute>>& routes_of_service(const Ref& service) const;
  const std::vector<std::shared_ptr<const HttpRoute>>& routes_of_server(const Ref& server) const;
  // All of them, by (namespace, name); for the names table and for people.
  const std::map<Ref, ServiceEntry>& all_services() const;
  const std::map<Ref, PodPtr>& all_pods() const;

 private:
  void note(Topic::Kind kind, std::string key) const {
    if (read_) read_->insert({kind, std::move(key)});
  }
  const Index& index_;
  TopicSet* read_;
};

class Index {
 public:
  // `addresses` outlives this.
  Index(MeshConfig mesh, ServiceAddresses& addresses);

  // `now`: seconds of Unix time, for the addresses.
  void apply(const Event& event, int64_t now);
  // The topics touched since the last call.
  TopicSet take_changed() { return std::exchange(changed_, {}); }
  // `read`, if given, collects the topics that are read through it, and must outlive it.
  Snapshot snapshot(TopicSet* read = nullptr) const { return Snapshot(*this, read); }
  const MeshConfig& mesh() const { return mesh_; }
  // The resource as its source gave it; null: there is none.
  std::shared_ptr<const Resource> find(const ResourceKey& key) const;
  const std::map<ResourceKey, std::shared_ptr<const Resource>>& resources() const { return resources_; }

 private:
  friend class Snapshot;
  using Routes = std::vector<std::shared_ptr<const HttpRoute>>;

  void apply_service(const Ref& ref, ServicePtr declared, int64_t now);
  void apply_pod(const Ref& ref, PodPtr pod, int64_t now);
  void apply_slice(const Ref& ref, std::shared_ptr<const EndpointSlice> slice);
  void apply_server(const Ref& ref, std::shared_ptr<const Server> server);
  void apply_route(const ResourceKey& key, std::shared_ptr<const HttpRoute> route);

  void put_service(const Ref& ref, ServicePtr spec, int64_t now);
  void drop_service(const Ref& ref, int64_t now);
  // Makes, changes or keeps the Service that no manifest declares, as its workloads say.
  void imply_service(const Ref& ref, int64_t now);
  void join(ServiceEntry& entry, const PodPtr& pod);
  void leave(const Ref& service, const Ref& pod);
  void touch(Topic::Kind kind, std::string key) { changed_.insert({kind, std::move(key)}); }
  void touch_members(const Ref& service);

  MeshConfig mesh_;
  ServiceAddresses& addresses_;
  std::map<ResourceKey, std::shared_ptr<const Resource>> resources_;
  std::map<Ref, ServiceEntry> services_;
  absl::flat_hash_map<IpAddr, Ref> service_at_;
  std::map<Ref, PodPtr> pods_;
  absl::flat_hash_map<IpAddr, Ref> pod_at_;
  std::map<Ref, std::vector<Ref>> selected_by_;                  // pod → services
  std::map<Ref, std::map<std::string, PodPtr>> registered_for_;  // service → pods that name it
  std::map<Ref, std::vector<std::shared_ptr<const EndpointSlice>>> slices_;
  std::map<std::string, std::vector<std::shared_ptr<const Server>>, std::less<>> servers_;
  std::map<Ref, Routes> service_routes_;
  std::map<Ref, Routes> server_routes_;
  std::map<std::string, std::shared_ptr<const Namespace>, std::less<>> namespaces_;
  std::deque<Ref> idle_implied_;
  TopicSet changed_;
};

}  // namespace tulle::control
