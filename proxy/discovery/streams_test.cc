#include "proxy/discovery/streams.h"

#include <gtest/gtest.h>

#include "libs/wire/samples.h"
#include "proxy/discovery/test_server.h"

namespace tulle::proxy {
namespace {

size_t count(std::string_view text, std::string_view what) {
  size_t n = 0;
  for (size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++n;
  return n;
}

// A control plane that sends the messages it is given, one for each push.
struct FakeControl {
  rt::Reactor& reactor;
  TestGrpcServer server;
  rt::Signal pushed;
  std::vector<std::string> messages;
  int calls = 0;

  explicit FakeControl(rt::Reactor& r) : reactor(r), server(r), pushed(r) {
    server.grpc.add(std::string(wire::kInboundPoliciesWatchPort),
                    [this](grpc::ServerCall& c) { return watch(*this, c); });
  }
  static rt::Task<grpc::Status> watch(FakeControl& f, grpc::ServerCall& call) {
    ++f.calls;
    auto request = co_await call.read_one();
    if (!request) co_return request.error();
    for (size_t sent = 0;; ++sent) {
      while (sent == f.messages.size()) co_await f.pushed.wait();
      if (auto r = co_await call.write(f.messages[sent]); !r) co_return r.error();
    }
  }
  void push(const wire::Server& s) {
    messages.push_back(encode(s));
    pushed.notify();
  }
};

// A watch that says nothing, nothing more, or goes on for too long is made anew.
TEST(Streams, LimitsMakeAWatchAnew) {
  struct Case {
    StreamLimits limits;
    bool says_something;
  } cases[] = {{{.initial = 20ms, .idle = 1h, .lifetime = {}}, false},
               {{.initial = 10ms, .idle = 20ms, .lifetime = 1h}, true},
               {{.initial = {}, .idle = {}, .lifetime = 20ms}, true}};
  for (auto& c : cases) {
    rt::Reactor reactor{1};
    observe::Registry registry;
    observe::Shard& shard = registry.add_shard();
    FakeControl control(reactor);
    auto client = test_client(reactor, control.server.addr());
    Subscriptions subscriptions(reactor, shard);
    ControlService service{*client, "control", nullptr, c.limits};
    StreamsConfig config{.destination = service,
                         .policy = service,
                         .subscriptions = subscriptions,
                         .context_token = {},
                         .workload = "w",
                         .profile_networks = {},
                         .backoff = {.min = 1ms, .max = 1ms},
                         .pod_ip = {}};
    int published = 0;
    rt::Running stream(reactor, port_source(reactor, config, shard)(8080, [&](auto) { ++published; }));
    if (c.says_something) control.push(wire::samples::server(wire::Server::Kind::kHttp1));
    EXPECT_TRUE(run_until(reactor, [&] { return control.calls >= 3; }));
    EXPECT_TRUE(!c.says_something || run_until(reactor, [&] { return published >= 3; }));
  }
}

TEST(Streams, WithoutLimitsAQuietWatchStays) {
  rt::Reactor reactor{1};
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  FakeControl control(reactor);
  auto client = test_client(reactor, control.server.addr());
  Subscriptions subscriptions(reactor, shard);
  StreamsConfig config{.destination = {*client, "control"},
                       .policy = {*client, "control"},
                       .subscriptions = subscriptions,
                       .context_token = {},
                       .workload = "w",
                       .profile_networks = {},
                       .backoff = {.min = 1ms, .max = 1ms},
                       .pod_ip = {}};
  rt::Running stream(reactor, port_source(reactor, config, shard)(8080, [&](auto) {}));
  EXPECT_TRUE(run_until(reactor, [&] { return control.calls == 1; }));
  for (TimePoint end = reactor.now() + 50ms; reactor.now() < end;) reactor.turn(10ms);
  EXPECT_EQ(control.calls, 1);
}

TEST(Streams, WhatIsNotSupportedIsSaidOnceForEachChange) {
  rt::Reactor reactor{1};
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  FakeControl control(reactor);
  auto client = test_client(reactor, control.server.addr());
  Subscriptions subscriptions(reactor, shard);
  StreamsConfig config{.destination = {*client, "control"},
                       .policy = {*client, "control"},
                       .subscriptions = subscriptions,
                       .context_token = {},
                       .workload = "w",
                       .profile_networks = {},
                       .backoff = {},
                       .pod_ip = {}};
  int published = 0;
  testing::internal::CaptureStderr();
  rt::Running stream(reactor, port_source(reactor, config, shard)(8080, [&](auto) { ++published; }));
  auto limited = wire::samples::server(wire::Server::Kind::kHttp1);
  ASSERT_TRUE(limited.rate_limit);
  auto unlimited = limited;
  unlimited.rate_limit.reset();
  for (auto* server : {&limited, &limited, &unlimited, &limited, &limited}) {
    control.push(*server);
    int before = published;
    EXPECT_TRUE(run_until(reactor, [&] { return published > before; }));
  }
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(count(log, "local rate limits"), 2u) << log;
}

}  // namespace
}  // namespace tulle::proxy
