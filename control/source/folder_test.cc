#include "control/source/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/source/references.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string service(std::string_view name, int port) {
  return cat("---\napiVersion: v1\nkind: Service\nmetadata: {name: ", name, "}\nspec: {ports: [{port: ", port, "}]}\n");
}

std::vector<std::string> keys(const std::vector<Event>& events) {
  std::vector<std::string> out;
  for (const Event& e : events) {
    uint16_t port = e.resource ? std::get<Service>(*e.resource).ports.at(0).port : 0;
    out.push_back(cat(e.key.to_string(), " ", port));
  }
  return out;
}

std::vector<std::string> texts(const Folder& f) {
  std::vector<std::string> out;
  for (const Problem& p : f.problems()) out.push_back(p.to_string());
  return out;
}

TEST(Folder, TellsWhatChanged) {
  Folder f;
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 80) + service("web", 80))),
              ElementsAre("Service default/api 80", "Service default/web 80"));
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 81) + service("db", 90))),
              ElementsAre("Service default/api 81", "Service default/db 90", "Service default/web 0"));
  EXPECT_THAT(keys(f.remove("a.yaml")), ElementsAre("Service default/api 0", "Service default/db 0"));
  EXPECT_THAT(f.files(), IsEmpty());
  EXPECT_EQ(f.size(), 0u);
}

TEST(Folder, ABrokenFileKeepsItsLastGoodVersion) {
  Folder f;
  f.update("a.yaml", service("api", 80));
  EXPECT_THAT(f.update("a.yaml", service("api", 99999)), IsEmpty());
  EXPECT_THAT(texts(f),
              ElementsAre(HasSubstr("found 99999"), "a.yaml: the last good version of this file stays in force"));
  EXPECT_THAT(f.unreadable("a.yaml", "Permission denied"), IsEmpty());
  EXPECT_THAT(texts(f), ElementsAre("a.yaml: Permission denied", HasSubstr("last good version")));
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 82))), ElementsAre("Service default/api 82"));
  EXPECT_THAT(texts(f), IsEmpty());
}

TEST(Folder, AFileThatWasNeverRightGivesItsGoodDocuments) {
  Folder f;
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 80) + service("web", 99999))),
              ElementsAre("Service default/api 80"));
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 81) + service("web", 99999))),
              ElementsAre("Service default/api 81"));
  EXPECT_THAT(keys(f.update("a.yaml", service("web", 80))),
              ElementsAre("Service default/api 0", "Service default/web 80"));
}

TEST(Folder, AKindThatIsNotActedOnHoldsNothingElseBack) {
  Folder f;
  std::string policy = "---\napiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: a}\n";
  f.update("a.yaml", service("api", 80) + policy);
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 81) + policy)), ElementsAre("Service default/api 81"));
  EXPECT_THAT(texts(f), ElementsAre(HasSubstr("AuthorizationPolicy is not acted on")));
  EXPECT_TRUE(f.problems()[0].is_error());
}

TEST(Folder, TheFirstFileByNameWins) {
  Folder f;
  f.update("b.yaml", service("api", 82));
  EXPECT_THAT(keys(f.update("a.yaml", service("api", 81))), ElementsAre("Service default/api 81"));
  EXPECT_THAT(texts(f),
              ElementsAre(HasSubstr("b.yaml: Service default/api: metadata.name: declared already in a.yaml")));
  EXPECT_THAT(keys(f.update("b.yaml", service("api", 83))), IsEmpty());
  EXPECT_THAT(keys(f.remove("a.yaml")), ElementsAre("Service default/api 83"));
  EXPECT_THAT(texts(f), IsEmpty());
}

TEST(Folder, SaysThatItIsGone) {
  Folder f;
  f.update("a.yaml", service("api", 80));
  f.set_lost("/m", "No such file or directory");
  EXPECT_THAT(texts(f), ElementsAre(AllOf(HasSubstr("/m: the folder of manifests cannot be read (No such file"),
                                          HasSubstr("stays in force"))));
  EXPECT_TRUE(f.problems()[0].is_error());
  f.set_lost("", "");
  EXPECT_THAT(texts(f), IsEmpty());
}

HttpRoute route(std::string_view rules) {
  Parsed parsed = parse_manifest(
      "r.yaml", cat("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: a}\n"
                    "spec:\n  parentRefs: [{group: \"\", kind: Service, name: api, port: 80}]\n  rules: ",
                    rules, "\n"));
  return std::get<HttpRoute>(parsed.resources.at(0));
}

TEST(References, WhatIsNotThereIsSaidOnce) {
  Service api;
  api.ports = {{"http", 80, PortRef(uint16_t{80}), {}}};
  auto find = [&](const Ref& ref) { return ref == Ref{"a", "api"} ? &api : nullptr; };
  auto said = [&](std::string_view rules) {
    std::vector<std::string> out;
    for (const Problem& p : missing_references(route(rules), find)) {
      EXPECT_FALSE(p.is_error());
      out.push_back(p.to_string());
    }
    return out;
  };
  EXPECT_THAT(said("[{backendRefs: [{name: api, port: 80}]}]"), IsEmpty());
  EXPECT_THAT(
      said("[{backendRefs: [{name: v1, port: 80}, {name: v1, port: 80}]}, {backendRefs: [{name: v1, port: 80}]}]"),
      ElementsAre(AllOf(HasSubstr("r.yaml:1: HTTPRoute a/r: spec.rules[0].backendRefs[0].name: there is no "
                                  "Service a/v1, so what is sent there is answered with 502"),
                        HasSubstr("accepted: a Service of a manifest"))));
  EXPECT_THAT(said("[{backendRefs: [{name: api, port: 81}]}]"),
              ElementsAre(HasSubstr("backendRefs[0].port: Service a/api has no port 81")));
  auto none = [](const Ref&) { return nullptr; };
  EXPECT_THAT(missing_references(route("[{}]"), none), testing::SizeIs(1)) << "the parent";
}

TEST(Folder, ReadsOnlyManifests) {
  EXPECT_TRUE(Folder::is_manifest("a.yaml"));
  EXPECT_TRUE(Folder::is_manifest("a.json"));
  EXPECT_FALSE(Folder::is_manifest(".a.yaml"));
  EXPECT_FALSE(Folder::is_manifest("a.yaml~"));
  EXPECT_FALSE(Folder::is_manifest("a.yaml.swp"));
}

}  // namespace
}  // namespace tulle::control
