#include "control/source/folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

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

TEST(Folder, ReadsOnlyManifests) {
  EXPECT_TRUE(Folder::is_manifest("a.yaml"));
  EXPECT_TRUE(Folder::is_manifest("a.json"));
  EXPECT_FALSE(Folder::is_manifest(".a.yaml"));
  EXPECT_FALSE(Folder::is_manifest("a.yaml~"));
  EXPECT_FALSE(Folder::is_manifest("a.yaml.swp"));
}

}  // namespace
}  // namespace tulle::control
