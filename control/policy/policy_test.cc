#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/index/test_mesh.h"
#include "control/policy/inbound.h"
#include "control/policy/outbound.h"

namespace tulle::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using OutKind = wire::OutboundPolicy::Kind;
using InKind = wire::Server::Kind;
using Dist = wire::Distribution::Kind;

// Each answer is one that the wire can carry.
wire::OutboundPolicy outbound(TestMesh& m, std::string_view service, uint16_t port, std::string_view ns = "shop") {
  IpAddr ip = *m.snapshot().service({"shop", std::string(service)})->address;
  auto p = outbound_policy(m.snapshot(), {cat("{\"ns\":\"", ns, "\",\"pod\":\"x\"}"), SocketAddr(ip, port)});
  EXPECT_TRUE(p) << p.error().reason;
  auto again = wire::decode_outbound_policy(wire::encode(*p));
  EXPECT_TRUE(again) << again.error().reason;
  EXPECT_EQ(*again, *p);
  return *p;
}
wire::Server inbound(TestMesh& m, uint16_t port, std::string_view pod = "a") {
  auto p = inbound_policy(m.snapshot(), {cat("{\"ns\":\"shop\",\"pod\":\"", pod, "\"}"), port});
  EXPECT_TRUE(p) << p.error().reason;
  auto again = wire::decode_server(wire::encode(*p));
  EXPECT_TRUE(again) << again.error().reason;
  EXPECT_EQ(*again, *p);
  return *p;
}

TEST(Outbound, AServiceWithoutRoutes) {
  TestMesh m;
  m.service("api",
            "ports: [{name: http, port: 80}, {name: h1, port: 81, appProtocol: http}, {name: h2, port: 82, "
            "appProtocol: kubernetes.io/h2c},"
            "{name: o, port: 83, appProtocol: tcp}, {name: my, port: 3306}]");
  wire::OutboundPolicy p = outbound(m, "api", 80);
  EXPECT_EQ(p.kind, OutKind::kDetect);
  EXPECT_EQ(p.detect_timeout, 10s);
  EXPECT_EQ(p.metadata, (wire::Metadata{"core", "Service", "api", "shop", "", 80}));
  ASSERT_EQ(p.http1.routes.size(), 1u);
  EXPECT_EQ(p.http1, p.http2);
  EXPECT_EQ(p.http1.routes[0].metadata.name, "http");
  const wire::Distribution& d = p.http1.routes[0].rules[0].backends;
  EXPECT_EQ(d.kind, Dist::kFirstAvailable);
  EXPECT_EQ(std::get<wire::Balancer>(d.backends[0].backend.kind).path, "api.shop.svc.cluster.local:80");
  EXPECT_EQ(d.backends[0].backend.queue->failfast_timeout, 3s);
  EXPECT_EQ(p.opaque[0].metadata.name, "opaq");
  EXPECT_EQ(outbound(m, "api", 81).kind, OutKind::kHttp1);
  EXPECT_EQ(outbound(m, "api", 82).kind, OutKind::kHttp2);
  EXPECT_EQ(outbound(m, "api", 83).kind, OutKind::kOpaque);
  EXPECT_EQ(outbound(m, "api", 3306).kind, OutKind::kOpaque);
  wire::OutboundPolicy undefined = outbound(m, "api", 99);
  EXPECT_EQ(undefined.kind, OutKind::kOpaque);
  EXPECT_EQ(undefined.opaque[0].metadata.name, "undefined-port");
  EXPECT_TRUE(std::holds_alternative<wire::Forbidden>(undefined.opaque[0].rules[0].filters[0]));
}

constexpr std::string_view kSplit = R"(
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: split, namespace: NS}
spec:
  parentRefs: [{group: core, kind: Service, name: api, namespace: shop, port: 80}]
  hostnames: [api.example.com, "*.example.com"]
  rules:
  - matches: [{path: {type: Exact, value: /x}, method: POST, headers: [{name: X-A, value: b}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-v, value: "2"}]}}]
    backendRefs:
    - {name: api-v1, namespace: shop, port: 80, weight: 90}
    - {name: nix, namespace: shop, port: 80, weight: 10}
    timeouts: {request: 2s}
  - filters: [{type: URLRewrite, urlRewrite: {hostname: x}}]
  - backendRefs: [{name: api-v1, namespace: shop, port: 80, weight: 0}]
)";
std::string split_in(std::string_view ns) {
  std::string s(kSplit);
  return s.replace(s.find("NS}"), 2, ns);
}

TEST(Outbound, RoutesWithWeights) {
  TestMesh m;
  m.service("api", "ports: [{name: http, port: 80}, {name: other, port: 81}]");
  m.service("api-v1", "ports: [{name: http, port: 80}]");
  m.put(split_in("shop"));
  wire::OutboundPolicy p = outbound(m, "api", 80);
  ASSERT_EQ(p.http1.routes.size(), 1u);
  const wire::Route& r = p.http1.routes[0];
  EXPECT_EQ(r.metadata, (wire::Metadata{"gateway.networking.k8s.io", "HTTPRoute", "split", "shop", "", 0}));
  EXPECT_EQ(r.hosts[1], (wire::HostMatch{wire::HostMatch::Kind::kSuffix, "example.com"}));
  ASSERT_EQ(r.rules.size(), 3u);
  const wire::Rule& rule = r.rules[0];
  EXPECT_EQ(rule.matches[0].method, "POST");
  EXPECT_EQ(rule.matches[0].headers[0], (wire::ValueMatch{"x-a", false, "b"}));
  EXPECT_EQ(rule.timeouts.request, 2s);
  EXPECT_EQ(rule.backends.kind, Dist::kRandomAvailable);
  EXPECT_EQ(rule.backends.backends[0].weight, 90u);
  EXPECT_EQ(std::get<wire::Balancer>(rule.backends.backends[0].backend.kind).path, "api-v1.shop.svc.cluster.local:80");
  // What is missing keeps its share and says why.
  EXPECT_EQ(rule.backends.backends[1].weight, 10u);
  EXPECT_THAT(std::get<wire::InjectHttpFailure>(rule.backends.backends[1].filters[0]).message,
              HasSubstr("Service not found nix"));
  EXPECT_THAT(std::get<wire::InjectHttpFailure>(r.rules[1].filters[0]).message,
              HasSubstr("URLRewrite is not supported"));
  EXPECT_EQ(r.rules[1].backends.kind, Dist::kFirstAvailable);
  EXPECT_EQ(r.rules[2].backends.kind, Dist::kEmpty);
  EXPECT_THAT(std::get<wire::InjectHttpFailure>(r.rules[2].filters[0]).message, HasSubstr("weight 0"));
  // Another port is another matter.
  EXPECT_EQ(outbound(m, "api", 81).http1.routes[0].metadata.name, "http");

  // A backend that appears is used: the answer depends on it.
  TopicSet read;
  IpAddr ip = *m.snapshot().service({"shop", "api"})->address;
  ASSERT_TRUE(outbound_policy(m.snapshot(&read), {"shop:x", SocketAddr(ip, 80)}));
  EXPECT_TRUE(read.contains({Topic::Kind::kService, "shop/nix"}));
}

TEST(Outbound, RoutesOfOtherNamespacesAreForTheirOwnClients) {
  TestMesh m;
  m.service("api", "ports: [{name: http, port: 80}]");
  m.put(split_in("client"));
  EXPECT_EQ(outbound(m, "api", 80, "shop").http1.routes[0].metadata.name, "http");
  EXPECT_EQ(outbound(m, "api", 80, "client").http1.routes[0].metadata.name, "split");
  m.index.apply({{Kind::kHttpRoute, "gateway.networking.k8s.io", "client", "split"}, nullptr}, 1);
  EXPECT_EQ(outbound(m, "api", 80, "client").http1.routes[0].metadata.name, "http");
}

TEST(Outbound, OtherTargets) {
  TestMesh m;
  auto ask = [&](std::variant<SocketAddr, std::string> target) {
    return outbound_policy(m.snapshot(), {"shop:x", std::move(target)});
  };
  EXPECT_EQ(ask(SocketAddr(IpAddr::v4(127, 96, 3, 3), 80)).error().code, Code::kNotFound);
  EXPECT_EQ(ask(SocketAddr(IpAddr::v4(127, 64, 3, 3), 80)).error().code, Code::kNotFound);
  auto out = ask(SocketAddr(IpAddr::v4(93, 184, 216, 34), 443));
  EXPECT_EQ(out->metadata, wire::Metadata::default_named("egress-fallback"));
  EXPECT_EQ(std::get<wire::Endpoint>(out->opaque[0].rules[0].backends.backends[0].backend.kind).addr.to_string(),
            "93.184.216.34:443");
  EXPECT_TRUE(wire::decode_outbound_policy(wire::encode(*out)));
  for (auto authority : {"api.shop.svc.cluster.local:80", "api.shop.svc.cluster.local.", "api.shop.svc"})
    EXPECT_EQ(ask(std::string(authority))->metadata.name, "api") << authority;
  EXPECT_EQ(ask(std::string("example.com")).error().code, Code::kNotFound);
  EXPECT_EQ(ask(std::string("api.shop.svc:0")).error().code, Code::kInvalid);
  EXPECT_EQ(outbound_policy(m.snapshot(), {"{", SocketAddr(IpAddr::v4(1, 1, 1, 1), 1)}).error().code, Code::kInvalid);
}

TEST(Inbound, DefaultPolicies) {
  TestMesh m;
  m.pod("a", 1, {}, {{"http", 8080}});
  wire::Server s = inbound(m, 8080);
  EXPECT_EQ(s.kind, InKind::kDetect);
  EXPECT_EQ(s.labels.at("kind"), "default");
  EXPECT_EQ(s.labels.at("name"), "all-unauthenticated");
  ASSERT_EQ(s.authorizations.size(), 1u);
  EXPECT_EQ(s.authorizations[0].authn, wire::Authz::Authn::kUnauthenticated);
  EXPECT_EQ(s.authorizations[0].networks.size(), 2u);
  EXPECT_EQ(s.routes[0].metadata.name, "default");
  EXPECT_EQ(inbound(m, 3306).kind, InKind::kOpaque);

  auto with = [&](std::string policy) {
    m.pod("a", 1, {}, {{"http", 8080}}, true, "", {{"config.linkerd.io/default-inbound-policy", policy}});
    return inbound(m, 8080);
  };
  s = with("all-authenticated");
  EXPECT_EQ(s.authorizations[0].authn, wire::Authz::Authn::kTlsIdentities);
  EXPECT_THAT(s.authorizations[0].suffixes, ElementsAre(""));
  s = with("cluster-unauthenticated");
  EXPECT_THAT(s.authorizations[0].networks, ElementsAre(wire::Network{local_pod_network(), {}}));
  EXPECT_THAT(with("deny").authorizations, IsEmpty());
  EXPECT_EQ(with("audit").authorizations[0].metadata.name, "audit");
  EXPECT_EQ(with("nonsense").labels.at("name"), "all-unauthenticated");
  with("deny");
  EXPECT_EQ(inbound(m, 4191).labels.at("name"), "admin");
  EXPECT_EQ(inbound_policy(m.snapshot(), {"shop:nix", 80}).error().code, Code::kNotFound);
  EXPECT_EQ(inbound_policy(m.snapshot(), {"nix", 80}).error().code, Code::kInvalid);
}

TEST(Inbound, Servers) {
  TestMesh m;
  m.pod("a", 1, {{"app", "web"}}, {{"http", 8080}});
  auto server = [&](std::string_view protocol, std::string_view policy) {
    m.put(
        cat("apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: web, namespace: shop}\nspec: "
            "{podSelector: {matchLabels: {app: web}},"
            " port: http, proxyProtocol: ",
            protocol, ", accessPolicy: ", policy, "}\n"));
    return inbound(m, 8080);
  };
  wire::Server s = server("HTTP/1", "all-unauthenticated");
  EXPECT_EQ(s.kind, InKind::kHttp1);
  EXPECT_EQ(s.labels.at("name"), "web");
  EXPECT_EQ(s.authorizations.size(), 1u);
  EXPECT_EQ(server("HTTP/2", "deny").kind, InKind::kHttp2);
  EXPECT_THAT(server("HTTP/2", "deny").authorizations, IsEmpty());
  EXPECT_EQ(server("gRPC", "deny").kind, InKind::kGrpc);
  EXPECT_EQ(server("opaque", "deny").kind, InKind::kOpaque);
  EXPECT_EQ(server("TLS", "deny").kind, InKind::kTls);
  EXPECT_EQ(server("unknown", "deny").kind, InKind::kDetect);
  EXPECT_EQ(inbound(m, 9090).labels.at("kind"), "default");
  m.put(
      "apiVersion: policy.linkerd.io/v1beta3\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\n"
      "spec: {parentRefs: [{kind: Server, name: web}], rules: [{matches: [{path: {value: /a}}]}]}\n");
  s = server("HTTP/1", "deny");
  EXPECT_EQ(s.routes[0].metadata.name, "r");
  EXPECT_EQ(s.routes[0].rules[0].matches[0].path->text, "/a");
}

}  // namespace
}  // namespace tulle::control
