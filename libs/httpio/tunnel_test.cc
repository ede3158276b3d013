// Tunnels (101 and CONNECT) through two proxies that forward as ours do: raw bytes at both ends, each direction ends by
// itself, and nothing is lost whichever ends first.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "libs/http/hop_by_hop.h"
#include "libs/httpio/client.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/rt/combine.h"

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

struct Tunnel : testing::TestWithParam<Case> {
  rt::Reactor reactor{1};
  ServeOptions options;
  std::unique_ptr<net::Listener> front, middle, app;
  Client to_middle{reactor, GetParam().hop, [this] { return dial(middle->local()); }, ClientOptions()};
  Client to_app{reactor, Protocol::kHttp1, [this] { return dial(app->local()); }, ClientOptions()};
  Handler at_front = [this](std::unique_ptr<ServerExchange> x) { return forward(reactor, to_middle, std::move(x)); };
  Handler at_middle = [this](std::unique_ptr<ServerExchange> x) { return forward(reactor, to_app, std::move(x)); };
  int serving = 0;  // connections that the proxies have accepted and not yet done with
  rt::Scope scope{reactor};

  void SetUp() override {
    for (auto* l : {&front, &middle, &app})
      *l = std::move(*net::Listener::bind(reactor, SocketAddr(IpAddr::v4(0x7f000001), 0)));
    scope.spawn(accept_loop(*front, Protocol::kHttp1, at_front));
    scope.spawn(accept_loop(*middle, GetParam().hop, at_middle));
  }
  rt::Task<void> accept_loop(net::Listener& listener, Protocol protocol, const Handler& handler) {
    for (;;) {
      auto c = co_await listener.accept();
      if (!c) co_return;
      auto stream = std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true);
      scope.spawn(counted(serve(std::move(stream), protocol, Buffer(), options, handler)));
    }
  }
  rt::Task<void> counted(rt::Task<void> serving_one) {
    ++serving;
    co_await std::move(serving_one);
    --serving;
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial(SocketAddr to) {
    net::ConnectOptions none;
    auto c = co_await net::connect(reactor, to, none, reactor.now() + 1s);
    if (!c) co_return fail(c.error());
    co_return std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, to, false);
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
    auto c = co_await app->accept();
    server = std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true);
    EXPECT_TRUE(co_await head_of(*server));
    server->write(connect ? "HTTP/1.1 200 OK\r\n\r\n"
                          : "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    auto head = co_await head_of(*client);
    EXPECT_TRUE(head) << (head ? "" : head.error().reason);
  }
  static rt::Task<std::string> all_of(net::Stream& s) {
    std::string got;
    for (;;) {
      auto bytes = co_await s.read();
      if (!bytes) co_return cat("error after ", got.size(), ": ", bytes.error().reason);
      if (bytes->empty()) co_return got;
      got.append(*bytes);
    }
  }
  void run(rt::Task<void> t) {
    bool done = false;
    rt::Running running(reactor, mark(std::move(t), done));
    for (TimePoint end = reactor.now() + 20s; reactor.now() < end && !done;) reactor.turn(10ms);
    ASSERT_TRUE(done) << "did not end in time";
    int kept = GetParam().hop == Protocol::kHttp2 ? 1 : 0;
    for (TimePoint end = reactor.now() + 10s; reactor.now() < end && serving > kept;) reactor.turn(10ms);
    EXPECT_EQ(serving, kept) << "connections are left over";
    EXPECT_EQ(to_app.connections(), 0u);
  }
  static rt::Task<void> mark(rt::Task<void> t, bool& done) {
    co_await std::move(t);
    done = true;
  }
};

std::string much(size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>(i * 7 + (i >> 9));
  return s;
}

rt::Task<void> server_ends_first(Tunnel& t) {
  std::unique_ptr<net::Stream> client, server;
  co_await t.open(client, server);
  server->write("bye");
  server->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*client), "bye");
  std::string sent = much(1 << 20);
  client->write(sent);
  client->shutdown_write();
  EXPECT_TRUE(co_await Tunnel::all_of(*server) == sent);
}
TEST_P(Tunnel, TheServerEndsFirstAndTheClientGoesOn) { run(server_ends_first(*this)); }

rt::Task<void> client_ends_first(Tunnel& t) {
  std::unique_ptr<net::Stream> client, server;
  co_await t.open(client, server);
  client->write("hello");
  client->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*server), "hello");
  std::string sent = much(1 << 20);
  server->write(sent);
  server->shutdown_write();
  EXPECT_TRUE(co_await Tunnel::all_of(*client) == sent);
}
TEST_P(Tunnel, TheClientEndsFirstAndTheServerGoesOn) { run(client_ends_first(*this)); }

// More than all the sockets on the way hold stands still when the other end has already ended its direction.
rt::Task<void> slow_server(Tunnel& t) {
  std::unique_ptr<net::Stream> client, server;
  co_await t.open(client, server);
  std::string sent = much(32 << 20);
  client->write(sent);
  client->shutdown_write();
  co_await rt::sleep_for(t.reactor, 50ms);
  server->write("bye");
  server->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*client), "bye");
  EXPECT_TRUE(co_await Tunnel::all_of(*server) == sent);
}
TEST_P(Tunnel, AServerThatHasEndedReadsAllThatWasOnItsWay) { run(slow_server(*this)); }

rt::Task<void> slow_client(Tunnel& t) {
  std::unique_ptr<net::Stream> client, server;
  co_await t.open(client, server);
  std::string sent = much(32 << 20);
  server->write(sent);
  server->shutdown_write();
  co_await rt::sleep_for(t.reactor, 50ms);
  client->write("bye");
  client->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*server), "bye");
  EXPECT_TRUE(co_await Tunnel::all_of(*client) == sent);
}
TEST_P(Tunnel, AClientThatHasEndedReadsAllThatWasOnItsWay) { run(slow_client(*this)); }

// A reset passes, in both directions, also after the other direction has ended.
rt::Task<void> reset_passes(Tunnel& t, bool by_server) {
  std::unique_ptr<net::Stream> client, server;
  co_await t.open(client, server);
  auto& leaving = by_server ? server : client;
  auto& staying = by_server ? client : server;
  leaving->shutdown_write();
  EXPECT_EQ(co_await Tunnel::all_of(*staying), "");
  leaving->abort();
  leaving.reset();
  while (!staying->write_error()) {
    staying->write("x");
    co_await rt::sleep_for(t.reactor, 5ms);
  }
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
