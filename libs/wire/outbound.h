// Outbound policy (io.linkerd.proxy.outbound): how a proxy treats what its workload sends to one target.
// See types.h for the rules of encode and decode.
#pragma once

#include "libs/wire/destination.h"
#include "libs/wire/types.h"

namespace tulle::wire {

inline constexpr std::string_view kOutboundPoliciesGet = "/io.linkerd.proxy.outbound.OutboundPolicies/Get";
inline constexpr std::string_view kOutboundPoliciesWatch = "/io.linkerd.proxy.outbound.OutboundPolicies/Watch";

struct TrafficSpec {
  std::string source_workload;
  std::variant<SocketAddr, std::string> target;  // an original destination (port ≥ 1), or an authority
  bool operator==(const TrafficSpec&) const = default;
};

// min ≤ max, max > 0, jitter 0–100 (added: up to jitter × the step).
struct Backoff {
  Duration min = 0s;
  Duration max = 0s;
  float jitter = 0;
  bool respect_retry_after_hint = false;
  bool operator==(const Backoff&) const = default;
};

struct ConsecutiveFailures {
  uint32_t max_failures = 7;  // 0: never trips
  Backoff backoff;
  bool operator==(const ConsecutiveFailures&) const = default;
};
struct UnifiedAccrual {
  double success_rate_threshold = 0;  // 0–1; 0: the rate is not looked at
  Duration window = 10s;              // ≥ 10 ms where the rate is looked at
  uint32_t min_requests = 0;          // ≤ 1,000,000
  uint32_t max_consecutive_failures = 0;
  Backoff backoff;
  bool operator==(const UnifiedAccrual&) const = default;
};
struct FailureAccrual {
  std::variant<ConsecutiveFailures, UnifiedAccrual> kind;
  std::optional<uint32_t> min_ready_endpoints;
  bool operator==(const FailureAccrual&) const = default;
};

struct LoadPenalty {
  Duration penalty = 5s;
  Duration max_retry_after = 300s;
  Duration decay = 10s;
  bool operator==(const LoadPenalty&) const = default;
};
// The load estimate of a balancer. With `penalty`, failing endpoints count as at least that slow.
struct LoadEstimate {
  Duration default_rtt = 30ms;
  Duration decay = 10s;
  std::optional<LoadPenalty> penalty;
  bool operator==(const LoadEstimate&) const = default;
};
// Power of two choices over the endpoints that Destination.Get gives for `path` ("name:port").
struct Balancer {
  std::string path;
  LoadEstimate load;
  bool operator==(const Balancer&) const = default;
};
struct Queue {
  uint32_t capacity = 100;
  Duration failfast_timeout = 3s;
  bool operator==(const Queue&) const = default;
};

// Where requests go. monostate: nowhere, its requests fail (Linkerd: "backend … has no dispatcher").
struct Backend {
  Metadata metadata;
  std::variant<std::monostate, Endpoint, Balancer> kind;
  std::optional<Queue> queue;
  bool operator==(const Backend&) const = default;
};

struct RouteBackend {
  Backend backend;
  uint32_t weight = 1;  // kRandomAvailable only
  std::vector<Filter> filters;
  std::optional<Duration> request_timeout;  // deprecated on the wire; HTTP and gRPC only
  bool operator==(const RouteBackend&) const = default;
};

struct Distribution {
  // kEmpty: never ready. kFirst: the first that is ready. kRandom: one of those that are ready, by weight.
  enum class Kind : uint8_t { kEmpty, kFirstAvailable, kRandomAvailable };
  Kind kind = Kind::kEmpty;
  std::vector<RouteBackend> backends;  // kEmpty: none; else one or more, not all of weight 0
  bool operator==(const Distribution&) const = default;
};

struct StatusRange {
  uint16_t start = 0;  // both ends included
  uint16_t end = 0;
  bool operator==(const StatusRange&) const = default;
};
struct Retry {
  uint32_t max_retries = 1;  // after the first attempt; ≤ 65535
  uint32_t max_request_bytes = 64 * 1024;
  std::vector<StatusRange> statuses;  // HTTP routes
  uint32_t grpc_codes = 0;            // gRPC routes: bit n is code n; of 1, 4, 8, 13 and 14
  std::optional<Duration> timeout;    // of one attempt, to the response's head
  std::optional<Backoff> backoff;
  bool operator==(const Retry&) const = default;
};

struct Rule {
  std::vector<RouteMatch> matches;  // any of them; none: everything. HTTP and gRPC only
  std::vector<Filter> filters;
  Distribution backends;
  Timeouts timeouts;  // HTTP and gRPC only, as are the next two
  std::optional<Retry> retry;
  bool allow_l5d_request_headers = false;
  bool operator==(const Rule&) const = default;
};

// A route of any protocol. hosts: HTTP and gRPC match the authority, TLS the server name; opaque has none.
struct Route {
  Metadata metadata;
  std::vector<HostMatch> hosts;
  std::vector<Rule> rules;
  bool operator==(const Route&) const = default;
};

struct HttpRoutes {
  std::vector<Route> routes;
  std::optional<FailureAccrual> failure_accrual;
  bool operator==(const HttpRoutes&) const = default;
};

struct OutboundPolicy {
  enum class Kind : uint8_t { kDetect, kOpaque, kHttp1, kHttp2, kGrpc, kTls };
  Kind kind = Kind::kDetect;
  Metadata metadata;
  Duration detect_timeout = 10s;  // kDetect
  std::vector<Route> opaque;      // kDetect, kOpaque
  HttpRoutes http1;               // kDetect, kHttp1
  HttpRoutes http2;               // kDetect, kHttp2
  HttpRoutes grpc;                // kGrpc
  std::vector<Route> tls;         // kTls
  bool operator==(const OutboundPolicy&) const = default;
};

std::string encode(const TrafficSpec& v);
std::string encode(const OutboundPolicy& v);
Result<TrafficSpec> decode_traffic_spec(Bytes bytes);
Result<OutboundPolicy> decode_outbound_policy(Bytes bytes);

}  // namespace tulle::wire
