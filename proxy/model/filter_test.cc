#include "proxy/model/filter.h"

#include <gtest/gtest.h>

namespace tulle::proxy {
namespace {

RuleMatch by_prefix(uint32_t length) { return RuleMatch{0, 0, RuleMatch::Path::kPrefix, length}; }

http::RequestHead request(std::string path = "/foo/bar?a=b", std::string authority = "example.com") {
  http::RequestHead head;
  head.path = std::move(path);
  head.authority = std::move(authority);
  return head;
}
std::optional<ProxyError> run(const wire::Filter& f, http::RequestHead& head, RuleMatch match = by_prefix(4)) {
  Rng rng(1);
  return filter_request(std::span(&f, 1), match, head, "http", rng);
}
// The location of a redirect, or "" if the request goes on.
std::string location(const wire::Redirect& r, std::string path = "/foo/bar?a=b", RuleMatch match = by_prefix(4),
                     std::string authority = "example.com") {
  auto head = request(std::move(path), std::move(authority));
  auto e = run(r, head, match);
  return e ? e->location : "";
}
wire::Redirect prefix(std::string p) {
  wire::Redirect r;
  r.path_prefix = std::move(p);
  return r;
}

// http/filter/redirect.rs
TEST(Redirect, DefaultNoop) { EXPECT_EQ(location({}), ""); }
TEST(Redirect, Host) {
  wire::Redirect r;
  r.host = "other.com";
  EXPECT_EQ(location(r), "http://other.com/foo/bar?a=b");
  EXPECT_EQ(location(r, "/", {}, "example.com:8080"), "http://other.com:8080/");
}
TEST(Redirect, Port) {
  wire::Redirect r;
  r.port = 8080;
  EXPECT_EQ(location(r), "http://example.com:8080/foo/bar?a=b");
  r.port = 80;
  EXPECT_EQ(location(r), "") << "port_default_is_omitted";
  EXPECT_EQ(location(r, "/", {}, "example.com:9090"), "http://example.com/");
  EXPECT_EQ(location(r, "/", {}, "[::1]:9090"), "http://[::1]/");
}
TEST(Redirect, Scheme) {
  wire::Redirect r;
  r.scheme = "https";
  EXPECT_EQ(location(r), "https://example.com/foo/bar?a=b");
  EXPECT_EQ(location(r, "/", {}, "example.com:8080"), "https://example.com/");
  r.port = 8443;
  EXPECT_EQ(location(r), "https://example.com:8443/foo/bar?a=b");
}
TEST(Redirect, ReplacePathFull) {
  wire::Redirect r;
  r.full_path = "/new";
  EXPECT_EQ(location(r, "/foo"), "http://example.com/new");
  EXPECT_EQ(location(r), "http://example.com/new?a=b") << "replace_path_full_with_query_params";
  r.full_path = "/new?x=y";
  EXPECT_EQ(location(r), "http://example.com/new?x=y") << "replace_path_full_overwrites_query_params";
}
TEST(Redirect, ReplacePathPrefix) {
  EXPECT_EQ(location(prefix("/baz")), "http://example.com/baz/bar?a=b");
  EXPECT_EQ(location(prefix("/baz/")), "http://example.com/baz/bar?a=b") << "trailing_slash";
  EXPECT_EQ(location(prefix("/baz"), "/foo"), "http://example.com/baz") << "exact_match";
  EXPECT_EQ(location(prefix("/"), "/foo/bar"), "http://example.com/bar") << "root_match";
  EXPECT_EQ(location(prefix("/"), "/foo"), "http://example.com/");
  EXPECT_EQ(location(prefix("/baz"), "/foo/bar", by_prefix(0)), "http://example.com/baz/foo/bar") << "default_match";
  EXPECT_EQ(location(prefix("/foo")), "") << "the same again";
}
TEST(Redirect, PrefixNeedsARuleThatMatchedByPrefix) {
  auto head = request();
  auto e = run(prefix("/x"), head, RuleMatch{0, 0, RuleMatch::Path::kRegex, 0});
  ASSERT_TRUE(e);
  EXPECT_EQ(e->http_status, 500);
}
TEST(Redirect, Status) {
  auto head = request();
  wire::Redirect r;
  r.host = "other";
  EXPECT_EQ(run(r, head)->http_status, 301);
  r.status = 307;
  auto e = run(r, head);
  EXPECT_EQ(e->http_status, 307);
  EXPECT_EQ(e->reason, Reason::kRedirect);
  EXPECT_FALSE(e->fatal);
}

TEST(HeaderFilter, AddSetRemove) {
  auto head = request();
  head.headers.add("x-set", "old");
  head.headers.add("x-gone", "1");
  head.headers.add("x-add", "0");
  EXPECT_FALSE(run(wire::ModifyRequest{{{{"x-add", "1"}}, {{"x-set", "new"}}, {"x-gone"}}}, head));
  EXPECT_EQ(head.headers.get("x-set"), "new");
  EXPECT_EQ(head.headers.get("x-gone"), std::nullopt);
  int adds = 0;
  head.headers.for_each([&](const http::Header& h) { adds += h.name == "x-add"; });
  EXPECT_EQ(adds, 2);
}
TEST(HeaderFilter, LeavesFramingAlone) {
  auto head = request();
  head.headers.add(http::HeaderId::kContentLength, "5");
  EXPECT_FALSE(run(wire::ModifyRequest{{{{"transfer-encoding", "chunked"}, {"host", "evil"}},
                                        {{"content-length", "0"}, {"connection", "x"}},
                                        {"content-length"}}},
                   head));
  EXPECT_EQ(head.headers.get(http::HeaderId::kContentLength), "5");
  EXPECT_FALSE(head.headers.has(http::HeaderId::kTransferEncoding));
  EXPECT_FALSE(head.headers.has(http::HeaderId::kConnection));
  EXPECT_FALSE(head.headers.has(http::HeaderId::kHost));
}
TEST(HeaderFilter, HostMayBeAnother) {
  auto head = request();
  head.headers.add(http::HeaderId::kHost, "example.com");
  EXPECT_FALSE(run(wire::ModifyRequest{{{}, {{"host", "new.com"}}, {"host"}}}, head));
  EXPECT_EQ(head.authority, "new.com");
  EXPECT_EQ(head.headers.get(http::HeaderId::kHost), "new.com");
  EXPECT_EQ(head.headers.count(http::HeaderId::kHost), 1u);
}
TEST(HeaderFilter, Response) {
  http::ResponseHead head;
  head.headers.add("server", "x");
  std::vector<wire::Filter> filters = {wire::ModifyRequest{{{{"no", "1"}}, {}, {}}},
                                       wire::ModifyResponse{{{{"yes", "1"}}, {}, {"server"}}}};
  filter_response(filters, head);
  EXPECT_EQ(head.headers.get("yes"), "1");
  EXPECT_FALSE(head.headers.get("no"));
  EXPECT_FALSE(head.headers.get("server"));
  auto req = request();
  Rng rng(1);
  EXPECT_FALSE(filter_request(filters, {}, req, "http", rng));
  EXPECT_TRUE(req.headers.get("no"));
  EXPECT_FALSE(req.headers.get("yes"));
}

TEST(Injection, HttpAndGrpc) {
  auto head = request();
  auto e = run(wire::InjectHttpFailure{418, "teapot", {}}, head);
  ASSERT_TRUE(e);
  EXPECT_EQ(e->http_status, 418);
  EXPECT_EQ(e->grpc_status, 9);
  EXPECT_EQ(e->text, "teapot");
  e = run(wire::InjectGrpcFailure{7, "no", {}}, head);
  EXPECT_EQ(e->http_status, 200);
  EXPECT_EQ(e->grpc_status, 7);
}
TEST(Injection, Ratio) {
  Rng rng(5);
  auto head = request();
  std::vector<wire::Filter> filters = {wire::InjectHttpFailure{500, "", {1, 4}}};
  int hit = 0;
  for (int i = 0; i < 10'000; ++i) hit += filter_request(filters, {}, head, "http", rng).has_value();
  EXPECT_NEAR(hit, 2500, 200);
  filters = {wire::InjectHttpFailure{500, "", {0, 4}}};
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(filter_request(filters, {}, head, "http", rng));
}
TEST(Filters, UnknownFailsClosed) {
  auto head = request();
  EXPECT_EQ(run(wire::UnknownFilter{}, head)->http_status, 500);
  EXPECT_EQ(run(wire::Forbidden{}, head)->http_status, 500) << "not a filter of HTTP";
}
TEST(Filters, RunInOrder) {
  auto head = request();
  Rng rng(1);
  std::vector<wire::Filter> filters = {wire::ModifyRequest{{{}, {{"x", "1"}}, {}}},
                                       wire::InjectHttpFailure{500, "", {}},
                                       wire::ModifyRequest{{{}, {{"x", "2"}}, {}}}};
  EXPECT_TRUE(filter_request(filters, {}, head, "http", rng));
  EXPECT_EQ(head.headers.get("x"), "1");
}
TEST(Filters, Stream) {
  EXPECT_FALSE(filter_stream({}));
  std::vector<wire::Filter> f = {wire::Forbidden{}, wire::Invalid{"x"}};
  EXPECT_EQ(filter_stream(f)->reason, Reason::kForbidden);
  f = {wire::Invalid{"why"}};
  EXPECT_EQ(filter_stream(f)->text, "invalid route: why");
  f = {wire::UnknownFilter{}};
  EXPECT_TRUE(filter_stream(f));
}

}  // namespace
}  // namespace tulle::proxy
