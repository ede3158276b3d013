#include "proxy/outbound/balancer.h"

#include "libs/observe/families.h"

namespace tulle::proxy::outbound {
namespace {
constexpr observe::Family kStale =
    observe::om_gauge("tulle_discovery_stale_seconds", "How long discovery has been silent about a backend");
}

Balancer::Balancer(Worker& worker, const BackendSpec& spec)
    : worker_(worker),
      requests_{worker.config.outbound.http_failfast_timeout, worker.config.outbound.http_queue_capacity},
      raw_{worker.config.tcp_failfast_timeout, worker.config.tcp_queue_capacity},
      round_robin_(worker.config.round_robin),
      set_(worker.config.absent_grace),
      not_ready_since_(worker.reactor.now()),
      changed_(worker.reactor),
      collector_(*this) {
  if (auto* fixed = std::get_if<wire::Endpoint>(&spec.target)) {
    name_ = fixed->addr.to_string();
    Discovered one;
    one.endpoints.push_back(std::make_shared<const wire::Endpoint>(*fixed));
    apply(one);
  } else if (auto* balancer = std::get_if<wire::Balancer>(&spec.target)) {
    name_ = authority_ = balancer->path;
    load_ = balancer->load;
    endpoints_gauge_ = worker.metrics.gauge(observe::kOutboundHttpBalancer.endpoints,
                                            observe::Labels().add("backend", name_).add("endpoint_state", "ready"));
    stale_gauge_ = worker.metrics.gauge(kStale, observe::Labels().add("backend", name_));
    watch_ = worker.endpoints.get(name_);
    following_ = std::make_unique<rt::Running>(worker.reactor, follow());
  }
}

Balancer::~Balancer() {
  for (auto& s : slots_)
    if (s.endpoint) s.endpoint->retire();
}

// ---- Discovery

rt::Task<void> Balancer::follow() {
  for (;;) {
    if (watch_.value()) apply(*watch_.value());
    co_await watch_.changed().wait();
  }
}

// Snapshots are whole sets: to the trust rules each is the first Add after a reconnect, which replaces.
void Balancer::apply(const Discovered& d) {
  TimePoint now = worker_.reactor.now();
  stale_since_ = d.stale_since;
  if (d.stale_since != kNever) {
    set_.stream_broken(now);
    return;  // the last good set stays
  }
  wire::Update update;
  update.kind = d.endpoints.empty() ? wire::Update::Kind::kNoEndpoints : wire::Update::Kind::kAdd;
  update.exists = d.exists;
  update.labels = d.labels;
  for (const auto& e : d.endpoints) update.add.push_back(*e);
  set_.stream_broken(now);
  auto changes = set_.apply(update, now);
  if (!changes.added.empty() || !changes.replaced.empty()) {
    auto group = std::make_shared<const Endpoint::Group>(authority_, d.labels);
    wire::LoadEstimate load = load_;
    load.default_rtt = std::min(load.default_rtt, peers_estimate());
    for (EndpointId id : changes.added) place(id, group, load);
    for (EndpointId id : changes.replaced) {
      slots_[id].endpoint->retire();
      place(id, group, load);
    }
  }
  collect();
  if (endpoints_gauge_) endpoints_gauge_->set(static_cast<double>(set_.present_count()));
  note_readiness();
  changed_.notify();
}

// A new endpoint counts as ready: connections are made when requests need them, and a failure to make one costs the
// request nothing, for it can safely go elsewhere.
void Balancer::place(EndpointId id, const std::shared_ptr<const Endpoint::Group>& group,
                     const wire::LoadEstimate& load) {
  if (slots_.size() <= id) slots_.resize(id + 1);
  slots_[id].probing.reset();
  slots_[id].endpoint =
      std::make_shared<Endpoint>(worker_, std::make_shared<const wire::Endpoint>(set_.info(id)), group, load);
  set_.set_ready(id, true);
}

// What a new endpoint is taken for: as fast as its peers on the whole. Linkerd's 30 ms would keep it idle for many
// seconds beside peers that answer in one.
Duration Balancer::peers_estimate() const {
  TimePoint now = worker_.reactor.now();
  double sum = 0;
  int n = 0;
  for (const Slot& s : slots_) {
    if (!s.endpoint || !s.endpoint->measured()) continue;
    sum += s.endpoint->estimate(now);
    ++n;
  }
  return n == 0 ? Duration::max() : Duration(static_cast<int64_t>(sum / n));
}

void Balancer::collect() {
  TimePoint now = worker_.reactor.now();
  for (EndpointId id : set_.collect(now)) {
    slots_[id].endpoint->retire();
    slots_[id] = {};
  }
  collector_.arm(set_.next_deadline(now));
  changed_.notify();
}

void Balancer::note_staleness() {
  if (stale_gauge_) stale_gauge_->set(stale_since_ == kNever ? 0 : to_seconds(worker_.reactor.now() - stale_since_));
}

// ---- Readiness

void Balancer::connect_failed(const std::shared_ptr<Endpoint>& endpoint, const Error& error) {
  for (EndpointId id = 0; id < slots_.size(); ++id) {
    if (slots_[id].endpoint != endpoint || (slots_[id].probing && !slots_[id].probing->done())) continue;
    worker_.log.warn(worker_.reactor.now(), "endpoint unreachable", std::hash<std::string>()(name_),
                     {{"backend", name_}, {"addr", endpoint->addr().to_string()}, {"error", error.reason}});
    set_.set_ready(id, false);
    note_readiness();
    last_failure_ = error.reason;
    slots_[id].probing = std::make_unique<rt::Running>(worker_.reactor, probe(id));
    changed_.notify();
  }
}

rt::Task<void> Balancer::probe(EndpointId id) {
  const auto& c = worker_.config.outbound.connect_backoff;
  Backoff backoff(c.min, c.max, c.jitter);
  std::shared_ptr<Endpoint> endpoint = slots_[id].endpoint;
  for (;;) {
    co_await rt::sleep_for(worker_.reactor, backoff.next(worker_.reactor.rng()));
    auto r = co_await endpoint->probe();
    if (r) break;
    last_failure_ = r.error().reason;
  }
  worker_.log.info(worker_.reactor.now(), "endpoint reachable again", std::hash<std::string>()(name_),
                   {{"backend", name_}, {"addr", endpoint->addr().to_string()}});
  set_.set_ready(id, true);
  note_readiness();
  changed_.notify();
}

void Balancer::note_readiness() {
  if (!set_.usable(worker_.reactor.now()).ids.empty()) not_ready_since_ = kNever;
  else if (not_ready_since_ == kNever) not_ready_since_ = worker_.reactor.now();
}

bool Balancer::ready() { return !set_.usable(worker_.reactor.now()).ids.empty(); }

// ---- The choice

std::shared_ptr<Endpoint> Balancer::choose(const Endpoint* not_this) {
  TimePoint now = worker_.reactor.now();
  auto usable = set_.usable(now);
  if (usable.ids.empty()) return nullptr;
  std::span<const EndpointId> ids = usable.ids;
  if (not_this || usable.verified_only) {
    candidates_.clear();
    for (EndpointId id : ids) {
      const Endpoint& e = *slots_[id].endpoint;
      if (usable.verified_only && !e.meshed() && !e.connected()) continue;
      if (&e == not_this && ids.size() > 1) continue;
      candidates_.push_back(id);
    }
    ids = candidates_;
  }
  size_t i = round_robin_
                 ? next_.pick(ids.size())
                 : p2c(ids.size(), worker_.reactor.rng(), [&](size_t n) { return slots_[ids[n]].endpoint->load(now); });
  return i == kNoChoice ? nullptr : slots_[ids[i]].endpoint;
}

rt::Task<std::expected<std::shared_ptr<Endpoint>, ProxyError>> Balancer::pick(const Endpoint* not_this, For what) {
  if (auto e = choose(not_this)) co_return e;
  Queue& queue = what == For::kRequest ? requests_ : raw_;
  if (queue.waiting >= queue.capacity)
    co_return std::unexpected(ProxyError(
        Reason::kLoadShed,
        cat("too many ", what == For::kRequest ? "requests" : "connections of raw bytes", " wait for ", name_)));
  struct Waiting {
    size_t& n;
    explicit Waiting(size_t& c) : n(c) { ++n; }
    ~Waiting() { --n; }
  } waiting(queue.waiting);
  note_readiness();
  // What is ready and may not be chosen, for it cannot prove who it is, is as good as not ready.
  const TimePoint began = worker_.reactor.now();
  for (;;) {
    TimePoint give_up = std::min(not_ready_since_, began) + queue.failfast;
    if (worker_.reactor.now() >= give_up) {
      bool known = set_.resolved(), none = known && set_.present_count() == 0;
      std::string why = cat(name_, ": ", known ? "no endpoint was ready for " : "discovery has said nothing for ",
                            format_duration(queue.failfast));
      if (known && !none && !last_failure_.empty()) append(why, "; the last try: ", last_failure_);
      co_return std::unexpected(ProxyError(none ? Reason::kNoEndpoints : Reason::kFailFast, std::move(why)));
    }
    (void)co_await changed_.wait_until(give_up);
    if (auto e = choose(not_this)) co_return e;
  }
}

}  // namespace tulle::proxy::outbound
