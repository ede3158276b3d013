#include "libs/httpio/keep_alive.h"

#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

using Do = KeepAlive::Do;

TEST(KeepAlive, AsksAfterSilenceAndGivesUpWithoutAnAnswer) {
  TimePoint t{};
  KeepAlive k({.interval = 10s, .timeout = 3s}, t);
  EXPECT_EQ(k.next(), t + 10s);
  k.heard(t + 4s);
  EXPECT_EQ(k.look(t + 10s), Do::kWait);
  EXPECT_EQ(k.next(), t + 14s);
  EXPECT_EQ(k.look(t + 14s), Do::kPing);
  EXPECT_EQ(k.next(), t + 17s);
  k.heard(t + 15s);
  EXPECT_EQ(k.look(t + 17s), Do::kWait);
  EXPECT_EQ(k.next(), t + 25s);
  EXPECT_EQ(k.look(t + 25s), Do::kPing);
  EXPECT_EQ(k.look(t + 28s), Do::kWait);  // a second look
  EXPECT_EQ(k.look(k.next()), Do::kGiveUp);
}

// A process that stood still for an hour finds the answer among what has come in meanwhile.
TEST(KeepAlive, APauseOfOursIsNoSilenceOfThePeer) {
  TimePoint t{};
  KeepAlive k({.interval = 10s, .timeout = 3s}, t);
  EXPECT_EQ(k.look(t + 10s), Do::kPing);
  EXPECT_EQ(k.look(t + 1h), Do::kWait);
  k.heard(t + 1h);
  EXPECT_EQ(k.look(k.next()), Do::kWait);
  EXPECT_EQ(k.next(), t + 1h + 10s);
  EXPECT_EQ(k.look(t + 1h + 10s), Do::kPing);
}

TEST(KeepAlive, OffByDefault) { EXPECT_FALSE(KeepAlive({}, TimePoint{}).on()); }

struct Silent : TestLoop, testing::Test {
  std::unique_ptr<net::Listener> listener = listen();
};

// Reads what comes and never answers.
rt::Task<void> deaf_server(Silent& f) {
  auto stream = co_await f.accept(*f.listener);
  (void)co_await Silent::all_of(*stream);
}

rt::Task<void> ask_the_deaf(Silent& f) {
  ClientOptions options;
  options.keep_alive = {.interval = 10ms, .timeout = 20ms, .while_idle = false};
  Client client(f.reactor, Protocol::kHttp2, [&f] { return f.dial(f.listener->local()); }, options);
  auto x = co_await client.start(get_request("/"), true);
  EXPECT_TRUE(x);
  auto response = co_await (*x)->response();
  EXPECT_FALSE(response);
  if (response) co_return;
  EXPECT_EQ(response.error().reason, "HTTP/2 keep-alive: no answer to a PING within 20ms");
  EXPECT_EQ(response.error().side, Side::kPeer);
  EXPECT_EQ(response.error().retry, Retry::kIdempotentOnly);
}
TEST_F(Silent, AClientGivesUpAServerThatDoesNotAnswer) {
  scope.spawn(deaf_server(*this));
  run(ask_the_deaf(*this));
}

// Counts the handlers that were cancelled.
rt::Task<void> never_answer(rt::Signal& never, int& cancelled, std::unique_ptr<ServerExchange> x) {
  struct Guard {
    int& n;
    ~Guard() { ++n; }
  } guard{cancelled};
  co_await never.wait();
}

rt::Task<void> deaf_client(Silent& f) {
  auto stream = co_await f.dial(f.listener->local());
  // Preface, SETTINGS, and a POST without its body: ":method POST", ":scheme http", ":path /", ":authority a".
  (*stream)->write(std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9) +
                   std::string("\0\0\6\1\4\0\0\0\1\x83\x86\x84\x01\x01"
                               "a",
                               15));
  EXPECT_NE((co_await Silent::all_of(**stream)).find("error"), std::string::npos);  // a reset
}
TEST_F(Silent, AServerGivesUpAClientThatDoesNotAnswer) {
  int cancelled = 0;
  rt::Signal never(reactor);
  Handler handler = [&](std::unique_ptr<ServerExchange> x) { return never_answer(never, cancelled, std::move(x)); };
  options.keep_alive = {.interval = 10ms, .timeout = 20ms};
  serve_on(*listener, Protocol::kHttp2, handler);
  run(deaf_client(*this));
  EXPECT_TRUE(turn_until([&] { return serving == 0; }));
  EXPECT_EQ(cancelled, 1);
}

rt::Task<void> answer(std::unique_ptr<ServerExchange> x) {
  http::ResponseHead head;
  (void)x->respond(head, true);
  co_return;
}
rt::Task<Result<std::unique_ptr<net::Stream>>> dial_metered(Silent& f, int& dials, net::Meter& written) {
  ++dials;
  auto stream = co_await f.dial(f.listener->local());
  if (stream) (*stream)->set_meters(nullptr, &written);
  co_return stream;
}
rt::Task<void> stay(Silent& f) {
  ClientOptions options;
  options.keep_alive = f.options.keep_alive;
  int dials = 0;
  net::Meter written{0};
  Client client(f.reactor, Protocol::kHttp2, [&] { return dial_metered(f, dials, written); }, options);
  for (int i = 0; i < 2; ++i) {
    auto x = co_await client.start(get_request("/"), true);
    EXPECT_TRUE(x && co_await (*x)->response());
    // Two PINGs and two answers to PINGs: the second is sent only where the first was answered in time.
    co_await f.until([&, all = written + 4 * 17] { return written >= all; });
  }
  EXPECT_EQ(dials, 1);
}
TEST_F(Silent, APeerThatAnswersStays) {
  options.keep_alive = {.interval = 2ms, .timeout = 200ms};
  Handler handler = [](std::unique_ptr<ServerExchange> x) { return answer(std::move(x)); };
  serve_on(*listener, Protocol::kHttp2, handler);
  run(stay(*this));
}

}  // namespace
}  // namespace tulle::httpio
