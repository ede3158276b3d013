#include "proxy/outbound/outbound.h"

#include "libs/observe/families.h"

namespace tulle::proxy::outbound {
namespace {
constexpr observe::Family kNoDiscovery =
    observe::om_counter("tulle_no_discovery_total",
                        "Connections to targets about which the control plane said nothing in time, by what was done");
}  // namespace

Outbound::Outbound(Worker& w)
    : worker(w),
      serving(w, "outbound", w.config.outbound, w.drain, w.outbound_holders),
      no_discovery_forwarded(w.metrics.counter(kNoDiscovery, observe::Labels().add("action", "forwarded"))),
      no_discovery_refused(w.metrics.counter(kNoDiscovery, observe::Labels().add("action", "refused"))),
      speculative_dials(proxy::speculative_dials(w.metrics, "outbound", "dialled")),
      speculative_used(proxy::speculative_dials(w.metrics, "outbound", "used")) {}

std::shared_ptr<Target> Outbound::target(SocketAddr addr) {
  auto found = targets_.find(addr);
  if (found == targets_.end()) {
    if (targets_.size() >= worker.config.max_targets) make_room();
    found = targets_.emplace(addr, std::make_shared<Target>()).first;
    found->second->addr = addr;
    found->second->watch = worker.targets.get(addr);
    worker.remembered_targets->set(static_cast<double>(targets_.size()));
  }
  touch(*found->second);
  return found->second;
}

void Outbound::touch(Target& t) {
  t.last_used = worker.reactor.now();
  t.unlink();
  by_use_.push_back(t);
}

// Forgets the target that has been unused for longest. Those in use, whose number the limit on connections bounds, go
// behind it on the way.
void Outbound::make_room() {
  for (size_t n = targets_.size(); n > 0 && !by_use_.empty(); --n) {
    auto it = targets_.find(by_use_.front().addr);
    if (it->second.use_count() > 1) {
      it->second->unlink();
      by_use_.push_back(*it->second);
      continue;
    }
    targets_.erase(it);
    worker.evicted_targets->add();
    return;
  }
}

std::shared_ptr<const Resolved> Outbound::resolve(Target& t) {
  const auto& info = t.watch.value();
  if (!info) return nullptr;
  if (t.resolved && t.resolved->info == info) return t.resolved;
  auto next = std::make_shared<Resolved>();
  next->info = info;
  for (const BackendSpec& spec : info->policy->backends) next->backends.push_back(balancer(spec));
  t.resolved = std::move(next);
  return t.resolved;
}

// Backends that are the same share one balancer, whichever targets and routes lead to them.
std::shared_ptr<Balancer> Outbound::balancer(const BackendSpec& spec) {
  std::string key;
  if (auto* b = std::get_if<wire::Balancer>(&spec.target))
    key = cat("balancer ", b->path, ' ', b->load.default_rtt.count(), ' ', b->load.decay.count());
  else if (auto* e = std::get_if<wire::Endpoint>(&spec.target))
    key = cat("endpoint ", e->addr.to_string(), ' ', e->tls ? e->tls->id : std::string(), ' ',
              static_cast<int>(e->hint), ' ', e->opaque_transport_port);
  if (balancers_.size() >= worker.config.max_targets && !balancers_.contains(key))
    absl::erase_if(balancers_, [](auto& b) { return b.second.balancer.use_count() == 1; });
  auto& kept = balancers_[key];
  if (!kept.balancer) kept.balancer = std::make_shared<Balancer>(worker, spec);
  return kept.balancer;
}

void Outbound::sweep() {
  TimePoint now = worker.reactor.now();
  Duration idle = worker.config.outbound.discovery_idle_timeout;
  absl::erase_if(targets_, [&](auto& t) { return t.second.use_count() == 1 && now - t.second->last_used >= idle; });
  worker.remembered_targets->set(static_cast<double>(targets_.size()));
  absl::erase_if(balancers_, [&](auto& b) {
    Kept& k = b.second;
    k.balancer->note_staleness();
    if (k.balancer.use_count() > 1) k.unused_since = kNever;
    else if (k.unused_since == kNever) k.unused_since = now;
    return k.unused_since != kNever && now - k.unused_since >= idle;
  });
}

observe::CounterRef Outbound::http_error(Reason reason) {
  const ErrorRow& row = error_row(reason);
  return worker.metrics.counter(observe::kOutboundHttpErrorsTotal,
                                observe::Labels().add("error", row.label).add("reason", row.name));
}
observe::CounterRef Outbound::tcp_error(std::string_view reason) {
  return worker.metrics.counter(observe::kOutboundTcpErrorsTotal, observe::Labels().add("error", reason));
}

}  // namespace tulle::proxy::outbound
