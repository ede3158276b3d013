// Tunnels (101 and CONNECT) through two proxies that forward as ours do: raw bytes at both ends, each direction ends by
// itself, and nothing is lost whichever ends first.
#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

enum class Opening { kUpgrade, kConnect };

struct Case {
  Protocol hop;  // between the two proxies
  Opening opening;
};

rt::Task<void> upload(ServerExchange& client, ClientExchange& upstream) {
  auto r = co_await relay(client, upstream);
  if (!r && !upstream.error()) upstream.reset(http::H2Code::kCancel);
  client.changed().notify();
}

rt::Task<void> forward(rt::Reactor& reactor, Client& to, std::unique_ptr<ServerExchange> client) {
  auto upstream = co_await to.start(client->request, false);
  if (!upstream) co_return;
  auto head = co_await (*upstream)->response();
  if (!head) co_return;
  if (!client->respond(*head, false)) co_return;
  rt::Running uploading(reactor, upload(*client, **upstream));
  if (auto down = co_await relay(**upstream, *client); !down) {
    client->reset(http::H2Code::kInternalError);
    co_return;
  }
  while (!uploading.done() && !client->error()) co_await client->changed().wait();
}

struct Tunnel : TestLoop, testing::TestWithParam<Case> {
  std::unique_ptr<net::Listener> front = listen(), middle = listen(), app = listen();
  Client to_middle{reactor, GetParam().hop, [this] { return dial(middle->local()); }, ClientOptions()};
  Client to_app{reactor, Protocol::kHttp1, [this] { return dial(app->local()); }, ClientOptions()};
  Handler at_front = [this](std::unique_ptr<ServerExchange> x) { return forward(reactor, to_middle, std::move(x)); };
  Handler at_middle = [this](std::unique_ptr<ServerExchange> x) { return forward(reactor, to_app, std::move(x)); };

  void SetUp() override {
    serve_on(*front, Protocol::kHttp1, at_front);
    serve_on(*middle, GetParam().hop, at_middle);
  }
  void TearDown() override {
    int kept = GetParam().hop == Protocol::kHttp2 ? 1 : 0;
    EXPECT_TRUE(turn_until([&] { return serving == kept; })) << "connections are left over";
    EXPECT_EQ(to_app.connections(), 0u);
    scope.cancel();
  }
  static rt::Task<Result<std::string>> head_of(net::Stream& s) {
    std::string head;
    while (!head.ends_with("\r\n\r\n")) {
      auto bytes = co_await s.read();
      if (!bytes) co_return fail(std::move(bytes).error());
      if (bytes->empty()) co_return fail(Code::kClosed, "end inside a head");
      head.append(*bytes);
    }
    co_return head;
  }
  // Both ends of an open tunnel.
  rt::Task<void> open(std::unique_ptr<net::Stream>& client, std::unique_ptr<net::Stream>& server) {
    bool connect = GetParam().opening == Opening::kConnect;
    client = std::move(*co_await dial(front->local()));
    client->write(connect ? "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n"
                          : "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    server = co_await accept(*app);
    EXPECT_TRUE(co_await head_of(*server));
    server->write(connect ? "HTTP/1.1 200 OK\r\n\r\n"
                          : "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    auto head = co_await head_of(*client);
    EXPECT_TRUE(head) << (head ? "" : head.error().reason);
  }
};

// Until the sockets on the way are full: more than they hold is on its way from `from`. All ends are of one loop, so
// what has not moved for ten of its turns will not.
rt::Task<void> stands_still(Tunnel& t, net::Stream& from) {
  size_t before = from.pending();
  for (int turns = 0; turns < 10; ++turns) {
    co_await rt::sleep_for(t.reactor, 1ms);
    if (from.pending() != std::exchange(before, from.pending())) turns = 0;
  }
}

std::string much(size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>(i * 7 + (i >> 9));
  return s;
}

// The two ends, first the one that ends its direction first.
rt::Task<void> open(Tunnel& t, bool by_server, std::unique_ptr<net::Stream>& first,
                    std::unique_ptr<net::Stream>& second) {
  co_await (by_server ? t.open(second, first) : t.open(first, second));
}

rt::Task<void> one_ends_first(Tunnel& t, bool by_server) {
  std::unique_ptr<net::Stream> first, second;
  co_await open(t, by_server, first, second);
  first->write("bye");
  first->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*second), "bye");
  std::string sent = much(1 << 20);
  second->write(sent);
  second->shutdown_write();
  EXPECT_TRUE(co_await Tunnel::all_of(*first) == sent);
}
TEST_P(Tunnel, TheServerEndsFirstAndTheClientGoesOn) { run(one_ends_first(*this, true)); }
TEST_P(Tunnel, TheClientEndsFirstAndTheServerGoesOn) { run(one_ends_first(*this, false)); }

// More than all the sockets on the way hold stands still when the other end has already ended its direction.
rt::Task<void> reads_late(Tunnel& t, bool by_server) {
  std::unique_ptr<net::Stream> reader, writer;
  co_await open(t, by_server, reader, writer);
  std::string sent = much(32 << 20);
  writer->write(sent);
  writer->shutdown_write();
  co_await stands_still(t, *writer);
  reader->write("bye");
  reader->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*writer), "bye");
  EXPECT_TRUE(co_await Tunnel::all_of(*reader) == sent);
}
TEST_P(Tunnel, AServerThatHasEndedReadsAllThatWasOnItsWay) { run(reads_late(*this, true)); }
TEST_P(Tunnel, AClientThatHasEndedReadsAllThatWasOnItsWay) { run(reads_late(*this, false)); }

// A reset passes, in both directions, also after the other direction has ended.
rt::Task<void> reset_passes(Tunnel& t, bool by_server) {
  std::unique_ptr<net::Stream> leaving, staying;
  co_await open(t, by_server, leaving, staying);
  leaving->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*staying), "");
  leaving->abort();
  leaving.reset();
  co_await t.until([&] {
    staying->write("x");
    return staying->write_error().has_value();
  });
}
TEST_P(Tunnel, AServerThatResetsIsNoticed) { run(reset_passes(*this, true)); }
TEST_P(Tunnel, AClientThatResetsIsNoticed) { run(reset_passes(*this, false)); }

INSTANTIATE_TEST_SUITE_P(All, Tunnel,
                         testing::Values(Case{Protocol::kHttp1, Opening::kUpgrade},
                                         Case{Protocol::kHttp1, Opening::kConnect},
                                         Case{Protocol::kHttp2, Opening::kConnect}),
                         [](auto& i) {
                           return cat(i.param.opening == Opening::kUpgrade ? "Upgrade" : "Connect",
                                      i.param.hop == Protocol::kHttp1 ? "OverHttp1" : "OverHttp2");
                         });

}  // namespace
}  // namespace tulle::httpio
