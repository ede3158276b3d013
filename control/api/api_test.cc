#include "control/api/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "control/api/query.h"
#include "control/identity/token.h"
#include "libs/base/file.h"

namespace tulle::control {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

struct ApiTest : testing::Test {
  std::string folder;
  std::unique_ptr<Plane> plane;
  std::unique_ptr<WorkloadFiles> files;
  std::unique_ptr<Api> api;
  ApiTime time{TimePoint(100s), WallTime(1'800'000'000s)};

  void SetUp() override {
    char name[] = "/tmp/tulle-api-XXXXXX";
    folder = mkdtemp(name);
    start();
  }
  void start() {
    auto authorities = open_authorities(folder, "cluster.local", time.wall);
    Plane::Options options;
    options.rng = Rng(1);
    plane = *Plane::make(std::move(options), std::move(*authorities));
    files = std::make_unique<WorkloadFiles>(folder + "/workloads");
    api = std::make_unique<Api>(
        Api::Options{"test", *SocketAddr::parse("127.0.0.1:7"), *SocketAddr::parse("127.0.0.1:8"), "0"}, *plane,
        *files);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::pair<int, Json> ask(std::string method, std::string path, std::string body = "") {
    ApiAnswer a = api->handle({std::move(method), std::move(path), std::move(body)}, time);
    return {a.status, Json::parse(a.body)};
  }
  Json ok(std::string method, std::string path, std::string body = "") {
    auto [status, json] = ask(method, path, body);
    EXPECT_EQ(status, 200) << json;
    return json;
  }
  std::string error(int wanted, std::string method, std::string path, std::string body = "") {
    auto [status, json] = ask(method, path, body);
    EXPECT_EQ(status, wanted) << json;
    return json.value("error", "");
  }
  Json add(std::string name, std::string more = "") {
    return ok(
        "POST", "/v1/workloads",
        cat(R"({"name":")", name,
            R"(","namespace":"shop","service":"api","service_account":"sa","ports":[{"name":"http","port":8080}],"pid":)",
            getpid(), more, "}"));
  }
};

TEST_F(ApiTest, AWorkloadFromBeginToEnd) {
  Json w = add("api-1");
  EXPECT_EQ(w["name"], "api-1");
  EXPECT_EQ(w["identity"], "sa.shop.serviceaccount.identity.linkerd.cluster.local");
  EXPECT_EQ(w["ports"][0]["served"], 8080);
  EXPECT_EQ(w["env"]["LINKERD2_PROXY_POLICY_WORKLOAD"], R"({"ns":"shop","pod":"api-1"})");
  EXPECT_EQ(w["env"]["LINKERD2_PROXY_DESTINATION_SVC_ADDR"], "127.0.0.1:7");
  EXPECT_EQ(w["env"]["LINKERD2_PROXY_INBOUND_PORTS"], "8080");
  EXPECT_TRUE(w["warnings"].empty());
  // The token that its proxy will show is its own.
  std::string token = *read_file(w["token_path"], 10'000);
  EXPECT_EQ(Json(token), w["token"]);
  EXPECT_EQ(check_token(plane->authorities().token_key, token, time.wall)->workload, "api-1");

  std::string id = w["id"];
  EXPECT_EQ(*Api::hold_id({"GET", cat("/v1/workloads/", id, "/hold"), ""}), id);
  EXPECT_EQ(api->hold(id).status, 200);
  EXPECT_EQ(api->hold(id).status, 409);
  EXPECT_EQ(api->hold("nix").status, 404);
  constexpr const char* kEndpoints = "/v1/endpoints?target=api.shop.svc.cluster.local%3A80";
  EXPECT_TRUE(ok("GET", kEndpoints)["endpoints"].empty());
  ApiAnswer ready = api->handle({"POST", cat("/v1/workloads/", id, "/ready"), R"({"ready":true})"}, time);
  EXPECT_EQ(ready.status, 200);
  EXPECT_TRUE(ready.when_published);
  Json endpoint = ok("GET", kEndpoints)["endpoints"][0];
  EXPECT_EQ(endpoint["pod"], "api-1");
  EXPECT_EQ(endpoint["ip"], w["address"]);
  EXPECT_EQ(endpoint["service"], "api");

  Json pod = ok("GET", "/v1/resources/pods?name=api-1")["items"][0];
  EXPECT_EQ(pod["status"]["podIP"], w["address"]);
  EXPECT_EQ(pod["status"]["conditions"][0]["status"], "True");
  EXPECT_EQ(pod["metadata"]["labels"]["linkerd.io/control-plane-ns"], "linkerd");
  EXPECT_EQ(pod["metadata"]["annotations"]["tulle.dev/service"], "api");
  EXPECT_TRUE(ok("GET", "/v1/resources/pods?namespace=other")["items"].empty());
  EXPECT_EQ(ok("GET", "/v1/resources/services")["items"][0]["metadata"]["annotations"]["tulle.dev/implied"], "true");
  EXPECT_EQ(ok("GET", "/v1/prometheus-targets")[0]["targets"][0], Json(cat(w["address"].get<std::string>(), ":4191")));
  EXPECT_EQ(ok("GET", "/v1/policy?target=pod/shop/api-1:8080")["protocol"], "detect");
  EXPECT_EQ(ok("GET", "/v1/policy?target=svc/shop/api:80")["protocol"], "detect");
  EXPECT_TRUE(ok("GET", "/v1/names?namespace=shop")["names"].contains("api.shop.svc.cluster.local"));
  EXPECT_EQ(ok("GET", "/v1/mesh")["workloads"], 1);

  ok("DELETE", cat("/v1/workloads/", id));
  EXPECT_FALSE(read_file(w["token_path"], 10'000));
  EXPECT_TRUE(ok("GET", "/v1/resources/pods")["items"].empty());
  api->end(id, time);
}

TEST_F(ApiTest, SaysWhenItsCertificatesEnd) {
  Json mesh = ok("GET", "/v1/mesh");
  EXPECT_EQ(mesh["certificates"][0], (Json{{"name", "trust root"}, {"expires", "2037-01-12T08:00:00.000Z"}}));
  EXPECT_EQ(mesh["certificates"][1], (Json{{"name", "issuer"}, {"expires", "2028-01-15T08:00:00.000Z"}}));
  EXPECT_EQ(mesh["certificateLifetimeSeconds"], 86400);
  EXPECT_EQ(mesh["manifestFolder"], "");
  EXPECT_EQ(mesh["logLevel"], "info");
  Json settings = Json::parse(api->settings());
  EXPECT_FALSE(settings.contains("workloads"));
  settings.update(mesh);
  EXPECT_EQ(settings, mesh) << "mesh.json says the same, but for what does not last";
}

TEST_F(ApiTest, RemembersWhoEnded) {
  EXPECT_TRUE(ok("GET", "/v1/ended-workloads")["items"].empty());
  for (const char* name : {"api-1", "api-2"}) {
    Json w = add(name);
    api->end(w["id"].get<std::string>(), time);
  }
  Json items = ok("GET", "/v1/ended-workloads")["items"];
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0], (Json{{"namespace", "shop"},
                            {"name", "api-2"},
                            {"service", "api"},
                            {"service_account", "sa"},
                            {"ended", "2027-01-15T08:00:00.000Z"}}));
  time.wall += 61min;
  api->tidy(time);
  EXPECT_TRUE(ok("GET", "/v1/ended-workloads")["items"].empty());
  for (int i = 0; i < 1010; ++i) api->end(add(cat("n-", i))["id"].get<std::string>(), time);
  EXPECT_EQ(ok("GET", "/v1/ended-workloads")["items"].size(), 1000u);
}

TEST_F(ApiTest, SaysWhatARouteNamesAndNobodyDeclares) {
  auto events = plane->folder().update("r.yaml", R"(
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: shop}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules: [{backendRefs: [{name: api, port: 80}, {name: v2, port: 80}]}]
)");
  plane->apply(events, time.unix_seconds());
  Json items = ok("GET", "/v1/problems")["items"];
  ASSERT_EQ(items.size(), 3u);  // the parent, and both backends
  EXPECT_THAT(
      items[2]["text"].get<std::string>(),
      HasSubstr("r.yaml:2: HTTPRoute shop/api: spec.rules[0].backendRefs[1].name: there is no Service shop/v2"));
  EXPECT_EQ(ok("GET", "/v1/mesh")["problems"], 3);
  add("api-1", R"(,"ports":[{"name":"http","port":80}])");
  EXPECT_EQ(ok("GET", "/v1/problems")["items"].size(), 1u) << "a workload's Service counts";
}

TEST_F(ApiTest, MustBeHeldWithinTenSeconds) {
  add("api-1");
  time.now += 9s;
  api->tidy(time);
  EXPECT_EQ(plane->workloads().size(), 1u);
  time.now += 1s;
  api->tidy(time);
  EXPECT_EQ(plane->workloads().size(), 0u);
}

TEST_F(ApiTest, TokensAreWrittenAnewBeforeTheyEnd) {
  Json w = add("api-1");
  api->hold(w["id"].get<std::string>());
  api->tidy(time);
  time.wall += 8h;
  api->tidy(time);
  std::string token = *read_file(w["token_path"], 10'000);
  EXPECT_NE(Json(token), w["token"]);
  EXPECT_TRUE(check_token(plane->authorities().token_key, token, time.wall + 20h));
}

TEST_F(ApiTest, ARestartFindsWhoRan) {
  Json w = add("api-1");
  add("api-2", R"(,"pid":999999999)");  // the later key wins: this process does not live
  start();
  auto expected = files->survivors();
  ASSERT_EQ(expected.size(), 1u);
  EXPECT_EQ(expected[0].to_string(), "shop/api-1");
  EXPECT_EQ(api->missing(expected), 1u);
  Json again = add("api-1", cat(R"(,"ready":true,"address":")", w["address"].get<std::string>(), "\""));
  EXPECT_EQ(again["address"], w["address"]);
  EXPECT_EQ(again["env"], w["env"]);
  EXPECT_EQ(api->missing(expected), 0u);
}

TEST_F(ApiTest, RefusedAddressesAreNotOfferedAgain) {
  Json first = add("a");
  ok("DELETE", cat("/v1/workloads/", first["id"].get<std::string>()));
  start();
  Json second = add("a", cat(R"(,"refused_addresses":[")", first["address"].get<std::string>(), "\"]"));
  EXPECT_NE(second["address"], first["address"]);
}

TEST_F(ApiTest, WarnsOfWhatWillNotWork) {
  auto events = plane->folder().update("a.yaml",
                                       "apiVersion: v1\nkind: Service\nmetadata: {name: api, namespace: shop}\n"
                                       "spec: {selector: {tier: x}, ports: [{port: 80, targetPort: web}]}\n");
  plane->apply(events, 1);
  Json w = add("api-1");
  ASSERT_EQ(w["warnings"].size(), 2u);
  EXPECT_THAT(w["warnings"][0].get<std::string>(), HasSubstr("selects tier=x"));
  EXPECT_THAT(w["warnings"][1].get<std::string>(), HasSubstr("to port web"));
}

TEST_F(ApiTest, AServiceGoesByItsShortName) {
  add("api-1", R"(,"ready":true)");
  for (const char* target : {"api.shop", "api.shop:80", "api.shop.svc:8080", "api.shop.svc.cluster.local."})
    EXPECT_EQ(ok("GET", cat("/v1/endpoints?target=", target))["endpoints"][0]["pod"], "api-1") << target;
  EXPECT_EQ(ok("GET", "/v1/policy?target=api.shop")["protocol"], "detect");
  // A port that it lacks is forbidden to those who dial it, so that is what is shown.
  for (const char* target : {"api.shop:99", "svc/shop/api:99", "api.shop.svc.cluster.local.:99"}) {
    std::string policy = ok("GET", cat("/v1/policy?target=", target)).dump();
    EXPECT_THAT(policy, AllOf(HasSubstr("undefined-port"), HasSubstr("opaque"))) << target;
  }
  EXPECT_THAT(error(404, "GET", "/v1/endpoints?target=api"), HasSubstr("accepted: NAME[.NAMESPACE"));
  EXPECT_THAT(error(404, "GET", "/v1/policy?target=api"), HasSubstr("accepted: NAME[.NAMESPACE"));
  auto events = plane->folder().update("a.yaml",
                                       "apiVersion: v1\nkind: Service\nmetadata: {name: two, namespace: shop}\n"
                                       "spec: {ports: [{name: a, port: 80}, {name: b, port: 81}]}\n");
  plane->apply(events, 1);
  EXPECT_THAT(error(400, "GET", "/v1/endpoints?target=two.shop"),
              HasSubstr("has the ports 80, 81; accepted: two.shop:PORT"));
}

TEST_F(ApiTest, ListsWhatIsThereByUse) {
  EXPECT_TRUE(ok("GET", "/v1/resources/namespaces")["items"].empty());
  Json w = add("api-1", R"(,"ready":true)");
  add("api-2", R"(,"ports":[{"name":"http","port":9090}])");
  Json spaces = ok("GET", "/v1/resources/namespaces")["items"];
  ASSERT_EQ(spaces.size(), 1u);
  EXPECT_EQ(spaces[0]["metadata"]["name"], "shop");
  plane->apply(plane->folder().update("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"), 1);
  EXPECT_EQ(ok("GET", "/v1/resources/namespaces")["items"].size(), 1u) << "declared and used";
  Json slices = ok("GET", "/v1/resources/endpointslices")["items"];
  ASSERT_EQ(slices.size(), 2u) << "the two serve it on different ports";
  EXPECT_EQ(slices[0]["metadata"]["name"], "api");
  EXPECT_EQ(slices[0]["metadata"]["labels"]["kubernetes.io/service-name"], "api");
  EXPECT_EQ(slices[0]["endpoints"][0]["addresses"][0], w["address"]);
  EXPECT_EQ(slices[0]["endpoints"][0]["conditions"]["ready"], true);
  EXPECT_EQ(slices[0]["ports"][0]["port"], 8080);
  EXPECT_EQ(slices[1]["metadata"]["name"], "api-2");
  EXPECT_EQ(slices[1]["endpoints"][0]["conditions"]["ready"], false);
}

TEST_F(ApiTest, SaysWhatIsWrong) {
  EXPECT_THAT(error(400, "POST", "/v1/workloads", "{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(error(400, "POST", "/v1/workloads", R"({"name":1})"), HasSubstr("name: found 1; accepted: text"));
  EXPECT_THAT(error(400, "POST", "/v1/workloads", R"({"ports":[{"port":70000}]})"),
              HasSubstr("ports.port: found 70000"));
  EXPECT_THAT(error(400, "POST", "/v1/workloads", R"({"labels":{"a":1}})"), HasSubstr("labels.a"));
  EXPECT_THAT(error(400, "POST", "/v1/workloads", R"({"address":"x"})"), HasSubstr("address"));
  EXPECT_THAT(error(404, "POST", "/v1/workloads/nix/ready", R"({"ready":true})"), HasSubstr("no workload"));
  EXPECT_THAT(error(405, "GET", "/v1/workloads/nix/ready"), HasSubstr("POST"));
  for (auto [path, method] : {std::pair{"/v1/mesh", "GET"},
                              {"/v1/resources/pods", "GET"},
                              {"/v1/workloads", "POST"},
                              {"/v1/workloads/x", "DELETE"},
                              {"/v1/workloads/x/ready", "POST"},
                              {"/v1/workloads/x/hold", "GET"}}) {
    ApiAnswer answer = api->handle({"PUT", path, ""}, time);
    EXPECT_EQ(answer.status, 405) << path;
    EXPECT_EQ(answer.allow, method) << path;
  }
  EXPECT_EQ(api->handle({"PUT", "/v1/nix", ""}, time).status, 404);
  EXPECT_EQ(api->handle_public({"PUT", "/v1/mesh", ""}).allow, "GET");
  EXPECT_EQ(api->handle_public({"PUT", "/v1/problems", ""}).status, 404);
  EXPECT_THAT(error(404, "GET", "/v1/resources/gateways"), HasSubstr("accepted: namespaces"));
  EXPECT_THAT(error(400, "GET", "/v1/endpoints"), HasSubstr("target: missing"));
  EXPECT_THAT(error(400, "GET", "/v1/endpoints?target=%zz"), HasSubstr("target: missing"));
  EXPECT_THAT(error(404, "GET", "/v1/endpoints?target=nix.shop.svc.cluster.local:80"), HasSubstr("no such service"));
  EXPECT_THAT(error(400, "GET", "/v1/policy?target=svc/shop"),
              HasSubstr("accepted: NAME[.NAMESPACE][:PORT] of a Service, svc/NAMESPACE/NAME:PORT"));
  EXPECT_THAT(error(404, "GET", "/nix"), HasSubstr("no"));
  std::string deep = cat(R"({"name":)", std::string(500'000, '['), std::string(500'000, ']'), "}");
  EXPECT_THAT(error(400, "POST", "/v1/workloads", deep), HasSubstr("name: found a list; accepted: text"));
  add("api-1");
  api->hold(plane->workloads().find(Ref{"shop", "api-1"})->id);
  EXPECT_THAT(error(409, "POST", "/v1/workloads", R"({"name":"api-1","namespace":"shop"})"), HasSubstr("is running"));
}

}  // namespace
}  // namespace tulle::control
