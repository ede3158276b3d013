#include "proxy/model/canonical.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "proxy/model/route.h"

namespace tulle::proxy {
namespace {

using ::testing::Contains;
using ::testing::IsEmpty;

std::string canonical(std::string_view path) {
  std::string storage;
  return std::string(canonical_path(path, storage));
}
std::vector<std::string> readings(std::string_view path) {
  std::vector<std::string> out;
  each_other_reading(path, [&](std::string_view r) {
    out.emplace_back(r);
    return true;
  });
  return out;
}

wire::Route route_for(std::string prefix, std::vector<wire::HostMatch> hosts = {}) {
  wire::Route route;
  route.hosts = std::move(hosts);
  route.rules.emplace_back();
  if (prefix.empty()) return route;
  route.rules[0].matches.emplace_back();
  route.rules[0].matches[0].path = wire::PathMatch{wire::PathMatch::Kind::kPrefix, std::move(prefix)};
  return route;
}
RouteTable table(std::vector<wire::Route> routes, RouteTable::Kind kind = RouteTable::Kind::kHttp) {
  auto t = RouteTable::compile(routes, kind);
  EXPECT_TRUE(t) << t.error().reason;
  return std::move(*t);
}
http::RequestHead request(std::string path, std::string authority = "web") {
  http::RequestHead head;
  head.path = std::move(path);
  head.authority = std::move(authority);
  return head;
}
// The route's number, "-" for none, or "refused".
std::string verdict(const RouteTable& t, const http::RequestHead& head, bool allow = false) {
  auto routed = route_request(t, head, allow);
  if (!routed) {
    EXPECT_EQ(routed.error().reason, Reason::kAmbiguousPath);
    return "refused";
  }
  return *routed ? cat((*routed)->route) : "-";
}

// The cells of the tables in docs/http.md whose rows have so many, without backquotes; the header first.
std::vector<std::vector<std::string>> documented(size_t columns) {
  std::ifstream file(TULLE_HTTP_MD);
  EXPECT_TRUE(file);
  std::vector<std::vector<std::string>> rows;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("| `")) continue;
    std::vector<std::string> cells;
    for (std::string_view cell : split(std::string_view(line).substr(1, line.size() - 2), '|')) {
      std::string text;
      for (char c : trim(cell))
        if (c != '`') text += c;
      cells.push_back(std::move(text));
    }
    if (cells.size() == columns) rows.push_back(std::move(cells));
  }
  return rows;
}

TEST(CanonicalPath, DocumentationAgrees) {
  auto admin = table({route_for("/"), route_for("/admin")});
  wire::Route by_method = route_for("");
  by_method.rules[0].matches.emplace_back();
  by_method.rules[0].matches[0].method = "GET";
  auto no_path = table({by_method, route_for("")});
  auto rows = documented(5);
  EXPECT_GE(rows.size(), 35u);
  for (const auto& row : rows) {
    SCOPED_TRACE(row[0]);
    EXPECT_EQ(canonical(row[0]), row[1]);
    auto others = readings(row[1]);
    if (row[2] == "nothing") EXPECT_THAT(others, IsEmpty());
    else
      for (std::string_view other : split(row[2], ',')) EXPECT_THAT(others, Contains(std::string(trim(other))));
    std::string got = verdict(admin, request(row[0]));
    EXPECT_EQ(got == "0" ? "/" : got == "1" ? "/admin" : got, row[3]);
    EXPECT_EQ(verdict(no_path, request(row[0])), row[4] == "passes" ? "0" : "refused");
    EXPECT_EQ(verdict(table({route_for("")}), request(row[0])), row[4] == "passes" ? "0" : "refused");
    EXPECT_NE(verdict(admin, request(row[0]), true), "refused");
  }
}

TEST(CanonicalHost, DocumentationAgrees) {
  auto t = table({route_for("", {{wire::HostMatch::Kind::kExact, "web.example.com"}})});
  size_t seen = 0;
  for (const auto& row : documented(2)) {
    if (row[1] != "matches" && row[1] != "does not" && row[1] != "refused") continue;
    ++seen;
    std::string got = verdict(t, request("/", row[0]));
    EXPECT_EQ(got == "0" ? "matches" : got == "-" ? "does not" : got, row[1]) << row[0];
  }
  EXPECT_EQ(seen, 8u);
}

TEST(CanonicalPath, RoutesGetTheSameForm) {
  auto t = table({route_for("/"), route_for("/caf\xc3\xa9"), route_for("/a b"), route_for("/v1/users:delete")});
  EXPECT_EQ(verdict(t, request("/caf%c3%a9/x")), "1");
  EXPECT_EQ(verdict(t, request("/a%20b")), "2");
  EXPECT_EQ(verdict(t, request("/v1/users%3Adelete")), "3");
}

TEST(CanonicalPath, NoRuleIsAnotherMeaningToo) {
  auto t = table({route_for("/api")});
  EXPECT_EQ(verdict(t, request("/api/x")), "0");
  EXPECT_EQ(verdict(t, request("/other")), "-");
  EXPECT_EQ(verdict(t, request("/api/../other")), "refused");
  EXPECT_EQ(verdict(t, request("//api")), "refused");
}

TEST(CanonicalPath, RulesOfOneRouteAreTwo) {
  wire::Route route = route_for("/a");
  route.rules.push_back(route_for("/b").rules[0]);
  EXPECT_EQ(verdict(table({route}), request("/a/../b")), "refused");
  EXPECT_EQ(verdict(table({route}), request("/b;v=1/../b")), "refused");
  EXPECT_EQ(verdict(table({route}), request("/b/x;v=1")), "0");
}

TEST(CanonicalPath, ExpressionsAndCallsCount) {
  wire::Route regex = route_for("");
  regex.rules[0].matches.emplace_back();
  regex.rules[0].matches[0].path = wire::PathMatch{wire::PathMatch::Kind::kRegex, "/x/a%20[0-9]+"};
  auto t = table({route_for("/"), regex});
  EXPECT_EQ(verdict(t, request("/x/a%20%34")), "1");
  EXPECT_EQ(verdict(t, request("/x//a%204")), "refused");

  wire::Route rpc = route_for("");
  rpc.rules[0].matches.emplace_back();
  rpc.rules[0].matches[0].rpc = wire::RpcMatch{"shop.Rates", "Convert"};
  auto calls = table({rpc}, RouteTable::Kind::kGrpc);
  auto call = request("/shop.Rates/Convert");
  call.set_method("POST");
  EXPECT_EQ(verdict(calls, call), "0");
  call.path = "/shop.Rates/./Convert";
  EXPECT_EQ(verdict(calls, call), "refused");
}

TEST(CanonicalPath, PrefixCountsWhatWasSent) {
  auto t = table({route_for("/"), route_for("/a b:c")});
  for (std::string path : {"/a%20b:c/d", "/%61%20%62%3a%63/d"}) {
    auto routed = route_request(t, request(path), false);
    ASSERT_TRUE(routed && *routed);
    EXPECT_EQ(path.substr((*routed)->prefix), "/d");
  }
}

TEST(CanonicalPath, ReadingsAreBounded) {
  std::string path;
  while (path.size() < 8000) path += "/a;b/..%2f%5c%3b%252e//%c0%af%255c";
  size_t n = 0;
  each_other_reading(canonical(path), [&](std::string_view r) {
    EXPECT_LE(r.size(), path.size());
    ++n;
    return true;
  });
  EXPECT_GT(n, 40u);
  EXPECT_LE(n, 79u);
}

}  // namespace
}  // namespace tulle::proxy
