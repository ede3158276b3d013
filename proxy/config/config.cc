#include "proxy/config/config.h"

#include <algorithm>
#include <cmath>

#include "libs/base/strings.h"
#include "proxy/config/env.h"

namespace tulle::proxy {
namespace {

constexpr std::pair<std::string_view, DefaultPolicy> kPolicies[] = {
    {"deny", DefaultPolicy::kDeny},
    {"all-authenticated", DefaultPolicy::kAllAuthenticated},
    {"all-unauthenticated", DefaultPolicy::kAllUnauthenticated},
    {"cluster-authenticated", DefaultPolicy::kClusterAuthenticated},
    {"cluster-unauthenticated", DefaultPolicy::kClusterUnauthenticated},
    {"audit", DefaultPolicy::kAudit},
};

std::optional<DefaultPolicy> grammar_policy(std::string_view s) {
  for (auto& [name, policy] : kPolicies)
    if (s == name) return policy;
  return std::nullopt;
}
std::optional<LogFormat> grammar_log_format(std::string_view s) {
  if (iequals(s, "plain")) return LogFormat::kPlain;
  if (iequals(s, "json")) return LogFormat::kJson;
  return std::nullopt;
}
std::optional<AccessLog> grammar_access_log(std::string_view s) {
  if (s == "apache") return AccessLog::kApache;
  if (s == "json") return AccessLog::kJson;
  return std::nullopt;
}
std::optional<bool> grammar_balancer(std::string_view s) {
  if (s == "round-robin") return true;
  if (s == "p2c") return false;
  return std::nullopt;
}

std::optional<OnNoDiscovery> grammar_on_no_discovery(std::string_view s) {
  if (s == "refuse") return OnNoDiscovery::kRefuse;
  if (s == "plaintext") return OnNoDiscovery::kPlaintext;
  return std::nullopt;
}
std::optional<std::vector<SocketAddr>> grammar_outbound_listen(std::string_view s) {
  std::vector<SocketAddr> out;
  for (std::string_view item : split(s, ',')) {
    if (trim(item).empty()) continue;
    auto a = grammar_socket_addr(trim(item));
    if (!a) return std::nullopt;
    out.push_back(*a);
  }
  bool two_of_a_kind = out.size() == 2 && out[0].ip.is_v4() == out[1].ip.is_v4();
  if (out.empty() || out.size() > 2 || two_of_a_kind) return std::nullopt;
  return out;
}

void read_pod(Env& env, Config& c) {
  constexpr std::string_view kFd = "TULLE_PROXY_POD_NETNS_FD", kIp = "TULLE_PROXY_POD_IP",
                             kPorts = "TULLE_PROXY_POD_PORTS";
  PodConfig pod;
  uint32_t fd = 0;
  bool has_fd = env.read(kFd, fd, &grammar_number<uint32_t, 0, 1'000'000>, "a file descriptor");
  bool has_ip = env.read(
      kIp, pod.ip,
      +[](std::string_view s) -> std::optional<IpAddr> {
        auto ip = IpAddr::parse(s);
        return ip ? std::optional(*ip) : std::nullopt;
      },
      "an IP address");
  env.read(kPorts, pod.ports, &grammar_pod_ports,
           "SERVED:APP or PORT with commas between, each SERVED once, such as 20080:80,8080");
  bool any = env.text(kFd) || env.text(kIp) || env.text(kPorts);
  if (!any) return;
  uint32_t drained = 0;
  if (env.read("TULLE_PROXY_POD_DRAINED_FD", drained, &grammar_number<uint32_t, 0, 1'000'000>, "a file descriptor"))
    pod.drained_fd = static_cast<int>(drained);
  if (!env.text(kFd)) env.error(kFd, "must be set for a pod, as TULLE_PROXY_POD_IP and TULLE_PROXY_POD_PORTS are for");
  if (!env.text(kIp)) env.error(kIp, "must be set for a pod, as TULLE_PROXY_POD_NETNS_FD is for");
  if (!has_fd || !has_ip) return;
  pod.netns_fd = static_cast<int>(fd);
  c.pod = std::move(pod);
}

void read_listeners(Env& env, Config& c) {
  // A pod's proxy stands in the host's namespace, where only the pod's own address tells it from others.
  IpAddr any = c.pod ? c.pod->ip : IpAddr::v4(0u);
  c.outbound_listen = {SocketAddr(IpAddr::loopback(), 4140)};
  c.inbound_listen = SocketAddr(any, 4143);
  c.tap_listen = SocketAddr(any, 4190);
  c.admin_listen = SocketAddr(c.pod ? c.pod->ip : IpAddr::loopback(), 4191);
  SocketAddr one;
  if (env.read("OUTBOUND_LISTEN_ADDR", one, &grammar_socket_addr, kWantSocketAddr)) c.outbound_listen = {one};
  env.read("OUTBOUND_LISTEN_ADDRS", c.outbound_listen, &grammar_outbound_listen,
           "one IP:PORT, or an IPv4 and an IPv6 one with a comma between");
  env.read("INBOUND_LISTEN_ADDR", c.inbound_listen, &grammar_socket_addr, kWantSocketAddr);
  env.read("CONTROL_LISTEN_ADDR", c.tap_listen, &grammar_socket_addr, kWantSocketAddr);
  env.read("ADMIN_LISTEN_ADDR", c.admin_listen, &grammar_socket_addr, kWantSocketAddr);
}

// A wrong number of threads is no reason not to start.
void read_cores(Env& env, Config& c) {
  auto number = [&](std::string_view name, auto grammar, std::string_view wanted) {
    auto s = env.text(name);
    auto v = s ? grammar(*s) : std::nullopt;
    if (s && !v) env.warn(name, cat(quoted(*s), " is ignored: expected ", wanted));
    return v;
  };
  constexpr auto kCount = &grammar_number<size_t, 1, 1'000'000>;
  constexpr std::string_view kWantCount = "a whole number from 1";
  c.cores_min = number(env.text("CORES_MIN") ? "CORES_MIN" : "CORES", kCount, kWantCount).value_or(1);
  c.cores_max = number("CORES_MAX", kCount, kWantCount);
  c.cores_max_ratio = number(
      "CORES_MAX_RATIO",
      +[](std::string_view s) {
        auto d = grammar_float(s);
        return d && *d > 0 && *d <= 1 ? d : std::nullopt;
      },
      "a number over 0 and up to 1");
}

void read_runtime(Env& env, Config& c) {
  env.duration("METRICS_RETAIN_IDLE", c.metrics_retain_idle);
  env.boolean("SHUTDOWN_ENDPOINT_ENABLED", c.shutdown_endpoint);
  env.duration("SHUTDOWN_GRACE_PERIOD", c.shutdown_grace);
  read_cores(env, c);
  c.log_filter = env.text("LOG").value_or("warn,linkerd=info,hickory=error");
  if (auto ok = log_check_filter(c.log_filter); !ok) env.error("LOG", ok.error().reason);
  env.read("LOG_FORMAT", c.log_format, &grammar_log_format, "PLAIN or JSON");
  env.read("ACCESS_LOG", c.access_log, &grammar_access_log, "apache or json");
  c.hostname = env.text("HOSTNAME").value_or("");
}

void read_http2_server(Env& env, std::string_view direction, Http2ServerConfig& h) {
  auto name = [&](std::string_view what) { return cat(direction, "_SERVER_HTTP2_", what); };
  std::optional<uint32_t> stream, connection;
  env.size(name("INITIAL_STREAM_WINDOW_SIZE"), stream);
  env.size(name("INITIAL_CONNECTION_WINDOW_SIZE"), connection);
  if (stream && connection) {
    h.stream_window = *stream;
    h.connection_window = std::max<uint32_t>(*connection, 65535);  // what the protocol starts with
  } else if (stream || connection) {
    env.warn(name(stream ? "INITIAL_STREAM_WINDOW_SIZE" : "INITIAL_CONNECTION_WINDOW_SIZE"),
             "is ignored: both window sizes must be set");
  }
  env.read(name("ADAPTIVE_FLOW_CONTROL"), h.adaptive_flow_control, &grammar_bool, kWantBool);
  std::optional<Duration> interval, timeout;
  env.duration(name("KEEP_ALIVE_INTERVAL"), interval);
  env.duration(name("KEEP_ALIVE_TIMEOUT"), timeout);
  if (interval && timeout) h.keep_alive = {*interval, *timeout};
  else if (interval || timeout)
    env.warn(name(interval ? "KEEP_ALIVE_INTERVAL" : "KEEP_ALIVE_TIMEOUT"),
             "is ignored: interval and timeout must be set");
  env.size(name("MAX_CONCURRENT_STREAMS"), h.max_concurrent_streams);
  env.read(name("MAX_FRAME_SIZE"), h.max_frame_size, &grammar_number<uint32_t, 16384, 16777215>,
           "a whole number from 16384 to 16777215");
  env.size(name("MAX_HEADER_LIST_SIZE"), h.max_header_list_size);
  env.size(name("MAX_PENDING_ACCEPT_RESET_STREAMS"), h.max_pending_accept_reset_streams);
  env.size(name("MAX_SEND_BUF_SIZE"), h.max_send_buf_size);
}

void read_direction(Env& env, std::string_view direction, DirectionConfig& d) {
  auto name = [&](std::string_view what) { return cat(direction, "_", what); };
  env.duration(name("DETECT_TIMEOUT"), d.detect_timeout);
  env.duration(name("CONNECT_TIMEOUT"), d.connect_timeout);
  env.backoff(name("CONNECT"), d.connect_backoff);
  env.duration(name("ACCEPT_KEEPALIVE"), d.accept_socket.keepalive);
  env.duration(name("CONNECT_KEEPALIVE"), d.connect_socket.keepalive);
  env.duration(name("ACCEPT_USER_TIMEOUT"), d.accept_socket.user_timeout);
  env.duration(name("CONNECT_USER_TIMEOUT"), d.connect_socket.user_timeout);
  uint32_t backlog = 0;
  env.size(name("TCP_LISTEN_BACKLOG"), backlog);
  if (backlog) d.listen_backlog = static_cast<int>(backlog);
  // Linkerd's inbound variable lacks the direction in its name.
  env.count(direction == "INBOUND" ? "MAX_IDLE_CONNS_PER_ENDPOINT" : "OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT",
            d.max_idle_per_endpoint);
  env.duration(name("HTTP1_CONNECTION_POOL_IDLE_TIMEOUT"), d.http1_idle_timeout);
  env.count(name("MAX_IN_FLIGHT"), d.max_in_flight);
  env.count(name("HTTP_QUEUE_CAPACITY"), d.http_queue_capacity);
  env.duration(name("HTTP_FAILFAST_TIMEOUT"), d.http_failfast_timeout);
  env.duration(name("DISCOVERY_IDLE_TIMEOUT"), d.discovery_idle_timeout);
  read_http2_server(env, direction, d.http2);
}

void read_traffic(Env& env, Config& c) {
  c.inbound.connect_timeout = 300ms;
  c.inbound.connect_backoff = {100ms, 10s, 0.1};
  c.inbound.http_failfast_timeout = 1s;
  c.inbound.discovery_idle_timeout = 90s;
  c.outbound.connect_backoff = {100ms, 60s, 0.1};
  read_direction(env, "INBOUND", c.inbound);
  read_direction(env, "OUTBOUND", c.outbound);
  env.count("OUTBOUND_TCP_QUEUE_CAPACITY", c.tcp_queue_capacity);
  env.duration("OUTBOUND_TCP_FAILFAST_TIMEOUT", c.tcp_failfast_timeout);
  env.duration("DESTINATION_PROFILE_INITIAL_TIMEOUT", c.profile_initial_timeout);
  env.size("HTTP2_INITIAL_STREAM_WINDOW_SIZE", c.client_stream_window);
  env.size("HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", c.client_connection_window);
  c.client_connection_window = std::max<uint32_t>(c.client_connection_window, 65535);
}

void read_discovery(Env& env, Config& c) {
  c.destination_context = env.text("DESTINATION_CONTEXT").value_or("");
  c.profile_suffixes = {"svc.cluster.local"};
  env.read("DESTINATION_PROFILE_SUFFIXES", c.profile_suffixes, &grammar_suffixes, kWantSuffixes);
  env.read("DESTINATION_PROFILE_NETWORKS", c.profile_networks, &grammar_networks, kWantNetworks);
  env.read("INBOUND_GATEWAY_SUFFIXES", c.gateway_suffixes, &grammar_suffixes, kWantSuffixes);
  env.read("INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", c.opaque_ports, &grammar_ports, kWantPorts);
  env.read("INBOUND_PORTS", c.inbound_ports, &grammar_ports, kWantPorts);
  c.inbound_ports.add(c.admin_listen.port, c.admin_listen.port);
  if (c.gateway_suffixes) c.inbound_ports.add(c.inbound_listen.port, c.inbound_listen.port);
  if (c.pod) {
    for (const PodPort& p : c.pod->ports) c.inbound_ports.add(p.served, p.served);
    c.inbound_ips = {c.pod->ip};
  }
  env.read("INBOUND_IPS", c.inbound_ips, &grammar_ips, kWantIps);
  env.boolean("INGRESS_MODE", c.ingress_mode);
  c.hide_informational_headers = c.ingress_mode;
  env.boolean("OUTBOUND_DISABLE_INFORMATIONAL_HEADERS", c.hide_informational_headers);
  env.boolean("OUTBOUND_METRICS_HOSTNAME_LABELS", c.hostname_labels);
  if (auto s = env.text("INBOUND_METRICS_AUTHORITY_LABELS"); s && !s->empty()) {
    c.authority_labels = *s == "unsafe";
    if (!c.authority_labels) env.wrong("INBOUND_METRICS_AUTHORITY_LABELS", *s, "nothing or unsafe");
  }
  env.duration("DNS_MIN_TTL", c.dns_min_ttl);
  env.duration("DNS_MAX_TTL", c.dns_max_ttl);
  if (c.dns_min_ttl && c.dns_max_ttl && *c.dns_min_ttl > *c.dns_max_ttl)
    env.error("DNS_MIN_TTL", "must not be more than LINKERD2_PROXY_DNS_MAX_TTL");
}

void read_policy(Env& env, Config& c) {
  env.read("POLICY_CLUSTER_NETWORKS", c.cluster_networks, &grammar_networks, kWantNetworks);
  constexpr std::string_view kName = "INBOUND_DEFAULT_POLICY";
  bool given =
      env.read(kName, c.default_policy, &grammar_policy,
               "deny, all-authenticated, all-unauthenticated, cluster-authenticated, cluster-unauthenticated or audit");
  if (!env.text(kName)) env.warn(kName, "is not set: all-unauthenticated, which lets everybody in");
  bool wants_networks = c.default_policy == DefaultPolicy::kClusterAuthenticated ||
                        c.default_policy == DefaultPolicy::kAudit ||
                        c.default_policy == DefaultPolicy::kClusterUnauthenticated;
  if (given && wants_networks && c.cluster_networks.empty())
    env.error(kName,
              cat(policy_name(c.default_policy), " needs LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS to name a network"));
  if (auto s = env.text("POLICY_WORKLOAD"); s && !s->empty()) c.workload = std::move(*s);
  else env.error("POLICY_WORKLOAD", "must be set: the workload as the policy API names it");
}

std::optional<ControlAddr> read_control(Env& env, std::string_view service, bool required) {
  std::string addr_name = cat(service, "_SVC_ADDR"), name_name = cat(service, "_SVC_NAME");
  std::optional<tls::Identity> name;
  bool has_name = env.read(name_name, name, &grammar_dns_identity, kWantName) || env.text(name_name);
  auto text = env.text(addr_name);
  if (!text || text->empty()) {
    if (required) env.error(addr_name, "must be set: HOST:PORT of that service");
    return std::nullopt;
  }
  auto parts = split_host_port(*text);
  if (!parts || parts->port == 0) {
    env.wrong(addr_name, *text, "HOST:PORT or IP:PORT");
    return std::nullopt;
  }
  ControlAddr out;
  out.authority = *text;
  out.host = std::string(parts->host);
  out.port = parts->port;
  auto ip = IpAddr::parse(out.host);
  std::string_view host = out.host;
  if (host.ends_with('.')) host.remove_suffix(1);
  if (!ip && !tls::Identity::parse_dns(host)) {
    env.wrong(addr_name, *text, "HOST:PORT or IP:PORT");
    return std::nullopt;
  }
  bool loopback = ip ? ip->is_loopback() : iequals(host, "localhost");
  if (loopback) return out;
  if (!has_name)
    env.error(name_name, cat("must be set: the identity of ", quoted(*text), ", which is not a loopback address"));
  if (!name) return std::nullopt;
  out.name = std::move(name);
  return out;
}

// Lines of k=v, the value perhaps in quotes.
void read_attributes(Env& env, std::string_view name, std::vector<std::pair<std::string, std::string>>& out) {
  auto text = env.text(name);
  if (!text) return;
  for (std::string_view line : split(*text, '\n')) {
    line = trim(line);
    if (line.empty()) continue;
    size_t eq = line.find('=');
    if (eq == 0 || eq == line.npos) {
      env.warn(name, cat("the line ", quoted(line), " is ignored: expected KEY=VALUE"));
      continue;
    }
    std::string_view value = line.substr(eq + 1);
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    out.emplace_back(trim(line.substr(0, eq)), value);
  }
}

void read_telemetry(Env& env, Config& c) {
  if (auto s = env.text("TAP_SVC_NAME"); s && !s->empty())
    env.read("TAP_SVC_NAME", c.tap_client, &grammar_dns_identity, kWantName);
  c.trace_svc = read_control(env, "TRACE_COLLECTOR", false);
  c.trace_attributes_path = env.text("TRACE_ATTRIBUTES_PATH").value_or("");
  c.trace_service_name = env.text("TRACE_SERVICE_NAME").value_or("");
  read_attributes(env, "TRACE_EXTRA_ATTRIBUTES", c.trace_attributes);
  read_attributes(env, "OTEL_RESOURCE_ATTRIBUTES", c.trace_attributes);
}

void read_stream_limits(Env& env, StreamLimits& l) {
  constexpr std::string_view kInitial = "CONTROL_STREAM_INITIAL_TIMEOUT", kIdle = "CONTROL_STREAM_IDLE_TIMEOUT",
                             kLifetime = "CONTROL_STREAM_LIFETIME";
  env.duration(kInitial, l.initial);
  env.duration(kIdle, l.idle);
  env.duration(kLifetime, l.lifetime);
  if (l.initial && l.idle && *l.initial > *l.idle)
    env.error(kInitial, cat("must not be more than ", Env::full_name(kIdle)));
  if (l.idle && l.lifetime && *l.idle > *l.lifetime)
    env.error(kIdle, cat("must not be more than ", Env::full_name(kLifetime)));
  if (l.initial && l.lifetime && *l.initial > *l.lifetime)
    env.error(kInitial, cat("must not be more than ", Env::full_name(kLifetime)));
}

// The name we ask for, and the one that peers ask us for by SNI.
std::optional<IdentityConfig> read_identity_name(Env& env) {
  std::optional<tls::Identity> local, id, server;
  if (env.text("IDENTITY_LOCAL_NAME")) {
    env.read("IDENTITY_LOCAL_NAME", local, &grammar_dns_identity, kWantName);
    if (!local) return std::nullopt;
    IdentityConfig out(*local);
    out.server_name = local->name();
    return out;
  }
  constexpr std::string_view kId = "IDENTITY_SERVER_ID", kServer = "IDENTITY_SERVER_NAME";
  env.read(kId, id, &grammar_identity, kWantName);
  env.read(kServer, server, &grammar_dns_identity, kWantName);
  if (!env.text(kId) && !env.text(kServer))
    env.error("IDENTITY_LOCAL_NAME", "must be set: the identity of this workload");
  else if (!env.text(kId) || !env.text(kServer))
    env.error(env.text(kId) ? kServer : kId, "must be set too where LINKERD2_PROXY_IDENTITY_LOCAL_NAME is not");
  if (!id || !server) return std::nullopt;
  if (*id != *server) {
    env.error(kId, cat("must be the DNS name that ", Env::full_name(kServer), " is"));
    return std::nullopt;
  }
  IdentityConfig out(*id);
  out.server_name = server->name();
  return out;
}

std::optional<IdentityConfig> read_identity(Env& env) {
  if (auto s = env.text("IDENTITY_DISABLED"); s && !s->empty())
    env.error("IDENTITY_DISABLED", "a proxy without identity is not possible; leave it unset");
  for (std::string_view name : {"IDENTITY_SPIRE_WORKLOAD_API_ADDRESS", "IDENTITY_SPIRE_SOCKET"})
    if (env.text(name))
      env.error(name, "certificates from SPIRE are not supported yet; leave it unset and name an identity service");
  BackoffConfig spire;
  env.backoff("IDENTITY_SPIRE", spire);

  auto out = read_identity_name(env);
  if (!out) out.emplace(*tls::Identity::parse_dns("unknown"));  // to find what else is wrong
  env.boolean("TULLE_PROXY_IDENTITY_EPHEMERAL", out->ephemeral);
  env.boolean("TULLE_PROXY_TLS_RESUMPTION", out->resumption);
  auto required = [&](std::string_view name, std::string& to, std::string_view what) {
    if (auto s = env.text(name); s && !s->empty()) to = std::move(*s);
    else env.error(name, cat("must be set: ", what));
  };
  if (!out->ephemeral) required("IDENTITY_DIR", out->dir, "the folder of csr.der and key.p8");
  required("IDENTITY_TRUST_ANCHORS", out->trust_anchors_pem, "the certificates to trust, as PEM text");
  if (!out->trust_anchors_pem.empty() &&
      out->trust_anchors_pem.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    env.error("IDENTITY_TRUST_ANCHORS", "must be certificates as PEM text, not a path");
  required("IDENTITY_TOKEN_FILE", out->token_file, "the file of the token that proves who this workload is");
  if (out->token_file.starts_with("eyJ"))
    env.error("IDENTITY_TOKEN_FILE", "must be the path of a file; it looks like a token itself, so it is not shown");
  env.duration("IDENTITY_MIN_REFRESH", out->min_refresh);
  env.duration("IDENTITY_MAX_REFRESH", out->max_refresh);
  if (out->min_refresh <= Duration::zero()) env.error("IDENTITY_MIN_REFRESH", "must be more than 0");
  if (out->min_refresh > out->max_refresh)
    env.error("IDENTITY_MIN_REFRESH", "must not be more than LINKERD2_PROXY_IDENTITY_MAX_REFRESH");
  return out;
}

void read_ours(Env& env, Config& c) {
  env.duration("TULLE_PROXY_NO_DISCOVERY_TIMEOUT", c.no_discovery_timeout);
  env.read("TULLE_PROXY_BALANCER", c.round_robin, &grammar_balancer, "p2c or round-robin");
  env.read("TULLE_PROXY_ON_NO_DISCOVERY", c.on_no_discovery, &grammar_on_no_discovery, "refuse or plaintext");
  env.count("TULLE_PROXY_MAX_CONNECTIONS", c.max_connections);
  env.count("TULLE_PROXY_MAX_TARGETS", c.max_targets);
  env.duration("TULLE_PROXY_DIGEST_INTERVAL", c.digest_interval);
  env.duration("TULLE_PROXY_ABSENT_GRACE", c.absent_grace);
  env.duration("TULLE_PROXY_SERVER_FIRST_WAIT", c.server_first_wait);
  env.duration("TULLE_PROXY_HTTP_HEADER_TIMEOUT", c.http_header_timeout);
  env.duration("TULLE_PROXY_HTTP_IDLE_TIMEOUT", c.http_idle_timeout);
  env.read("TULLE_PROXY_HTTP_HEADER_LIMIT_PORTS", c.http_header_limits, &grammar_header_limits,
           "PORTS=BYTES with commas between, BYTES from 1024 to 1048576, such as 8080=131072,9000-9099=262144");
  env.read("TULLE_PROXY_MEMORY_LIMIT", c.memory_limit, &grammar_number<size_t, 16 * 1024 * 1024, SIZE_MAX / 2>,
           "bytes, from 16777216");
  env.read("TULLE_PROXY_AMBIGUOUS_PATH_PORTS", c.ambiguous_path_ports, &grammar_ports, kWantPorts);
  if (auto s = env.text("TULLE_PROXY_RESOLV_CONF"); s && !s->empty()) c.resolv_conf = std::move(*s);
}

// What is understood and does nothing yet, where somebody set it to something: not `false`, which is as well done.
void read_without_effect(Env& env) {
  constexpr std::string_view kNames[] = {
      "ACCESS_LOG",
      "DESTINATION_PROFILE_INITIAL_TIMEOUT",
      "DNS_MAX_TTL",
      "DNS_MIN_TTL",
      "INBOUND_GATEWAY_SUFFIXES",
      "INBOUND_HTTP_FAILFAST_TIMEOUT",
      "INBOUND_METRICS_AUTHORITY_LABELS",
      "INBOUND_SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL",
      "INBOUND_SERVER_HTTP2_MAX_PENDING_ACCEPT_RESET_STREAMS",
      "INBOUND_SERVER_HTTP2_MAX_SEND_BUF_SIZE",
      "INGRESS_MODE",
      "OUTBOUND_METRICS_HOSTNAME_LABELS",
      "OUTBOUND_SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL",
      "OUTBOUND_SERVER_HTTP2_MAX_PENDING_ACCEPT_RESET_STREAMS",
      "OUTBOUND_SERVER_HTTP2_MAX_SEND_BUF_SIZE",
      "TAP_SVC_NAME",
      "TRACE_ATTRIBUTES_PATH",
      "TRACE_COLLECTOR_SVC_ADDR",
      "TRACE_EXTRA_ATTRIBUTES",
      "TRACE_SERVICE_NAME",
  };
  std::vector<std::string> set;
  for (std::string_view name : kNames)
    if (auto s = env.text(name); s && !trim(*s).empty() && *s != "false") set.push_back(Env::full_name(name));
  if (!set.empty()) env.warn(cat("set, but without effect in this version: ", join(set, ", ")));
}

}  // namespace

void PortSet::add(uint16_t first, uint16_t last) {
  ranges_.emplace_back(first, last);
  std::ranges::sort(ranges_);
  std::vector<std::pair<uint16_t, uint16_t>> merged;
  for (auto& r : ranges_) {
    if (!merged.empty() && r.first <= merged.back().second + 1)
      merged.back().second = std::max(merged.back().second, r.second);
    else merged.push_back(r);
  }
  ranges_ = std::move(merged);
}

bool PortSet::contains(uint16_t port) const {
  auto after = std::ranges::upper_bound(ranges_, port, {}, [](auto& r) { return r.first; });
  return after != ranges_.begin() && std::prev(after)->second >= port;
}

bool has_suffix(std::string_view name, const std::vector<std::string>& suffixes) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return std::ranges::any_of(suffixes, [&](std::string_view s) {
    if (s.empty()) return true;
    if (name.size() < s.size() || !iequals(name.substr(name.size() - s.size()), s)) return false;
    return name.size() == s.size() || name[name.size() - s.size() - 1] == '.';
  });
}

bool in_networks(IpAddr ip, const std::vector<Cidr>& networks) {
  return std::ranges::any_of(networks, [&](const Cidr& n) { return n.contains(ip); });
}

std::string_view policy_name(DefaultPolicy p) {
  for (auto& [name, policy] : kPolicies)
    if (policy == p) return name;
  return "";
}

std::optional<uint32_t> Config::header_limit(uint16_t port) const {
  for (const HeaderLimit& l : http_header_limits)
    if (l.ports.contains(port)) return l.bytes;
  return std::nullopt;
}

bool Config::is_own_port(uint16_t port) const {
  constexpr uint16_t kDns = 53;
  auto listens = [&](const SocketAddr& a) { return a.port == port; };
  if (std::ranges::any_of(outbound_listen, listens)) return true;
  if (pod) return port == kDns;
  return listens(inbound_listen) || listens(admin_listen) || (tap_client && listens(tap_listen));
}

size_t Config::workers(size_t cpus) const {
  size_t most = cores_min;
  if (cores_max) most = *cores_max;
  else if (cores_max_ratio) most = static_cast<size_t>(std::lround(static_cast<double>(cpus) * *cores_max_ratio));
  return std::max<size_t>(1, std::min(std::max(most, cores_min), cpus));
}

Result<Config> parse_config(const Env::Source& source) {
  Env env(source);
  auto identity = read_identity(env);
  Config c(std::move(*identity));
  read_pod(env, c);
  read_listeners(env, c);
  read_runtime(env, c);
  read_traffic(env, c);
  read_discovery(env, c);
  read_policy(env, c);
  auto destination = read_control(env, "DESTINATION", true);
  auto policy = read_control(env, "POLICY", true);
  auto identity_svc = read_control(env, "IDENTITY", true);
  if (destination) c.destination_svc = std::move(*destination);
  if (policy) c.policy_svc = std::move(*policy);
  if (identity_svc) c.identity_svc = std::move(*identity_svc);
  read_telemetry(env, c);
  read_stream_limits(env, c.stream_limits);
  read_ours(env, c);
  read_without_effect(env);
  if (!env.errors().empty()) return fail(Code::kInvalid, join(env.errors(), "\n"));
  c.warnings = env.take_warnings();
  return c;
}

}  // namespace tulle::proxy
