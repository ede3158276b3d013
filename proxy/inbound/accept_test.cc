// Who speaks first on a connection without TLS, and who may make the application be asked.
#include <gtest/gtest.h>

#include "libs/rt/combine.h"
#include "proxy/inbound/inbound.h"

namespace tulle::proxy::inbound {
namespace {

constexpr std::string_view kGreeting = "220 hello\r\n";
constexpr IpAddr kPod = IpAddr::v4(127, 0, 0, 2);  // connections to it come from 127.0.0.1

struct PlainClients : testing::Test {
  TimePoint clock{};
  rt::Reactor reactor{1, &clock};
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  std::string policy = "all-unauthenticated";
  bool opaque = false;
  Duration detect_timeout = 10s;
  Config config{IdentityConfig(*tls::Identity::parse("a.default.serviceaccount.identity.linkerd.cluster.local"))};
  TargetHub targets{reactor, [](SocketAddr, auto) { return nothing(); }};
  EndpointHub endpoints{reactor, [](std::string, auto) { return nothing(); }};
  PortHub ports{reactor, [this](uint16_t port, auto publish) { return publish_policy(port, publish); }};
  std::unique_ptr<net::Listener> app = listen(), proxy = listen();
  std::optional<Worker> worker;
  std::optional<Inbound> inbound;
  int dialled = 0;            // connections that the application has taken
  std::string_view greeting;  // what it says on each at once
  std::vector<std::unique_ptr<net::Stream>> app_ends, clients;
  rt::Scope scope{reactor};

  static rt::Task<void> nothing() { co_return; }
  rt::Task<void> publish_policy(uint16_t port, PortHub::Publish publish) {
    auto server = default_server(policy, {*Cidr::parse("0.0.0.0/0")}, detect_timeout, opaque);
    auto info = std::make_shared<PortInfo>();
    info->port = port;
    info->policy = compile_server(*server, config.pod->ip);
    publish(std::move(info));
    co_return;
  }
  std::unique_ptr<net::Listener> listen() { return std::move(*net::Listener::bind(reactor, SocketAddr(kPod, 0))); }
  rt::Task<void> take_at_app() {
    for (;;) {
      auto c = co_await app->accept();
      if (!c) co_return;
      ++dialled;
      app_ends.push_back(std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true));
      if (!greeting.empty()) app_ends.back()->write(greeting);
    }
  }
  rt::Task<void> take_at_proxy() {
    for (;;) {
      auto c = co_await proxy->accept();
      if (!c) co_return;
      scope.spawn(serve_connection(*inbound, std::move(*c)));
    }
  }
  void start() {
    PodConfig pod;
    pod.ip = kPod;
    pod.ports = {{.served = proxy->local().port, .app = app->local().port}};
    config.pod = pod;
    config.inbound.detect_timeout = detect_timeout;
    worker.emplace(reactor, config, shard, nullptr, targets, endpoints, ports);
    inbound.emplace(*worker);
    scope.spawn(take_at_app());
    scope.spawn(take_at_proxy());
  }
  void TearDown() override { scope.cancel(); }

  // At most for 20 s of the clock, which a turn moves by a millisecond.
  template <class F>
  bool turn_until(F&& condition) {
    for (TimePoint end = clock + 20s; clock < end && !condition(); clock += 1ms) reactor.turn(0ms);
    return condition();
  }
  rt::Task<void> connect_one(bool& done) {
    net::ConnectOptions none;
    auto c = co_await net::connect(reactor, proxy->local(), none, reactor.now() + 1s);
    if (c)
      clients.push_back(std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, proxy->local(), false));
    done = true;
  }
  net::Stream& client() {
    bool done = false;
    rt::Running running(reactor, connect_one(done));
    EXPECT_TRUE(turn_until([&] { return done; }));
    return *clients.back();
  }
  static rt::Task<void> read_into(net::Stream& s, std::string& text, bool& ended) {
    for (;;) {
      auto bytes = co_await s.read();
      if (!bytes || bytes->empty()) break;
      text.append(*bytes);
    }
    ended = true;
  }
};

TEST_F(PlainClients, AGreetingComesAtOnce) {
  greeting = kGreeting;
  start();
  auto& c = client();
  TimePoint before = reactor.now();
  std::string text;
  bool ended = false;
  rt::Running reading(reactor, read_into(c, text, ended));
  ASSERT_TRUE(turn_until([&] { return text == kGreeting; }));
  // Not before a late ClientHello of a peer has had its time.
  EXPECT_GE(reactor.now() - before, 250ms);
  EXPECT_LT(reactor.now() - before, 1s);
  EXPECT_EQ(dialled, 1);
}

TEST_F(PlainClients, AnOpaquePortGreetsToo) {
  greeting = kGreeting;
  opaque = true;
  start();
  std::string text;
  bool ended = false;
  rt::Running reading(reactor, read_into(client(), text, ended));
  EXPECT_TRUE(turn_until([&] { return text == kGreeting; }));
}

// Nothing reaches the application for a client that would not be let in without TLS.
struct Refused : PlainClients, testing::WithParamInterface<const char*> {};
TEST_P(Refused, NoDialBeforeAuthorization) {
  greeting = kGreeting;
  policy = GetParam();
  detect_timeout = 100ms;
  start();
  std::string text;
  bool ended = false;
  rt::Running reading(reactor, read_into(client(), text, ended));
  EXPECT_TRUE(turn_until([&] { return ended; }));
  EXPECT_EQ(text, "");
  EXPECT_EQ(dialled, 0);
}
INSTANTIATE_TEST_SUITE_P(Policies, Refused,
                         testing::Values("all-authenticated", "all-tls-unauthenticated", "cluster-authenticated",
                                         "deny"));

// A client that only thinks for a while is served as what it speaks, and the dial comes to nothing.
TEST_F(PlainClients, AClientThatSpeaksLateIsHeard) {
  start();
  auto& c = client();
  ASSERT_TRUE(turn_until([&] { return dialled == 1; }));
  std::string text, abandoned, asked;
  bool ended = false, abandoned_ended = false, asked_ended = false;
  rt::Running reading(reactor, read_into(c, text, ended));
  rt::Running left(reactor, read_into(*app_ends[0], abandoned, abandoned_ended));
  c.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return dialled == 2; }));
  rt::Running request(reactor, read_into(*app_ends[1], asked, asked_ended));
  ASSERT_TRUE(turn_until([&] { return abandoned_ended && asked.starts_with("GET / HTTP/1.1\r\n"); }));
  EXPECT_EQ(abandoned, "");
  app_ends[1]->write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  ASSERT_TRUE(turn_until([&] { return text.starts_with("HTTP/1.1 200 "); }));
  // It has been heard to speak HTTP: whoever is silent now is not the client of one that greets.
  EXPECT_TRUE(inbound->speaks_http(app->local()));
}

TEST_F(PlainClients, DialsAreBounded) {
  start();
  for (int i = 0; i < 30; ++i) client();
  ASSERT_TRUE(turn_until([&] { return dialled == 10; }));
  for (int i = 0; i < 200; ++i, clock += 1ms) reactor.turn(0ms);
  EXPECT_EQ(dialled, 10);
}

}  // namespace
}  // namespace tulle::proxy::inbound
