// The control plane's streams, followed for as long as anybody asks: outbound policies and profiles of a target,
// endpoints of a balancer, inbound policy of a port. Everything here runs on the control thread.
//
// Discovery is advice (docs/ARCHITECTURE.md): when a stream breaks, the last good snapshot stays, marked stale, and the
// stream is made again with back-off.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/time.h"
#include "libs/grpc/status.h"
#include "libs/httpio/client.h"
#include "libs/observe/metrics.h"
#include "libs/rt/reactor.h"
#include "libs/wire/destination.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"
#include "proxy/config/config.h"
#include "proxy/discovery/subscriptions.h"
#include "proxy/discovery/watch.h"
#include "proxy/model/policy.h"
#include "proxy/model/server.h"

namespace tulle::proxy {

struct StreamsConfig {
  ControlService destination;
  ControlService policy;
  Subscriptions& subscriptions;        // of which the streams will be; outlives them
  std::string context_token;           // DESTINATION_CONTEXT
  std::string workload;                // POLICY_WORKLOAD
  std::vector<Cidr> profile_networks;  // DESTINATION_PROFILE_NETWORKS: who has a profile
  BackoffConfig backoff;
  std::optional<IpAddr> pod_ip;  // of a rootless pod
};

// What is known of one original destination: the policy that outbound policies and the profile make together.
struct TargetInfo {
  SocketAddr addr;
  OutboundPolicyPtr policy;  // never null
  bool opaque = false;       // the profile says so: no detection, whatever the policy's kind
  // The control plane refused the target (INVALID_ARGUMENT, FAILED_PRECONDITION): its connections are closed.
  std::string refused;
};

// The endpoints of one balancer, as discovery has them.
struct Discovered {
  std::vector<std::shared_ptr<const wire::Endpoint>> endpoints;
  wire::Labels labels;
  bool exists = true;
  // Since when the stream has been down; kNever: it is up.
  TimePoint stale_since = kNever;
};

// The policy of one port; null policy: the control plane has none (the default policy applies).
struct PortInfo {
  uint16_t port = 0;
  ServerPolicyPtr policy;
};

using TargetHub = WatchHub<SocketAddr, TargetInfo>;
using EndpointHub = WatchHub<std::string, Discovered>;
using PortHub = WatchHub<uint16_t, PortInfo>;

// The sources of the three hubs. `config` and `shard` (the control thread's) outlive them.
TargetHub::Source target_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard);
EndpointHub::Source endpoint_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard);
PortHub::Source port_source(rt::Reactor& reactor, const StreamsConfig& config, observe::Shard& shard);

}  // namespace tulle::proxy
