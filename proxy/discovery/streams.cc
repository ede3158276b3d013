#include "proxy/discovery/streams.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "libs/base/log.h"
#include "libs/grpc/client.h"
#include "libs/rt/scope.h"
#include "proxy/discovery/control_client.h"

namespace tulle::proxy {
namespace {

using grpc::Status;
using grpc::StatusCode;

constexpr observe::Family kStreamEnds = observe::Family{"tulle_discovery_stream_ends_total",
                                                        "Streams of the control plane that ended, by status",
                                                        observe::Type::kCounter,
                                                        observe::Format::kOpenMetrics,
                                                        {}};

// One stream and what it does with what it gets.
struct Listener : Subscription {
  Listener(rt::Reactor& reactor, std::string_view path)
      : Subscription(reactor, std::string(path.substr(path.rfind('/') + 1))), path(path) {}
  virtual ~Listener() = default;
  virtual void on_message(Bytes message) = 0;
  // The stream has ended. True: asking again is no use, the answer was final.
  virtual bool on_end(const Status& status) = 0;
  // It is about to be made anew, and begins with all there is.
  virtual void on_afresh() {}
  std::string path;
};

// The stream once, to its end, for which the listener is notified.
rt::Task<void> follow_once(ControlService service, std::string request, Listener& listener,
                           std::optional<TimePoint>& last_message, std::optional<Status>& ended) {
  Status status(StatusCode::kUnavailable, "the stream ended");
  ControlCall counted(service.series, listener.changed().reactor());
  bool clean = false;
  auto call = co_await grpc::call(service.client, service.authority, listener.path, request);
  if (!call) status = std::move(call).error();
  while (call) {
    auto message = co_await call->read();
    if (!message) status = std::move(message).error();
    clean = message && !*message;
    if (!message || clean) break;
    last_message = listener.changed().reactor().now();
    listener.on_message(**message);
  }
  counted.end(clean ? Status() : status);
  ended = std::move(status);
  listener.changed().notify();
}

// Until when a stream may go on.
TimePoint stream_deadline(const StreamLimits& limits, TimePoint started, std::optional<TimePoint> last_message) {
  TimePoint until = limits.lifetime ? started + *limits.lifetime : kNever;
  if (auto quiet = last_message ? limits.idle : limits.initial)
    until = std::min(until, last_message.value_or(started) + *quiet);
  return until;
}

// One stream, made again whenever it ends or reaches a limit, and when an update of it has been lost.
rt::Task<void> follow(rt::Reactor& reactor, const StreamsConfig& config, ControlService service, std::string request,
                      observe::Shard& shard, Listener& listener) {
  const BackoffConfig& backoff = config.backoff;
  config.subscriptions.add(listener);
  Duration delay = backoff.min;
  for (;;) {
    std::optional<TimePoint> last_message;
    std::optional<Status> ended;
    bool over = false;  // a limit is reached
    {
      TimePoint started = reactor.now();
      rt::Running once(reactor, follow_once(service, request, listener, last_message, ended));
      while (!ended && !over && !listener.taken()) {
        TimePoint until = stream_deadline(service.limits, started, last_message);
        if (until == kNever) co_await listener.changed().wait();
        else
          over = !co_await listener.changed().wait_until(until) &&
                 reactor.now() >= stream_deadline(service.limits, started, last_message);
      }
    }
    if (last_message) delay = backoff.min;
    if (!ended && !over) {
      listener.on_afresh();
      continue;
    }
    if (!ended) ended = Status(StatusCode::kDeadlineExceeded, "the stream has reached a limit of ours");
    const Status& status = *ended;
    shard
        .counter(kStreamEnds,
                 observe::Labels().add("rpc", listener.rpc()).add("status", grpc::status_name(status.code)))
        ->add();
    // A stream that we end after it has said something is no loss: what it said holds.
    if (over && last_message) listener.on_afresh();
    else if (listener.on_end(status)) break;
    log_debug("control stream ended", {{"rpc", listener.path}, {"status", status.to_string()}});
    double jitter = 1 + backoff.jitter * reactor.rng().unit();
    co_await rt::sleep_for(reactor, std::chrono::duration_cast<Duration>(delay * jitter));
    delay = std::min(delay * 2, backoff.max);
  }
  // Final: stay, so that the key is not asked for again while it is in use.
  for (;;) co_await rt::sleep_for(reactor, 24h);
}

bool is_final(const Status& s) {
  return s.code == StatusCode::kInvalidArgument || s.code == StatusCode::kFailedPrecondition;
}

// Says in the log what a policy asks for and does not get, once for each change of it.
class NotSupported {
 public:
  NotSupported(std::string_view what, std::string about) : what_(what), about_(std::move(about)) {}
  void now(std::vector<std::string> lines) {
    if (lines == said_) return;
    said_ = std::move(lines);
    for (const auto& line : said_) log_warn("not supported yet, and left out", {{what_, about_}, {"what", line}});
  }

 private:
  std::string_view what_;
  std::string about_;
  std::vector<std::string> said_;
};

// ---- Targets: two streams, one snapshot

// The policy that both answers make together (reference: proxy.md §3.1).
TargetInfo combine(SocketAddr addr, const std::optional<wire::OutboundPolicy>& policy,
                   const std::optional<wire::DestinationProfile>& profile, const std::string& invalid) {
  TargetInfo info;
  info.addr = addr;
  info.opaque = profile && profile->opaque;
  if (!invalid.empty()) {
    info.policy = invalid_policy(invalid);
  } else if (profile && !profile->name.empty() && (!profile->routes.empty() || !profile->dst_overrides.empty())) {
    info.policy = split_policy(*profile, addr.port);
  } else if (policy) {
    info.policy = compile_policy(*policy);
  } else if (profile && profile->endpoint) {
    info.policy = forward_policy(*profile->endpoint, "endpoint", info.opaque);
  } else {
    wire::Endpoint as_it_is;
    as_it_is.addr = addr;
    info.policy = forward_policy(as_it_is, profile ? "endpoint" : "fallback", info.opaque);
  }
  return info;
}

std::optional<wire::SetDigest> digest_of(wire::SetDigest::Kind kind, SocketAddr key, std::optional<uint64_t> told) {
  if (!told) return std::nullopt;
  return wire::SetDigest{kind, key.to_string(), *told};
}

class TargetWatch {
 public:
  TargetWatch(rt::Reactor& reactor, SocketAddr addr, TargetHub::Publish publish)
      : on_policy(reactor, *this),
        on_profile(reactor, *this),
        addr_(addr),
        publish_(std::move(publish)),
        policy_lacks_("target", addr.to_string()),
        profile_lacks_("target", addr.to_string()) {}

  struct PolicyListener final : Listener {
    TargetWatch& watch;
    std::optional<uint64_t> told;
    PolicyListener(rt::Reactor& r, TargetWatch& w) : Listener(r, wire::kOutboundPoliciesWatch), watch(w) {}
    std::optional<wire::SetDigest> digest() const override {
      return digest_of(wire::SetDigest::Kind::kOutboundPolicy, watch.addr_, told);
    }
    void on_message(Bytes message) override {
      told = wire::message_digest(message);
      auto policy = wire::decode_outbound_policy(message);
      watch.refused_.clear();
      watch.invalid_ = policy ? "" : policy.error().reason;
      if (policy) {
        watch.policy_lacks_.now(unsupported(*policy, kSupported));
        watch.policy_ = std::move(*policy);
      } else {
        log_warn("outbound policy cannot be used",
                 {{"target", watch.addr_.to_string()}, {"error", policy.error().reason}});
      }
      watch.policy_known_ = true;
      watch.publish();
    }
    bool on_end(const Status& s) override {
      bool none = s.code == StatusCode::kNotFound || s.code == StatusCode::kUnimplemented;
      if (!none && !is_final(s)) return false;
      // What was said last holds: a control plane that has just started may not know the target yet, and going on
      // without the policy could turn encryption off.
      if (watch.policy_) return false;
      bool news = is_final(s) || !watch.policy_known_;
      if (is_final(s)) watch.refused_ = s.to_string();
      watch.policy_known_ = true;
      if (news) watch.publish();
      return is_final(s);
    }
  };
  struct ProfileListener final : Listener {
    TargetWatch& watch;
    std::optional<uint64_t> told;
    ProfileListener(rt::Reactor& r, TargetWatch& w) : Listener(r, wire::kDestinationGetProfile), watch(w) {}
    std::optional<wire::SetDigest> digest() const override {
      return digest_of(wire::SetDigest::Kind::kProfile, watch.addr_, told);
    }
    void on_message(Bytes message) override {
      told = wire::message_digest(message);
      auto profile = wire::decode_profile(message);
      if (!profile) {
        log_warn("destination profile cannot be used",
                 {{"target", watch.addr_.to_string()}, {"error", profile.error().reason}});
        return;
      }
      auto lacks = unsupported(*profile, kSupported);
      lacks.insert(lacks.end(), profile->ignored.begin(), profile->ignored.end());
      watch.profile_lacks_.now(std::move(lacks));
      watch.profile_ = std::move(*profile);
      watch.profile_known_ = true;
      watch.publish();
    }
    bool on_end(const Status& s) override {
      bool final_answer = is_final(s) || s.code == StatusCode::kNotFound || s.code == StatusCode::kUnimplemented;
      if (!final_answer) return false;
      told.reset();
      watch.profile_.reset();
      watch.profile_known_ = true;
      watch.publish();
      return is_final(s);
    }
  };

  void no_profile() { profile_known_ = true; }
  PolicyListener on_policy;
  ProfileListener on_profile;

 private:
  void publish() {
    if (!policy_known_ || !profile_known_) return;
    TargetInfo info = combine(addr_, policy_, profile_, invalid_);
    info.refused = refused_;
    publish_(std::make_shared<const TargetInfo>(std::move(info)));
  }
  SocketAddr addr_;
  TargetHub::Publish publish_;
  std::optional<wire::OutboundPolicy> policy_;
  std::optional<wire::DestinationProfile> profile_;
  NotSupported policy_lacks_, profile_lacks_;
  std::string refused_, invalid_;
  bool policy_known_ = false;
  bool profile_known_ = false;
};

rt::Task<void> watch_target(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard, SocketAddr addr,
                            TargetHub::Publish publish) {
  TargetWatch watch(reactor, addr, std::move(publish));
  rt::Scope scope(reactor);
  bool has_profile = std::ranges::any_of(config.profile_networks, [&](const Cidr& n) { return n.contains(addr.ip); });
  if (has_profile) {
    wire::GetDestination request{.scheme = "", .path = addr.to_string(), .context_token = config.context_token};
    scope.spawn(follow(reactor, config, config.destination, encode(request), shard, watch.on_profile));
  } else {
    watch.no_profile();
  }
  wire::TrafficSpec spec{.source_workload = config.workload, .target = addr};
  co_await follow(reactor, config, config.policy, encode(spec), shard, watch.on_policy);
}

// ---- Endpoints

class EndpointWatch final : public Listener {
 public:
  EndpointWatch(rt::Reactor& reactor, std::string path, EndpointHub::Publish publish)
      : Listener(reactor, wire::kDestinationGet),
        reactor_(reactor),
        path_(std::move(path)),
        publish_(std::move(publish)) {}

  std::optional<wire::SetDigest> digest() const override {
    if (fresh_ || !set_.exists) return std::nullopt;
    uint64_t sum = 0;
    for (const auto& e : set_.endpoints) sum += wire::endpoint_digest(*e);
    return wire::SetDigest{wire::SetDigest::Kind::kDestination, path_, sum};
  }
  void on_afresh() override { fresh_ = true; }

  void on_message(Bytes message) override {
    auto update = wire::decode_update(message);
    if (!update) {
      log_warn("endpoint update cannot be used", {{"path", path_}, {"error", update.error().reason}});
      return;
    }
    for (const auto& what : update->ignored) log_warn("endpoint ignored", {{"path", path_}, {"what", what}});
    switch (update->kind) {
      case wire::Update::Kind::kAdd:
        if (fresh_) set_.endpoints.clear();  // after a reconnect the first set replaces what was known
        set_.labels = std::move(update->labels);
        put(std::move(update->add));
        set_.exists = true;
        break;
      case wire::Update::Kind::kRemove:
        if (fresh_) return;  // of a set that has not been sent yet
        take(absl::flat_hash_set<SocketAddr>(update->remove.begin(), update->remove.end()));
        break;
      case wire::Update::Kind::kNoEndpoints:
        set_.endpoints.clear();
        set_.exists = update->exists;
        break;
    }
    fresh_ = false;
    set_.stale_since = kNever;
    publish_(std::make_shared<const Discovered>(set_));
  }

  bool on_end(const Status& s) override {
    fresh_ = true;
    if (is_final(s) || s.code == StatusCode::kNotFound) {
      set_.endpoints.clear();
      set_.exists = false;
      publish_(std::make_shared<const Discovered>(set_));
      return is_final(s);
    }
    if (set_.stale_since == kNever) {
      set_.stale_since = reactor_.now();
      publish_(std::make_shared<const Discovered>(set_));
    }
    return false;
  }

 private:
  // A service may have ten thousand: one walk for a whole message.
  void put(std::vector<wire::Endpoint>&& added) {
    absl::flat_hash_map<SocketAddr, size_t> place;
    for (size_t i = 0; i < set_.endpoints.size(); ++i) place.emplace(set_.endpoints[i]->addr, i);
    for (wire::Endpoint& e : added) {
      auto [at, is_new] = place.emplace(e.addr, set_.endpoints.size());
      if (is_new) set_.endpoints.emplace_back();
      set_.endpoints[at->second] = std::make_shared<const wire::Endpoint>(std::move(e));
    }
  }
  void take(const absl::flat_hash_set<SocketAddr>& gone) {
    std::erase_if(set_.endpoints, [&](auto& e) { return gone.contains(e->addr); });
  }
  rt::Reactor& reactor_;
  std::string path_;
  EndpointHub::Publish publish_;
  Discovered set_;
  bool fresh_ = true;
};

rt::Task<void> watch_endpoints(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard,
                               std::string path, EndpointHub::Publish publish) {
  EndpointWatch watch(reactor, path, std::move(publish));
  wire::GetDestination request{.scheme = "k8s", .path = path, .context_token = config.context_token};
  co_await follow(reactor, config, config.destination, encode(request), shard, watch);
}

// ---- Inbound ports

class PortWatch final : public Listener {
 public:
  PortWatch(rt::Reactor& reactor, uint16_t port, std::optional<IpAddr> pod_ip, PortHub::Publish publish)
      : Listener(reactor, wire::kInboundPoliciesWatchPort),
        pod_ip_(pod_ip),
        publish_(std::move(publish)),
        lacks_("port", cat(port)) {
    info_.port = port;
  }
  std::optional<wire::SetDigest> digest() const override {
    if (!told_) return std::nullopt;
    return wire::SetDigest{wire::SetDigest::Kind::kInboundPolicy, cat(info_.port), *told_};
  }
  void on_message(Bytes message) override {
    told_ = wire::message_digest(message);
    auto server = wire::decode_server(message);
    if (server) {
      std::vector<std::string> lacks;
      if (server->rate_limit) lacks.emplace_back("local rate limits");
      lacks_.now(std::move(lacks));
      info_.policy = compile_server(*server, pod_ip_);
    } else {
      log_warn("inbound policy cannot be used", {{"port", info_.port}, {"error", server.error().reason}});
      info_.policy = invalid_server(server.error().reason);
    }
    publish_(std::make_shared<const PortInfo>(info_));
  }
  bool on_end(const Status& s) override {
    if (!is_final(s)) return false;
    if (info_.policy) return false;  // it holds until there is another one
    publish_(std::make_shared<const PortInfo>(info_));
    return true;
  }

 private:
  std::optional<IpAddr> pod_ip_;
  PortHub::Publish publish_;
  NotSupported lacks_;
  PortInfo info_;
  std::optional<uint64_t> told_;
};

rt::Task<void> watch_port(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard, uint16_t port,
                          PortHub::Publish publish) {
  PortWatch watch(reactor, port, config.pod_ip, std::move(publish));
  wire::PortSpec spec{.workload = config.workload, .port = port};
  co_await follow(reactor, config, config.policy, encode(spec), shard, watch);
}

}  // namespace

TargetHub::Source target_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard) {
  return [&](SocketAddr addr, TargetHub::Publish publish) {
    return watch_target(reactor, config, shard, addr, std::move(publish));
  };
}
EndpointHub::Source endpoint_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard) {
  return [&](std::string path, EndpointHub::Publish publish) {
    return watch_endpoints(reactor, config, shard, std::move(path), std::move(publish));
  };
}
PortHub::Source port_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard) {
  return [&](uint16_t port, PortHub::Publish publish) {
    return watch_port(reactor, config, shard, port, std::move(publish));
  };
}

}  // namespace tulle::proxy
