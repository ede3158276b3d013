#include "proxy/model/policy.h"

#include <gtest/gtest.h>

#include <map>

#include "libs/wire/samples.h"
#include "proxy/model/server.h"

namespace tulle::proxy {
namespace {

namespace samples = wire::samples;
using Kind = wire::OutboundPolicy::Kind;

TEST(Policy, CompilesEveryKind) {
  for (int kind = 0; kind <= 5; ++kind) {
    auto wire_policy = samples::outbound(static_cast<Kind>(kind));
    auto p = compile_policy(wire_policy);
    EXPECT_EQ(p->invalid, "") << kind;
    EXPECT_EQ(p->kind, static_cast<Kind>(kind));
    EXPECT_EQ(p->parent, samples::service());
  }
}

TEST(Policy, EqualBackendsAreOne) {
  wire::OutboundPolicy in = samples::outbound(Kind::kDetect);
  in.http2.failure_accrual = in.http1.failure_accrual;
  auto p = compile_policy(in);
  // balanced, penalised, forward and the one without a dispatcher for HTTP; balanced and forward for opaque, where
  // nothing accrues failures.
  EXPECT_EQ(p->backends.size(), 6u);
  const Rule& one = p->http1.routes[0].rules[0];
  const Rule& two = p->http2.routes[1].rules[0];
  EXPECT_EQ(one.choice.refs[0].backend, two.choice.refs[0].backend);
  EXPECT_EQ(p->backends[one.choice.refs[0].backend].describe(), "service web.shop.svc.cluster.local:80");
  EXPECT_EQ(one.choice.refs[0].weight, 9u);
  EXPECT_EQ(one.choice.total_weight, 10u);
  EXPECT_EQ(one.choice.refs[0].request_timeout, 7s);
}

TEST(Policy, EmptyDistributionIsNoChoice) {
  auto p = compile_policy(samples::outbound(Kind::kHttp1));
  EXPECT_EQ(p->http1.routes[0].rules[3].choice.kind, Choice::Kind::kNone);
  EXPECT_TRUE(
      std::holds_alternative<std::monostate>(p->backends[p->http1.routes[0].rules[2].choice.refs[0].backend].target));
}

TEST(Policy, BadOnesAreInvalidWithAReason) {
  wire::OutboundPolicy in = samples::outbound(Kind::kHttp1);
  in.http1.routes[0].rules[0].matches[1].path->text = "(";
  EXPECT_NE(compile_policy(in)->invalid.find("route web-route, rule 0"), std::string::npos);
  in = samples::outbound(Kind::kOpaque);
  in.opaque[0].rules.push_back(in.opaque[0].rules[0]);
  EXPECT_NE(compile_policy(in)->invalid, "");
  in.opaque[0].rules.clear();
  EXPECT_NE(compile_policy(in)->invalid, "");
  in = samples::outbound(Kind::kOpaque);
  in.opaque.push_back(in.opaque[0]);
  EXPECT_NE(compile_policy(in)->invalid, "");
  EXPECT_EQ(invalid_policy("why")->invalid, "why");
}

TEST(Policy, Forward) {
  auto p = forward_policy(samples::endpoint(1), "fallback");
  EXPECT_EQ(p->kind, Kind::kDetect);
  ASSERT_EQ(p->backends.size(), 1u);
  EXPECT_TRUE(p->http1.table.only());
  EXPECT_TRUE(p->http2.table.only());
  EXPECT_TRUE(p->opaque.rule);
  EXPECT_EQ(p->parent, wire::Metadata::default_named("fallback"));
  auto opaque = forward_policy(samples::endpoint(1), "endpoint", true);
  EXPECT_EQ(opaque->kind, Kind::kOpaque);
  EXPECT_TRUE(opaque->http1.routes.empty());
}

// profile_dst_overrides
TEST(Policy, DstOverrides) {
  wire::DestinationProfile profile;
  profile.name = "web.shop.svc.cluster.local";
  profile.dst_overrides = {{"a:80", 1, {}}, {"b:80", 3, {}}, {"c:80", 0, {}}};
  auto p = split_policy(profile, 80);
  EXPECT_EQ(p->backends.size(), 2u);
  EXPECT_EQ(p->http1.routes[0].rules[0].choice.total_weight, 4u);
  // set_all_dst_override_weights_to_zero
  for (auto& d : profile.dst_overrides) d.weight = 0;
  p = split_policy(profile, 81);
  ASSERT_EQ(p->backends.size(), 1u);
  EXPECT_EQ(p->backends[0].describe(), "service web.shop.svc.cluster.local:81");
}

Choice choice(Choice::Kind kind, std::vector<uint32_t> weights) {
  Choice c;
  c.kind = kind;
  for (uint32_t i = 0; i < weights.size(); ++i) {
    c.refs.push_back({i, weights[i], {}, std::nullopt});
    c.total_weight += weights[i];
  }
  return c;
}
TEST(ChooseBackend, FirstAvailable) {
  Rng rng(1);
  Choice c = choice(Choice::Kind::kFirst, {1, 1, 1});
  EXPECT_EQ(choose_backend(c, rng, [](uint32_t) { return true; }), 0u);
  EXPECT_EQ(choose_backend(c, rng, [](uint32_t i) { return i == 2; }), 2u);
  EXPECT_EQ(choose_backend(c, rng, [](uint32_t) { return false; }), kNoBackend);
  EXPECT_EQ(choose_backend(Choice(), rng, [](uint32_t) { return true; }), kNoBackend);
}
TEST(ChooseBackend, RandomByWeightOfThoseReady) {
  Rng rng(1);
  Choice c = choice(Choice::Kind::kRandom, {1, 2, 7});
  std::map<size_t, int> seen;
  for (int i = 0; i < 10'000; ++i) ++seen[choose_backend(c, rng, [](uint32_t) { return true; })];
  EXPECT_NEAR(seen[0], 1000, 150);
  EXPECT_NEAR(seen[1], 2000, 200);
  EXPECT_NEAR(seen[2], 7000, 250);
  seen.clear();
  for (int i = 0; i < 9'000; ++i) ++seen[choose_backend(c, rng, [](uint32_t b) { return b != 2; })];
  EXPECT_EQ(seen.count(2), 0u);
  EXPECT_GT(seen[1], seen[0]);
  EXPECT_EQ(choose_backend(c, rng, [](uint32_t) { return false; }), kNoBackend);
}
TEST(ChooseBackend, GreatWeightsDoNotOverflow) {
  Rng rng(1);
  Choice c = choice(Choice::Kind::kRandom, {UINT32_MAX, UINT32_MAX, UINT32_MAX});
  std::map<size_t, int> seen;
  for (int i = 0; i < 3000; ++i) ++seen[choose_backend(c, rng, [](uint32_t) { return true; })];
  for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(seen[i], 1000, 150);
}
TEST(Policy, AllWeightsZeroIsNoChoiceInsteadOfAPanic) {
  wire::OutboundPolicy in = samples::outbound(Kind::kHttp1);
  for (auto& b : in.http1.routes[0].rules[0].backends.backends) b.weight = 0;
  auto p = compile_policy(in);
  EXPECT_EQ(p->invalid, "");
  EXPECT_EQ(p->http1.routes[0].rules[0].choice.kind, Choice::Kind::kNone);
  in.http1.routes[0].rules[0].backends.backends.pop_back();
  EXPECT_EQ(compile_policy(in)->http1.routes[0].rules[0].choice.kind, Choice::Kind::kFirst)
      << "one is the first, whatever its weight";
}

TEST(Unsupported, NamesWhatIsNotDone) {
  auto lines = unsupported(samples::outbound(Kind::kDetect), {});
  auto has = [&](std::string what) { return std::find(lines.begin(), lines.end(), what) != lines.end(); };
  EXPECT_TRUE(has("HTTPRoute shop/web-route: retries"));
  EXPECT_TRUE(has("HTTPRoute shop/web-route: timeouts"));
  EXPECT_TRUE(has("HTTPRoute shop/web-route: the penalty load estimate"));
  EXPECT_TRUE(has("Service shop/web:80: failure accrual"));
  EXPECT_TRUE(unsupported(samples::outbound(Kind::kDetect), {true, true, true, true, true, true, true, true}).empty());
  EXPECT_EQ(unsupported(samples::outbound(Kind::kTls), {}).at(0), "Service shop/web:80: routes by TLS server name");
  lines = unsupported(samples::outbound(Kind::kDetect), kSupported);
  EXPECT_TRUE(has("HTTPRoute shop/web-route: retries"));
  EXPECT_FALSE(has("HTTPRoute shop/web-route: timeouts")) << "proxy/outbound/time_limits.h does them";
  EXPECT_TRUE(unsupported(wire::OutboundPolicy(), {}).empty());
  EXPECT_EQ(unsupported(samples::profile(), {}).size(), 1u);
}

TEST(Server, CompilesEveryKind) {
  for (int kind = 0; kind <= 5; ++kind) {
    auto p = compile_server(samples::server(static_cast<wire::Server::Kind>(kind)));
    EXPECT_EQ(p->invalid, "");
    EXPECT_EQ(p->server.name, "all-authenticated");
    EXPECT_EQ(p->authorizations.size(), 3u) << "localhost is added";
    EXPECT_EQ(p->authorizations.back().metadata().name, "localhost");
  }
}
TEST(Server, NoRoutesIsOneDefaultRoute) {
  wire::Server s;
  s.kind = wire::Server::Kind::kHttp1;
  auto p = compile_server(s);
  EXPECT_TRUE(p->table.only());
  ASSERT_EQ(p->routes.size(), 1u);
  EXPECT_EQ(p->routes[0].metadata, wire::Metadata::default_named("default"));
  s.kind = wire::Server::Kind::kOpaque;
  EXPECT_TRUE(compile_server(s)->routes.empty());
}
TEST(Server, BadOnesAllowNothing) {
  auto s = samples::server(wire::Server::Kind::kHttp1);
  s.routes[0].rules[0].matches[1].path->text = "(";
  auto p = compile_server(s);
  EXPECT_NE(p->invalid, "");
  EXPECT_TRUE(p->authorizations.empty());
}
TEST(Server, Defaults) {
  std::vector<Cidr> nets = {*Cidr::parse("127.64.0.0/11")};
  auto allows = [&](std::string_view name, Client c) {
    auto s = default_server(name, nets, 10s, false);
    EXPECT_TRUE(s) << name;
    auto p = compile_server(*s);
    return static_cast<bool>(authorize({}, p->authorizations, c));
  };
  IpAddr in = IpAddr::v4(127, 65, 0, 1), out = IpAddr::v4(8, 8, 8, 8);
  using T = Client::Tls;
  EXPECT_TRUE(allows("all-unauthenticated", {out, T::kNone, ""}));
  EXPECT_TRUE(allows("audit", {out, T::kNone, ""}));
  EXPECT_TRUE(compile_server(*default_server("audit", nets, 10s, false))->audit);
  EXPECT_FALSE(compile_server(*default_server("all-unauthenticated", nets, 10s, false))->audit);
  EXPECT_FALSE(allows("all-authenticated", {out, T::kNone, ""}));
  EXPECT_FALSE(allows("all-authenticated", {out, T::kMesh, ""}));
  EXPECT_TRUE(allows("all-authenticated", {out, T::kMesh, "a.b"}));
  EXPECT_TRUE(allows("all-authenticated", {*IpAddr::parse("fd00::1"), T::kMesh, "a.b"}));
  EXPECT_TRUE(allows("all-tls-unauthenticated", {out, T::kMesh, ""}));
  EXPECT_TRUE(allows("cluster-unauthenticated", {in, T::kNone, ""}));
  EXPECT_FALSE(allows("cluster-unauthenticated", {out, T::kNone, ""}));
  EXPECT_FALSE(allows("cluster-authenticated", {out, T::kMesh, "a.b"}));
  EXPECT_TRUE(allows("cluster-authenticated", {in, T::kMesh, "a.b"}));
  EXPECT_FALSE(allows("deny", {in, T::kMesh, "a.b"}));
  EXPECT_TRUE(allows("deny", {IpAddr::v4(127, 0, 0, 1), T::kNone, ""})) << "localhost";
  IpAddr pod = IpAddr::v4(127, 70, 1, 2);  // whose host's loopback is everybody's
  auto of_pod = compile_server(*default_server("deny", nets, 10s, false), pod);
  EXPECT_FALSE(authorize({}, of_pod->authorizations, {IpAddr::v4(127, 0, 0, 1), T::kNone, ""}).allowed);
  EXPECT_TRUE(authorize({}, of_pod->authorizations, {pod, T::kNone, ""}).allowed);
  for (std::string_view bad : {"", "all-", "everyone", "all-anything", "authenticated"})
    EXPECT_FALSE(default_server(bad, nets, 10s, false));
}

}  // namespace
}  // namespace tulle::proxy
