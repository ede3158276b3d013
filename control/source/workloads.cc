#include "control/source/workloads.h"

#include <algorithm>
#include <set>

#include "control/source/fields.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr size_t kMaxWorkloads = 100'000;
constexpr size_t kMaxPorts = 64;
constexpr size_t kMaxLabels = 64;
constexpr uint16_t kProxyPorts[] = {4140, 4143, 4190, 4191};

std::unexpected<Error> invalid(std::string_view field, std::string_view found, std::string_view accepted) {
  return fail(Code::kInvalid, cat(field, ": found ", quoted(found), "; accepted: ", accepted), Side::kClient);
}

Result<> check_labels(std::string_view field, const Labels& labels, bool values) {
  if (labels.size() > kMaxLabels) return fail(Code::kInvalid, cat(field, ": more than ", kMaxLabels), Side::kClient);
  for (const auto& [key, value] : labels) {
    if (!is_label_key(key)) return invalid(field, key, "keys [PREFIX/]NAME");
    if (values && !is_label_value(value)) return invalid(field, value, "at most 63 letters, digits, -, _ and .");
    if (value.size() > 4096)
      return fail(Code::kInvalid, cat(field, ": ", key, ": more than 4096 bytes"), Side::kClient);
  }
  return {};
}

std::shared_ptr<const Resource> as_resource(const std::shared_ptr<const Pod>& pod) {
  return std::make_shared<const Resource>(*pod);
}
Event put(const std::shared_ptr<const Pod>& pod) {
  return {{Kind::kPod, "", pod->meta.ns, pod->meta.name}, as_resource(pod)};
}
Event gone(const Pod& pod) { return {{Kind::kPod, "", pod.meta.ns, pod.meta.name}, nullptr}; }

}  // namespace

Result<> Workloads::check(const RegisterRequest& r) const {
  constexpr std::string_view kLabel = "a-z, 0-9 and -, at most 63";
  if (!r.name.empty() && !is_dns_label(r.name)) return invalid("name", r.name, kLabel);
  if (!is_dns_label(r.ns)) return invalid("namespace", r.ns, kLabel);
  if (!r.service.empty() && !is_dns_label(r.service)) return invalid("service", r.service, kLabel);
  if (!is_dns_label(r.service_account)) return invalid("service_account", r.service_account, kLabel);
  TULLE_TRY_VOID(check_labels("labels", r.labels, true));
  TULLE_TRY_VOID(check_labels("annotations", r.annotations, false));
  if (r.ports.size() > kMaxPorts) return fail(Code::kInvalid, cat("ports: more than ", kMaxPorts), Side::kClient);
  std::set<std::string> names;
  std::set<uint16_t> numbers;
  for (const PodPort& p : r.ports) {
    if (p.port == 0) return invalid("ports.port", "0", "1 to 65535");
    if (!p.name.empty() && !is_port_name(p.name))
      return invalid("ports.name", p.name, "a-z, 0-9 and -, at most 15, at least one letter");
    if (!p.name.empty() && !names.insert(p.name).second) return invalid("ports.name", p.name, "each name once");
    if (!numbers.insert(p.port).second) return invalid("ports.port", std::to_string(p.port), "each port once");
  }
  return {};
}

Result<> Workloads::assign_served_ports(std::vector<PodPort>& ports) const {
  std::set<uint16_t> taken(std::begin(kProxyPorts), std::end(kProxyPorts));
  for (const PodPort& p : ports)
    if (p.served != 0 && !taken.insert(p.served).second)
      return invalid("ports.served", std::to_string(p.served), "a port of its own");
  for (PodPort& p : ports) {
    if (p.served != 0) continue;
    uint32_t wanted = p.port >= options_.first_unprivileged_port ? p.port : p.port + 20'000u;
    if (taken.contains(static_cast<uint16_t>(wanted)) && wanted < 20'000) wanted += 20'000;
    while (wanted <= 65'535 && taken.contains(static_cast<uint16_t>(wanted))) ++wanted;
    if (wanted > 65'535) return invalid("ports.port", std::to_string(p.port), "a port that can be served");
    p.served = static_cast<uint16_t>(wanted);
    taken.insert(p.served);
  }
  return {};
}

std::string Workloads::fresh_name(const RegisterRequest& r) {
  constexpr std::string_view kLetters = "bcdfghjklmnpqrstvwxz2456789";
  for (;;) {
    std::string name = (r.service.empty() ? "run" : r.service.substr(0, 57)) + "-";
    for (int i = 0; i < 5; ++i) name.push_back(kLetters[rng_.below(kLetters.size())]);
    if (!ids_.contains({r.ns, name})) return name;
  }
}

Result<const Workload*> Workloads::add(RegisterRequest r, TimePoint now, std::vector<Event>& events) {
  TULLE_TRY_VOID(check(r));
  if (by_id_.size() >= kMaxWorkloads) return fail(Code::kExhausted, cat("more than ", kMaxWorkloads, " workloads"));
  TULLE_TRY_VOID(assign_served_ports(r.ports));
  if (r.name.empty()) r.name = fresh_name(r);
  Ref ref{r.ns, r.name};
  if (const Workload* before = find(ref)) {
    if (before->held) return fail(Code::kDenied, cat("a workload ", ref.to_string(), " is running"), Side::kClient);
    std::string id = before->id;
    remove(id, events);
  }
  IpAddr address;
  if (r.address && addresses_.take(*r.address)) address = *r.address;
  else {
    TULLE_TRY(address, addresses_.take_next());
  }
  auto pod = std::make_shared<Pod>();
  pod->meta.ns = r.ns;
  pod->meta.name = r.name;
  pod->meta.labels = std::move(r.labels);
  if (!r.service.empty()) pod->meta.labels.emplace("app", r.service);
  pod->meta.annotations = std::move(r.annotations);
  pod->meta.origin = cat("workload, pid ", r.pid);
  pod->service = std::move(r.service);
  pod->service_account = std::move(r.service_account);
  pod->address = address;
  pod->ports = std::move(r.ports);
  pod->ready = r.ready;
  std::string id = cat("w", rng_.next());
  Workload& w = by_id_[id];
  w = {id, std::move(pod), r.pid, false, now + options_.hold_within};
  ids_[ref] = id;
  events.push_back(put(w.pod));
  return &w;
}

Result<const Workload*> Workloads::move(std::string_view id, std::vector<Event>& events) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return fail(Code::kNotFound, cat("no workload ", quoted(id)), Side::kClient);
  TULLE_TRY(IpAddr address, addresses_.take_next());
  auto pod = std::make_shared<Pod>(*it->second.pod);
  addresses_.release(pod->address);
  pod->address = address;
  it->second.pod = std::move(pod);
  events.push_back(put(it->second.pod));
  return &it->second;
}

Result<> Workloads::set_ready(std::string_view id, bool ready, std::vector<Event>& events) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return fail(Code::kNotFound, cat("no workload ", quoted(id)), Side::kClient);
  if (it->second.pod->ready == ready) return {};
  auto pod = std::make_shared<Pod>(*it->second.pod);
  pod->ready = ready;
  it->second.pod = std::move(pod);
  events.push_back(put(it->second.pod));
  return {};
}

Result<const Workload*> Workloads::hold(std::string_view id) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return fail(Code::kNotFound, cat("no workload ", quoted(id)), Side::kClient);
  if (it->second.held) return fail(Code::kDenied, cat("workload ", quoted(id), " is held already"), Side::kClient);
  it->second.held = true;
  return &it->second;
}

void Workloads::remove(std::string_view id, std::vector<Event>& events) {
  auto it = by_id_.find(id);
  if (it == by_id_.end()) return;
  const Pod& pod = *it->second.pod;
  events.push_back(gone(pod));
  addresses_.release(pod.address);
  ids_.erase(pod.meta.ref());
  by_id_.erase(it);
}

std::vector<std::string> Workloads::not_held(TimePoint now) const {
  std::vector<std::string> out;
  for (const auto& [id, w] : by_id_)
    if (!w.held && w.hold_by <= now) out.push_back(id);
  return out;
}

const Workload* Workloads::find(std::string_view id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &it->second;
}

const Workload* Workloads::find(const Ref& ref) const {
  auto it = ids_.find(ref);
  return it == ids_.end() ? nullptr : find(std::string_view(it->second));
}

}  // namespace tulle::control
