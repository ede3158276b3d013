#include "proxy/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

using testing::HasSubstr;
using Vars = std::map<std::string, std::string, std::less<>>;

// The least that a proxy needs.
Vars minimal() {
  return {
      {"LINKERD2_PROXY_DESTINATION_SVC_ADDR", "127.0.0.1:8086"},
      {"LINKERD2_PROXY_POLICY_SVC_ADDR", "127.0.0.1:8090"},
      {"LINKERD2_PROXY_IDENTITY_SVC_ADDR", "localhost:8080"},
      {"LINKERD2_PROXY_IDENTITY_DIR", "/var/run/identity"},
      {"LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
      {"LINKERD2_PROXY_IDENTITY_TOKEN_FILE", "/var/run/token"},
      {"LINKERD2_PROXY_IDENTITY_LOCAL_NAME", "web.default.serviceaccount.identity.linkerd.cluster.local"},
      {"LINKERD2_PROXY_POLICY_WORKLOAD", "default:web"},
  };
}

Result<Config> parse(const Vars& vars, std::set<std::string>* asked = nullptr) {
  return parse_config([&](std::string_view name) -> std::optional<std::string> {
    if (asked) asked->emplace(name);
    auto it = vars.find(name);
    return it == vars.end() ? std::nullopt : std::optional(it->second);
  });
}

Vars with(Vars vars, std::initializer_list<std::pair<std::string, std::string>> more) {
  for (auto& [k, v] : more)
    vars[k.starts_with("TULLE_") || k == "HOSTNAME" || k.starts_with("OTEL") ? k : "LINKERD2_PROXY_" + k] = v;
  return vars;
}
Vars without(Vars vars, std::string_view name) {
  vars.erase(cat("LINKERD2_PROXY_", name));
  return vars;
}
std::string error_of(const Vars& vars) {
  auto c = parse(vars);
  return c ? "" : c.error().reason;
}

TEST(Config, DefaultsAreLinkerds) {
  auto c = parse(minimal());
  ASSERT_TRUE(c) << c.error().reason;
  ASSERT_EQ(c->outbound_listen.size(), 1u);
  EXPECT_EQ(c->outbound_listen[0].to_string(), "127.0.0.1:4140");
  EXPECT_EQ(c->inbound_listen.to_string(), "0.0.0.0:4143");
  EXPECT_EQ(c->tap_listen.to_string(), "0.0.0.0:4190");
  EXPECT_EQ(c->admin_listen.to_string(), "127.0.0.1:4191");
  EXPECT_EQ(c->metrics_retain_idle, 10min);
  EXPECT_FALSE(c->shutdown_endpoint);
  EXPECT_EQ(c->shutdown_grace, 2min);
  EXPECT_EQ(c->workers(8), 1u);
  EXPECT_EQ(c->log_filter, "warn,linkerd=info,hickory=error");
  EXPECT_EQ(c->access_log, AccessLog::kOff);
  EXPECT_EQ(c->inbound.detect_timeout, 10s);
  EXPECT_EQ(c->inbound.connect_timeout, 300ms);
  EXPECT_EQ(c->outbound.connect_timeout, 1s);
  EXPECT_EQ(c->inbound.connect_backoff, (BackoffConfig{100ms, 10s, 0.1}));
  EXPECT_EQ(c->outbound.connect_backoff, (BackoffConfig{100ms, 60s, 0.1}));
  EXPECT_EQ(c->inbound.http_failfast_timeout, 1s);
  EXPECT_EQ(c->outbound.http_failfast_timeout, 3s);
  EXPECT_EQ(c->inbound.discovery_idle_timeout, 90s);
  EXPECT_EQ(c->outbound.discovery_idle_timeout, 5s);
  EXPECT_EQ(c->outbound.max_in_flight, 100'000u);
  EXPECT_EQ(c->profile_suffixes, std::vector<std::string>{"svc.cluster.local"});
  EXPECT_TRUE(c->profile_networks.empty());
  EXPECT_FALSE(c->gateway_suffixes);
  EXPECT_EQ(c->default_policy, DefaultPolicy::kAllUnauthenticated);
  EXPECT_TRUE(c->inbound_ports.contains(4191));
  EXPECT_EQ(c->identity.min_refresh, 10s);
  EXPECT_EQ(c->identity.max_refresh, 24h);
  EXPECT_EQ(c->identity.server_name, "web.default.serviceaccount.identity.linkerd.cluster.local");
  EXPECT_TRUE(c->destination_svc.loopback());
  EXPECT_TRUE(c->identity_svc.loopback());
  EXPECT_EQ(c->identity_svc.authority, "localhost:8080");
  EXPECT_FALSE(c->tap_client);
  EXPECT_FALSE(c->trace_svc);
  EXPECT_FALSE(c->pod);
  EXPECT_EQ(c->no_discovery_timeout, 3s);
  EXPECT_EQ(c->on_no_discovery, OnNoDiscovery::kRefuse);
  EXPECT_EQ(c->server_first_wait, 5ms);
  EXPECT_EQ(c->absent_grace, 10s);
  ASSERT_EQ(c->warnings.size(), 1u);  // the default policy lets everybody in
  EXPECT_THAT(c->warnings[0], HasSubstr("INBOUND_DEFAULT_POLICY"));
}

// One variable: a good value and what becomes of it, and a bad one.
struct Case {
  std::string name, good;
  std::function<bool(const Config&)> check;
  std::string bad;  // "": nothing is wrong for this one
};

std::vector<Case> cases() {
  using C = const Config&;
  return {
      {"OUTBOUND_LISTEN_ADDR", "127.0.0.1:1", [](C c) { return c.outbound_listen[0].port == 1; }, "localhost:1"},
      {"OUTBOUND_LISTEN_ADDRS", "127.0.0.1:1,[::1]:1", [](C c) { return c.outbound_listen.size() == 2; },
       "127.0.0.1:1,127.0.0.1:2"},
      {"INBOUND_LISTEN_ADDR", "[::]:2", [](C c) { return c.inbound_listen.to_string() == "[::]:2"; }, "4143"},
      {"CONTROL_LISTEN_ADDR", "1.2.3.4:5", [](C c) { return c.tap_listen.port == 5; }, "1.2.3.4"},
      {"ADMIN_LISTEN_ADDR", "1.2.3.4:5", [](C c) { return c.admin_listen.port == 5 && c.inbound_ports.contains(5); },
       ""},
      {"METRICS_RETAIN_IDLE", " 1h ", [](C c) { return c.metrics_retain_idle == 1h; }, "1.5h"},
      {"SHUTDOWN_ENDPOINT_ENABLED", "true", [](C c) { return c.shutdown_endpoint; }, "yes"},
      {"SHUTDOWN_GRACE_PERIOD", "0", [](C c) { return c.shutdown_grace == 0s; }, "5"},
      {"CORES", "3", [](C c) { return c.workers(8) == 3; }, ""},
      {"CORES_MIN", "2", [](C c) { return c.workers(8) == 2; }, ""},
      {"CORES_MAX", "4", [](C c) { return c.workers(8) == 4 && c.workers(2) == 2; }, ""},
      {"CORES_MAX_RATIO", "0.5", [](C c) { return c.workers(8) == 4 && c.workers(1) == 1; }, ""},
      {"LOG", "debug,hyper=trace", [](C c) { return c.log_filter == "debug,hyper=trace"; }, "loud"},
      {"LOG_FORMAT", "json", [](C c) { return c.log_format == LogFormat::kJson; }, "xml"},
      {"ACCESS_LOG", "apache", [](C c) { return c.access_log == AccessLog::kApache; }, "common"},
      {"HOSTNAME", "node-1", [](C c) { return c.hostname == "node-1"; }, ""},

      {"INBOUND_DETECT_TIMEOUT", "1s", [](C c) { return c.inbound.detect_timeout == 1s; }, "1 s"},
      {"OUTBOUND_DETECT_TIMEOUT", "1s", [](C c) { return c.outbound.detect_timeout == 1s; }, "-1s"},
      {"INBOUND_CONNECT_TIMEOUT", "1s", [](C c) { return c.inbound.connect_timeout == 1s; }, "x"},
      {"OUTBOUND_CONNECT_TIMEOUT", "2s", [](C c) { return c.outbound.connect_timeout == 2s; }, ""},
      {"INBOUND_ACCEPT_KEEPALIVE", "10000ms", [](C c) { return c.inbound.accept_socket.keepalive == 10s; }, "10"},
      {"OUTBOUND_ACCEPT_KEEPALIVE", "", [](C c) { return !c.outbound.accept_socket.keepalive; }, "ten"},
      {"INBOUND_CONNECT_KEEPALIVE", "1m", [](C c) { return c.inbound.connect_socket.keepalive == 1min; }, "m"},
      {"OUTBOUND_CONNECT_KEEPALIVE", "1m", [](C c) { return c.outbound.connect_socket.keepalive == 1min; }, "m"},
      {"INBOUND_ACCEPT_USER_TIMEOUT", "1d", [](C c) { return c.inbound.accept_socket.user_timeout == 24h; }, "d"},
      {"OUTBOUND_ACCEPT_USER_TIMEOUT", "1d", [](C c) { return c.outbound.accept_socket.user_timeout == 24h; }, "d"},
      {"INBOUND_CONNECT_USER_TIMEOUT", "1d", [](C c) { return c.inbound.connect_socket.user_timeout == 24h; }, "d"},
      {"OUTBOUND_CONNECT_USER_TIMEOUT", "1d", [](C c) { return c.outbound.connect_socket.user_timeout == 24h; }, "d"},
      {"INBOUND_TCP_LISTEN_BACKLOG", "128", [](C c) { return c.inbound.listen_backlog == 128; }, "-1"},
      {"OUTBOUND_TCP_LISTEN_BACKLOG", "128", [](C c) { return c.outbound.listen_backlog == 128; }, "0"},
      {"MAX_IDLE_CONNS_PER_ENDPOINT", "7", [](C c) { return c.inbound.max_idle_per_endpoint == 7; }, "no"},
      {"OUTBOUND_MAX_IDLE_CONNS_PER_ENDPOINT", "7", [](C c) { return c.outbound.max_idle_per_endpoint == 7; }, "no"},
      {"INBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", "1s", [](C c) { return c.inbound.http1_idle_timeout == 1s; },
       "no"},
      {"OUTBOUND_HTTP1_CONNECTION_POOL_IDLE_TIMEOUT", "1s", [](C c) { return c.outbound.http1_idle_timeout == 1s; },
       "no"},
      {"INBOUND_MAX_IN_FLIGHT", "9", [](C c) { return c.inbound.max_in_flight == 9; }, "9.0"},
      {"OUTBOUND_MAX_IN_FLIGHT", "9", [](C c) { return c.outbound.max_in_flight == 9; }, "99999999999999999999"},
      {"INBOUND_HTTP_QUEUE_CAPACITY", "9", [](C c) { return c.inbound.http_queue_capacity == 9; }, "+9"},
      {"INBOUND_HTTP_FAILFAST_TIMEOUT", "9s", [](C c) { return c.inbound.http_failfast_timeout == 9s; }, "+9"},
      {"OUTBOUND_HTTP_QUEUE_CAPACITY", "9", [](C c) { return c.outbound.http_queue_capacity == 9; }, "+9"},
      {"OUTBOUND_HTTP_FAILFAST_TIMEOUT", "9s", [](C c) { return c.outbound.http_failfast_timeout == 9s; }, "+9"},
      {"OUTBOUND_TCP_QUEUE_CAPACITY", "9", [](C c) { return c.tcp_queue_capacity == 9; }, "+9"},
      {"OUTBOUND_TCP_FAILFAST_TIMEOUT", "9s", [](C c) { return c.tcp_failfast_timeout == 9s; }, "+9"},
      {"OUTBOUND_DISCOVERY_IDLE_TIMEOUT", "9s", [](C c) { return c.outbound.discovery_idle_timeout == 9s; }, "9us"},
      {"INBOUND_DISCOVERY_IDLE_TIMEOUT", "9s", [](C c) { return c.inbound.discovery_idle_timeout == 9s; }, "9us"},
      {"DESTINATION_PROFILE_INITIAL_TIMEOUT", "9s", [](C c) { return c.profile_initial_timeout == 9s; }, "9us"},

      {"DESTINATION_CONTEXT", "{\"ns\":\"x\"}", [](C c) { return c.destination_context == "{\"ns\":\"x\"}"; }, "\xff"},
      {"DESTINATION_PROFILE_SUFFIXES", "svc.Example.com., .",
       [](C c) { return c.profile_suffixes == std::vector<std::string>{"svc.example.com", ""}; }, "a b"},
      {"DESTINATION_PROFILE_NETWORKS", "10.0.0.0/8,, 1.2.3.4", [](C c) { return c.profile_networks.size() == 2; },
       "10/8"},
      {"INBOUND_GATEWAY_SUFFIXES", "svc.cluster.local.",
       [](C c) { return c.gateway_suffixes && c.inbound_ports.contains(4143); }, "*"},
      {"INBOUND_PORTS_DISABLE_PROTOCOL_DETECTION", "25,587-589",
       [](C c) { return c.opaque_ports.contains(588) && !c.opaque_ports.contains(590); }, "25-1"},
      {"INBOUND_DEFAULT_POLICY", "deny",
       [](C c) { return c.default_policy == DefaultPolicy::kDeny && c.warnings.empty(); }, "allow"},
      {"INBOUND_PORTS", " 80 ,, 81,90", [](C c) { return c.inbound_ports.ranges().size() == 3; }, "http"},
      {"POLICY_CLUSTER_NETWORKS", "fd00::/8",
       [](C c) { return in_networks(*IpAddr::parse("fd00::1"), c.cluster_networks); }, "fd00::/129"},
      {"INBOUND_IPS", "1.2.3.4,::1", [](C c) { return c.inbound_ips.size() == 2; }, "1.2.3.0/24"},
      {"INGRESS_MODE", "true", [](C c) { return c.ingress_mode && c.hide_informational_headers; }, "1"},
      {"OUTBOUND_DISABLE_INFORMATIONAL_HEADERS", "true", [](C c) { return c.hide_informational_headers; }, "TRUE"},
      {"OUTBOUND_METRICS_HOSTNAME_LABELS", "true", [](C c) { return c.hostname_labels; }, "on"},
      {"INBOUND_METRICS_AUTHORITY_LABELS", "unsafe", [](C c) { return c.authority_labels; }, "safe"},
      {"DNS_MIN_TTL", "5s", [](C c) { return c.dns_min_ttl == 5s; }, "five"},
      {"DNS_MAX_TTL", "5s", [](C c) { return c.dns_max_ttl == 5s; }, "five"},

      {"CONTROL_STREAM_INITIAL_TIMEOUT", "3s", [](C c) { return c.stream_limits.initial == 3s; }, "three"},
      {"CONTROL_STREAM_IDLE_TIMEOUT", "", [](C c) { return !c.stream_limits.idle; }, "three"},
      {"CONTROL_STREAM_LIFETIME", "1h", [](C c) { return c.stream_limits.lifetime == 1h; }, "three"},
      {"IDENTITY_MIN_REFRESH", "1s", [](C c) { return c.identity.min_refresh == 1s; }, "0"},
      {"IDENTITY_MAX_REFRESH", "1h", [](C c) { return c.identity.max_refresh == 1h; }, "1s"},
      {"IDENTITY_DISABLED", "", [](C) { return true; }, "1"},
      {"IDENTITY_SPIRE_WORKLOAD_API_ADDRESS", "", {}, "unix:///run/spire.sock"},
      {"IDENTITY_SPIRE_SOCKET", "", {}, "/run/spire.sock"},
      {"TAP_SVC_NAME", "tap.linkerd.serviceaccount.identity.linkerd.cluster.local",
       [](C c) { return c.tap_client.has_value(); }, "a..b"},
      {"TRACE_COLLECTOR_SVC_ADDR", "127.0.0.1:4317", [](C c) { return c.trace_svc->port == 4317; }, ":4317"},
      {"TRACE_COLLECTOR_SVC_NAME", "a.b", [](C c) { return !c.trace_svc; }, "a b"},
      {"TRACE_ATTRIBUTES_PATH", "/etc/labels", [](C c) { return c.trace_attributes_path == "/etc/labels"; }, ""},
      {"TRACE_SERVICE_NAME", "web", [](C c) { return c.trace_service_name == "web"; }, ""},
      {"TRACE_EXTRA_ATTRIBUTES", "a=1\nb=\"2\"\n",
       [](C c) { return c.trace_attributes.size() == 2 && c.trace_attributes[1].second == "2"; }, ""},
      {"OTEL_RESOURCE_ATTRIBUTES", "a=1,b=2", [](C c) { return c.trace_attributes[0].second == "1,b=2"; }, ""},
      {"IDENTITY_SVC_NAME", "identity.linkerd", [](C c) { return c.identity_svc.loopback(); }, "a_b..c"},
      {"DESTINATION_SVC_NAME", "destination.linkerd", [](C c) { return c.destination_svc.loopback(); }, "-"},
      {"POLICY_SVC_NAME", "policy.linkerd", [](C c) { return c.policy_svc.loopback(); }, "-"},
      {"DESTINATION_SVC_ADDR", "127.9.9.9:1", [](C c) { return c.destination_svc.loopback(); }, "127.0.0.1"},
      {"POLICY_SVC_ADDR", "[::1]:1", [](C c) { return c.policy_svc.host == "::1"; }, "http://x:1"},
      {"IDENTITY_SVC_ADDR", "LOCALHOST.:1", [](C c) { return c.identity_svc.loopback(); }, "identity:"},
      {"IDENTITY_DIR", "/x", [](C c) { return c.identity.dir == "/x"; }, ""},
      {"IDENTITY_TRUST_ANCHORS", "x-----BEGIN CERTIFICATE-----", [](C) { return true; }, "/etc/anchors.pem"},
      {"IDENTITY_TOKEN_FILE", "/t", [](C c) { return c.identity.token_file == "/t"; }, "eyJhbGciOiJIUzI1NiJ9.secret"},
      {"IDENTITY_LOCAL_NAME", "Web.ns", [](C c) { return c.identity.name.name() == "web.ns"; }, "spiffe://x/y"},
      {"POLICY_WORKLOAD", "w", [](C c) { return c.workload == "w"; }, ""},

      {"HTTP2_INITIAL_STREAM_WINDOW_SIZE", "70000", [](C c) { return c.client_stream_window == 70000; }, "2147483648"},
      {"HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", "1", [](C c) { return c.client_connection_window == 65535; }, "0"},
      {"INBOUND_SERVER_HTTP2_ADAPTIVE_FLOW_CONTROL", "true",
       [](C c) { return c.inbound.http2.adaptive_flow_control == true; }, "yes"},
      {"INBOUND_SERVER_HTTP2_MAX_CONCURRENT_STREAMS", "5",
       [](C c) { return c.inbound.http2.max_concurrent_streams == 5u; }, "no"},
      {"INBOUND_SERVER_HTTP2_MAX_FRAME_SIZE", "16384", [](C c) { return c.inbound.http2.max_frame_size == 16384u; },
       "16383"},
      {"INBOUND_SERVER_HTTP2_MAX_HEADER_LIST_SIZE", "5", [](C c) { return c.inbound.http2.max_header_list_size == 5u; },
       "no"},
      {"OUTBOUND_SERVER_HTTP2_MAX_PENDING_ACCEPT_RESET_STREAMS", "5",
       [](C c) { return c.outbound.http2.max_pending_accept_reset_streams == 5u; }, "no"},
      {"OUTBOUND_SERVER_HTTP2_MAX_SEND_BUF_SIZE", "5", [](C c) { return c.outbound.http2.max_send_buf_size == 5u; },
       "no"},
      {"OUTBOUND_SERVER_HTTP2_INITIAL_STREAM_WINDOW_SIZE", "5",
       [](C c) { return c.outbound.http2.stream_window == 65535 && c.warnings.size() == 2; }, "no"},
      {"OUTBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "5s",
       [](C c) { return !c.outbound.http2.keep_alive && c.warnings.size() == 2; }, "no"},

      {"TULLE_PROXY_NO_DISCOVERY_TIMEOUT", "1s", [](C c) { return c.no_discovery_timeout == 1s; }, "no"},
      {"TULLE_PROXY_ON_NO_DISCOVERY", "plaintext", [](C c) { return c.on_no_discovery == OnNoDiscovery::kPlaintext; },
       "plain"},
      {"TULLE_PROXY_BALANCER", "round-robin", [](C c) { return c.round_robin; }, "random"},
      {"TULLE_PROXY_MAX_CONNECTIONS", "5", [](C c) { return c.max_connections == 5; }, "0"},
      {"TULLE_PROXY_MAX_TARGETS", "5", [](C c) { return c.max_targets == 5; }, "0"},
      {"TULLE_PROXY_DIGEST_INTERVAL", "0", [](C c) { return c.digest_interval == 0s; }, "no"},
      {"TULLE_PROXY_ABSENT_GRACE", "1s", [](C c) { return c.absent_grace == 1s; }, "no"},
      {"TULLE_PROXY_SERVER_FIRST_WAIT", "0", [](C c) { return c.server_first_wait == 0s; }, "no"},
      {"TULLE_PROXY_HTTP_HEADER_TIMEOUT", "1s", [](C c) { return c.http_header_timeout == 1s; }, "no"},
      {"TULLE_PROXY_HTTP_IDLE_TIMEOUT", "1s", [](C c) { return c.http_idle_timeout == 1s; }, "no"},
      {"TULLE_PROXY_AMBIGUOUS_PATH_PORTS", "80,90-91", [](C c) { return c.ambiguous_path_ports.contains(91); }, "x"},
      {"TULLE_PROXY_HTTP_HEADER_LIMIT_PORTS", "8080=131072, 9000-9099=2048,9005=4096",
       [](C c) { return c.header_limit(8080) == 131072u && c.header_limit(9005) == 2048u && !c.header_limit(80); },
       "8080=100"},
      {"TULLE_PROXY_HTTP_HEADER_LIMIT_PORTS", "", [](C c) { return c.http_header_limits.empty(); }, "8080"},
      {"TULLE_PROXY_MEMORY_LIMIT", "268435456", [](C c) { return c.memory_limit == 268435456; }, "256Mi"},
      {"TULLE_PROXY_RESOLV_CONF", "/x", [](C c) { return c.resolv_conf == "/x"; }, ""},
  };
}

TEST(Config, EachVariable) {
  for (const Case& k : cases()) {
    SCOPED_TRACE(k.name);
    auto good = parse(with(minimal(), {{k.name, k.good}}));
    if (k.check) {
      ASSERT_TRUE(good) << k.name << ": " << good.error().reason;
      EXPECT_TRUE(k.check(*good)) << k.name << "=" << k.good;
    }
    if (k.bad.empty()) continue;
    std::string error = error_of(with(minimal(), {{k.name, k.bad}}));
    EXPECT_THAT(error, HasSubstr(k.name)) << k.bad;
  }
}

TEST(Config, AWrongValueIsNamedWithWhatIsAccepted) {
  EXPECT_EQ(error_of(with(minimal(), {{"INBOUND_CONNECT_TIMEOUT", "5 s"}})),
            "LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUT=\"5 s\": expected a whole number and a unit of ms, s, m, h or d, "
            "such as 10s");
}

TEST(Config, AllMistakesAreReported) {
  std::string e = error_of({});
  for (auto* name : {"DESTINATION_SVC_ADDR", "POLICY_SVC_ADDR", "IDENTITY_SVC_ADDR", "IDENTITY_DIR", "TRUST_ANCHORS",
                     "TOKEN_FILE", "LOCAL_NAME", "POLICY_WORKLOAD"})
    EXPECT_THAT(e, HasSubstr(name));
  EXPECT_EQ(split(e, '\n').size(), 8u);
}

TEST(Config, ATokenIsNeverShown) {
  std::string e = error_of(with(minimal(), {{"IDENTITY_TOKEN_FILE", "eyJhbGciOiJIUzI1NiJ9.secret"}}));
  EXPECT_THAT(e, Not(HasSubstr("secret")));
}

TEST(Config, Backoffs) {
  auto c =
      parse(with(minimal(), {{"OUTBOUND_CONNECT_EXP_BACKOFF_MIN", "1s"}, {"OUTBOUND_CONNECT_EXP_BACKOFF_MAX", "2s"}}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->outbound.connect_backoff, (BackoffConfig{1s, 2s, 0}));
  c = parse(with(minimal(), {{"INBOUND_CONNECT_EXP_BACKOFF_MIN", "1s"},
                             {"INBOUND_CONNECT_EXP_BACKOFF_MAX", "2s"},
                             {"INBOUND_CONNECT_EXP_BACKOFF_JITTER", "0.5"}}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->inbound.connect_backoff, (BackoffConfig{1s, 2s, 0.5}));
  auto bad = [&](std::initializer_list<std::pair<std::string, std::string>> vars, std::string_view word) {
    EXPECT_THAT(error_of(with(minimal(), vars)), HasSubstr(std::string(word)));
  };
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_MIN", "1s"}}, "BACKOFF_MAX: must be set");
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_MAX", "1s"}}, "BACKOFF_MIN: must be set");
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_MIN", "0"}, {"OUTBOUND_CONNECT_EXP_BACKOFF_MAX", "1s"}}, "more than 0");
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_MIN", "2s"}, {"OUTBOUND_CONNECT_EXP_BACKOFF_MAX", "1s"}}, "must not be more");
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_JITTER", "-1"}}, "negative");
  bad({{"OUTBOUND_CONNECT_EXP_BACKOFF_JITTER", "nan"}}, "a number");
  bad({{"IDENTITY_SPIRE_EXP_BACKOFF_MIN", "x"}}, "SPIRE");
}

TEST(Config, Http2ServersNeedBothOfAPair) {
  auto c = parse(with(minimal(), {{"INBOUND_SERVER_HTTP2_INITIAL_STREAM_WINDOW_SIZE", "100000"},
                                  {"INBOUND_SERVER_HTTP2_INITIAL_CONNECTION_WINDOW_SIZE", "200000"},
                                  {"INBOUND_SERVER_HTTP2_KEEP_ALIVE_INTERVAL", "10s"},
                                  {"INBOUND_SERVER_HTTP2_KEEP_ALIVE_TIMEOUT", "3s"}}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->inbound.http2.stream_window, 100000u);
  EXPECT_EQ(c->inbound.http2.connection_window, 200000u);
  EXPECT_EQ(c->inbound.http2.keep_alive, (Http2ServerConfig::KeepAlive{10s, 3s}));
}

TEST(Config, ClusterPoliciesNeedNetworks) {
  for (auto* p : {"cluster-authenticated", "cluster-unauthenticated", "audit"}) {
    EXPECT_THAT(error_of(with(minimal(), {{"INBOUND_DEFAULT_POLICY", p}})), HasSubstr("POLICY_CLUSTER_NETWORKS"));
    auto c = parse(with(minimal(), {{"INBOUND_DEFAULT_POLICY", p}, {"POLICY_CLUSTER_NETWORKS", "10.0.0.0/8"}}));
    ASSERT_TRUE(c);
    EXPECT_EQ(policy_name(c->default_policy), p);
  }
}

TEST(Config, ServicesElsewhereNeedANameToVerify) {
  EXPECT_THAT(error_of(with(minimal(), {{"DESTINATION_SVC_ADDR", "10.0.0.1:8086"}})),
              HasSubstr("DESTINATION_SVC_NAME: must be set"));
  auto c = parse(with(minimal(), {{"DESTINATION_SVC_ADDR", "linkerd-dst-headless.linkerd.svc.cluster.local.:8086"},
                                  {"DESTINATION_SVC_NAME",
                                   "linkerd-destination.linkerd.serviceaccount.identity.linkerd.cluster.local"}}));
  ASSERT_TRUE(c) << c.error().reason;
  EXPECT_FALSE(c->destination_svc.loopback());
  EXPECT_EQ(c->destination_svc.host, "linkerd-dst-headless.linkerd.svc.cluster.local.");
}

TEST(Config, ServerIdAndServerNameMustAgree) {
  Vars vars = without(minimal(), "IDENTITY_LOCAL_NAME");
  EXPECT_THAT(error_of(with(vars, {{"IDENTITY_SERVER_ID", "a.b"}})), HasSubstr("IDENTITY_SERVER_NAME"));
  EXPECT_THAT(error_of(with(vars, {{"IDENTITY_SERVER_ID", "a.b"}, {"IDENTITY_SERVER_NAME", "a.c"}})),
              HasSubstr("must be the DNS name"));
  EXPECT_THAT(error_of(with(vars, {{"IDENTITY_SERVER_ID", "spiffe://d/x"}, {"IDENTITY_SERVER_NAME", "a.c"}})),
              HasSubstr("must be the DNS name"));
  auto c = parse(with(vars, {{"IDENTITY_SERVER_ID", "a.b"}, {"IDENTITY_SERVER_NAME", "a.b"}}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->identity.name.name(), "a.b");
}

TEST(Config, StreamLimitsMustBeInOrder) {
  EXPECT_THAT(
      error_of(with(minimal(), {{"CONTROL_STREAM_INITIAL_TIMEOUT", "5s"}, {"CONTROL_STREAM_IDLE_TIMEOUT", "1s"}})),
      HasSubstr("IDLE_TIMEOUT"));
  EXPECT_THAT(error_of(with(minimal(), {{"CONTROL_STREAM_IDLE_TIMEOUT", "5s"}, {"CONTROL_STREAM_LIFETIME", "1s"}})),
              HasSubstr("LIFETIME"));
  EXPECT_THAT(error_of(with(minimal(), {{"CONTROL_STREAM_INITIAL_TIMEOUT", "5s"}, {"CONTROL_STREAM_LIFETIME", "1s"}})),
              HasSubstr("LIFETIME"));
}

TEST(Config, APodListensOnItsOwnAddress) {
  auto c = parse(with(without(minimal(), "IDENTITY_DIR"), {{"TULLE_PROXY_POD_NETNS_FD", "3"},
                                                           {"TULLE_PROXY_POD_IP", "127.64.0.5"},
                                                           {"TULLE_PROXY_POD_PORTS", "20080:80, 8080"},
                                                           {"TULLE_PROXY_IDENTITY_EPHEMERAL", "true"},
                                                           {"TULLE_PROXY_TLS_RESUMPTION", "false"}}));
  ASSERT_TRUE(c) << c.error().reason;
  EXPECT_TRUE(c->identity.ephemeral);
  EXPECT_FALSE(c->identity.resumption);
  EXPECT_EQ(c->pod->netns_fd, 3);
  EXPECT_EQ(c->pod->ports, (std::vector<PodPort>{{20080, 80}, {8080, 8080}}));
  EXPECT_EQ(c->inbound_listen.to_string(), "127.64.0.5:4143");
  EXPECT_EQ(c->admin_listen.to_string(), "127.64.0.5:4191");
  EXPECT_EQ(c->inbound_ips, std::vector<IpAddr>{IpAddr::v4(127, 64, 0, 5)});
  EXPECT_TRUE(c->inbound_ports.contains(20080));
  auto bad = [&](std::initializer_list<std::pair<std::string, std::string>> vars, std::string_view word) {
    EXPECT_THAT(error_of(with(minimal(), vars)), HasSubstr(std::string(word)));
  };
  bad({{"TULLE_PROXY_POD_IP", "127.64.0.5"}}, "POD_NETNS_FD: must be set");
  bad({{"TULLE_PROXY_POD_NETNS_FD", "3"}}, "POD_IP: must be set");
  bad({{"TULLE_PROXY_POD_NETNS_FD", "three"}}, "a file descriptor");
  bad({{"TULLE_PROXY_POD_IP", "localhost"}}, "an IP address");
  bad({{"TULLE_PROXY_POD_PORTS", "80:x"}}, "SERVED:APP");
  bad({{"TULLE_PROXY_POD_PORTS", "80:1,80:2"}}, "each SERVED once");
  bad({{"TULLE_PROXY_IDENTITY_EPHEMERAL", "1"}}, "true or false");
}

TEST(Config, WrongNumbersOfCoresAreIgnored) {
  auto c = parse(
      with(minimal(),
           {{"CORES_MIN", "x"}, {"CORES_MAX", "0"}, {"CORES_MAX_RATIO", "1.5"}, {"INBOUND_DEFAULT_POLICY", "deny"}}));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->workers(8), 1u);
  EXPECT_EQ(c->warnings.size(), 3u);
  c = parse(with(minimal(), {{"CORES_MIN", "4"}, {"CORES_MAX", "2"}}));
  EXPECT_EQ(c->workers(8), 4u);
  EXPECT_EQ(c->workers(3), 3u);
}

TEST(PortSet, MergesAndFinds) {
  PortSet p;
  EXPECT_FALSE(p.contains(1));
  p.add(10, 20);
  p.add(30, 40);
  p.add(21, 29);
  p.add(65535, 65535);
  EXPECT_EQ(p.ranges().size(), 2u);
  EXPECT_TRUE(p.contains(10) && p.contains(25) && p.contains(40) && p.contains(65535));
  EXPECT_FALSE(p.contains(9) || p.contains(41) || p.contains(65534));
}

TEST(Suffix, FitsWholeLabels) {
  std::vector<std::string> s{"svc.cluster.local"};
  EXPECT_TRUE(has_suffix("a.b.SVC.cluster.local.", s));
  EXPECT_TRUE(has_suffix("svc.cluster.local", s));
  EXPECT_FALSE(has_suffix("xsvc.cluster.local", s));
  EXPECT_FALSE(has_suffix("local", s));
  EXPECT_TRUE(has_suffix("anything", {""}));
}

TEST(Config, SaysWhatHasNoEffectInOneLine) {
  auto c = parse(with(minimal(), {{"INGRESS_MODE", "true"},
                                  {"DNS_MIN_TTL", "1s"},
                                  {"OUTBOUND_METRICS_HOSTNAME_LABELS", "false"},
                                  {"INBOUND_DEFAULT_POLICY", "deny"}}));
  ASSERT_TRUE(c) << c.error().reason;
  ASSERT_EQ(c->warnings.size(), 1u);
  EXPECT_THAT(c->warnings[0], HasSubstr("without effect in this version: LINKERD2_PROXY_DNS_MIN_TTL, "
                                        "LINKERD2_PROXY_INGRESS_MODE"));
}

TEST(Config, AMisspeltVariableIsFound) {
  std::vector<std::string> names{
      "PATH",     "LINKERD2_PROXY_LOGG",           "TULLE_PROXY_BALANSER",      "LINKERD2_PROXY_LOG",
      "HOSTNAME", "LINKERD2_PROXY_TRACE_PROTOCOL", "TULLE_PROXY_POD_DRAINED_FD"};
  std::set<std::string> asked;
  (void)parse(minimal(), &asked);
  (void)parse(with(minimal(), {{"IDENTITY_SERVER_ID", "a.b"}, {"CORES_MIN", "1"}, {"TULLE_PROXY_POD_IP", "127.0.0.2"}}),
              &asked);
  names.insert(names.end(), asked.begin(), asked.end());
  EXPECT_THAT(unknown_variables(names), testing::ElementsAre("LINKERD2_PROXY_LOGG", "TULLE_PROXY_BALANSER"));
}

TEST(Documentation, NamesEveryVariable) {
  std::set<std::string> asked;
  (void)parse(minimal(), &asked);
  std::ifstream file("docs/configuration.md");
  std::string page{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(page.empty()) << "run it in the project's folder, as ctest does";
  for (std::string name : asked) {
    if (name.starts_with("LINKERD2_PROXY_")) name.erase(0, 15);
    std::string both = name;  // `{IN,OUT}BOUND_X` stands for two
    if (size_t at = both.find("BOUND_"); at < 4) both = "{IN,OUT}" + both.substr(at);
    EXPECT_TRUE(page.contains("`" + name + "`") || page.contains("`" + both + "`")) << name;
  }
}

}  // namespace
}  // namespace tulle::proxy
