#include "proxy/discovery/streams.h"

#include <algorithm>

#include "libs/base/log.h"
#include "libs/grpc/client.h"
#include "libs/rt/scope.h"

namespace tulle::proxy {
namespace {

using grpc::Status;
using grpc::StatusCode;

constexpr observe::Family kStreamEnds = observe::Family{"tulle_discovery_stream_ends_total",
                                                        "Streams of the control plane that ended, by status",
                                                        observe::Type::kCounter,
                                                        observe::Format::kOpenMetrics,
                                                        {}};

// What one stream does with what it gets.
struct Listener {
  virtual ~Listener() = default;
  virtual void on_message(Bytes message) = 0;
  // The stream has ended. True: asking again is no use, the answer was final.
  virtual bool on_end(const Status& status) = 0;
};

// One stream, made again whenever it ends.
rt::Task<void> follow(rt::Reactor& reactor, ControlService service, std::string path, std::string request,
                      BackoffConfig backoff, observe::Shard& shard, Listener& listener) {
  Duration delay = backoff.min;
  for (;;) {
    Status status(StatusCode::kUnavailable, "the stream ended");
    auto call = co_await grpc::call(service.client, service.authority, path, request);
    if (!call) {
      status = std::move(call).error();
    } else {
      for (;;) {
        auto message = co_await call->read();
        if (!message) {
          status = std::move(message).error();
          break;
        }
        if (!*message) break;
        delay = backoff.min;
        listener.on_message(**message);
      }
    }
    shard
        .counter(kStreamEnds, observe::Labels()
                                  .add("rpc", path.substr(path.rfind('/') + 1))
                                  .add("status", grpc::status_name(status.code)))
        ->add();
    if (listener.on_end(status)) break;
    log_debug("control stream ended", {{"rpc", path}, {"status", status.to_string()}});
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

class TargetWatch {
 public:
  TargetWatch(SocketAddr addr, TargetHub::Publish publish) : addr_(addr), publish_(std::move(publish)) {}

  struct PolicyListener final : Listener {
    TargetWatch& watch;
    explicit PolicyListener(TargetWatch& w) : watch(w) {}
    void on_message(Bytes message) override {
      auto policy = wire::decode_outbound_policy(message);
      watch.refused_.clear();
      watch.invalid_ = policy ? "" : policy.error().reason;
      if (policy) {
        for (const auto& what : unsupported(*policy, Supported()))
          log_warn("not supported yet", {{"target", watch.addr_.to_string()}, {"what", what}});
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
      if (is_final(s)) watch.refused_ = s.to_string();
      bool first = !watch.policy_known_;
      watch.policy_known_ = true;
      if (first) watch.publish();
      return is_final(s);
    }
  };
  struct ProfileListener final : Listener {
    TargetWatch& watch;
    explicit ProfileListener(TargetWatch& w) : watch(w) {}
    void on_message(Bytes message) override {
      auto profile = wire::decode_profile(message);
      if (!profile) {
        log_warn("destination profile cannot be used",
                 {{"target", watch.addr_.to_string()}, {"error", profile.error().reason}});
        return;
      }
      for (const auto& what : profile->ignored)
        log_warn("part of a destination profile is ignored", {{"target", watch.addr_.to_string()}, {"what", what}});
      watch.profile_ = std::move(*profile);
      watch.profile_known_ = true;
      watch.publish();
    }
    bool on_end(const Status& s) override {
      bool final_answer = is_final(s) || s.code == StatusCode::kNotFound || s.code == StatusCode::kUnimplemented;
      if (!final_answer) return false;
      watch.profile_.reset();
      watch.profile_known_ = true;
      watch.publish();
      return is_final(s);
    }
  };

  void no_profile() { profile_known_ = true; }
  PolicyListener on_policy{*this};
  ProfileListener on_profile{*this};

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
  std::string refused_, invalid_;
  bool policy_known_ = false;
  bool profile_known_ = false;
};

rt::Task<void> watch_target(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard, SocketAddr addr,
                            TargetHub::Publish publish) {
  TargetWatch watch(addr, std::move(publish));
  rt::Scope scope(reactor);
  bool has_profile = std::ranges::any_of(config.profile_networks, [&](const Cidr& n) { return n.contains(addr.ip); });
  if (has_profile) {
    wire::GetDestination request{.scheme = "", .path = addr.to_string(), .context_token = config.context_token};
    scope.spawn(follow(reactor, config.destination, std::string(wire::kDestinationGetProfile), encode(request),
                       config.backoff, shard, watch.on_profile));
  } else {
    watch.no_profile();
  }
  wire::TrafficSpec spec{.source_workload = config.workload, .target = addr};
  co_await follow(reactor, config.policy, std::string(wire::kOutboundPoliciesWatch), encode(spec), config.backoff,
                  shard, watch.on_policy);
}

// ---- Endpoints

class EndpointWatch final : public Listener {
 public:
  EndpointWatch(rt::Reactor& reactor, std::string path, EndpointHub::Publish publish)
      : reactor_(reactor), path_(std::move(path)), publish_(std::move(publish)) {}

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
        for (auto& e : update->add) put(std::move(e));
        set_.exists = true;
        break;
      case wire::Update::Kind::kRemove:
        if (fresh_) return;  // of a set that has not been sent yet
        for (const SocketAddr& a : update->remove) std::erase_if(set_.endpoints, [&](auto& e) { return e->addr == a; });
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
  void put(wire::Endpoint&& e) {
    auto at = std::ranges::find_if(set_.endpoints, [&](auto& known) { return known->addr == e.addr; });
    auto next = std::make_shared<const wire::Endpoint>(std::move(e));
    if (at != set_.endpoints.end()) *at = std::move(next);
    else set_.endpoints.push_back(std::move(next));
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
  co_await follow(reactor, config.destination, std::string(wire::kDestinationGet), encode(request), config.backoff,
                  shard, watch);
}

// ---- Inbound ports

class PortWatch final : public Listener {
 public:
  PortWatch(uint16_t port, std::optional<IpAddr> pod_ip, PortHub::Publish publish)
      : pod_ip_(pod_ip), publish_(std::move(publish)) {
    info_.port = port;
  }
  void on_message(Bytes message) override {
    auto server = wire::decode_server(message);
    if (server) {
      if (server->rate_limit) log_warn("not supported yet", {{"port", info_.port}, {"what", "local rate limits"}});
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
  PortInfo info_;
};

rt::Task<void> watch_port(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard, uint16_t port,
                          PortHub::Publish publish) {
  PortWatch watch(port, config.pod_ip, std::move(publish));
  wire::PortSpec spec{.workload = config.workload, .port = port};
  co_await follow(reactor, config.policy, std::string(wire::kInboundPoliciesWatchPort), encode(spec), config.backoff,
                  shard, watch);
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
