// Outbound: what the workload sends. One per worker; outlives its connections.
//
//   accept.cc   a connection: where was it meant to go, what does it speak?
//   http.cc     one HTTP request, from its head to the end of its response
//   tcp.cc      a connection of raw bytes
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/observe/families.h"
#include "proxy/model/errors.h"
#include "proxy/model/policy.h"
#include "proxy/outbound/balancer.h"
#include "proxy/worker/worker.h"

namespace tulle::proxy::outbound {

// A policy with the balancers that its backends are on this worker; built once for each policy that arrives.
struct Resolved {
  std::shared_ptr<const TargetInfo> info;
  std::vector<std::shared_ptr<Balancer>> backends;  // as OutboundPolicy::backends
  const OutboundPolicy& policy() const { return *info->policy; }
};

// What is remembered of one original destination while it is in use, and for the discovery idle time after.
struct Target : ListNode {
  SocketAddr addr;
  WatchCache<SocketAddr, TargetInfo>::Handle watch;
  std::shared_ptr<const Resolved> resolved;
  bool client_first = false;  // a client of it spoke first: no opaque dial on silence
  TimePoint last_used{};
  SpeculativeDials speculation;
};

struct Outbound {
  explicit Outbound(Worker& w);
  Worker& worker;
  Serving serving;
  observe::CounterRef no_discovery_forwarded, no_discovery_refused;
  observe::CounterRef speculative_dials, speculative_used;

  // The current policy of a target with its balancers; null before the first answer.
  std::shared_ptr<const Resolved> resolve(Target& t);
  // At most Config::max_targets and those in use are remembered: a program that scans addresses does not fill the
  // memory, or the control plane with watches.
  std::shared_ptr<Target> target(SocketAddr addr);
  // It is being used.
  void touch(Target& t);
  // Drops what has been unused for the discovery idle time; to be called each second or so.
  void sweep();
  observe::CounterRef http_error(Reason reason);
  observe::CounterRef tcp_error(std::string_view reason);

 private:
  std::shared_ptr<Balancer> balancer(const BackendSpec& spec);
  struct Kept {
    std::shared_ptr<Balancer> balancer;
    TimePoint unused_since = kNever;
  };
  absl::flat_hash_map<std::string, Kept> balancers_;
  void make_room();
  absl::flat_hash_map<SocketAddr, std::shared_ptr<Target>> targets_;
  List<Target> by_use_;  // the one unused for longest first
};

// Serves one accepted connection until it ends. `fallback_dst`: where it goes when nothing was redirected (tests).
rt::Task<void> serve_connection(Outbound& outbound, net::Accepted accepted);

// HTTP on a client connection: `initial` has been read already.
rt::Task<void> serve_http(Outbound& outbound, std::shared_ptr<Target> target, httpio::Protocol protocol,
                          std::unique_ptr<net::Stream> client, Buffer initial);

// Raw bytes: picks an endpoint by the policy's opaque route and copies until both ends are done.
rt::Task<void> serve_opaque(Outbound& outbound, std::shared_ptr<Target> target, std::unique_ptr<net::Stream> client,
                            Buffer initial);
// The first half of it: a connection to an endpoint. Error: the reason, already counted.
// `speculative`: it may come to nothing, so that it is no load.
struct OpaqueUpstream {
  std::shared_ptr<Endpoint> endpoint;  // whose series the stream counts in
  std::unique_ptr<net::Stream> stream;
  Duration took{};  // to connect: the sample of the load, once it is used
  OpaqueUpstream() = default;
  OpaqueUpstream(std::shared_ptr<Endpoint> e, std::unique_ptr<net::Stream> s, Duration t)
      : endpoint(std::move(e)), stream(std::move(s)), took(t) {}
};
rt::Task<Result<OpaqueUpstream>> dial_opaque(Outbound& outbound, std::shared_ptr<const Resolved> policy,
                                             bool speculative);
rt::Task<void> copy_opaque(Outbound& outbound, std::unique_ptr<net::Stream> client, Buffer initial,
                           OpaqueUpstream upstream);

}  // namespace tulle::proxy::outbound
