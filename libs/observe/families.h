// The metric families of the proxy, with Linkerd's names, types and bucket bounds (docs/metrics.md). The labels of each
// are built by labels.h and named in the comments.
#pragma once

#include "libs/observe/metrics.h"

namespace tulle::observe {

// Upper bounds of buckets.
inline constexpr double kLatencyMsBounds[] = {1,    2,    3,     4,     5,     10,    20,   30,   40,
                                              50,   100,  200,   300,   400,   500,   1000, 2000, 3000,
                                              4000, 5000, 10000, 20000, 30000, 40000, 50000};
inline constexpr double kQueueSecondsBounds[] = {0.0005, 0.005, 0.05, 0.5, 1, 3};
inline constexpr double kDetectSecondsBounds[] = {0.001, 0.1};
inline constexpr double kRouteSecondsBounds[] = {0.05, 0.5, 1, 10};
inline constexpr double kBackendSecondsBounds[] = {0.025, 0.05, 0.1, 0.25, 0.5, 1, 10};
inline constexpr double kFrameBytesBounds[] = {128, 1024, 10240};

// For constants of families; other parts make theirs with these too.
constexpr Family text_counter(std::string_view name, std::string_view help) {
  return {name, help, Type::kCounter, Format::kText, {}};
}
constexpr Family om_counter(std::string_view name, std::string_view help) {
  return {name, help, Type::kCounter, Format::kOpenMetrics, {}};
}
constexpr Family om_gauge(std::string_view name, std::string_view help) {
  return {name, help, Type::kGauge, Format::kOpenMetrics, {}};
}
constexpr Family om_histogram(std::string_view name, std::string_view help, std::span<const double> bounds) {
  return {name, help, Type::kHistogram, Format::kOpenMetrics, bounds};
}

// --- HTTP, per endpoint: IN-EP or OUT-EP; responses add status_code, classification, grpc_status, error.
inline constexpr Family kRequestTotal = text_counter("request_total", "Total count of HTTP requests.");
inline constexpr Family kResponseTotal = text_counter("response_total", "Total count of HTTP responses.");
inline constexpr Family kResponseLatencyMs{
    "response_latency_ms",
    "Elapsed times between a request's headers being received and its response stream completing", Type::kHistogram,
    Format::kText, kLatencyMsBounds};

// --- HTTP, per route of a ServiceProfile: direction, dst, rt_KEY.
inline constexpr Family kRouteRequestTotal = text_counter("route_request_total", "Total count of HTTP requests.");
inline constexpr Family kRouteResponseTotal = text_counter("route_response_total", "Total count of HTTP responses.");
inline constexpr Family kRouteResponseLatencyMs{
    "route_response_latency_ms",
    "Elapsed times between a request's headers being received and its response stream completing", Type::kHistogram,
    Format::kText, kLatencyMsBounds};
inline constexpr Family kRouteActualRequestTotal =
    text_counter("route_actual_request_total", "Total count of HTTP requests, each try counted.");
inline constexpr Family kRouteActualResponseTotal =
    text_counter("route_actual_response_total", "Total count of HTTP responses, each try counted.");
inline constexpr Family kRouteRetryableTotal =
    text_counter("route_retryable_total", "Total count of retryable HTTP responses.");  // + skipped

// --- Control clients: addr, TLS-out.
inline constexpr Family kControlRequestTotal = text_counter("control_request_total", "Total count of HTTP requests.");
inline constexpr Family kControlResponseTotal =
    text_counter("control_response_total", "Total count of HTTP responses.");
inline constexpr Family kControlResponseLatencyMs{
    "control_response_latency_ms",
    "Elapsed times between a request's headers being received and its response stream completing", Type::kHistogram,
    Format::kText, kLatencyMsBounds};

// --- TCP: inbound_tcp_source() and its siblings; close adds errno.
inline constexpr Family kTcpOpenTotal = text_counter("tcp_open_total", "Total count of opened connections");
inline constexpr Family kTcpOpenConnections{
    "tcp_open_connections", "Number of currently-open connections", Type::kGauge, Format::kText, {}};
inline constexpr Family kTcpReadBytesTotal =
    text_counter("tcp_read_bytes_total", "Total count of bytes read from peers");
inline constexpr Family kTcpWriteBytesTotal =
    text_counter("tcp_write_bytes_total", "Total count of bytes written to peers");
inline constexpr Family kTcpCloseTotal = text_counter("tcp_close_total", "Total count of closed connections");

// --- Inbound policy: target, SRV, route, authz (allow only), TLS-in.
inline constexpr Family kInboundHttpAuthzAllowTotal =
    text_counter("inbound_http_authz_allow_total", "The total number of inbound HTTP requests that were authorized");
inline constexpr Family kInboundHttpAuthzDenyTotal =
    text_counter("inbound_http_authz_deny_total",
                 "The total number of inbound HTTP requests that could not be processed due to being denied");
inline constexpr Family kInboundHttpRouteNotFoundTotal = text_counter(
    "inbound_http_route_not_found_total", "The total number of inbound HTTP requests that matched no route");
inline constexpr Family kInboundHttpLocalRatelimitTotal =
    text_counter("inbound_http_local_ratelimit_total",
                 "The total number of inbound HTTP requests that were refused by a rate limit");
inline constexpr Family kInboundTcpAuthzAllowTotal =
    text_counter("inbound_tcp_authz_allow_total", "The total number of inbound TCP connections that were authorized");
inline constexpr Family kInboundTcpAuthzDenyTotal =
    text_counter("inbound_tcp_authz_deny_total", "The total number of inbound TCP connections that were denied");
inline constexpr Family kInboundTcpAuthzTerminateTotal =
    text_counter("inbound_tcp_authz_terminate_total",
                 "The total number of inbound TCP connections that were ended because an authorization was removed");

// --- Errors: error; inbound TCP adds the target.
inline constexpr Family kInboundHttpErrorsTotal =
    text_counter("inbound_http_errors_total", "Total number of HTTP requests that failed in the inbound proxy");
inline constexpr Family kInboundTcpErrorsTotal =
    text_counter("inbound_tcp_errors_total", "Total number of TCP connections that failed in the inbound proxy");
inline constexpr Family kOutboundHttpErrorsTotal =
    text_counter("outbound_http_errors_total", "Total number of HTTP requests that failed in the outbound proxy");
inline constexpr Family kOutboundTcpErrorsTotal =
    text_counter("outbound_tcp_errors_total", "Total number of TCP connections that failed in the outbound proxy");

// --- The balancer's set, whose names start with what is balanced.
struct BalancerFamilies {
  Family endpoints;  // endpoint_state: ready | pending
  Family p2c_endpoints;
  Family p2c_updates_total;  // op: Reset | Add | Remove
  Family queue_length;
  Family queue_requests_total;
  Family queue_latency_seconds;
  Family queue_gate_open_total;
  Family queue_gate_shut_total;
  Family queue_gate_open_time_seconds;
  Family queue_gate_shut_time_seconds;
  Family queue_gate_timeout_seconds;
};
#define TULLE_BALANCER_FAMILIES(constant, prefix)                                                                      \
  inline constexpr BalancerFamilies constant {                                                                         \
    om_gauge(prefix "endpoints", "The number of endpoints in the balancer"),                                           \
        om_gauge(prefix "p2c_endpoints", "The number of endpoints that the balancer chooses from"),                    \
        om_counter(prefix "p2c_updates_total", "The total number of updates from discovery"),                          \
        om_gauge(prefix "queue_length", "The number of requests in the queue"),                                        \
        om_counter(prefix "queue_requests_total", "The total number of requests queued"),                              \
        om_histogram(prefix "queue_latency_seconds", "The time that requests wait in the queue", kQueueSecondsBounds), \
        om_counter(prefix "queue_gate_open_total", "The total number of times that the gate was opened"),              \
        om_counter(prefix "queue_gate_shut_total", "The total number of times that the gate was shut"),                \
        om_gauge(prefix "queue_gate_open_time_seconds", "Since when the gate is open"),                                \
        om_gauge(prefix "queue_gate_shut_time_seconds", "Since when the gate is shut"),                                \
        om_gauge(prefix "queue_gate_timeout_seconds", "How long the gate waits before requests fail at once"),         \
  }
TULLE_BALANCER_FAMILIES(kControlIdentityBalancer, "control_identity_balancer_");        // addr
TULLE_BALANCER_FAMILIES(kControlDestinationBalancer, "control_destination_balancer_");  // addr
TULLE_BALANCER_FAMILIES(kControlPolicyBalancer, "control_policy_balancer_");            // addr
TULLE_BALANCER_FAMILIES(kOutboundHttpBalancer, "outbound_http_balancer_");              // PARENT, BACKEND
TULLE_BALANCER_FAMILIES(kOutboundTcpBalancer, "outbound_tcp_balancer_");  // PARENT, BACKEND, logical, concrete
TULLE_BALANCER_FAMILIES(kOutboundTlsBalancer, "outbound_tls_balancer_");  // concrete
#undef TULLE_BALANCER_FAMILIES

// --- Outbound connections.
inline constexpr Family
    kOutboundTcpProtocolConnectionsTotal =  // PARENT, protocol: http/1 | http/2 | detect | opaq | tls
    om_counter("outbound_tcp_protocol_connections_total", "Outbound TCP connections by protocol configuration");
inline constexpr Family kOutboundTcpDetectHttpDurationSeconds =  // PARENT
    om_histogram("outbound_tcp_detect_http_duration_seconds", "Time taken for protocol detection",
                 kDetectSecondsBounds);
inline constexpr Family kOutboundTcpDetectHttpResultsTotal =  // PARENT, result
    om_counter("outbound_tcp_detect_http_results_total", "Results of protocol detection");
inline constexpr Family kInboundTcpDetectHttpDurationSeconds =  // SRV
    om_histogram("inbound_tcp_detect_http_duration_seconds", "Time taken for protocol detection", kDetectSecondsBounds);
inline constexpr Family
    kInboundTcpDetectHttpResultsTotal =  // SRV, result: http/1 | http/2 | not_http | read_timeout | error
    om_counter("inbound_tcp_detect_http_results_total", "Results of protocol detection");
inline constexpr Family
    kInboundTcpTransportHeaderConnectionsTotal =  // session_protocol, target_port, target_name, client_id
    om_counter("inbound_tcp_transport_header_connections_total", "TCP connections with transport headers");

// --- Outbound routes, for HTTP and for gRPC.
struct OutboundRouteFamilies {
  Family request_duration_seconds;  // PARENT, ROUTE, hostname
  Family request_statuses_total;    // + http_status | grpc_status, error
  Family request_frame_size_bytes;  // PARENT, ROUTE
  Family backend_requests_total;    // PARENT, ROUTE, BACKEND
  Family backend_response_duration_seconds;
  Family backend_response_statuses_total;  // + http_status | grpc_status, error
  Family backend_response_frame_size_bytes;
  Family retry_requests_total;  // PARENT, ROUTE
  Family retry_successes_total;
  Family retry_limit_exceeded_total;
  Family retry_overflow_total;
};
#define TULLE_OUTBOUND_ROUTE_FAMILIES(constant, prefix)                                                                \
  inline constexpr OutboundRouteFamilies constant {                                                                    \
    om_histogram(prefix "request_duration_seconds", "The time between request initialization and response completion", \
                 kRouteSecondsBounds),                                                                                 \
        om_counter(prefix "request_statuses_total", "Completed request-response streams"),                             \
        om_histogram(prefix "request_frame_size_bytes", "Request body data frame sizes", kFrameBytesBounds),           \
        om_counter(prefix "backend_requests_total", "The total number of requests dispatched"),                        \
        om_histogram(prefix "backend_response_duration_seconds",                                                       \
                     "The time between request completion and response completion", kBackendSecondsBounds),            \
        om_counter(prefix "backend_response_statuses_total", "Completed responses"),                                   \
        om_histogram(prefix "backend_response_frame_size_bytes", "Response body data frame sizes", kFrameBytesBounds), \
        om_counter(prefix "retry_requests_total", "The total number of retry requests"),                               \
        om_counter(prefix "retry_successes_total", "The total number of successful retries"),                          \
        om_counter(prefix "retry_limit_exceeded_total", "Responses that failed after the last retry"),                 \
        om_counter(prefix "retry_overflow_total", "Responses not retried because a queue was full"),                   \
  }
TULLE_OUTBOUND_ROUTE_FAMILIES(kOutboundHttpRoute, "outbound_http_route_");
TULLE_OUTBOUND_ROUTE_FAMILIES(kOutboundGrpcRoute, "outbound_grpc_route_");
#undef TULLE_OUTBOUND_ROUTE_FAMILIES

// --- Inbound HTTP and gRPC: parent_group, _kind, _name, _port, route_group, _kind, _name.
struct InboundFamilies {
  Family requests_total;
  Family statuses_total;  // + http_status | grpc_status, error
  Family request_duration_seconds;
  Family response_duration_seconds;
  Family request_frame_size_bytes;
  Family response_frame_size_bytes;
};
#define TULLE_INBOUND_FAMILIES(constant, prefix)                                                                \
  inline constexpr InboundFamilies constant {                                                                   \
    om_counter(prefix "requests_total", "The total number of requests dispatched"),                             \
        om_counter(prefix "statuses_total", "Completed responses"),                                             \
        om_histogram(prefix "request_duration_seconds",                                                         \
                     "The time between request initialization and response completion", kBackendSecondsBounds), \
        om_histogram(prefix "response_duration_seconds",                                                        \
                     "The time between request completion and response completion", kRouteSecondsBounds),       \
        om_histogram(prefix "request_frame_size_bytes", "Request body data frame sizes", kFrameBytesBounds),    \
        om_histogram(prefix "response_frame_size_bytes", "Response body data frame sizes", kFrameBytesBounds),  \
  }
TULLE_INBOUND_FAMILIES(kInboundHttp, "inbound_http_");
TULLE_INBOUND_FAMILIES(kInboundGrpc, "inbound_grpc_");
#undef TULLE_INBOUND_FAMILIES

// --- Outbound opaque and TLS routes.
inline constexpr Family kOutboundTcpRouteOpenTotal =  // PARENT, ROUTE, target_ip, target_port
    om_counter("outbound_tcp_route_open_total", "The total number of transport connections opened");
inline constexpr Family
    kOutboundTcpRouteCloseTotal =  // + error: "" | forbidden | invalid_backend | invalid_policy | unexpected
    om_counter("outbound_tcp_route_close_total", "The total number of transport connections closed");
inline constexpr Family kOutboundTlsRouteOpenTotal =  // PARENT, ROUTE, hostname
    om_counter("outbound_tls_route_open_total", "The total number of transport connections opened");
inline constexpr Family kOutboundTlsRouteCloseTotal =
    om_counter("outbound_tls_route_close_total", "The total number of transport connections closed");
inline constexpr Family
    kOutboundTcpTransferCostBytesTotal =  // op: Send | Recv, zone_locality: Unknown | Local | Remote
    om_counter("outbound_tcp_transfer_cost_bytes_total", "Bytes sent and received, by locality of the zone");

// --- Control.
inline constexpr Family kControlDnsResolutionsTotal =  // client, record_type, result
    om_counter("control_dns_resolutions_total", "The total number of DNS resolutions");
inline constexpr Family kIdentityCertExpiration =
    om_gauge("control_identity_cert_expiration_timestamp_seconds",
             "When this proxy's current mTLS certificate expires, in Unix time");
inline constexpr Family kIdentityCertRefresh =
    om_gauge("control_identity_cert_refresh_timestamp_seconds",
             "When this proxy's current mTLS certificate was issued, in Unix time");
inline constexpr Family kIdentityCertRefreshesTotal =  // result: ok | error
    om_counter("control_identity_cert_refreshes_total",
               "The total number of times this proxy's mTLS certificate was refreshed");
inline constexpr Family kProxyBuildInfo =  // date, git_sha, profile, vendor, version
    om_gauge("proxy_build_info", "Proxy build info");

// --- Ours.
inline constexpr Family kMetricsDroppedSeriesTotal =  // family
    om_counter("tulle_metrics_dropped_series_total", "Series that were not made because their family has too many");
inline constexpr Family kBugsTotal = om_counter("tulle_bugs_total", "Broken invariants that were met and survived");

}  // namespace tulle::observe
