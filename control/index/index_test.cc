#include "control/index/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/index/names.h"
#include "control/index/test_mesh.h"
#include "control/index/traits.h"

namespace tulle::control {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> members(TestMesh& m, std::string_view service) {
  std::vector<std::string> out;
  if (const ServiceEntry* e = m.snapshot().endpoints({"shop", std::string(service)}))
    for (const PodPtr& p : e->pods) out.push_back(p->meta.name);
  return out;
}

bool touched(const TopicSet& topics, Topic::Kind kind, std::string key) { return topics.contains({kind, key}); }

TEST(Index, SelectorsFollowPodsAndServices) {
  TestMesh m;
  m.pod("b", 2, {{"app", "api"}, {"version", "v2"}}, {{"http", 8080}});
  m.service("api", "selector: {app: api}, ports: [{port: 80, targetPort: http}]");
  m.pod("a", 1, {{"app", "api"}, {"version", "v1"}}, {{"http", 8080}});
  m.service("api-v1", "selector: {app: api, version: v1}, ports: [{port: 80, targetPort: http}]");
  EXPECT_THAT(members(m, "api"), ElementsAre("a", "b"));
  EXPECT_THAT(members(m, "api-v1"), ElementsAre("a"));
  m.service("api-v1", "selector: {app: api, version: v2}, ports: [{port: 80, targetPort: http}]");
  EXPECT_THAT(members(m, "api-v1"), ElementsAre("b"));
  m.pod("b", 2, {{"app", "web"}}, {{"http", 8080}});
  EXPECT_THAT(members(m, "api"), ElementsAre("a"));
  EXPECT_THAT(members(m, "api-v1"), IsEmpty());
  m.remove(Kind::kPod, "a");
  EXPECT_THAT(members(m, "api"), IsEmpty());
  m.remove(Kind::kService, "api");
  EXPECT_EQ(m.snapshot().service({"shop", "api"}), nullptr);
}

TEST(Index, AnEndpointChangeTouchesItsServicesOnly) {
  TestMesh m;
  m.service("api", "selector: {app: api}, ports: [{port: 80}]");
  m.service("web", "selector: {app: web}, ports: [{port: 80}]");
  m.index.take_changed();
  m.pod("a", 1, {{"app", "api"}}, {{"http", 8080}}, false);
  TopicSet t = m.index.take_changed();
  EXPECT_TRUE(touched(t, Topic::Kind::kEndpoints, "shop/api"));
  EXPECT_TRUE(touched(t, Topic::Kind::kAddress, "127.64.0.1"));
  EXPECT_FALSE(touched(t, Topic::Kind::kEndpoints, "shop/web"));
  EXPECT_FALSE(touched(t, Topic::Kind::kService, "shop/api"));
  EXPECT_FALSE(touched(t, Topic::Kind::kNames, ""));
}

TEST(Index, AServiceThatNoManifestDeclaresComesFromItsWorkloads) {
  TestMesh m;
  m.pod("a", 1, {}, {{"http", 8080}, {"admin", 9000}}, true, "api");
  const ServiceEntry* e = m.snapshot().service({"shop", "api"});
  ASSERT_NE(e, nullptr);
  EXPECT_TRUE(e->spec->implied);
  ASSERT_TRUE(e->spec->find_port(80));
  EXPECT_EQ(to_string(e->spec->find_port(80)->target), "http");
  EXPECT_EQ(to_string(e->spec->find_port(9000)->target), "admin");
  EXPECT_THAT(members(m, "api"), ElementsAre("a"));
  IpAddr address = *e->address;
  // Its last instance goes: the name and the address stay.
  m.remove(Kind::kPod, "a");
  EXPECT_EQ(m.snapshot().service({"shop", "api"})->address, address);
  EXPECT_THAT(members(m, "api"), IsEmpty());
  // Declared now: the manifest decides, and the address stays the same.
  m.pod("b", 2, {}, {{"http", 8080}}, true, "api");
  m.service("api", "ports: [{port: 81, targetPort: 8080}]");
  e = m.snapshot().service({"shop", "api"});
  EXPECT_EQ(e->address, address);
  EXPECT_FALSE(e->spec->find_port(80));
  EXPECT_THAT(members(m, "api"), ElementsAre("b"));
  // And no longer: the workloads do.
  m.remove(Kind::kService, "api");
  e = m.snapshot().service({"shop", "api"});
  EXPECT_TRUE(e->spec->find_port(80));
  EXPECT_EQ(e->address, address);
}

TEST(Index, HeadlessServicesHaveNoAddressAndTheirPodsHaveNames) {
  TestMesh m;
  m.service("db", "clusterIP: None, selector: {app: db}, ports: [{port: 5432}]");
  m.pod("db-0", 1, {{"app", "db"}}, {{"pg", 5432}});
  m.pod("db-1", 2, {{"app", "db"}}, {{"pg", 5432}}, false);
  EXPECT_FALSE(m.snapshot().service({"shop", "db"})->address);
  wire::NameTable t = names(m.snapshot(), "shop");
  ASSERT_EQ(t.names.size(), 3u);
  EXPECT_EQ(t.names[2].name, "host");
  EXPECT_EQ(t.names[0].name, "db-0.db.shop.svc.cluster.local");
  EXPECT_EQ(t.names[1].name, "db.shop.svc.cluster.local");
  EXPECT_THAT(t.names[1].addresses, ElementsAre(IpAddr::v4(127, 64, 0, 1)));
  EXPECT_THAT(t.search, ElementsAre("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"));
  m.index.take_changed();
  m.pod("db-1", 2, {{"app", "db"}}, {{"pg", 5432}});
  EXPECT_TRUE(touched(m.index.take_changed(), Topic::Kind::kNames, ""));
}

TEST(Index, SnapshotsNoteWhatTheyRead) {
  TestMesh m;
  m.service("api", "selector: {app: api}, ports: [{port: 80}]");
  TopicSet read;
  Snapshot s = m.snapshot(&read);
  const ServiceEntry* e = s.service_at(*m.snapshot().service({"shop", "api"})->address);
  ASSERT_NE(e, nullptr);
  EXPECT_EQ(read.size(), 2u);
  EXPECT_TRUE(touched(read, Topic::Kind::kService, "shop/api"));
  EXPECT_EQ(s.service_at(IpAddr::v4(127, 96, 9, 9)), nullptr);
  EXPECT_TRUE(touched(read, Topic::Kind::kAddress, "127.96.9.9"));
}

TEST(Index, ServersInOrderOfPrecedence) {
  TestMesh m;
  auto server = [&](std::string_view name, std::string_view created, std::string_view port) {
    m.put(cat("apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: ", name,
              ", namespace: shop, creationTimestamp: \"", created, "\"}\nspec: {podSelector: {}, port: ", port, "}\n"));
  };
  m.pod("a", 1, {{"app", "api"}}, {{"http", 8080}});
  Pod pod = *m.snapshot().pod({"shop", "a"});
  EXPECT_EQ(server_of(m.snapshot(), pod, 8080), nullptr);
  server("z-old", "2026-01-01T00:00:00Z", "http");
  server("a-new", "2026-01-02T00:00:00Z", "8080");
  EXPECT_EQ(server_of(m.snapshot(), pod, 8080)->meta.name, "z-old");
  EXPECT_EQ(server_of(m.snapshot(), pod, 8081), nullptr);
  m.remove(Kind::kServer, "z-old");
  EXPECT_EQ(server_of(m.snapshot(), pod, 8080)->meta.name, "a-new");
}

TEST(Traits, OpaquePorts) {
  TestMesh m;
  m.service("db",
            "ports: [{name: pg, port: 5433}, {name: x, port: 90, appProtocol: http}, {name: y, port: 91, appProtocol: "
            "mystery}, {name: my, port: 3306}]");
  const Service& db = *m.snapshot().service({"shop", "db"})->spec;
  EXPECT_FALSE(service_port_is_opaque(m.snapshot(), db, db.ports[0]));
  EXPECT_FALSE(service_port_is_opaque(m.snapshot(), db, db.ports[1]));
  EXPECT_TRUE(service_port_is_opaque(m.snapshot(), db, db.ports[2]));
  EXPECT_TRUE(service_port_is_opaque(m.snapshot(), db, db.ports[3]));
  m.put(
      "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: {config.linkerd.io/opaque-ports: 'pg, "
      "7000-7010'}}\n");
  EXPECT_TRUE(service_port_is_opaque(m.snapshot(), db, db.ports[0]));
  EXPECT_FALSE(service_port_is_opaque(m.snapshot(), db, db.ports[3]));
  m.pod("a", 1, {}, {{"x", 7005}});
  m.pod("b", 2, {}, {{"x", 7005}}, true, "", {{"config.linkerd.io/opaque-ports", ""}});
  EXPECT_TRUE(pod_port_is_opaque(m.snapshot(), *m.snapshot().pod({"shop", "a"}), 7005));
  EXPECT_FALSE(pod_port_is_opaque(m.snapshot(), *m.snapshot().pod({"shop", "b"}), 7005));
}

TEST(Traits, WorkloadTokens) {
  EXPECT_EQ(parse_workload_token(R"({"ns":"shop","pod":"a","nodeName":"n"})")->pod, "a");
  EXPECT_EQ(parse_workload_token("shop:a")->ns, "shop");
  EXPECT_FALSE(parse_workload_token("shop"));
  EXPECT_FALSE(parse_workload_token("{\"ns\":1}"));
  EXPECT_FALSE(parse_workload_token("{"));
}

TEST(Ports, Sets) {
  auto p = parse_port_set(" 25, 100-200 ,, http");
  ASSERT_TRUE(p);
  EXPECT_TRUE(p->contains(25));
  EXPECT_TRUE(p->contains(150));
  EXPECT_TRUE(p->contains(9, "http"));
  EXPECT_FALSE(p->contains(26));
  for (auto bad : {"0", "70000", "5-3", "-3", "a b", "1-2-3", "Http"}) EXPECT_FALSE(parse_port_set(bad)) << bad;
}

TEST(ServiceAddresses, AreKeptFor24Hours) {
  ServiceAddresses a(*Cidr::parse("127.96.0.0/24"));
  IpAddr api = *a.assign({"s", "api"}, 1000);
  EXPECT_TRUE(a.take_dirty());
  EXPECT_FALSE(a.take_dirty());
  EXPECT_EQ(*a.assign({"s", "api"}, 1000), api);
  a.release({"s", "api"}, 1000);
  for (int i = 0; i < 253; ++i) ASSERT_TRUE(a.assign({"s", cat("x", i)}, 1001));
  EXPECT_FALSE(a.assign({"s", "last"}, 1002));
  EXPECT_EQ(*a.assign({"s", "last"}, 1000 + ServiceAddresses::kKeep), api);
  EXPECT_FALSE(a.assign({"s", "api"}, 1000 + ServiceAddresses::kKeep));
}

TEST(ServiceAddresses, SurviveARestart) {
  ServiceAddresses a(local_service_network());
  IpAddr api = *a.assign({"s", "api"}, 1000);
  IpAddr web = *a.assign({"s", "web"}, 1000);
  a.release({"s", "web"}, 2000);
  ServiceAddresses b(local_service_network());
  ASSERT_TRUE(b.load(a.save()));
  EXPECT_EQ(b.save(), a.save());
  EXPECT_EQ(*b.assign({"s", "api"}, 3000), api);
  EXPECT_EQ(*b.assign({"s", "web"}, 3000), web);
  ServiceAddresses c(local_service_network());
  ASSERT_TRUE(c.load(a.save()));
  c.assign({"s", "web"}, 3000).value();
  c.release_unclaimed(4000);
  EXPECT_THAT(c.save(), testing::HasSubstr("s api 4000"));
  for (auto bad : {"", "tulle service addresses 1\n", "tulle service addresses 1\nnext 1\n10.0.0.1 s a 0\n",
                   "tulle service addresses 1\nnext 1\n127.96.0.1 s a\n",
                   "tulle service addresses 1\nnext 1\n127.96.0.1 s a 9223372036854775807\n"})
    EXPECT_FALSE(c.load(bad)) << bad;
}

TEST(PodAddresses, TakeTurns) {
  PodAddresses p(*Cidr::parse("127.64.0.0/24"), 250);
  EXPECT_EQ(p.take_next()->to_string(), "127.64.0.251");
  EXPECT_FALSE(p.take(*IpAddr::parse("127.64.0.251")));
  EXPECT_TRUE(p.take(*IpAddr::parse("127.64.0.252")));
  EXPECT_FALSE(p.take(*IpAddr::parse("10.0.0.1")));
  p.release(*IpAddr::parse("127.64.0.251"));
  EXPECT_EQ(p.take_next()->to_string(), "127.64.0.253");
  EXPECT_EQ(p.take_next()->to_string(), "127.64.0.254");
  EXPECT_EQ(p.take_next()->to_string(), "127.64.0.1");
}

}  // namespace
}  // namespace tulle::control
