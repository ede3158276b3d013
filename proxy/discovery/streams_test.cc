#include "proxy/discovery/streams.h"

#include <gmock/gmock.h>
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

// A watch of one port, and the control plane that it asks.
struct Watch {
  rt::Reactor reactor;
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  FakeControl control{reactor};
  std::unique_ptr<httpio::Client> client = test_client(reactor, control.server.addr());
  Subscriptions subscriptions{reactor, shard};
  ControlService service;
  StreamsConfig config{.destination = service,
                       .policy = service,
                       .subscriptions = subscriptions,
                       .context_token = {},
                       .workload = "w",
                       .profile_networks = {},
                       .backoff = {.min = 1ms, .max = 1ms},
                       .pod_ip = {}};
  int published = 0;
  rt::Running stream{reactor, port_source(reactor, config, shard)(8080, [this](auto) { ++published; })};

  explicit Watch(StreamLimits limits = {}, const TimePoint* clock = nullptr)
      : reactor(1, clock), service{*client, "control", nullptr, limits} {}
  bool until(auto condition) { return run_until(reactor, condition); }
};

rt::Task<grpc::Status> refuse_later(int& calls, grpc::ServerCall& call) {
  if (auto request = co_await call.read_one(); !request) co_return request.error();
  if (++calls < 3) co_return grpc::Status(grpc::StatusCode::kNotFound, "not known yet");
  co_return grpc::Status(grpc::StatusCode::kInvalidArgument, "not a port of yours");
}

// A watch that says nothing, nothing more, or goes on for too long is made anew.
TEST(Streams, LimitsMakeAWatchAnew) {
  struct Case {
    StreamLimits limits;
    bool says_something;
  } cases[] = {{{.initial = 20ms, .idle = 1h, .lifetime = {}}, false},
               {{.initial = 10ms, .idle = 20ms, .lifetime = 1h}, true},
               {{.initial = {}, .idle = {}, .lifetime = 20ms}, true}};
  for (auto& c : cases) {
    Watch w(c.limits);
    if (c.says_something) w.control.push(wire::samples::server(wire::Server::Kind::kHttp1));
    EXPECT_TRUE(w.until([&] { return w.control.calls >= 3; }));
    EXPECT_TRUE(!c.says_something || w.until([&] { return w.published >= 3; }));
  }
}

TEST(Streams, WithoutLimitsAQuietWatchStays) {
  TimePoint clock{};
  Watch w({}, &clock);
  EXPECT_TRUE(w.until([&] { return w.control.calls == 1; }));
  clock += 24h;
  w.reactor.turn(0ms);
  w.control.push(wire::samples::server(wire::Server::Kind::kHttp1));
  EXPECT_TRUE(w.until([&] { return w.published == 1; }));
  EXPECT_EQ(w.control.calls, 1);
}

TEST(Streams, WhatIsNotSupportedIsSaidOnceForEachChange) {
  Watch w;
  testing::internal::CaptureStderr();
  auto limited = wire::samples::server(wire::Server::Kind::kHttp1);
  ASSERT_TRUE(limited.rate_limit);
  auto unlimited = limited;
  unlimited.rate_limit.reset();
  for (auto* server : {&limited, &limited, &unlimited, &limited, &limited}) {
    w.control.push(*server);
    int before = w.published;
    EXPECT_TRUE(w.until([&] { return w.published > before; }));
  }
  std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(count(log, "local rate limits"), 2u) << log;
}

// A control plane that does not know the target at first, and refuses it once it does.
TEST(Streams, ARefusalIsToldAlsoWhenTheTargetWasNotKnownAtFirst) {
  Watch w;
  int calls = 0;
  w.control.server.grpc.add(std::string(wire::kOutboundPoliciesWatch),
                            [&calls](grpc::ServerCall& c) { return refuse_later(calls, c); });
  std::vector<std::string> told;
  rt::Running stream(w.reactor,
                     target_source(w.reactor, w.config, w.shard)(*SocketAddr::parse("10.0.0.1:80"),
                                                                 [&](auto info) { told.push_back(info->refused); }));
  EXPECT_TRUE(w.until([&] { return told.size() == 2; }));
  EXPECT_EQ(told[0], "");
  EXPECT_THAT(told[1], testing::HasSubstr("not a port of yours"));
}

}  // namespace
}  // namespace tulle::proxy
