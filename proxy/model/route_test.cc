#include "proxy/model/route.h"

#include <gtest/gtest.h>

namespace tulle::proxy {
namespace {

using PathKind = wire::PathMatch::Kind;

http::RequestHead request(std::string path, std::string method = "GET", std::string authority = "web") {
  http::RequestHead head;
  head.set_method(method);
  head.path = std::move(path);
  head.authority = std::move(authority);
  return head;
}
wire::RouteMatch path(PathKind kind, std::string text) {
  wire::RouteMatch m;
  m.path = wire::PathMatch{kind, std::move(text)};
  return m;
}
wire::RouteMatch header(std::string name, std::string value, bool regex = false) {
  wire::RouteMatch m;
  m.headers = {{std::move(name), regex, std::move(value)}};
  return m;
}
wire::Route route(std::vector<std::vector<wire::RouteMatch>> rules, std::vector<wire::HostMatch> hosts = {}) {
  wire::Route r;
  r.metadata = {"g", "HTTPRoute", "r", "ns", "", 0};
  r.hosts = std::move(hosts);
  for (auto& matches : rules) {
    r.rules.emplace_back();
    r.rules.back().matches = std::move(matches);
  }
  return r;
}
RouteTable table(std::vector<wire::Route> routes, RouteTable::Kind kind = RouteTable::Kind::kHttp) {
  auto t = RouteTable::compile(routes, kind);
  EXPECT_TRUE(t) << t.error().reason;
  return std::move(*t);
}
// "route.rule", or "-".
std::string find(const RouteTable& t, const http::RequestHead& head) {
  auto m = t.match(RequestView(head));
  return m ? cat(m->route, ".", m->rule) : "-";
}
bool matches(const wire::RouteMatch& m, const http::RequestHead& head) {
  wire::RouteMatch never = header("x-never", "there");
  return find(table({route({{never}, {m}})}), head) == "0.1";
}

TEST(PathMatch, Exact) {
  EXPECT_TRUE(matches(path(PathKind::kExact, "/foo/bar"), request("/foo/bar")));
  EXPECT_TRUE(matches(path(PathKind::kExact, "/foo/bar"), request("/foo/bar?a=b")));
  EXPECT_FALSE(matches(path(PathKind::kExact, "/foo/bar"), request("/foo/bar/")));
  EXPECT_FALSE(matches(path(PathKind::kExact, "/foo/bar"), request("/foo")));
}
TEST(PathMatch, PrefixIsBySegments) {
  for (std::string p : {"/foo/bar", "/foo/bar/", "/foo/bar//"}) {
    auto m = path(PathKind::kPrefix, p);
    EXPECT_TRUE(matches(m, request("/foo/bar")));
    EXPECT_TRUE(matches(m, request("/foo/bar/")));
    EXPECT_TRUE(matches(m, request("/foo/bar/baz")));
    EXPECT_TRUE(matches(m, request("/foo/bar?x")));
    EXPECT_FALSE(matches(m, request("/foo/barn")));
    EXPECT_FALSE(matches(m, request("/foo")));
  }
  EXPECT_TRUE(matches(path(PathKind::kPrefix, "/"), request("/anything")));
  EXPECT_TRUE(matches(path(PathKind::kPrefix, "/"), request("", "CONNECT")));
  EXPECT_TRUE(matches(path(PathKind::kPrefix, "/"), request("*", "OPTIONS")));
}
TEST(PathMatch, RegexCoversAll) {
  EXPECT_TRUE(matches(path(PathKind::kRegex, "/foo/\\d+"), request("/foo/42")));
  EXPECT_FALSE(matches(path(PathKind::kRegex, "/foo/\\d+"), request("/foo/42/x")));
  EXPECT_FALSE(matches(path(PathKind::kRegex, "foo"), request("/foo")));
  // Linkerd misses this one; the documentation of regular expressions does not.
  EXPECT_TRUE(matches(path(PathKind::kRegex, "/(a|ab)"), request("/ab")));
}

TEST(HeaderMatch, ExactAndRegexOfAnyValue) {
  auto head = request("/");
  head.headers.add("X-Env", "prod");
  head.headers.add("x-env", "staging");
  EXPECT_TRUE(matches(header("x-env", "staging"), head));
  EXPECT_FALSE(matches(header("x-env", "stag"), head));
  EXPECT_FALSE(matches(header("x-other", "staging"), head));
  EXPECT_TRUE(matches(header("x-env", "st.*g", true), head));
  EXPECT_FALSE(matches(header("x-env", "st", true), head));
  head.headers.add(http::HeaderId::kUserAgent, "curl/8");
  EXPECT_TRUE(matches(header("user-agent", "curl/.*", true), head));
}
TEST(HeaderMatch, HostOfHttp2IsItsAuthority) {
  EXPECT_TRUE(matches(header("host", "web:80"), request("/", "GET", "web:80")));
  auto h1 = request("/", "GET", "web:80");
  h1.headers.add(http::HeaderId::kHost, "other");
  EXPECT_FALSE(matches(header("host", "web:80"), h1));
}

TEST(QueryMatch, DecodedAndAnyOccurrence) {
  auto query = [](std::string name, std::string value, bool regex = false) {
    wire::RouteMatch m;
    m.query = {{std::move(name), regex, std::move(value)}};
    return m;
  };
  EXPECT_TRUE(matches(query("foo", "bar"), request("/?foo=bar")));
  EXPECT_TRUE(matches(query("foo", "bar"), request("/?x=1&foo=baz&foo=bar&y")));
  EXPECT_TRUE(matches(query("foo", "a b&c"), request("/?foo=a+b%26c")));
  EXPECT_TRUE(matches(query("f o", "1"), request("/?f%20o=1")));
  EXPECT_TRUE(matches(query("foo", ""), request("/?foo")));
  EXPECT_TRUE(matches(query("foo", ""), request("/?foo=")));
  EXPECT_TRUE(matches(query("foo", "100%"), request("/?foo=100%")));
  EXPECT_FALSE(matches(query("foo", "bar"), request("/?foo=barn")));
  EXPECT_FALSE(matches(query("foo", "bar"), request("/?foo=ba")));
  EXPECT_FALSE(matches(query("foo", "bar"), request("/?Foo=bar")));
  EXPECT_FALSE(matches(query("foo", "bar"), request("/foo=bar")));
  EXPECT_FALSE(matches(query("foo", "bar"), request("/")));
  EXPECT_TRUE(matches(query("foo", "b.r", true), request("/?foo=bar")));
  EXPECT_TRUE(matches(query("foo", "a b", true), request("/?foo=a%20b")));
  EXPECT_FALSE(matches(query("foo", "b.", true), request("/?foo=bar")));
}

TEST(HttpMatch, AllPartsMustMatch) {
  wire::RouteMatch m = path(PathKind::kPrefix, "/foo");
  m.method = "POST";
  m.headers = {{"x-a", false, "1"}, {"x-b", false, "2"}};
  auto head = request("/foo", "POST");
  head.headers.add("x-a", "1");
  EXPECT_FALSE(matches(m, head));
  head.headers.add("x-b", "2");
  EXPECT_TRUE(matches(m, head));
  head.set_method("GET");
  EXPECT_FALSE(matches(m, head));
  head.set_method("post");
  EXPECT_FALSE(matches(m, head)) << "methods are case-sensitive";
}

TEST(HostMatch, ExactSuffixAndOrder) {
  auto t = table({route({{}}, {{wire::HostMatch::Kind::kSuffix, "example.com"}}),
                  route({{}}, {{wire::HostMatch::Kind::kSuffix, "api.example.com"}}),
                  route({{}}, {{wire::HostMatch::Kind::kExact, "a.api.example.com"}}), route({{}})});
  auto host = [&](std::string h) { return find(t, request("/", "GET", h)); };
  EXPECT_EQ(host("a.api.example.com"), "2.0");
  EXPECT_EQ(host("A.Api.Example.COM"), "2.0");
  EXPECT_EQ(host("a.api.example.com."), "2.0");
  EXPECT_EQ(host("a.api.example.com:8080"), "2.0");
  EXPECT_EQ(host("b.api.example.com"), "1.0");
  EXPECT_EQ(host("b.c.API.example.com"), "1.0");
  EXPECT_EQ(host("api.example.com"), "0.0") << "a suffix needs a label in front";
  EXPECT_EQ(host("example.com"), "3.0");
  EXPECT_EQ(host("badexample.com"), "3.0");
  EXPECT_EQ(host("[::1]:80"), "3.0");
  EXPECT_EQ(host(""), "3.0");
  auto dotted = table({route({{}}, {{wire::HostMatch::Kind::kExact, "example.com."}})});
  EXPECT_EQ(find(dotted, request("/", "GET", "example.com.")), "0.0");
  EXPECT_EQ(find(dotted, request("/", "GET", "example.com")), "-");
}
TEST(HostMatch, FallbackAuthority) {
  auto t = table({route({{}}, {{wire::HostMatch::Kind::kExact, "web"}})});
  auto head = request("/", "GET", "");
  EXPECT_FALSE(t.match(RequestView(head)));
  EXPECT_TRUE(t.match(RequestView(head, "web:80")));
}

// http/tests.rs
TEST(HttpPrecedence, Hostname) {
  auto t = table({route({{path(PathKind::kExact, "/a")}}), route({{}}, {{wire::HostMatch::Kind::kExact, "web"}})});
  EXPECT_EQ(find(t, request("/a")), "1.0");
}
TEST(HttpPrecedence, PathLength) {
  auto t = table({route({{path(PathKind::kPrefix, "/foo")}, {path(PathKind::kPrefix, "/foo/bar")}}),
                  route({{path(PathKind::kPrefix, "/foo/bar/baz")}})});
  EXPECT_EQ(find(t, request("/foo/x")), "0.0");
  EXPECT_EQ(find(t, request("/foo/bar")), "0.1");
  EXPECT_EQ(find(t, request("/foo/bar/baz/x")), "1.0");
  EXPECT_EQ(find(t, request("/none")), "-");
}
TEST(HttpPrecedence, ExactBeforeRegexAndPrefix) {
  auto t = table(
      {route({{path(PathKind::kPrefix, "/foo")}, {path(PathKind::kRegex, "/fo+")}, {path(PathKind::kExact, "/foo")}})});
  EXPECT_EQ(find(t, request("/foo")), "0.2");
  EXPECT_EQ(find(t, request("/fooo")), "0.1");
  EXPECT_EQ(find(t, request("/foo/x")), "0.0");
}
TEST(HttpPrecedence, MethodBeforeHeaders) {
  wire::RouteMatch get;
  get.method = "GET";
  auto head = request("/");
  head.headers.add("x-a", "1");
  EXPECT_EQ(find(table({route({{header("x-a", "1")}, {get}})}), head), "0.1");
}
TEST(HttpPrecedence, HeaderCountThenQueryCount) {
  wire::RouteMatch two = header("x-a", "1");
  two.headers.push_back({"x-b", false, "2"});
  wire::RouteMatch query = header("x-a", "1");
  query.query = {{"q", false, "1"}};
  auto t = table({route({{header("x-a", "1")}, {query}, {two}})});
  auto head = request("/?q=1");
  head.headers.add("x-a", "1");
  EXPECT_EQ(find(t, head), "0.1");
  head.headers.add("x-b", "2");
  EXPECT_EQ(find(t, head), "0.2");
}
TEST(HttpPrecedence, FirstIdenticalWins) {
  auto t = table({route({{path(PathKind::kPrefix, "/foo")}, {path(PathKind::kPrefix, "/foo/")}}),
                  route({{path(PathKind::kPrefix, "/foo")}})});
  EXPECT_EQ(find(t, request("/foo")), "0.0");
}
TEST(HttpPrecedence, ARulesKeyIsItsBestMatch) {
  auto t = table({route({{path(PathKind::kPrefix, "/foo/bar")},
                         {path(PathKind::kPrefix, "/"), path(PathKind::kPrefix, "/foo/bar/baz")}})});
  EXPECT_EQ(find(t, request("/foo/bar/baz")), "0.1");
  EXPECT_EQ(find(t, request("/foo/bar")), "0.0");
  EXPECT_EQ(find(t, request("/")), "0.1");
}
TEST(HttpPrecedence, NoRulesNeverMatch) {
  EXPECT_EQ(find(table({route({})}), request("/")), "-");
  EXPECT_EQ(find(table({}), request("/")), "-");
}

TEST(RouteTable, OneRuleForEverythingNeedsNoMatching) {
  EXPECT_TRUE(table({route({{}})}).only());
  EXPECT_TRUE(table({route({{path(PathKind::kPrefix, "/")}})}).only());
  EXPECT_FALSE(table({route({{path(PathKind::kPrefix, "/a")}})}).only());
  EXPECT_FALSE(table({route({{}, {}})}).only());
  EXPECT_FALSE(table({route({{}}, {{wire::HostMatch::Kind::kExact, "web"}})}).only());
  EXPECT_FALSE(table({route({{}})}, RouteTable::Kind::kGrpc).only());
  EXPECT_EQ(find(table({route({{}})}), request("/x")), "0.0");
}
TEST(RouteTable, TellsHowItMatched) {
  auto t = table({route({{path(PathKind::kPrefix, "/foo/")}})});
  auto head = request("/foo/bar");
  auto m = t.match(RequestView(head));
  ASSERT_TRUE(m);
  EXPECT_EQ(m->path, RuleMatch::Path::kPrefix);
  EXPECT_EQ(m->prefix, 4u);
}
TEST(RouteTable, BadPatternsNameTheirPlace) {
  auto t = RouteTable::compile(std::vector<wire::Route>{route({{}, {path(PathKind::kRegex, "(")}})},
                               RouteTable::Kind::kHttp);
  ASSERT_FALSE(t);
  EXPECT_EQ(t.error().reason, "route r, rule 1: regular expression \"(\": missing ): (");
  EXPECT_FALSE(
      RouteTable::compile(std::vector<wire::Route>{route({{header("a", "*", true)}})}, RouteTable::Kind::kHttp));
}

// grpc/match/tests.rs and grpc/tests.rs
wire::RouteMatch rpc(std::string service, std::string method) {
  wire::RouteMatch m;
  m.rpc = wire::RpcMatch{std::move(service), std::move(method)};
  return m;
}
TEST(GrpcMatch, EmptyMatchTakesAnyRpc) {
  auto t = table({route({{}})}, RouteTable::Kind::kGrpc);
  EXPECT_EQ(find(t, request("/foo/bar", "POST")), "0.0");
  EXPECT_EQ(find(t, request("/foo/bar", "GET")), "-") << "http_method";
}
TEST(GrpcMatch, ServiceAndMethod) {
  auto t = table({route({{rpc("s", "m")}, {rpc("s", "")}, {rpc("", "any")}})}, RouteTable::Kind::kGrpc);
  EXPECT_EQ(find(t, request("/s/m", "POST")), "0.0");
  EXPECT_EQ(find(t, request("/s/other", "POST")), "0.1");
  EXPECT_EQ(find(t, request("/t/any", "POST")), "0.2");
  EXPECT_EQ(find(t, request("/s/m/x", "POST")), "0.1");
  EXPECT_EQ(find(t, request("/s", "POST")), "0.1");
  EXPECT_EQ(find(t, request("/sm", "POST")), "-");
  EXPECT_EQ(find(t, request("*", "POST")), "-");
}
TEST(GrpcPrecedence, ServiceThenMethodThenHeaders) {
  wire::RouteMatch with_header = rpc("s", "m");
  with_header.headers = {{"x-a", false, "1"}};
  auto t = table({route({{rpc("", "m")}, {rpc("s", "")}, {rpc("s", "m")}, {with_header}})}, RouteTable::Kind::kGrpc);
  auto head = request("/s/m", "POST");
  EXPECT_EQ(find(t, head), "0.2");
  head.headers.add("x-a", "1");
  EXPECT_EQ(find(t, head), "0.3");
  EXPECT_EQ(find(table({route({{rpc("s", "m")}}), route({{rpc("s", "m")}})}, RouteTable::Kind::kGrpc), head), "0.0")
      << "first_identical_wins";
  EXPECT_EQ(find(table({route({{with_header}}), route({{}}, {{wire::HostMatch::Kind::kExact, "web"}})},
                       RouteTable::Kind::kGrpc),
                 head),
            "1.0")
      << "hostname_precedence";
}

// tls/route
TEST(Sni, Precedence) {
  std::vector<wire::Route> routes = {route({{}}), route({{}}, {{wire::HostMatch::Kind::kSuffix, "example.com"}}),
                                     route({{}}, {{wire::HostMatch::Kind::kExact, "a.example.com"}}),
                                     route({{}}, {{wire::HostMatch::Kind::kExact, "a.example.com"}})};
  EXPECT_EQ(match_sni(routes, "a.example.com"), 2u);
  EXPECT_EQ(match_sni(routes, "A.example.com"), 2u);
  EXPECT_EQ(match_sni(routes, "b.example.com"), 1u);
  EXPECT_EQ(match_sni(routes, "other"), 0u);
  routes.erase(routes.begin());
  EXPECT_EQ(match_sni(routes, "other"), std::nullopt);
  EXPECT_EQ(match_sni({}, "other"), std::nullopt);
}

TEST(Pattern, LinearTime) {
  auto p = Pattern::compile("(a*)*b");
  ASSERT_TRUE(p);
  EXPECT_FALSE(p->matches(std::string(100'000, 'a')));
  EXPECT_FALSE(Pattern::compile("a{1000}{1000}"));
  EXPECT_FALSE(Pattern::compile("(?=a)")) << "look-around needs back-tracking";
}

}  // namespace
}  // namespace tulle::proxy
