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

  explicit FakeControl(rt::Reactor& r) : reactor(r), server(r), pushed(r) {
    server.grpc.add(std::string(wire::kInboundPoliciesWatchPort),
                    [this](grpc::ServerCall& c) { return watch(*this, c); });
  }
  static rt::Task<grpc::Status> watch(FakeControl& f, grpc::ServerCall& call) {
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
