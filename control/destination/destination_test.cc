#include "control/destination/destination.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/index/test_mesh.h"

namespace tulle::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using wire::ProtocolHint;

std::vector<std::string> addresses(const EndpointSet& set) {
  std::vector<std::string> out;
  for (const auto& e : set.endpoints) out.push_back(e.addr.to_string());
  return out;
}
EndpointSet get(TestMesh& m, std::string_view path) {
  auto target = parse_target(path, "cluster.local");
  return *endpoints(m.snapshot(), std::get<ServiceTarget>(*target));
}
constexpr std::string_view kApi = "api.shop.svc.cluster.local:80";

TEST(Target, Forms) {
  auto t = std::get<ServiceTarget>(*parse_target("api.shop.svc.cluster.local", "cluster.local"));
  EXPECT_EQ(t.service.to_string(), "shop/api");
  EXPECT_EQ(t.port, 80);
  t = std::get<ServiceTarget>(*parse_target("db-0.db.shop.svc.cluster.local:5432", "cluster.local"));
  EXPECT_EQ(t.host, "db-0");
  EXPECT_EQ(t.port, 5432);
  EXPECT_EQ(std::get<SocketAddr>(*parse_target("127.64.0.1:90", "cluster.local")).to_string(), "127.64.0.1:90");
  for (auto bad : {"", "api", "api.shop", "api.shop.svc.cluster.local.", "a.b.c.d.svc.cluster.local",
                   "api.shop.svc.other", ".shop.svc.cluster.local", "api.shop.svc.cluster.local:0",
                   "api.shop.svc.cluster.local:99999", "api.shop.svc.cluster.local:x"})
    EXPECT_FALSE(parse_target(bad, "cluster.local")) << bad;
}

TEST(Endpoints, ReadyInstancesAtTheirServedPorts) {
  TestMesh m;
  m.service(
      "api",
      "selector: {app: api}, ports: [{name: http, port: 80, targetPort: http}, {name: num, port: 81, targetPort: 90}]");
  m.pod("b", 2, {{"app", "api"}}, {{"http", 8080}, {"x", 90}});
  m.pod("a", 1, {{"app", "api"}, {"topology.kubernetes.io/zone", "z1"}}, {{"http", 80}});
  m.pod("c", 3, {{"app", "api"}}, {{"http", 8080}}, false);
  EndpointSet set = get(m, kApi);
  EXPECT_TRUE(set.exists);
  EXPECT_THAT(addresses(set), ElementsAre("127.64.0.1:20080", "127.64.0.2:8080"));
  EXPECT_THAT(set.labels, ElementsAre(Pair("namespace", "shop"), Pair("service", "api")));
  const wire::Endpoint& a = set.endpoints[0];
  EXPECT_THAT(a.labels, ElementsAre(Pair("control_plane_ns", "linkerd"), Pair("pod", "a"), Pair("serviceaccount", "sa"),
                                    Pair("zone", "z1"), Pair("zone_locality", "unknown")));
  EXPECT_EQ(a.tls->id, "sa.shop.serviceaccount.identity.linkerd.cluster.local");
  EXPECT_EQ(a.hint, ProtocolHint::kH2);
  EXPECT_EQ(a.opaque_transport_port, 4143);
  EXPECT_EQ(a.weight, 10000u);
  EXPECT_THAT(addresses(get(m, "api.shop.svc.cluster.local:81")), ElementsAre("127.64.0.2:20090"));
  // A port that the Service does not define is taken as the instances' own (Linkerd does the same).
  EXPECT_THAT(addresses(get(m, "api.shop.svc.cluster.local:90")), ElementsAre("127.64.0.2:20090"));
  EXPECT_THAT(addresses(get(m, "a.api.shop.svc.cluster.local:80")), ElementsAre("127.64.0.1:20080"));
  EXPECT_FALSE(get(m, "nix.shop.svc.cluster.local").exists);
}

TEST(Endpoints, OpaqueByWhoeverSaysSo) {
  TestMesh m;
  m.service("db",
            "selector: {app: db}, ports: [{name: my, port: 3306, targetPort: 9306}, {name: pg, port: 5432, "
            "appProtocol: linkerd.io/opaque}, {name: http, port: 80}]");
  m.pod("a", 1, {{"app", "db"}}, {{"my", 9306}, {"pg", 5432}, {"http", 80}, {"redis", 6379}});
  auto hint = [&](std::string_view port) {
    return get(m, cat("db.shop.svc.cluster.local:", port)).endpoints.at(0).hint;
  };
  EXPECT_EQ(hint("3306"), ProtocolHint::kOpaque);  // the Service's port, default list
  EXPECT_EQ(hint("5432"), ProtocolHint::kOpaque);  // appProtocol
  EXPECT_EQ(hint("80"), ProtocolHint::kH2);
  EXPECT_EQ(hint("6379"), ProtocolHint::kOpaque);  // the pod's port, default list
  m.put(
      "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: s, namespace: shop}\nspec: {podSelector: "
      "{}, port: http, proxyProtocol: opaque}\n");
  EXPECT_EQ(hint("80"), ProtocolHint::kOpaque);
}

TEST(Endpoints, FromSlicesThatWereWrittenByHand) {
  TestMesh m;
  m.service("ext", "ports: [{name: http, port: 80}]");
  m.put(
      "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: e, namespace: shop, labels: "
      "{kubernetes.io/service-name: ext}}\n"
      "addressType: IPv4\nports: [{name: http, port: 9090}]\nendpoints: [{addresses: [10.0.0.2]}, {addresses: "
      "[10.0.0.1], conditions: {ready: false}}]\n");
  EndpointSet set = get(m, "ext.shop.svc.cluster.local");
  EXPECT_THAT(addresses(set), ElementsAre("10.0.0.2:9090"));
  EXPECT_FALSE(set.endpoints[0].tls);
  m.remove(Kind::kEndpointSlice, "e");
  EXPECT_THAT(addresses(get(m, "ext.shop.svc.cluster.local")), IsEmpty());
}

TEST(Diff, OnlyWhatChanged) {
  TestMesh m;
  m.service("api", "selector: {app: api}, ports: [{name: http, port: 80, targetPort: http}]");
  EndpointSet none = get(m, kApi);
  auto updates = diff(nullptr, none);
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].kind, wire::Update::Kind::kNoEndpoints);
  EXPECT_TRUE(updates[0].exists);
  EXPECT_THAT(diff(&none, none), IsEmpty());

  m.pod("a", 1, {{"app", "api"}}, {{"http", 8080}});
  m.pod("b", 2, {{"app", "api"}}, {{"http", 8080}});
  EndpointSet two = get(m, kApi);
  updates = diff(&none, two);
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].add.size(), 2u);
  EXPECT_EQ(updates[0].labels.at("service"), "api");

  m.remove(Kind::kPod, "a");
  m.pod("b", 2, {{"app", "api"}, {"topology.kubernetes.io/zone", "z"}}, {{"http", 8080}});
  m.pod("c", 3, {{"app", "api"}}, {{"http", 8080}});
  EndpointSet next = get(m, kApi);
  updates = diff(&two, next);
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_EQ(updates[0].kind, wire::Update::Kind::kAdd);
  EXPECT_EQ(updates[0].add.size(), 2u);  // b changed, c is new
  EXPECT_EQ(updates[1].kind, wire::Update::Kind::kRemove);
  EXPECT_THAT(updates[1].remove, ElementsAre(SocketAddr(IpAddr::v4(127, 64, 0, 1), 8080)));
  EXPECT_THAT(diff(&next, next), IsEmpty());

  updates = diff(&next, none);
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].remove.size(), 2u);
  m.remove(Kind::kService, "api");
  EndpointSet gone = get(m, kApi);
  updates = diff(&next, gone);
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_EQ(updates[1].kind, wire::Update::Kind::kNoEndpoints);
  EXPECT_FALSE(updates[1].exists);
  EXPECT_THAT(diff(&gone, gone), IsEmpty());
  EXPECT_EQ(diff(&gone, none).size(), 1u);
}

TEST(Profile, OfServicesByNameAndAddress) {
  TestMesh m;
  m.service("api", "selector: {app: api}, ports: [{name: http, port: 80}, {name: my, port: 3306}]");
  IpAddr ip = *m.snapshot().service({"shop", "api"})->address;
  auto p = profile(m.snapshot(), SocketAddr(ip, 80));
  EXPECT_EQ(p->name, "api.shop.svc.cluster.local");
  EXPECT_EQ(p->parent, (wire::Metadata{"core", "Service", "api", "shop", "", 80}));
  EXPECT_FALSE(p->opaque);
  EXPECT_TRUE(p->retry_budget);
  EXPECT_EQ(*p, *profile(m.snapshot(), *parse_target(kApi, "cluster.local")));
  EXPECT_TRUE(profile(m.snapshot(), SocketAddr(ip, 3306))->opaque);
  EXPECT_EQ(*profile(m.snapshot(), SocketAddr(ip, 99)), wire::DestinationProfile{});
  EXPECT_EQ(profile(m.snapshot(), *parse_target("nix.shop.svc.cluster.local", "cluster.local")).error().code,
            Code::kNotFound);
  m.service("out", "type: ExternalName, externalName: example.com");
  EXPECT_EQ(profile(m.snapshot(), *parse_target("out.shop.svc.cluster.local", "cluster.local")).error().code,
            Code::kInvalid);
}

TEST(Profile, OfOneInstance) {
  TestMesh m;
  m.service("db", "clusterIP: None, selector: {app: db}, ports: [{name: http, port: 80}]");
  m.pod("db-0", 1, {{"app", "db"}}, {{"http", 80}}, false);
  auto p = profile(m.snapshot(), SocketAddr(IpAddr::v4(127, 64, 0, 1), 80));
  EXPECT_EQ(p->endpoint->addr.to_string(), "127.64.0.1:20080");
  EXPECT_EQ(p->endpoint->labels.at("namespace"), "shop");
  EXPECT_TRUE(p->endpoint->tls);
  EXPECT_EQ(p->name, "");
  EXPECT_EQ(*p, *profile(m.snapshot(), *parse_target("db-0.db.shop.svc.cluster.local", "cluster.local")));
  auto unknown = profile(m.snapshot(), SocketAddr(IpAddr::v4(127, 64, 0, 9), 3306));
  EXPECT_EQ(unknown->endpoint->addr.to_string(), "127.64.0.9:3306");
  EXPECT_FALSE(unknown->endpoint->tls);
  EXPECT_TRUE(unknown->opaque);
}

}  // namespace
}  // namespace tulle::control
