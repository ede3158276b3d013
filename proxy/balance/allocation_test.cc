// What runs for every request allocates nothing once it is warm.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>

#include "libs/wire/samples.h"
#include "proxy/balance/breaker.h"
#include "proxy/balance/budget.h"
#include "proxy/balance/ewma.h"
#include "proxy/balance/p2c.h"
#include "proxy/balance/trust.h"
#include "proxy/model/classify.h"
#include "proxy/model/filter.h"
#include "proxy/model/policy.h"
#include "proxy/model/ratelimit.h"
#include "proxy/model/retry.h"
#include "proxy/model/server.h"
#include "proxy/model/timeouts.h"

namespace {
size_t allocations = 0;
}
#if !__has_feature(thread_sanitizer)  // its own may not be replaced; the count is then 0, and other builds count
void* operator new(size_t n) {
  ++allocations;
  if (void* p = std::malloc(n)) return p;
  std::abort();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

namespace tulle::proxy {
namespace {

const TimePoint kNow(1000s);

template <class F>
size_t allocations_of(F f) {
  for (int i = 0; i < 3; ++i) f();
  size_t before = allocations;
  f();
  return allocations - before;
}

TEST(Allocation, OutboundRequest) {
  auto policy = compile_policy(wire::samples::outbound(wire::OutboundPolicy::Kind::kDetect));
  ASSERT_EQ(policy->invalid, "");
  http::RequestHead head;
  head.set_method("BREW");
  head.authority = "web.shop.svc.cluster.local:80";
  head.path = "/b/c?debug=%31&who=me";
  head.headers.add("x-version", "v12");
  Rng rng(1);
  size_t n = allocations_of([&] {
    auto m = policy->http1.table.match(RequestView(head));
    ASSERT_TRUE(m);
    const Rule& rule = policy->http1.rule(*m);
    EXPECT_NE(choose_backend(rule.choice, rng, [](uint32_t b) { return b != 0; }), kNoBackend);
    EXPECT_EQ(request_timeouts(rule.timeouts, true, head.headers).request, 2s);
    EXPECT_FALSE(grpc_timeout(head.headers));
  });
  EXPECT_EQ(n, 0u);
}

TEST(Allocation, InboundRequest) {
  auto server = compile_server(wire::samples::server(wire::Server::Kind::kHttp1));
  http::RequestHead head;
  head.authority = "web.example.com";
  head.path = "/c/d";
  std::string id = "somebody-with-a-long-name.shop.serviceaccount.identity.linkerd.cluster.local";
  RateLimiter limiter(*server->rate_limit);
  size_t n = allocations_of([&] {
    auto m = server->table.match(RequestView(head));
    ASSERT_TRUE(m);
    EXPECT_TRUE(authorize(server->routes[m->route].authorizations, server->authorizations,
                          {IpAddr::v4(10, 0, 0, 1), Client::Tls::kMesh, id}));
    EXPECT_TRUE(limiter.check(id, kNow));
  });
  EXPECT_EQ(n, 0u);
}

TEST(Allocation, Balancing) {
  EndpointSet set;
  set.apply(wire::samples::add(), kNow);
  set.set_ready(0, true);
  set.set_ready(1, true);
  PeakEwma ewma(30ms, 10s, kNow);
  Breaker breaker(wire::samples::unified(), kNow);
  RetryBudget budget(0.2, 10, 10s, kNow);
  Rng rng(1);
  TimePoint now = kNow;
  size_t n = allocations_of([&] {
    now += 1ms;
    auto usable = set.usable(now);
    size_t i = p2c(usable.ids.size(), rng, [&](size_t) { return ewma.load(1, now); });
    EXPECT_NE(i, kNoChoice);
    set.stream_begins(usable.ids[i]);
    auto ticket = breaker.begin(now);
    budget.deposit(now);
    ewma.add(3ms, now);
    breaker.end(ticket, Outcome::kSuccess, now, rng);
    budget.withdraw(now);
    set.stream_ends(usable.ids[i]);
    // A breaker opens and closes on the request path too.
    set.set_ready(usable.ids[i], false);
    set.usable(now);
    set.set_ready(0, true);
    set.set_ready(1, true);
  });
  EXPECT_EQ(n, 0u);
}

TEST(Allocation, Response) {
  http::ResponseHead head;
  head.headers.add(http::HeaderId::kContentType, "application/grpc");
  http::Headers trailers;
  trailers.add(http::HeaderId::kGrpcStatus, "14");
  wire::Retry retry;
  retry.grpc_codes = 1u << 14;
  size_t n = allocations_of([&] {
    Classifier c(head);
    EXPECT_TRUE(c.end(trailers).failure);
    EXPECT_TRUE(is_retryable_response(retry, 200, trailers));
    EXPECT_FALSE(is_penalised(head));
    EXPECT_FALSE(retry_after(head, WallTime()));
  });
  EXPECT_EQ(n, 0u);
}

}  // namespace
}  // namespace tulle::proxy
