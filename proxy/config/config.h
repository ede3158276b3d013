// The proxy's settings, read once from the environment (docs/configuration.md). Plain values, no I/O:
// files that variables name are read by whoever uses them.
//
// Names in comments are without their prefix LINKERD2_PROXY_, unless they start with TULLE_PROXY_.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/log.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/net/socket.h"
#include "libs/tls/identity.h"

namespace tulle::proxy {

// X_EXP_BACKOFF_MIN, _MAX, _JITTER. For proxy/balance/backoff.h's Backoff.
struct BackoffConfig {
  Duration min = 100ms, max = 10s;  // 0 < min ≤ max
  double jitter = 0;                // ≥ 0
  bool operator==(const BackoffConfig&) const = default;
};

// Ports, given as "80,8000-8099".
class PortSet {
 public:
  void add(uint16_t first, uint16_t last);
  bool contains(uint16_t port) const;
  bool empty() const { return ranges_.empty(); }
  // Inclusive, ascending, disjoint.
  const std::vector<std::pair<uint16_t, uint16_t>>& ranges() const { return ranges_; }
  bool operator==(const PortSet&) const = default;

 private:
  std::vector<std::pair<uint16_t, uint16_t>> ranges_;
};

// A name below which something applies: lower case, no dot at the end; "" is the root and fits every name.
// True when `name` (any case, with or without a dot at the end) is the suffix itself or below it.
bool has_suffix(std::string_view name, const std::vector<std::string>& suffixes);
bool in_networks(IpAddr ip, const std::vector<Cidr>& networks);

// HTTP/2 as a server, {INBOUND,OUTBOUND}_SERVER_HTTP2_…; sizes in bytes. Unset: the codec's default.
struct Http2ServerConfig {
  uint32_t stream_window = 65535;
  uint32_t connection_window = 1048576;
  std::optional<bool> adaptive_flow_control;  // accepted; windows stay fixed
  struct KeepAlive {
    Duration interval{}, timeout{};
    bool operator==(const KeepAlive&) const = default;
  };
  std::optional<KeepAlive> keep_alive;
  std::optional<uint32_t> max_concurrent_streams;
  std::optional<uint32_t> max_frame_size;  // 16384 … 2^24-1
  std::optional<uint32_t> max_header_list_size;
  std::optional<uint32_t> max_pending_accept_reset_streams;
  std::optional<uint32_t> max_send_buf_size;
};

// What inbound and outbound have each.
struct DirectionConfig {
  Duration detect_timeout = 10s;
  Duration connect_timeout = 1s;
  BackoffConfig connect_backoff;
  net::SocketOptions accept_socket, connect_socket;
  std::optional<int> listen_backlog;
  size_t max_idle_per_endpoint = 10'000;  // HTTP/1
  Duration http1_idle_timeout = 3s;       // of a pooled connection
  size_t max_in_flight = 100'000;         // requests
  size_t http_queue_capacity = 10'000;
  Duration http_failfast_timeout = 3s;
  Duration discovery_idle_timeout = 5s;
  Http2ServerConfig http2;
};

// Of a control-plane service, X_SVC_ADDR and X_SVC_NAME.
struct ControlAddr {
  std::string authority;  // as configured, for :authority
  std::string host;       // a name or an address, without brackets
  uint16_t port = 0;
  std::optional<tls::Identity> name;  // who it must be; nothing: plaintext, to loopback
  bool loopback() const { return !name; }
};

enum class DefaultPolicy : uint8_t {
  kDeny,
  kAllAuthenticated,
  kAllUnauthenticated,
  kClusterAuthenticated,
  kClusterUnauthenticated,
  kAudit
};
std::string_view policy_name(DefaultPolicy p);  // "all-authenticated"
enum class AccessLog : uint8_t { kOff, kApache, kJson };
enum class OnNoDiscovery : uint8_t { kRefuse, kPlaintext };

struct IdentityConfig {
  tls::Identity name;             // what we ask to be called; IDENTITY_LOCAL_NAME or IDENTITY_SERVER_ID
  std::string server_name;        // SNI that peers use for us
  std::string trust_anchors_pem;  // checked when the trust bundle is made
  std::string token_file;
  bool ephemeral = false;  // TULLE_PROXY_IDENTITY_EPHEMERAL: the key is made in memory
  std::string dir;         // csr.der and key.p8; "" when ephemeral
  Duration min_refresh = 10s, max_refresh = 24h;
  bool resumption = true;  // TULLE_PROXY_TLS_RESUMPTION
  explicit IdentityConfig(tls::Identity n) : name(std::move(n)) {}
};

// Limits on control-plane watches; not for those to a loopback address.
struct StreamLimits {
  std::optional<Duration> initial;  // until the first message
  std::optional<Duration> idle;     // between messages
  std::optional<Duration> lifetime;
};

// How much of a head is accepted on some ports.
struct HeaderLimit {
  PortSet ports;
  uint32_t bytes = 0;
  bool operator==(const HeaderLimit&) const = default;
};

// The rootless pod (docs/ARCHITECTURE.md, "The pod").
struct PodPort {
  uint16_t served = 0;  // on the pod's address, for peers
  uint16_t app = 0;     // on 127.0.0.1 in the pod
  bool operator==(const PodPort&) const = default;
};
struct PodConfig {
  int netns_fd = -1;           // TULLE_PROXY_POD_NETNS_FD: inherited, refers to the pod's network namespace
  IpAddr ip;                   // TULLE_PROXY_POD_IP: the pod's own address in the host's namespace
  std::vector<PodPort> ports;  // TULLE_PROXY_POD_PORTS
  int drained_fd = -1;  // TULLE_PROXY_POD_DRAINED_FD: inherited; closed when, after SIGUSR1, nothing comes in any more
};

struct Config {
  explicit Config(IdentityConfig i) : identity(std::move(i)) {}

  // --- Listeners, runtime, logging
  std::vector<SocketAddr> outbound_listen;  // 1–2
  SocketAddr inbound_listen, tap_listen, admin_listen;
  Duration metrics_retain_idle = 10min;
  bool shutdown_endpoint = false;
  Duration shutdown_grace = 2min;
  size_t cores_min = 1;
  std::optional<size_t> cores_max;
  std::optional<double> cores_max_ratio;
  std::string log_filter;  // "off": none, and no log endpoints
  LogFormat log_format = LogFormat::kPlain;
  AccessLog access_log = AccessLog::kOff;
  std::string hostname;  // HOSTNAME

  // --- Timeouts, pools, sockets, queues
  DirectionConfig inbound, outbound;
  size_t tcp_queue_capacity = 10'000;  // OUTBOUND_TCP_…
  Duration tcp_failfast_timeout = 3s;
  Duration profile_initial_timeout = 500ms;
  uint32_t client_stream_window = 65535;        // HTTP2_INITIAL_STREAM_WINDOW_SIZE
  uint32_t client_connection_window = 1048576;  // HTTP2_INITIAL_CONNECTION_WINDOW_SIZE

  // --- Discovery and policy
  std::string destination_context;
  std::vector<std::string> profile_suffixes;
  std::vector<Cidr> profile_networks;
  std::optional<std::vector<std::string>> gateway_suffixes;  // none: no gateway
  PortSet opaque_ports;                                      // INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION
  DefaultPolicy default_policy = DefaultPolicy::kAllUnauthenticated;
  PortSet inbound_ports;  // with the admin port
  std::vector<Cidr> cluster_networks;
  std::string workload;             // POLICY_WORKLOAD
  std::vector<IpAddr> inbound_ips;  // none: all
  bool ingress_mode = false;
  bool hide_informational_headers = false;
  bool hostname_labels = false;
  bool authority_labels = false;
  std::optional<Duration> dns_min_ttl, dns_max_ttl;

  // --- Control plane, identity, tap, tracing
  ControlAddr destination_svc, policy_svc, identity_svc;
  std::optional<ControlAddr> trace_svc;
  StreamLimits stream_limits;
  IdentityConfig identity;
  std::optional<tls::Identity> tap_client;  // TAP_SVC_NAME; none: no tap
  std::string trace_attributes_path;
  std::string trace_service_name;
  std::vector<std::pair<std::string, std::string>>
      trace_attributes;  // EXTRA, then OTEL_RESOURCE_ATTRIBUTES; a later one wins

  // --- Ours, TULLE_PROXY_…
  std::optional<PodConfig> pod;                            // POD_NETNS_FD, POD_IP, POD_PORTS
  Duration no_discovery_timeout = 3s;                      // NO_DISCOVERY_TIMEOUT
  OnNoDiscovery on_no_discovery = OnNoDiscovery::kRefuse;  // ON_NO_DISCOVERY
  size_t max_connections = 10'000;   // MAX_CONNECTIONS: accepted, inbound and outbound each, all workers
  size_t max_targets = 5'000;        // MAX_TARGETS: outbound destinations remembered, per worker
  Duration digest_interval = 30s;    // DIGEST_INTERVAL: between comparisons with the control plane; 0: never
  Duration absent_grace = 10s;       // ABSENT_GRACE: for endpoints that discovery has withdrawn, as a last resort
  Duration server_first_wait = 5ms;  // SERVER_FIRST_WAIT: client silence after which an opaque dial is tried; 0: never
  bool round_robin = false;          // BALANCER=round-robin instead of p2c: only to compare with
  Duration http_header_timeout = 30s;            // HTTP_HEADER_TIMEOUT: of a request's head
  Duration http_idle_timeout{};                  // HTTP_IDLE_TIMEOUT: server connections between requests; 0: none
  std::vector<HeaderLimit> http_header_limits;   // HTTP_HEADER_LIMIT_PORTS; of two that name a port, the first
  size_t memory_limit = 0;                       // MEMORY_LIMIT: bytes; 0: the container's, or the machine's
  PortSet ambiguous_path_ports;                  // AMBIGUOUS_PATH_PORTS: where paths that can be read in two ways pass
  std::string resolv_conf = "/etc/resolv.conf";  // RESOLV_CONF: whom the pod's resolver forwards to

  // What was odd and ignored, for the log.
  std::vector<std::string> warnings;

  // What HTTP_HEADER_LIMIT_PORTS says of a port.
  std::optional<uint32_t> header_limit(uint16_t port) const;
  // Whether one of our own listeners has that port where connections to the application go: all of them, but in a pod
  // only those that are inside it.
  bool is_own_port(uint16_t port) const;
  // Worker threads on a machine with so many CPUs.
  size_t workers(size_t cpus) const;
};

// Reads all variables; `env` gives a variable's value, nothing when it is unset. Error: kInvalid, one line for each
// variable that is wrong: its name, its value in quotes and what is accepted.
Result<Config> parse_config(const std::function<std::optional<std::string>(std::string_view)>& env);

// Which of these names of variables begin with LINKERD2_PROXY_ or TULLE_PROXY_ and mean nothing to us: misspelt ones.
// Those that Linkerd's injector sets for its own proxy, and has set in older versions, are left out.
std::vector<std::string> unknown_variables(const std::vector<std::string>& names);

}  // namespace tulle::proxy
