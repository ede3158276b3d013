// What a client gives up: no more resets on its connection than the server bears, whoever asks for them.
#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

rt::Task<void> hold(std::vector<ServerExchange*>& held, rt::Signal& changed, std::unique_ptr<ServerExchange> x) {
  struct Here {
    std::vector<ServerExchange*>& all;
    ServerExchange* x;
    rt::Signal& changed;
    Here(std::vector<ServerExchange*>& a, ServerExchange* e, rt::Signal& c) : all(a), x(e), changed(c) {
      all.push_back(x);
    }
    ~Here() {
      std::erase(all, x);
      changed.notify();
    }
  } here(held, x.get(), changed);
  while (!x->responded()) co_await changed.wait();
}

struct GivenUp : TestLoop, testing::Test {
  std::vector<ServerExchange*> held;  // requests that the server works on
  rt::Signal changed{reactor};
  Handler handler = [this](std::unique_ptr<ServerExchange> x) { return hold(held, changed, std::move(x)); };
  std::unique_ptr<net::Listener> listener = listen();
  std::optional<Client> client;
  std::vector<std::unique_ptr<ClientExchange>> asked;

  void start(uint32_t burst, uint32_t per_second) {
    serve_on(*listener, Protocol::kHttp2, handler);
    ClientOptions o;
    o.h2.sent_reset_burst = burst;
    o.h2.sent_resets_per_second = per_second;
    client.emplace(reactor, Protocol::kHttp2, [this] { return dial(listener->local()); }, o);
  }
  void TearDown() override {
    asked.clear();
    scope.cancel();
  }
  rt::Task<void> ask_one(bool end) {
    auto x = co_await client->start(get_request("/"), end);
    EXPECT_TRUE(x);
    asked.push_back(std::move(*x));
  }
  void ask(size_t n, bool end = true) {
    for (size_t i = 0; i < n; ++i) run(ask_one(end));
    EXPECT_TRUE(turn_until([&] { return held.size() == n; }));
  }
  void settle() {
    for (int i = 0; i < 20; ++i) reactor.turn(1ms);
  }
};

TEST_F(GivenUp, ResetsBeyondTheBurstComeLater) {
  start(3, 20);
  ask(5);
  for (auto& x : asked) x->reset(http::H2Code::kCancel);
  asked.clear();
  EXPECT_TRUE(turn_until([&] { return held.empty(); }));
  EXPECT_EQ(client->connections(), 1u);
}

// With no reset left: the server answers what nobody waits for, and the connection goes on.
TEST_F(GivenUp, WhatEndsByItselfNeedsNone) {
  start(1, 0);
  ask(4);
  asked.clear();
  ASSERT_TRUE(turn_until([&] { return held.size() <= 3; }));
  settle();
  ASSERT_EQ(held.size(), 3u);
  for (ServerExchange* x : std::vector(held)) {
    http::ResponseHead head;
    ASSERT_TRUE(x->respond(head, false));
    Buffer body;
    body.append(std::string(30'000, 'x'));
    x->write(std::move(body));  // the window comes back though nobody reads
    ASSERT_TRUE(x->finish());
  }
  changed.notify();
  ASSERT_TRUE(turn_until([&] { return held.empty(); }));
  ask(1);
  EXPECT_EQ(client->connections(), 1u);
}

TEST_F(GivenUp, StreamsThatEndWellEarnResets) {
  start(2, 0);
  ask(2);
  asked.clear();
  ASSERT_TRUE(turn_until([&] { return held.empty(); }));
  ask(1);
  http::ResponseHead head;
  ASSERT_TRUE(held[0]->respond(head, true));
  changed.notify();
  ASSERT_TRUE(turn_until([&] { return asked[0]->ended(); }));
  asked.clear();
  ask(2);
  asked.clear();
  ASSERT_TRUE(turn_until([&] { return held.size() == 1; }));
  settle();
  EXPECT_EQ(held.size(), 1u);
}

}  // namespace
}  // namespace tulle::httpio
