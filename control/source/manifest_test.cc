#include "control/source/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> problems(const Parsed& p) {
  std::vector<std::string> out;
  for (const Problem& problem : p.problems) out.push_back(problem.to_string());
  return out;
}

constexpr std::string_view kShop = R"(# the shop
apiVersion: v1
kind: Service
metadata:
  name: api
  namespace: shop
  labels: {app: api}
  annotations:
    config.linkerd.io/opaque-ports: "3306"
spec:
  selector:
    app: api
  ports:
  - name: http
    port: 80
    targetPort: http
  - name: db
    port: 3306
    appProtocol: linkerd.io/opaque
---
apiVersion: policy.linkerd.io/v1beta3
kind: Server
metadata: {name: api-http, namespace: shop}
spec:
  podSelector:
    matchLabels: {app: api}
    matchExpressions:
    - {key: version, operator: In, values: [v1, v2]}
  port: http
  proxyProtocol: HTTP/1
  accessPolicy: all-authenticated
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api-split, namespace: shop}
spec:
  parentRefs:
  - {group: core, kind: Service, name: api, port: 80}
  rules:
  - backendRefs:
    - {name: api-v1, port: 80, weight: 90}
    - {name: api-v2, port: 80, weight: 10}
    timeouts: {request: 1m30s}
)";

TEST(Manifest, ReadsTheKindsOfTheMesh) {
  Parsed p = parse_manifest("shop.yaml", kShop);
  EXPECT_THAT(problems(p), IsEmpty());
  ASSERT_EQ(p.resources.size(), 3u);
  const auto& service = std::get<Service>(p.resources[0]);
  EXPECT_EQ(service.meta.ref().to_string(), "shop/api");
  EXPECT_EQ(service.meta.origin, "shop.yaml:2");
  ASSERT_EQ(service.ports.size(), 2u);
  EXPECT_EQ(to_string(service.ports[0].target), "http");
  EXPECT_EQ(to_string(service.ports[1].target), "3306");
  EXPECT_EQ(service.ports[1].app_protocol, "linkerd.io/opaque");
  EXPECT_EQ(service.meta.annotation("config.linkerd.io/opaque-ports"), "3306");

  const auto& server = std::get<Server>(p.resources[1]);
  EXPECT_EQ(server.protocol, Server::Protocol::kHttp1);
  EXPECT_TRUE(server.pods.selects({{"app", "api"}, {"version", "v2"}}));
  EXPECT_FALSE(server.pods.selects({{"app", "api"}, {"version", "v3"}}));
  EXPECT_FALSE(server.pods.selects({{"version", "v2"}}));

  const auto& route = std::get<HttpRoute>(p.resources[2]);
  EXPECT_EQ(route.parents.at(0).group, "");
  EXPECT_EQ(route.rules.at(0).backends.at(0).weight, 90u);
  EXPECT_EQ(route.rules.at(0).request_timeout, 90s);
  EXPECT_EQ(key_of(p.resources[2]).to_string(), "HTTPRoute.gateway.networking.k8s.io shop/api-split");
}

TEST(Manifest, SaysWhereWhatAndWhatIsAccepted) {
  Parsed p = parse_manifest("a.yaml", R"(apiVersion: v1
kind: Service
metadata:
  name: api
spec:
  selectors: {app: api}
  ports:
  - port: 99999
)");
  EXPECT_TRUE(p.failed);
  EXPECT_THAT(
      problems(parse_manifest("p.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: []}\n")),
      testing::ElementsAre(HasSubstr("p.yaml:4: Service default/api: spec.ports: a Service without ports takes no "
                                     "requests; accepted: a list of ports, such as [{port: 80")));
  EXPECT_THAT(p.resources, IsEmpty());
  EXPECT_THAT(
      problems(p),
      testing::Contains(
          "a.yaml:8: Service default/api: spec.ports[0].port: found 99999; accepted: a whole number from 1 to 65535"));
  EXPECT_THAT(problems(p),
              testing::Contains(HasSubstr(
                  "a.yaml:6: Service default/api: spec.selectors: no such field; accepted: ports, selector")));
}

TEST(Manifest, OneBadDocumentLeavesTheOthers) {
  Parsed p = parse_manifest("a.yaml", R"(
apiVersion: v1
kind: Service
metadata: {name: good}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: Bad_Name}
spec: {ports: [{port: 80}]}
---
nonsense
)");
  EXPECT_TRUE(p.failed);
  ASSERT_EQ(p.resources.size(), 1u);
  EXPECT_THAT(problems(p),
              ElementsAre(HasSubstr("a.yaml:9: Service default/Bad_Name: metadata.name: found \"Bad_Name\""),
                          HasSubstr("a.yaml:12: found nonsense; accepted: a map")));
}

TEST(Manifest, ForeignKindsAreReportedNotFatal) {
  Parsed p = parse_manifest(
      "a.yaml",
      "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {anything: goes}\n---\n"
      "apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: y}\nspec: {a: b}\n");
  EXPECT_FALSE(p.failed) << "the rest of the file is in force";
  ASSERT_EQ(p.problems.size(), 2u);
  EXPECT_FALSE(p.problems[0].is_error());
  EXPECT_TRUE(p.problems[1].is_error()) << "its author believes that access is restricted";
  EXPECT_THAT(problems(p), ElementsAre(HasSubstr("\"Deployment\" of \"apps\" is not a kind of the mesh: left out"),
                                       HasSubstr("AuthorizationPolicy is not acted on by this version")));
}

TEST(Manifest, NumbersAreNoText) {
  Parsed p = parse_manifest("a.yaml",
                            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n  annotations:\n    a/b: 3306\n");
  EXPECT_THAT(
      problems(p),
      ElementsAre(
          "a.yaml:6: Namespace x: metadata.annotations.\"a/b\": found 3306; accepted: text (put it in quotes)"));
}

TEST(Manifest, DuplicatesAreReported) {
  std::string one = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n";
  Parsed p = parse_manifest("a.yaml", one + "---\n" + one);
  EXPECT_EQ(p.resources.size(), 1u);
  EXPECT_THAT(problems(p), ElementsAre(HasSubstr("a.yaml:5: Namespace x: metadata.name: declared already on line 1")));
  p = parse_manifest("a.yaml", "apiVersion: v1\nkind: Namespace\nkind: Service\nmetadata: {name: x}\n");
  EXPECT_THAT(problems(p), ElementsAre(HasSubstr("a.yaml:3: the key \"kind\" twice in one map")));
}

TEST(Manifest, ListsAreOpened) {
  Parsed p = parse_manifest("a.json", R"({"apiVersion":"v1","kind":"List","items":[
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}},
    {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"b"}}]})");
  EXPECT_THAT(problems(p), IsEmpty());
  EXPECT_EQ(p.resources.size(), 2u);
}

TEST(Manifest, UnsupportedPartsOfRoutesAreNamed) {
  Parsed p = parse_manifest("r.yaml", R"(apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - filters: [{type: URLRewrite, urlRewrite: {hostname: x}}]
    retry: {attempts: 3}
)");
  EXPECT_FALSE(p.failed);
  EXPECT_THAT(problems(p), ElementsAre(HasSubstr("has no effect here"), HasSubstr("URLRewrite is not supported"),
                                       HasSubstr("spec.rules[0].retry: accepted, but not acted on")));
}

TEST(Yaml, BombsAndDepthAreRefused) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 9; ++i) {
    append(bomb, "a", i, ": &a", i, " [");
    for (int j = 0; j < 10; ++j) append(bomb, "*a", i - 1, j < 9 ? "," : "]\n");
  }
  EXPECT_THAT(problems(parse_manifest("b.yaml", bomb)), ElementsAre(HasSubstr("more than 100000 values")));
  EXPECT_THAT(problems(parse_manifest("b.yaml", std::string(10'000, '['))), ElementsAre(HasSubstr("nested deeper")));
  EXPECT_THAT(problems(parse_manifest("b.yaml", std::string(2'000'000, 'a'))),
              ElementsAre(HasSubstr("accepted: at most 1048576")));
  EXPECT_THAT(problems(parse_manifest("b.yaml", std::string("a\0b", 3))), ElementsAre(HasSubstr("not text")));
  EXPECT_THAT(problems(parse_manifest("b.yaml", "a: [1")), ElementsAre(HasSubstr("not YAML")));
}

TEST(Yaml, AliasesAreCopied) {
  Parsed p = parse_manifest(
      "a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n  labels: &l {a: b}\n  annotations: *l\n");
  EXPECT_THAT(problems(p), IsEmpty());
  EXPECT_EQ(std::get<Namespace>(p.resources.at(0)).meta.annotation("a"), "b");
}

}  // namespace
}  // namespace tulle::control
