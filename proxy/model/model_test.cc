#include <gtest/gtest.h>

#include <fstream>

#include "proxy/model/authorize.h"
#include "proxy/model/classify.h"
#include "proxy/model/errors.h"
#include "proxy/model/ratelimit.h"
#include "proxy/model/retry.h"
#include "proxy/model/timeouts.h"

namespace tulle::proxy {
namespace {

using http::HeaderId;

// inbound/policy.rs and policy/tcp/tests.rs
wire::Authz authz(wire::Authz::Authn authn, std::vector<std::string> ids = {}, std::vector<std::string> suffixes = {}) {
  wire::Authz a;
  a.networks = {{*Cidr::parse("10.0.0.0/8"), {*Cidr::parse("10.9.0.0/16")}}};
  a.authn = authn;
  a.identities = std::move(ids);
  a.suffixes = std::move(suffixes);
  return a;
}
using Authn = wire::Authz::Authn;
using Verdict = Authorization::Verdict;
Client client(std::string_view identity, Client::Tls tls = Client::Tls::kMesh) {
  return {IpAddr::v4(10, 0, 0, 1), tls, identity};
}

TEST(Authorize, Networks) {
  Authorization a(authz(Authn::kUnauthenticated));
  EXPECT_EQ(a.check({IpAddr::v4(10, 0, 0, 1), Client::Tls::kNone, ""}), Verdict::kAllowed);
  EXPECT_EQ(a.check({IpAddr::v4(10, 9, 0, 1), Client::Tls::kNone, ""}), Verdict::kWrongNetwork) << "an exception";
  EXPECT_EQ(a.check({IpAddr::v4(11, 0, 0, 1), Client::Tls::kNone, ""}), Verdict::kWrongNetwork);
  EXPECT_EQ(a.check({*IpAddr::parse("::ffff:10.0.0.1"), Client::Tls::kNone, ""}), Verdict::kAllowed);
}
TEST(Authorize, TlsUnauthenticated) {
  Authorization a(authz(Authn::kTlsUnauthenticated));
  EXPECT_EQ(a.check(client("")), Verdict::kAllowed);
  EXPECT_EQ(a.check(client("", Client::Tls::kNone)), Verdict::kNotMeshed);
  EXPECT_EQ(a.check(client("", Client::Tls::kPassthrough)), Verdict::kNotMeshed);
}
TEST(Authorize, Identities) {
  Authorization a(authz(Authn::kTlsIdentities, {"foo.ns1", "spiffe://trust.example/a"}));
  EXPECT_EQ(a.check(client("foo.ns1")), Verdict::kAllowed);
  EXPECT_EQ(a.check(client("spiffe://trust.example/a")), Verdict::kAllowed);
  EXPECT_EQ(a.check(client("spiffe://trust.example/b")), Verdict::kWrongIdentity);
  EXPECT_EQ(a.check(client("foo.ns1.x")), Verdict::kWrongIdentity);
  EXPECT_EQ(a.check(client("")), Verdict::kNoIdentity);
  EXPECT_EQ(a.check(client("foo.ns1", Client::Tls::kNone)), Verdict::kNotMeshed);
}
TEST(Authorize, Suffixes) {
  Authorization a(authz(Authn::kTlsIdentities, {}, {"ns1.cluster"}));
  EXPECT_EQ(a.check(client("foo.ns1.cluster")), Verdict::kAllowed);
  EXPECT_EQ(a.check(client("a.b.ns1.cluster")), Verdict::kAllowed);
  EXPECT_EQ(a.check(client("ns1.cluster")), Verdict::kWrongIdentity);
  EXPECT_EQ(a.check(client(".ns1.cluster")), Verdict::kWrongIdentity);
  EXPECT_EQ(a.check(client("foo.evilns1.cluster")), Verdict::kWrongIdentity);
  EXPECT_EQ(a.check(client("spiffe://trust.example/x.ns1.cluster")), Verdict::kWrongIdentity)
      << "never a suffix of a SPIFFE id";
  EXPECT_EQ(Authorization(authz(Authn::kTlsIdentities, {}, {""})).check(client("anyone")), Verdict::kAllowed);
  EXPECT_EQ(Authorization(authz(Authn::kTlsIdentities, {}, {""})).check(client("")), Verdict::kNoIdentity);
}
TEST(Authorize, UnknownAllowsNobody) {
  EXPECT_NE(Authorization(authz(Authn::kUnknown)).check(client("a.b")), Verdict::kAllowed);
  EXPECT_NE(Authorization(authz(Authn::kTlsIdentities)).check(client("a.b")), Verdict::kAllowed);
}
TEST(Authorize, RouteOrServerAndTheReason) {
  std::vector<Authorization> route, server;
  route.emplace_back(authz(Authn::kTlsIdentities, {"a.b"}));
  server.emplace_back(authz(Authn::kTlsIdentities, {"c.d"}));
  EXPECT_EQ(authorize(route, server, client("a.b")).allowed, &route[0]);
  EXPECT_EQ(authorize(route, server, client("c.d")).allowed, &server[0]);
  auto denied = authorize(route, server, client("x.y"));
  EXPECT_FALSE(denied);
  EXPECT_EQ(denied.reason(), "its identity is not among those allowed");
  EXPECT_EQ(authorize({}, {}, client("x.y")).reason(), "no authorization exists");
  EXPECT_EQ(authorize(route, {}, client("", Client::Tls::kNone)).reason(), "it is not in the mesh (no mutual TLS)");
}

http::ResponseHead response(int status, bool grpc = false, std::string_view grpc_status = {}) {
  http::ResponseHead head;
  head.status = status;
  if (grpc) head.headers.add(HeaderId::kContentType, "application/grpc+proto");
  if (!grpc_status.empty()) head.headers.add(HeaderId::kGrpcStatus, grpc_status);
  return head;
}
http::Headers trailers(std::string_view status) {
  http::Headers t;
  t.add(HeaderId::kGrpcStatus, status);
  return t;
}

// classify.rs
TEST(Classify, HttpByStatus) {
  EXPECT_FALSE(Classifier(response(200)).result().failure);
  EXPECT_FALSE(Classifier(response(400)).result().failure);
  EXPECT_TRUE(Classifier(response(500)).result().failure);
  EXPECT_TRUE(Classifier(response(429)).result().rate_limited);
  EXPECT_TRUE(Classifier(response(200)).settled());
  EXPECT_FALSE(Classifier(response(200, false, "2")).result().failure) << "grpc-status without gRPC means nothing";
}
TEST(Classify, GrpcInHeaders) {
  EXPECT_TRUE(Classifier(response(200, true, "2")).settled());
  EXPECT_TRUE(Classifier(response(200, true, "2")).result().failure);
  EXPECT_FALSE(Classifier(response(200, true, "0")).result().failure);
  EXPECT_EQ(Classifier(response(200, true, "14")).result().grpc_status, 14);
}
TEST(Classify, GrpcInTrailers) {
  Classifier c(response(200, true));
  EXPECT_FALSE(c.settled());
  EXPECT_TRUE(c.end(trailers("13")).failure);
  Classifier ok(response(200, true));
  EXPECT_FALSE(ok.end(trailers("5")).failure) << "NOT_FOUND is an answer";
  Classifier limited(response(200, true));
  EXPECT_TRUE(limited.end(trailers("8")).rate_limited);
  Classifier missing(response(200, true));
  EXPECT_FALSE(missing.end(http::Headers()).failure) << "grpc_response_trailer_missing";
  Classifier odd(response(200, true));
  EXPECT_TRUE(odd.end(trailers("what")).failure);
}
TEST(Classify, BrokenStreamsFail) {
  Classifier c(response(200));
  EXPECT_TRUE(c.broke().failure);
  Classifier g(response(200, true));
  EXPECT_TRUE(g.broke().failure);
  EXPECT_TRUE(g.end(trailers("0")).failure);
}
TEST(Classify, FailedGrpcCodes) {
  for (int code = 0; code <= 17; ++code)
    EXPECT_EQ(is_failed_grpc(code), code == 2 || code == 4 || code == 7 || code == 13 || code == 14 || code == 15)
        << code;
}
TEST(Classify, ProfileClassesByFirstMatch) {
  using M = wire::ResponseMatch;
  M not_found{M::Kind::kStatus, {}, 404, 404};
  M all_4xx{M::Kind::kStatus, {}, 400, 499};
  M not_4xx{M::Kind::kNot, {all_4xx}, 0, 0};
  M both{M::Kind::kAll, {all_4xx, M{M::Kind::kNot, {not_found}, 0, 0}}, 0, 0};
  std::vector<wire::ResponseClass> classes = {
      {not_found, false}, {both, true}, {M{M::Kind::kAny, {not_4xx}, 0, 0}, false}};
  EXPECT_EQ(profile_class(classes, 404), false);
  EXPECT_EQ(profile_class(classes, 400), true);
  EXPECT_EQ(profile_class(classes, 500), false);
  EXPECT_EQ(profile_class({}, 500), std::nullopt);
}

// retry_after.rs
TEST(RetryAfter, Forms) {
  WallTime now = WallTime(std::chrono::sys_days(std::chrono::year(1994) / 11 / 6) + 8h + 49min + 37s);
  auto hint = [&](int status, std::string_view value) {
    auto head = response(status);
    head.headers.add(HeaderId::kRetryAfter, value);
    return retry_after(head, now);
  };
  EXPECT_EQ(hint(429, "120"), 120s);
  EXPECT_EQ(hint(503, "0"), 0s);
  EXPECT_EQ(hint(429, " 5 "), 5s);
  EXPECT_EQ(hint(500, "120"), std::nullopt) << "ignores_other_status";
  EXPECT_EQ(hint(429, "soon"), std::nullopt);
  EXPECT_EQ(hint(429, "-1"), std::nullopt);
  EXPECT_EQ(hint(429, "Sun, 06 Nov 1994 08:50:07 GMT"), 30s);
  EXPECT_EQ(hint(429, "Sun, 06 Nov 1994 08:00:00 GMT"), 0s) << "in the past";
  EXPECT_EQ(hint(429, "Sun, 06 Foo 1994 08:50:07 GMT"), std::nullopt);
  EXPECT_EQ(hint(429, "Sun, 31 Feb 1994 08:50:07 GMT"), std::nullopt);
  EXPECT_EQ(hint(429, "Sun, 06 Nov 9999 08:50:07 GMT"), std::nullopt);
  EXPECT_EQ(retry_after(response(429), now), std::nullopt);
  auto grpc = [&](std::string_view ms) {
    auto head = response(200, true, "14");
    head.headers.add(HeaderId::kGrpcRetryPushbackMs, ms);
    return retry_after(head, now);
  };
  EXPECT_EQ(grpc("250"), 250ms);
  EXPECT_EQ(grpc("0"), 0ms);
  EXPECT_EQ(grpc("-1"), std::nullopt);
  EXPECT_EQ(grpc("x"), std::nullopt);
}
TEST(Penalised, Which) {
  EXPECT_TRUE(is_penalised(response(429)));
  EXPECT_TRUE(is_penalised(response(503)));
  EXPECT_FALSE(is_penalised(response(404)));
  EXPECT_TRUE(is_penalised(response(200, true, "14")));
  EXPECT_FALSE(is_penalised(response(200, true, "5")));
  EXPECT_FALSE(is_penalised(response(200, true)));
  EXPECT_FALSE(is_penalised(response(200, false, "14")));
}

TEST(RetryPolicy, RouteAlone) {
  wire::Retry route;
  route.max_retries = 5;
  http::Headers headers;
  headers.add("l5d-retry-limit", "9");
  EXPECT_EQ(retry_policy(route, false, headers)->max_retries, 5u);
  EXPECT_EQ(retry_policy(std::nullopt, false, headers), std::nullopt);
}
TEST(RetryPolicy, HeadersChangeTheRoutes) {
  wire::Retry route;
  route.statuses = {{500, 500}};
  http::Headers headers;
  headers.add("l5d-retry-limit", "9");
  headers.add("l5d-retry-timeout", "150ms");
  auto r = retry_policy(route, true, headers);
  EXPECT_EQ(r->max_retries, 9u);
  EXPECT_EQ(r->timeout, 150ms);
  EXPECT_EQ(r->statuses, (std::vector<wire::StatusRange>{{500, 500}}));
}
TEST(RetryPolicy, HeadersAlone) {
  http::Headers headers;
  headers.add("l5d-retry-http", "5xx, gateway-error,429, 400-404 ,junk,600-500,");
  headers.add("l5d-retry-grpc", "unavailable, cancelled,what");
  auto r = retry_policy(std::nullopt, true, headers);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->statuses, (std::vector<wire::StatusRange>{{500, 599}, {502, 504}, {429, 429}, {400, 404}}));
  EXPECT_EQ(r->grpc_codes, 1u << 14 | 1u << 1);
  EXPECT_EQ(r->max_retries, 1u);
  EXPECT_EQ(r->max_request_bytes, 64u * 1024);
  EXPECT_EQ(r->backoff, (wire::Backoff{25ms, 250ms, 1.0f, false}));
  headers.clear();
  headers.add("l5d-retry-http", "junk");
  EXPECT_EQ(retry_policy(std::nullopt, true, headers), std::nullopt);
  EXPECT_EQ(retry_policy(std::nullopt, true, http::Headers()), std::nullopt);
}
TEST(RetryPolicy, Strip) {
  http::Headers headers;
  for (auto name : {"l5d-retry-http", "l5d-retry-grpc", "l5d-retry-limit", "l5d-retry-timeout", "l5d-timeout",
                    "l5d-request-timeout", "l5d-response-timeout", "x-kept"})
    headers.add(name, "1");
  strip_l5d_request_headers(headers);
  EXPECT_EQ(headers.size(), 1u);
}
TEST(Retryable, ByStatusAndGrpcCode) {
  wire::Retry retry;
  retry.statuses = {{500, 504}};
  retry.grpc_codes = 1u << 14;
  EXPECT_TRUE(is_retryable_response(retry, 503, {}));
  EXPECT_FALSE(is_retryable_response(retry, 505, {}));
  EXPECT_TRUE(is_retryable_response(retry, 200, trailers("14")));
  EXPECT_FALSE(is_retryable_response(retry, 200, trailers("13")));
  EXPECT_FALSE(is_retryable_response(retry, 200, trailers("999")));
}
TEST(MayRepeat, ByErrorAndMethod) {
  http::RequestHead get, post;
  post.set_method("POST");
  Error safe(Code::kConnect, "", Side::kPeer, Retry::kSafe);
  Error maybe(Code::kReset, "", Side::kPeer, Retry::kIdempotentOnly);
  Error never(Code::kProtocol, "");
  EXPECT_TRUE(may_repeat(safe, post));
  EXPECT_TRUE(may_repeat(maybe, get));
  EXPECT_FALSE(may_repeat(maybe, post));
  EXPECT_FALSE(may_repeat(never, get));
}

TEST(Timeouts, HeadersOnlyWhereAllowed) {
  wire::Timeouts route;
  route.request = 10s;
  route.idle = 5s;
  http::Headers headers;
  headers.add("l5d-timeout", "1s");
  headers.add("l5d-response-timeout", "400ms");
  EXPECT_EQ(request_timeouts(route, false, headers), route);
  auto t = request_timeouts(route, true, headers);
  EXPECT_EQ(t.request, 1s);
  EXPECT_EQ(t.response, 400ms);
  EXPECT_EQ(t.idle, 5s);
  headers.add("l5d-request-timeout", "2s");
  EXPECT_EQ(request_timeouts(route, true, headers).request, 2s) << "wins over l5d-timeout";
  http::Headers bad;
  bad.add("l5d-timeout", "soon");
  EXPECT_EQ(request_timeouts(route, true, bad), route);
}
TEST(Timeouts, Grpc) {
  auto parse = [](std::string_view v) {
    http::Headers h;
    h.add(HeaderId::kGrpcTimeout, v);
    return grpc_timeout(h);
  };
  EXPECT_EQ(parse("1H"), 1h);
  EXPECT_EQ(parse("2M"), 2min);
  EXPECT_EQ(parse("3S"), 3s);
  EXPECT_EQ(parse("4m"), 4ms);
  EXPECT_EQ(parse("5u"), 5us);
  EXPECT_EQ(parse("99999999n"), 99'999'999ns);
  EXPECT_GT(*parse("99999999H"), 200 * 365 * 24h);
  for (auto bad : {"", "S", "1", "1s", "-1S", "1.5S", "999999999S", " 1S"}) EXPECT_EQ(parse(bad), std::nullopt) << bad;
}

TEST(RateLimit, BurstThenSteady) {
  TimePoint now(1000s);
  Gcra g(10);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(g.take(now)) << i;
  EXPECT_FALSE(g.take(now));
  EXPECT_FALSE(g.take(now + 99ms));
  EXPECT_TRUE(g.take(now + 100ms));
  EXPECT_FALSE(g.take(now + 100ms));
  EXPECT_TRUE(g.idle(now + 10s));
  int got = 0;
  for (int i = 0; i < 1000; ++i) got += g.take(now + 20s + i * 10ms);
  EXPECT_NEAR(got, 10 + 100, 1);
  Gcra one(1);
  EXPECT_TRUE(one.take(now));
  EXPECT_FALSE(one.take(now + 999ms));
  EXPECT_TRUE(one.take(now + 1s));
}
// local_rate_limit/tests.rs: check_rate_limits
TEST(RateLimit, TotalThenOverrideThenIdentity) {
  TimePoint now(1000s);
  wire::RateLimit limit;
  limit.total_rps = 7;
  limit.identity_rps = 2;
  limit.overrides = {{4, {"vip.1", "vip.2"}}};
  RateLimiter r(limit);
  using V = RateLimiter::Verdict;
  EXPECT_TRUE(r.check("a", now));
  EXPECT_TRUE(r.check("a", now));
  auto denied = r.check("a", now);
  EXPECT_EQ(denied.verdict, V::kIdentity);
  EXPECT_EQ(denied.text(), "per-identity rate limit exceeded: 2rps");
  EXPECT_TRUE(r.check("vip.1", now));
  EXPECT_TRUE(r.check("vip.2", now));
  EXPECT_TRUE(r.check("vip.1", now));
  EXPECT_TRUE(r.check("vip.2", now)) << "they share one limit of 4";
  EXPECT_EQ(r.check("vip.1", now).text(), "total rate limit exceeded: 7rps");
  EXPECT_EQ(r.check("b", now).verdict, V::kTotal);

  limit.total_rps = 0;
  RateLimiter no_total(limit);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(no_total.check("vip.1", now));
  EXPECT_EQ(no_total.check("vip.2", now).text(), "override rate limit exceeded: 4rps");
  EXPECT_TRUE(no_total.check("", now));
  EXPECT_TRUE(no_total.check("", now));
  EXPECT_FALSE(no_total.check("", now)) << "clients without an identity share one";
}
TEST(RateLimit, ManyClientsAreBounded) {
  TimePoint now(1000s);
  wire::RateLimit limit;
  limit.identity_rps = 1;
  RateLimiter r(limit);
  int allowed = 0;
  for (int i = 0; i < 20'000; ++i) allowed += static_cast<bool>(r.check(cat("client-", i), now));
  EXPECT_LE(allowed, 10'002);
  EXPECT_TRUE(r.check("late", now + 10s)) << "idle ones make room";
}
TEST(RateLimit, SharedByWorkers) {
  TimePoint now(1000s);
  wire::RateLimit limit;
  limit.total_rps = 10;
  RateLimiter r(limit, 4);
  EXPECT_TRUE(r.check("", now));
  EXPECT_TRUE(r.check("", now));
  EXPECT_EQ(r.check("", now).text(), "total rate limit exceeded: 10rps");
}

TEST(Errors, TableAgreesWithTheReference) {
  auto is = [](Reason r, int http, int grpc, bool fatal) {
    const auto& row = error_row(r);
    EXPECT_EQ(row.http_status, http) << row.name;
    EXPECT_EQ(row.grpc_status, grpc) << row.name;
    EXPECT_EQ(row.fatal, fatal) << row.name;
  };
  is(Reason::kUnexpected, 500, 13, true);
  is(Reason::kConnectFailed, 502, 14, true);
  is(Reason::kConnectTimeout, 504, 4, true);
  is(Reason::kTimeout, 504, 4, false);
  is(Reason::kLoadShed, 503, 14, true);
  is(Reason::kDenied, 403, 7, false);
  is(Reason::kRateLimited, 429, 8, false);
  is(Reason::kLoop, 508, 10, true);
  is(Reason::kNoRoute, 404, 5, false);
  is(Reason::kFailFast, 504, 4, true);
  is(Reason::kIdentityMismatch, 502, 14, true);
  is(Reason::kNoDispatcher, 502, 14, true);
}
// docs/errors.md is the same table in words.
TEST(Errors, DocumentationAgrees) {
  constexpr std::string_view kGrpcNames[] = {
      "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
      "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
      "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE"};
  std::ifstream file(TULLE_ERRORS_MD);
  ASSERT_TRUE(file);
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("| `")) rows.push_back(line);
  ASSERT_EQ(rows.size(), error_table().size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const ErrorRow& row = error_table()[i];
    EXPECT_TRUE(rows[i].starts_with(cat(
        "| `", row.name, "` | ", row.http_status ? cat(row.http_status) : "from the route", " | ",
        row.grpc_status >= 0 ? kGrpcNames[row.grpc_status] : "from the route", " | ", row.fatal ? "yes" : "no", " | ")))
        << rows[i];
  }
}
TEST(Errors, FromErrors) {
  auto reason = [](Code c, Side s = Side::kPeer, Retry r = Retry::kNever) {
    return proxy_error(Error(c, "x", s, r)).reason;
  };
  EXPECT_EQ(reason(Code::kConnect), Reason::kConnectFailed);
  EXPECT_EQ(reason(Code::kTimeout, Side::kPeer, Retry::kSafe), Reason::kConnectTimeout);
  EXPECT_EQ(reason(Code::kTimeout), Reason::kTimeout);
  EXPECT_EQ(reason(Code::kProtocol), Reason::kConnectionLost);
  EXPECT_EQ(reason(Code::kProtocol, Side::kClient), Reason::kBadRequest);
  EXPECT_EQ(reason(Code::kReset), Reason::kConnectionLost);
  EXPECT_EQ(reason(Code::kIdentity), Reason::kIdentityMismatch);
  EXPECT_EQ(reason(Code::kExhausted), Reason::kLoadShed);
  EXPECT_EQ(reason(Code::kUnavailable), Reason::kFailFast);
  EXPECT_EQ(reason(Code::kInternal), Reason::kUnexpected);
}
TEST(Errors, HttpHead) {
  ProxyError e(Reason::kConnectFailed, "connect to 10.0.0.1:80: Connection refused");
  auto head = error_head(e, false, true, true);
  EXPECT_EQ(head.status, 502);
  EXPECT_EQ(head.reason, "Bad Gateway");
  EXPECT_EQ(head.headers.get(HeaderId::kContentLength), "0");
  EXPECT_EQ(head.headers.get(HeaderId::kL5dProxyError), e.text);
  EXPECT_EQ(head.headers.get(HeaderId::kL5dProxyConnection), "close");
  EXPECT_EQ(head.headers.get(HeaderId::kConnection), "close");
  head = error_head(e, false, false, false);
  EXPECT_FALSE(head.headers.has(HeaderId::kL5dProxyError));
  EXPECT_FALSE(head.headers.has(HeaderId::kL5dProxyConnection));
  EXPECT_FALSE(head.headers.has(HeaderId::kConnection));
  EXPECT_FALSE(
      error_head(ProxyError(Reason::kDenied, "x"), false, true, false).headers.has(HeaderId::kL5dProxyConnection));
}
TEST(Errors, GrpcHead) {
  ProxyError e(Reason::kDenied, "no é\n");
  auto head = error_head(e, true, true, false);
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.get(HeaderId::kContentType), "application/grpc");
  EXPECT_EQ(head.headers.get(HeaderId::kGrpcStatus), "7");
  EXPECT_EQ(head.headers.get(HeaderId::kGrpcMessage), "no %C3%A9%0A");
  EXPECT_EQ(head.headers.get(HeaderId::kL5dProxyError), "no ???");
  EXPECT_FALSE(error_head(e, true, false, false).headers.has(HeaderId::kGrpcMessage));
}
TEST(Errors, RedirectHasItsLocation) {
  ProxyError e(Reason::kRedirect, "x");
  e.http_status = 302;
  e.location = "http://a/";
  auto head = error_head(e, false, false, false);
  EXPECT_EQ(head.status, 302);
  EXPECT_EQ(head.headers.get("location"), "http://a/");
}

}  // namespace
}  // namespace tulle::proxy
