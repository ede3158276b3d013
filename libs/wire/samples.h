// Fully populated values of every message, for tests: each field differs from its default.
#pragma once

#include "libs/wire/identity.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"
#include "libs/wire/tap.h"
#include "libs/wire/transport.h"
#include "libs/wire/tulle.h"

namespace tulle::wire::samples {

inline Metadata service() { return {"core", "Service", "web", "shop", "http", 80}; }

inline Endpoint endpoint(uint8_t last) {
  Endpoint e;
  e.addr = SocketAddr(IpAddr::v4(127, 64, 0, last), 8080);
  e.weight = 5000;
  e.labels = {{"pod", "web-1"}, {"zone", "a"}};
  e.tls = TlsIdentity{TlsIdentity::Kind::kDns, "web.shop.serviceaccount.identity.linkerd.cluster.local", "web.sni"};
  e.hint = ProtocolHint::kH2;
  e.opaque_transport_port = 4143;
  e.authority_override = "web.other:81";
  e.http2 = Http2Params{1 << 20, 1 << 16, true, Http2KeepAlive{10s, 3s, true}, 10, 32768, 65536};
  e.resource = {"", "Pod", "web-1", "shop", "", 0};
  return e;
}
inline Endpoint uri_endpoint() {
  Endpoint e;
  e.addr = *SocketAddr::parse("[fd00::7]:443");
  e.tls = TlsIdentity{TlsIdentity::Kind::kUri, "spiffe://trust.example/vm", "vm.sni"};
  e.hint = ProtocolHint::kOpaque;
  return e;
}

inline HeaderModifier modifier() { return {{{"x-add", "1"}, {"x-add", "2"}}, {{"x-set", "é"}}, {"x-gone"}}; }
inline std::vector<Filter> http_filters() {
  Redirect full;
  full.scheme = "https";
  full.host = "example.com";
  full.full_path = "/new";
  full.port = 8443;
  full.status = 308;
  Redirect prefix;
  prefix.scheme = "ftp";
  prefix.path_prefix = "/p";
  return {InjectHttpFailure{503, "no", {1, 3}}, ModifyRequest{modifier()}, full, prefix, ModifyResponse{modifier()}};
}
inline std::vector<Filter> grpc_filters() {
  return {InjectGrpcFailure{7, "denied", {2, 5}}, ModifyRequest{modifier()}};
}

inline std::vector<HostMatch> hosts() {
  return {{HostMatch::Kind::kExact, "web.shop.svc.cluster.local"}, {HostMatch::Kind::kSuffix, "example.com"}};
}
inline std::vector<RouteMatch> http_matches() {
  RouteMatch a;
  a.path = PathMatch{PathMatch::Kind::kExact, "/a"};
  a.method = "PATCH";
  a.headers = {{"x-env", false, "staging"}, {"x-version", true, "v[0-9]+"}};
  a.query = {{"debug", false, "1"}, {"who", true, ".*"}};
  RouteMatch b;
  b.path = PathMatch{PathMatch::Kind::kRegex, "/b/.*"};
  b.method = "BREW";
  RouteMatch c;
  c.path = PathMatch{PathMatch::Kind::kPrefix, "/c"};
  return {a, b, c};
}
inline std::vector<RouteMatch> grpc_matches() {
  RouteMatch a;
  a.rpc = RpcMatch{"shop.Rates", "Get"};
  a.headers = {{"x-env", false, "staging"}};
  RouteMatch b;
  b.rpc = RpcMatch{"shop.Rates", ""};
  return {a, b};
}

inline Backoff backoff() { return {25ms, 250ms, 0.5f, true}; }

inline RouteBackend balanced(uint32_t weight) {
  RouteBackend b;
  b.backend.metadata = service();
  b.backend.kind = Balancer{"web.shop.svc.cluster.local:80", LoadEstimate{20ms, 5s, std::nullopt}};
  b.backend.queue = Queue{50, 2s};
  b.weight = weight;
  return b;
}
inline RouteBackend penalised(uint32_t weight) {
  RouteBackend b = balanced(weight);
  std::get<Balancer>(b.backend.kind).load.penalty = LoadPenalty{4s, 200s, 9s};
  return b;
}
inline RouteBackend forward() {
  RouteBackend b;
  b.backend.metadata = Metadata::default_named("endpoint");
  b.backend.kind = endpoint(9);
  return b;
}

inline Route http_route() {
  Route r;
  r.metadata = {"gateway.networking.k8s.io", "HTTPRoute", "web-route", "shop", "section", 0};
  r.hosts = hosts();
  Rule weighted;
  weighted.matches = http_matches();
  weighted.filters = http_filters();
  weighted.backends = {Distribution::Kind::kRandomAvailable, {balanced(9), penalised(1)}};
  weighted.backends.backends[0].filters = http_filters();
  weighted.backends.backends[0].request_timeout = 7s;
  weighted.timeouts = {1s, 2s, 3s};
  weighted.retry = Retry{3, 1000, {{500, 599}, {429, 429}}, 0, 100ms, backoff()};
  weighted.allow_l5d_request_headers = true;
  Rule first;
  first.backends = {Distribution::Kind::kFirstAvailable, {forward()}};
  Rule none;
  none.backends = {Distribution::Kind::kFirstAvailable, {RouteBackend()}};
  none.backends.backends[0].backend.metadata = service();
  Rule empty;
  r.rules = {weighted, first, none, empty};
  return r;
}
inline Route grpc_route() {
  Route r = http_route();
  r.metadata.kind = "GRPCRoute";
  Rule& rule = r.rules[0];
  rule.matches = grpc_matches();
  rule.filters = grpc_filters();
  rule.backends.backends[0].filters = grpc_filters();
  rule.retry = Retry{2, 2000, {}, 1u << 1 | 1u << 4 | 1u << 8 | 1u << 13 | 1u << 14, 200ms, backoff()};
  return r;
}
inline Route stream_route() {
  Route r;
  r.metadata = Metadata::default_named("opaque");
  Rule rule;
  rule.filters = {Invalid{"bad route"}, Forbidden{}};
  rule.backends = {Distribution::Kind::kRandomAvailable, {balanced(2), forward()}};
  r.rules = {rule};
  return r;
}
inline Route tls_route() {
  Route r = stream_route();
  r.hosts = hosts();
  return r;
}
inline FailureAccrual consecutive() { return {ConsecutiveFailures{5, backoff()}, 2}; }
inline FailureAccrual unified() { return {UnifiedAccrual{0.9, 20s, 10, 6, backoff()}, std::nullopt}; }

inline OutboundPolicy outbound(OutboundPolicy::Kind kind) {
  using Kind = OutboundPolicy::Kind;
  OutboundPolicy p;
  p.kind = kind;
  p.metadata = service();
  if (kind == Kind::kDetect) p.detect_timeout = 1500ms;
  if (kind == Kind::kDetect || kind == Kind::kOpaque) p.opaque = {stream_route()};
  if (kind == Kind::kDetect || kind == Kind::kHttp1) p.http1 = {{http_route()}, consecutive()};
  if (kind == Kind::kDetect || kind == Kind::kHttp2) p.http2 = {{http_route(), http_route()}, unified()};
  if (kind == Kind::kGrpc) p.grpc = {{grpc_route()}, unified()};
  if (kind == Kind::kTls) p.tls = {tls_route()};
  return p;
}

// Everything that an opaque or TLS route can hold, though a proxy takes one rule only.
inline OutboundPolicy streams(OutboundPolicy::Kind kind) {
  OutboundPolicy p = outbound(kind);
  auto& rules = (kind == OutboundPolicy::Kind::kTls ? p.tls : p.opaque)[0].rules;
  Rule first;
  first.backends = {Distribution::Kind::kFirstAvailable, {forward()}};
  first.backends.backends[0].filters = {Forbidden{}};
  rules.push_back(first);
  rules.push_back(Rule());
  return p;
}

inline Authz authz(Authz::Authn authn) {
  Authz a;
  a.networks = {{*Cidr::parse("10.0.0.0/8"), {*Cidr::parse("10.1.0.0/16")}}, {*Cidr::parse("fd00::/8"), {}}};
  a.authn = authn;
  if (authn == Authz::Authn::kTlsIdentities) {
    a.identities = {"web.shop.serviceaccount.identity.linkerd.cluster.local"};
    a.suffixes = {"", "shop.serviceaccount.identity.linkerd.cluster.local"};
  }
  a.labels = {{"group", "policy.linkerd.io"}, {"kind", "authorizationpolicy"}, {"name", "web"}};
  a.metadata = {"policy.linkerd.io", "authorizationpolicy", "web", "shop", "", 0};
  return a;
}
inline Server server(Server::Kind kind) {
  using Kind = Server::Kind;
  Server s;
  s.kind = kind;
  if (kind == Kind::kDetect) s.detect_timeout = 3s;
  if (kind != Kind::kOpaque && kind != Kind::kTls) {
    InboundRoute r;
    r.metadata = Metadata::default_named("default");
    r.hosts = hosts();
    r.authorizations = {authz(Authz::Authn::kUnauthenticated)};
    bool grpc = kind == Kind::kGrpc;
    Redirect redirect;
    redirect.host = "other";
    std::vector<Filter> filters = {InjectHttpFailure{500, "x", {1, 2}}, ModifyRequest{modifier()}, redirect};
    r.rules = {{grpc ? grpc_matches() : http_matches(), grpc ? grpc_filters() : filters}};
    s.routes = {r};
    if (!grpc)
      s.rate_limit = RateLimit{
          {"policy.linkerd.io", "HTTPLocalRateLimitPolicy", "rl", "shop", "", 0}, 100, 10, {{20, {"a.b", "c.d"}}}};
  }
  s.server_ips = {IpAddr::v4(10, 0, 0, 1), *IpAddr::parse("fd00::1")};
  s.authorizations = {authz(Authz::Authn::kTlsUnauthenticated), authz(Authz::Authn::kTlsIdentities)};
  s.labels = {{"group", ""}, {"kind", "default"}, {"name", "all-authenticated"}};
  return s;
}

inline GetDestination get_destination() { return {"k8s", "web.shop.svc.cluster.local:80", "{\"ns\":\"shop\"}"}; }
inline Update add() {
  Update u;
  u.add = {endpoint(1), uri_endpoint()};
  u.labels = {{"service", "web"}, {"namespace", "shop"}};
  return u;
}
inline Update remove() {
  Update u;
  u.kind = Update::Kind::kRemove;
  u.remove = {SocketAddr(IpAddr::v4(127, 64, 0, 1), 8080), *SocketAddr::parse("[fd00::7]:443")};
  return u;
}
inline Update no_endpoints() {
  Update u;
  u.kind = Update::Kind::kNoEndpoints;
  u.exists = true;
  return u;
}
inline DestinationProfile profile() {
  using R = RequestMatch;
  using S = ResponseMatch;
  DestinationProfile p;
  p.name = "web.shop.svc.cluster.local";
  p.opaque = true;
  R path{R::Kind::kPath, {}, "/books/\\d+"};
  R method{R::Kind::kMethod, {}, "GET"};
  S range{S::Kind::kStatus, {}, 500, 504};
  ProfileRoute r;
  r.condition = {R::Kind::kAll, {path, {R::Kind::kNot, {method}, ""}, {R::Kind::kAny, {path, method}, ""}}, ""};
  r.response_classes = {
      {{S::Kind::kAny, {range, {S::Kind::kNot, {{S::Kind::kAll, {range}, 0, 0}}, 0, 0}}, 0, 0}, true}};
  r.labels = {{"route", "books"}};
  r.retryable = true;
  r.timeout = 300ms;
  p.routes = {r};
  p.retry_budget = RetryBudget{0.5f, 7, 20s};
  p.dst_overrides = {{"web-v2.shop.svc.cluster.local:80", 100, service()}};
  p.endpoint = endpoint(3);
  p.parent = service();
  p.profile = {"linkerd.io", "ServiceProfile", "web.shop.svc.cluster.local", "shop", "", 0};
  return p;
}

inline TrafficSpec by_addr() { return {"{\"ns\":\"shop\"}", SocketAddr(IpAddr::v4(127, 96, 0, 1), 80)}; }
inline TrafficSpec by_name() { return {"{\"ns\":\"shop\"}", std::string("web.shop.svc.cluster.local:80")}; }
inline PortSpec port_spec() { return {"{\"ns\":\"shop\",\"pod\":\"web-1\"}", 8080}; }
inline CertifyRequest certify_request() { return {"web.shop", "token\0bytes", std::string("\x30\x00\xff", 3)}; }
inline CertifyResponse certify_response() {
  return {std::string("\x30\x01", 2), {"issuer", "root"}, WallTime(std::chrono::seconds(1'800'000'000) + 5ns)};
}

inline NameTable names() {
  return {42,
          {{"web.shop.svc.cluster.local", {IpAddr::v4(127, 96, 0, 1), *IpAddr::parse("fd00::1")}}, {"host", {}}},
          {"shop.svc.cluster.local", "svc.cluster.local"},
          {"cluster.local"},
          9s};
}
inline TrustBundle trust_bundle() { return {"-----BEGIN CERTIFICATE-----\n", {std::string(32, '\x9')}}; }
inline CheckDigestsRequest digests() {
  return {"w", "t", {{SetDigest::Kind::kDestination, "web:80", ~0ull}, {SetDigest::Kind::kInboundPolicy, "8080", 1}}};
}

inline ObserveRequest observe() {
  using K = TapMatch::Kind;
  auto leaf = [](K kind) {
    TapMatch m;
    m.kind = kind;
    return m;
  };
  auto text = [&](K kind, std::string t, bool prefix) {
    TapMatch m = leaf(kind);
    m.text = std::move(t);
    m.prefix = prefix;
    return m;
  };
  TapMatch source = leaf(K::kSourceNet);
  source.net = *Cidr::parse("10.0.0.0/8");
  TapMatch ports = leaf(K::kDestinationPorts);
  ports.min = 80;
  ports.max = 90;
  TapMatch label = text(K::kDestinationLabel, "web", false);
  label.key = "deployment";
  TapMatch route = text(K::kRouteLabel, "books", false);
  route.key = "route";
  TapMatch any = leaf(K::kAny);
  any.parts = {source, ports, label, route};
  TapMatch negated = leaf(K::kNot);
  negated.parts = {text(K::kMethod, "GET", false)};
  TapMatch all = leaf(K::kAll);
  all.parts = {any, negated, text(K::kScheme, "https", false), text(K::kAuthority, "web", false),
               text(K::kPath, "/a", true)};
  return {10, all, true};
}
inline TapEvent tap_event(int which) {
  TapEvent e;
  e.source = SocketAddr(IpAddr::v4(10, 0, 0, 1), 1234);
  e.destination = *SocketAddr::parse("[fd00::1]:80");
  e.source_labels = {{"tls", "true"}};
  e.destination_labels = {{"pod", "web-1"}};
  e.route_labels = {{"route", "books"}};
  e.direction = TapEvent::Direction::kOutbound;
  TapStreamId id{3, 1ull << 40};
  HeaderList headers = {{":path", "/"}, {"X-Any", "\xff\x01"}};
  if (which == 0) e.event = TapRequestInit{id, "POST", "http", "web", "/a", headers};
  if (which == 1) e.event = TapResponseInit{id, 5ms, 201, headers};
  if (which == 2) e.event = TapResponseEnd{id, 9ms, 4ms, 12345, 14, std::nullopt, headers};
  if (which == 3) e.event = TapResponseEnd{id, 9ms, 4ms, 0, std::nullopt, 8, std::nullopt};
  return e;
}

}  // namespace tulle::wire::samples
