// What connections hold, and what ends them for it; what one connection queues for all its streams.
#include "libs/httpio/test_loop.h"
#include "libs/net/testing/socket_faults.h"

namespace tulle::httpio {
namespace {

// Answers with `size` bytes.
rt::Task<void> answer(size_t size, int& cancelled, std::unique_ptr<ServerExchange> x) {
  struct Guard {
    int* n;
    ~Guard() {
      if (n) ++*n;
    }
  } guard{&cancelled};
  http::ResponseHead head;
  EXPECT_TRUE(x->respond(head, false));
  std::string block(16 * 1024, 'b');
  for (size_t sent = 0; sent < size; sent += block.size()) {
    Buffer b;
    b.append(block);
    x->write(std::move(b));
    auto room = co_await x->room();
    if (!room) co_return;
  }
  (void)x->finish();
  guard.n = nullptr;
}

// Passes a request on to `upstream`, and the answer back.
rt::Task<void> pass_on(Client& upstream, std::unique_ptr<ServerExchange> x) {
  auto up = co_await upstream.start(x->request, true);
  if (!up) co_return;
  auto head = co_await (*up)->response();
  if (!head) co_return;
  EXPECT_TRUE(x->respond(*head, false));
  (void)co_await relay(**up, *x);
}

struct Holding : TestLoop, testing::TestWithParam<Protocol> {
  static constexpr size_t kSize = 8 * 1024 * 1024;
  int cancelled = 0;
  net::Holders holders;
  std::unique_ptr<net::Listener> listener = listen();
  Handler handler = [this](std::unique_ptr<ServerExchange> x) { return answer(kSize, cancelled, std::move(x)); };

  void TearDown() override { scope.cancel(); }
  Client client_of(net::Listener& l, Protocol p, ClientOptions o = {}) {
    return Client(reactor, p, [this, &l] { return dial(l.local()); }, std::move(o));
  }
  size_t total() {
    std::vector<net::Holders::Holding> some;
    size_t all = 0;
    holders.largest(1, 1, some, all);
    return all;
  }
};

rt::Task<Result<size_t>> read_all(ClientExchange& x) {
  size_t n = 0;
  for (;;) {
    auto bytes = co_await x.read();
    if (!bytes) co_return fail(bytes.error());
    if (bytes->empty()) co_return n;
    n += bytes->size();
  }
}

rt::Task<void> shed_one(Holding& t) {
  Client hog = t.client_of(*t.listener, t.GetParam()), honest = t.client_of(*t.listener, t.GetParam());
  auto held = co_await hog.start(get_request("/"), true);
  auto response = co_await (*held)->response();
  EXPECT_TRUE(response);
  // Nobody reads it: what was sent waits at the server.
  co_await t.until([&] { return t.total() >= 64 * 1024; });
  std::vector<net::Holders::Holding> some;
  size_t all = 0;
  t.holders.largest(5, 64 * 1024, some, all);
  EXPECT_EQ(some.size(), 1u);
  auto other = co_await honest.start(get_request("/"), true);
  EXPECT_TRUE(co_await (*other)->response());
  auto shed = t.holders.shed(some.at(0).serial);
  EXPECT_GT(shed.value_or(0), 0u);
  // Sockets that block take what they have not taken a turn later.
  if (!net::test::sockets_are_at_their_worst()) EXPECT_EQ(shed, some.at(0).bytes);
  while (t.cancelled == 0) co_await rt::yield(t.reactor);
  auto got = co_await read_all(**held);
  EXPECT_FALSE(got) << "a part is not taken for the whole";
  auto whole = co_await read_all(**other);
  EXPECT_TRUE(whole) << whole.error().reason;
  EXPECT_EQ(whole.value_or(0), Holding::kSize);
  EXPECT_EQ(t.cancelled, 1);
  co_await t.until([&] { return t.total() == 0; });
}

TEST_P(Holding, TheOneThatHoldsMostIsEndedAndNoOther) {
  options.holders = &holders;
  serve_on(*listener, GetParam(), handler);
  run(shed_one(*this));
}

INSTANTIATE_TEST_SUITE_P(Both, Holding, testing::Values(Protocol::kHttp1, Protocol::kHttp2),
                         [](const auto& i) { return i.param == Protocol::kHttp1 ? "Http1" : "Http2"; });

struct Crowded : Holding {};

rt::Task<void> many_streams(Crowded& t, Client& client) {
  constexpr size_t kStreams = 200;
  std::vector<std::unique_ptr<ClientExchange>> all;
  for (size_t i = 0; i < kStreams; ++i) {
    auto x = co_await client.start(get_request("/"), true);
    EXPECT_TRUE(x && co_await (*x)->response());
    all.push_back(std::move(*x));
  }
  size_t most = 0;
  for (int i = 0; i < 100; ++i) {
    co_await rt::sleep_for(t.reactor, 2ms);
    most = std::max(most, t.total());
  }
  EXPECT_GT(most, 256u * 1024) << "the mark was reached";
  // Of each stream one piece here, and what the upstream's window lets come.
  EXPECT_LT(most, 256 * 1024 + 64 * 1024 + kStreams * (kCrowdedPiece + 2 * 4096));
  // One that is read goes on all the same.
  auto whole = co_await read_all(*all.back());
  EXPECT_TRUE(whole) << whole.error().reason;
  EXPECT_EQ(whole.value_or(0), Holding::kSize);
  all.clear();
  co_await t.until([&] { return t.total() == 0; });
}

rt::Task<void> serve_one(TestLoop& t, net::Listener& listener, const ServeOptions& options, const Handler& handler) {
  auto stream = co_await t.accept(listener);
  co_await serve(std::move(stream), Protocol::kHttp2, Buffer(), options, handler);
}

TEST_F(Crowded, StreamsThatAreNotReadTogetherHoldLittleMoreThanTheMark) {
  // 8 MiB through windows of 1 KiB are 8192 round trips, each with a few pauses then.
  if (net::test::sockets_are_at_their_worst()) GTEST_SKIP() << "8192 round trips over sockets that pause";
  serve_on(*listener, Protocol::kHttp2, handler);
  ClientOptions narrow;
  narrow.h2.stream_window = 4096;
  Client upstream = client_of(*listener, Protocol::kHttp2, narrow);
  Handler front = [&](std::unique_ptr<ServerExchange> x) { return pass_on(upstream, std::move(x)); };
  auto front_listener = listen();
  ServeOptions of_front;
  of_front.holders = &holders;
  of_front.h2.queued_mark = 256 * 1024;
  scope.spawn(serve_one(*this, *front_listener, of_front, front));
  {
    ClientOptions stuck;
    stuck.h2.stream_window = 1024;
    Client client = client_of(*front_listener, Protocol::kHttp2, stuck);
    run(many_streams(*this, client));
  }
  scope.cancel();
}

}  // namespace
}  // namespace tulle::httpio
