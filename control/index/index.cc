#include "control/index/index.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "libs/base/log.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr size_t kMaxIdleImplied = 1000;

template <class T>
std::shared_ptr<const T> as(const std::shared_ptr<const Resource>& resource) {
  if (!resource) return nullptr;
  return std::shared_ptr<const T>(resource, std::get_if<T>(resource.get()));
}

bool selects(const Service& service, const Pod& pod) {
  if (service.meta.ns != pod.meta.ns) return false;
  if (service.selector.empty()) return pod.service == service.meta.name;
  for (const auto& [key, value] : service.selector) {
    auto it = pod.meta.labels.find(key);
    if (it == pod.meta.labels.end() || it->second != value) return false;
  }
  return true;
}

auto precedence(const Metadata& m) { return std::tie(m.created, m.ns, m.name); }

// Keeps a list of resources in order of precedence, one per name.
template <class T>
void replace_in(std::vector<std::shared_ptr<const T>>& list, const T* before, std::shared_ptr<const T> after) {
  std::erase_if(list, [&](const auto& item) { return item.get() == before; });
  if (!after) return;
  auto at = std::upper_bound(list.begin(), list.end(), after,
                             [](const auto& a, const auto& b) { return precedence(a->meta) < precedence(b->meta); });
  list.insert(at, std::move(after));
}

// The Service that the flags of its workloads describe: each declared port under its number, and port 80 for the one
// that is named http, or is the only one, so that http://NAME works.
Service implied_service(const Ref& ref, const std::map<std::string, PodPtr>& pods) {
  Service out;
  out.meta.ns = ref.ns;
  out.meta.name = ref.name;
  out.meta.origin = cat("workload ", pods.begin()->first);
  out.implied = true;
  std::map<uint16_t, std::string> ports;
  for (const auto& [name, pod] : pods)
    for (const PodPort& p : pod->ports) ports.emplace(p.port, p.name);
  std::optional<PortRef> web;
  for (const auto& [port, name] : ports) {
    PortRef target = name.empty() ? PortRef(port) : PortRef(name);
    if (name == "http" || ports.size() == 1) web = target;
    out.ports.push_back({name.empty() ? cat("port-", port) : name, port, target, std::nullopt});
  }
  if (web && !ports.contains(80)) out.ports.push_back({"port-80", 80, *web, std::nullopt});
  return out;
}

struct Parents {
  std::set<Ref> services;
  std::set<Ref> servers;
};
Parents parents_of(const HttpRoute* route) {
  Parents out;
  if (!route) return out;
  for (const ParentRef& p : route->parents) {
    if (p.group.empty() && p.kind == "Service") out.services.insert({p.ns, p.name});
    if (p.group == "policy.linkerd.io" && p.kind == "Server") out.servers.insert({p.ns, p.name});
  }
  return out;
}

}  // namespace

Index::Index(MeshConfig mesh, ServiceAddresses& addresses) : mesh_(std::move(mesh)), addresses_(addresses) {}

std::shared_ptr<const Resource> Index::find(const ResourceKey& key) const {
  auto it = resources_.find(key);
  return it == resources_.end() ? nullptr : it->second;
}

void Index::apply(const Event& event, int64_t now) {
  Ref ref{event.key.ns, event.key.name};
  switch (event.key.kind) {
    case Kind::kNamespace:
      if (event.resource) namespaces_[ref.name] = as<Namespace>(event.resource);
      else namespaces_.erase(ref.name);
      touch(Topic::Kind::kNamespace, ref.name);
      break;
    case Kind::kService: apply_service(ref, as<Service>(event.resource), now); break;
    case Kind::kEndpointSlice: apply_slice(ref, as<EndpointSlice>(event.resource)); break;
    case Kind::kServer: apply_server(ref, as<Server>(event.resource)); break;
    case Kind::kHttpRoute: apply_route(event.key, as<HttpRoute>(event.resource)); break;
    case Kind::kPod: apply_pod(ref, as<Pod>(event.resource), now); break;
  }
  if (event.resource) resources_[event.key] = event.resource;
  else resources_.erase(event.key);
}

void Index::apply_service(const Ref& ref, ServicePtr declared, int64_t now) {
  if (declared) return put_service(ref, std::move(declared), now);
  if (registered_for_.contains(ref)) {
    drop_service(ref, now);
    return imply_service(ref, now);
  }
  drop_service(ref, now);
}

void Index::put_service(const Ref& ref, ServicePtr spec, int64_t now) {
  ServiceEntry& entry = services_[ref];
  for (const PodPtr& pod : entry.pods) std::erase(selected_by_[pod->meta.ref()], ref);
  entry.pods.clear();
  entry.spec = std::move(spec);
  if (entry.spec->headless || !entry.spec->external_name.empty()) {
    if (entry.address) {
      service_at_.erase(*entry.address);
      touch(Topic::Kind::kAddress, entry.address->to_string());
      entry.address.reset();
      addresses_.release(ref, now);
    }
  } else if (!entry.address) {
    if (auto ip = addresses_.assign(ref, now)) {
      entry.address = *ip;
      service_at_[*ip] = ref;
      touch(Topic::Kind::kAddress, ip->to_string());
    } else {
      log_error("a service gets no address", {{"service", ref.to_string()}, {"error", ip.error().reason}});
    }
  }
  for (auto it = pods_.lower_bound({ref.ns, ""}); it != pods_.end() && it->first.ns == ref.ns; ++it)
    if (selects(*entry.spec, *it->second)) join(entry, it->second);
  if (auto it = slices_.find(ref); it != slices_.end()) entry.slices = it->second;
  touch(Topic::Kind::kService, ref.to_string());
  touch(Topic::Kind::kNames, "");
  touch_members(ref);
}

void Index::drop_service(const Ref& ref, int64_t now) {
  auto it = services_.find(ref);
  if (it == services_.end()) return;
  for (const PodPtr& pod : it->second.pods) std::erase(selected_by_[pod->meta.ref()], ref);
  touch(Topic::Kind::kService, ref.to_string());
  touch(Topic::Kind::kNames, "");
  touch_members(ref);
  if (it->second.address) {
    service_at_.erase(*it->second.address);
    touch(Topic::Kind::kAddress, it->second.address->to_string());
    addresses_.release(ref, now);
  }
  services_.erase(it);
}

void Index::imply_service(const Ref& ref, int64_t now) {
  auto existing = services_.find(ref);
  if (existing != services_.end() && !existing->second.spec->implied) return;
  auto pods = registered_for_.find(ref);
  if (pods == registered_for_.end()) {
    // The last instance is gone. Its name stays, as a declared one would: the next instance may be on its way.
    if (existing == services_.end()) return;
    std::erase(idle_implied_, ref);
    idle_implied_.push_back(ref);
    if (idle_implied_.size() <= kMaxIdleImplied) return;
    Ref oldest = idle_implied_.front();
    idle_implied_.pop_front();
    return drop_service(oldest, now);
  }
  std::erase(idle_implied_, ref);
  Service spec = implied_service(ref, pods->second);
  if (existing != services_.end()) {
    const auto& before = existing->second.spec->ports;
    bool same = std::equal(before.begin(), before.end(), spec.ports.begin(), spec.ports.end(),
                           [](const ServicePort& a, const ServicePort& b) {
                             return a.name == b.name && a.port == b.port && a.target == b.target;
                           });
    if (same) return;
  }
  put_service(ref, std::make_shared<const Service>(std::move(spec)), now);
}

void Index::join(ServiceEntry& entry, const PodPtr& pod) {
  auto at = std::lower_bound(entry.pods.begin(), entry.pods.end(), pod,
                             [](const PodPtr& a, const PodPtr& b) { return a->meta.name < b->meta.name; });
  entry.pods.insert(at, pod);
  selected_by_[pod->meta.ref()].push_back(entry.spec->meta.ref());
}

void Index::leave(const Ref& service, const Ref& pod) {
  auto it = services_.find(service);
  if (it == services_.end()) return;
  std::erase_if(it->second.pods, [&](const PodPtr& p) { return p->meta.name == pod.name; });
  touch_members(service);
}

void Index::touch_members(const Ref& service) {
  touch(Topic::Kind::kEndpoints, service.to_string());
  auto it = services_.find(service);
  if (it != services_.end() && it->second.spec->headless) touch(Topic::Kind::kNames, "");
}

void Index::apply_pod(const Ref& ref, PodPtr pod, int64_t now) {
  touch(Topic::Kind::kPod, ref.to_string());
  std::set<Ref> implied;
  if (auto it = pods_.find(ref); it != pods_.end()) {
    const Pod& before = *it->second;
    touch(Topic::Kind::kAddress, before.address.to_string());
    pod_at_.erase(before.address);
    for (const Ref& service : selected_by_[ref]) leave(service, ref);
    selected_by_.erase(ref);
    if (!before.service.empty()) {
      Ref service{ref.ns, before.service};
      auto registered = registered_for_.find(service);
      registered->second.erase(ref.name);
      if (registered->second.empty()) registered_for_.erase(registered);
      implied.insert(service);
    }
    pods_.erase(it);
  }
  if (pod) {
    pods_[ref] = pod;
    pod_at_[pod->address] = ref;
    touch(Topic::Kind::kAddress, pod->address.to_string());
    for (auto it = services_.lower_bound({ref.ns, ""}); it != services_.end() && it->first.ns == ref.ns; ++it) {
      if (!selects(*it->second.spec, *pod)) continue;
      join(it->second, pod);
      touch_members(it->first);
    }
    if (!pod->service.empty()) {
      registered_for_[{ref.ns, pod->service}][ref.name] = pod;
      implied.insert({ref.ns, pod->service});
    }
  }
  for (const Ref& service : implied) imply_service(service, now);
}

void Index::apply_slice(const Ref& ref, std::shared_ptr<const EndpointSlice> slice) {
  auto before = as<EndpointSlice>(find({Kind::kEndpointSlice, "", ref.ns, ref.name}));
  auto update = [&](const std::string& name, const EndpointSlice* out, std::shared_ptr<const EndpointSlice> in) {
    Ref service{ref.ns, name};
    auto& list = slices_[service];
    replace_in(list, out, std::move(in));
    if (auto it = services_.find(service); it != services_.end()) it->second.slices = list;
    if (list.empty()) slices_.erase(service);
    touch_members(service);
  };
  if (before) update(before->service, before.get(), nullptr);
  if (slice) update(slice->service, nullptr, slice);
}

void Index::apply_server(const Ref& ref, std::shared_ptr<const Server> server) {
  auto before = as<Server>(find({Kind::kServer, "", ref.ns, ref.name}));
  auto& list = servers_[ref.ns];
  replace_in(list, before.get(), std::move(server));
  if (list.empty()) servers_.erase(ref.ns);
  touch(Topic::Kind::kServers, ref.ns);
}

void Index::apply_route(const ResourceKey& key, std::shared_ptr<const HttpRoute> route) {
  auto before = as<HttpRoute>(find(key));
  auto update = [&](std::map<Ref, Routes>& table, const Ref& parent, const HttpRoute* out,
                    std::shared_ptr<const HttpRoute> in) {
    Routes& list = table[parent];
    replace_in(list, out, std::move(in));
    if (list.empty()) table.erase(parent);
  };
  auto each = [&](const HttpRoute* r, const HttpRoute* out, const std::shared_ptr<const HttpRoute>& in) {
    Parents parents = parents_of(r);
    for (const Ref& p : parents.services) {
      update(service_routes_, p, out, in);
      touch(Topic::Kind::kService, p.to_string());
    }
    for (const Ref& p : parents.servers) {
      update(server_routes_, p, out, in);
      touch(Topic::Kind::kServers, p.ns);
    }
  };
  each(before.get(), before.get(), nullptr);
  each(route.get(), nullptr, route);
}

// --- Snapshot ---

const MeshConfig& Snapshot::mesh() const { return index_.mesh_; }

const ServiceEntry* Snapshot::service(const Ref& ref) const {
  note(Topic::Kind::kService, ref.to_string());
  auto it = index_.services_.find(ref);
  return it == index_.services_.end() ? nullptr : &it->second;
}

const ServiceEntry* Snapshot::endpoints(const Ref& ref) const {
  note(Topic::Kind::kEndpoints, ref.to_string());
  return service(ref);
}

const ServiceEntry* Snapshot::service_at(IpAddr ip) const {
  note(Topic::Kind::kAddress, ip.to_string());
  auto it = index_.service_at_.find(ip);
  return it == index_.service_at_.end() ? nullptr : service(it->second);
}

PodPtr Snapshot::pod(const Ref& ref) const {
  note(Topic::Kind::kPod, ref.to_string());
  auto it = index_.pods_.find(ref);
  return it == index_.pods_.end() ? nullptr : it->second;
}

PodPtr Snapshot::pod_at(IpAddr ip) const {
  note(Topic::Kind::kAddress, ip.to_string());
  auto it = index_.pod_at_.find(ip);
  return it == index_.pod_at_.end() ? nullptr : pod(it->second);
}

std::vector<const ServiceEntry*> Snapshot::services_of(const Pod& pod) const {
  std::vector<const ServiceEntry*> out;
  auto it = index_.selected_by_.find(pod.meta.ref());
  note(Topic::Kind::kPod, pod.meta.ref().to_string());
  if (it == index_.selected_by_.end()) return out;
  for (const Ref& ref : it->second)
    if (const ServiceEntry* entry = service(ref)) out.push_back(entry);
  return out;
}

std::optional<std::string_view> Snapshot::namespace_annotation(std::string_view ns, std::string_view key) const {
  note(Topic::Kind::kNamespace, std::string(ns));
  auto it = index_.namespaces_.find(ns);
  if (it == index_.namespaces_.end()) return std::nullopt;
  return it->second->meta.annotation(key);
}

const std::vector<std::shared_ptr<const Server>>& Snapshot::servers(const std::string& ns) const {
  static const std::vector<std::shared_ptr<const Server>> kNone;
  note(Topic::Kind::kServers, ns);
  auto it = index_.servers_.find(ns);
  return it == index_.servers_.end() ? kNone : it->second;
}

const std::vector<std::shared_ptr<const HttpRoute>>& Snapshot::routes_of_service(const Ref& ref) const {
  static const Index::Routes kNone;
  note(Topic::Kind::kService, ref.to_string());
  auto it = index_.service_routes_.find(ref);
  return it == index_.service_routes_.end() ? kNone : it->second;
}

const std::vector<std::shared_ptr<const HttpRoute>>& Snapshot::routes_of_server(const Ref& ref) const {
  static const Index::Routes kNone;
  note(Topic::Kind::kServers, ref.ns);
  auto it = index_.server_routes_.find(ref);
  return it == index_.server_routes_.end() ? kNone : it->second;
}

const std::map<Ref, ServiceEntry>& Snapshot::all_services() const {
  note(Topic::Kind::kNames, "");
  return index_.services_;
}

const std::map<Ref, PodPtr>& Snapshot::all_pods() const { return index_.pods_; }

}  // namespace tulle::control
