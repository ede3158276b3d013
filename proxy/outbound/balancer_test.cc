// A balancer and its endpoints on a worker, with a server on loopback and a discovery that says what the test wants.
#include "proxy/outbound/balancer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tulle::proxy::outbound {
namespace {

using testing::HasSubstr;
using testing::Not;

rt::Task<void> hello(std::unique_ptr<httpio::ServerExchange> x) {
  http::ResponseHead head;
  head.headers.add(http::HeaderId::kContentLength, "5");
  EXPECT_TRUE(x->respond(head, false));
  Buffer b;
  b.append("hello");
  x->write(std::move(b));
  EXPECT_TRUE(x->finish());
  co_return;
}

struct Fixture : testing::Test {
  rt::Reactor reactor{1};
  observe::Registry registry;
  Config config{IdentityConfig(*tls::Identity::parse_dns("a.b.serviceaccount.identity.linkerd.cluster.local"))};
  EndpointHub::Publish publish;

  template <class Hub>
  static typename Hub::Source silent() {
    return [](auto, typename Hub::Publish) -> rt::Task<void> { co_return; };
  }
  TargetHub targets{reactor, silent<TargetHub>()};
  EndpointHub endpoints{reactor, [this](std::string, EndpointHub::Publish p) { return follow(std::move(p)); }};
  PortHub ports{reactor, silent<PortHub>()};
  Worker worker{reactor, config, registry.add_shard(), nullptr, targets, endpoints, ports};

  httpio::ServeOptions options;
  httpio::Handler handler = hello;
  std::unique_ptr<net::Listener> listener =
      std::move(*net::Listener::bind(reactor, SocketAddr(IpAddr::v4(127, 0, 0, 1), 0)));
  rt::Scope scope{reactor};

  rt::Task<void> follow(EndpointHub::Publish p) {
    publish = std::move(p);
    co_return;
  }
  rt::Task<void> serve(httpio::Protocol protocol) {
    for (;;) {
      auto c = co_await listener->accept();
      if (!c) co_return;
      scope.spawn(httpio::serve(std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true),
                                protocol, Buffer(), options, handler));
    }
  }
  template <class F>
  bool turn_until(F&& condition, Duration most = 20s) {
    for (TimePoint end = reactor.now() + most; reactor.now() < end && !condition();) reactor.turn(5ms);
    return condition();
  }
  wire::Endpoint endpoint() {
    wire::Endpoint e;
    e.addr = listener->local();
    return e;
  }
  // The value of the series of a family, whatever its labels; they are summed.
  double value(std::string_view family) {
    double sum = 0;
    std::string text = registry.render();
    for (std::string_view line : split(text, '\n'))
      if (line.starts_with(cat(family, "{"))) sum += std::stod(std::string(line.substr(line.rfind(' ') + 1)));
    return sum;
  }
};

rt::Task<void> get(Endpoint& e, http::Version version, bool& done) {
  http::RequestHead head;
  head.scheme = "http";
  head.authority = "web";
  head.path = "/";
  head.version = version;
  auto x = co_await e.send(head, true, false);
  EXPECT_TRUE(x);
  if (!x) co_return;
  EXPECT_TRUE(co_await (*x)->response());
  auto body = co_await (*x)->read();
  EXPECT_TRUE(body && body->view() == "hello");
  done = true;
}

// The gauge of open connections went up with each connection of the pools and never down.
void connections_are_counted(Fixture& f, httpio::Protocol protocol, http::Version version) {
  f.scope.spawn(f.serve(protocol));
  auto info = std::make_shared<const wire::Endpoint>(f.endpoint());
  auto e = std::make_unique<Endpoint>(f.worker, info, std::make_shared<const Endpoint::Group>("web", wire::Labels()),
                                      wire::LoadEstimate());
  bool done = false;
  rt::Running asking(f.reactor, get(*e, version, done));
  ASSERT_TRUE(f.turn_until([&] { return done; }));
  EXPECT_EQ(f.value("tcp_open_total"), 1);
  EXPECT_EQ(f.value("tcp_open_connections"), 1);
  EXPECT_GT(f.value("tcp_write_bytes_total"), 10);
  EXPECT_GT(f.value("tcp_read_bytes_total"), 10);
  e.reset();
  f.reactor.turn(0ms);
  EXPECT_EQ(f.value("tcp_open_connections"), 0);
  EXPECT_EQ(f.value("tcp_close_total"), 1);
}
TEST_F(Fixture, CountsItsHttp1Connections) {
  connections_are_counted(*this, httpio::Protocol::kHttp1, http::Version::kHttp11);
}
TEST_F(Fixture, CountsItsHttp2Connections) {
  connections_are_counted(*this, httpio::Protocol::kHttp2, http::Version::kHttp2);
}

rt::Task<void> probe(Endpoint& e, bool& done) {
  EXPECT_TRUE(co_await e.probe());
  done = true;
}

// A probe left an HTTP/2 connection behind that nobody used, also where all there is are raw bytes.
TEST_F(Fixture, AProbeKeepsItsConnectionForRequestsOnly) {
  scope.spawn(serve(httpio::Protocol::kHttp2));
  wire::Endpoint info = endpoint();
  info.hint = wire::ProtocolHint::kH2;
  Endpoint e(worker, std::make_shared<const wire::Endpoint>(info),
             std::make_shared<const Endpoint::Group>("web", wire::Labels()), wire::LoadEstimate());
  bool probed = false, asked = false, again = false;
  rt::Running probing(reactor, probe(e, probed));
  ASSERT_TRUE(turn_until([&] { return probed; }));
  EXPECT_FALSE(e.connected());
  rt::Running asking(reactor, get(e, http::Version::kHttp2, asked));
  ASSERT_TRUE(turn_until([&] { return asked; }));
  rt::Running probing_again(reactor, probe(e, again));
  ASSERT_TRUE(turn_until([&] { return again; }));
  EXPECT_TRUE(e.connected());
  EXPECT_EQ(value("tcp_open_total"), 1);
}

rt::Task<void> pick(Balancer& b, std::optional<Reason>& reason) {
  auto e = co_await b.pick();
  reason = e ? Reason::kLoadShed : e.error().reason;
}

// The one endpoint has gone from discovery and nobody has a connection to it: it is a last resort only where it can
// prove who it is, so that the request has nobody to wait for.
TEST_F(Fixture, APlainEndpointThatIsGoneIsNotWaitedForWithoutEnd) {
  config.outbound.http_failfast_timeout = 100ms;
  config.absent_grace = 200ms;
  BackendSpec spec;
  spec.target = wire::Balancer{"web.ns.svc.cluster.local:80", {}};
  Balancer balancer(worker, spec);
  ASSERT_TRUE(turn_until([&] { return static_cast<bool>(publish); }));
  Discovered set;
  set.endpoints.push_back(std::make_shared<const wire::Endpoint>(endpoint()));
  publish(std::make_shared<const Discovered>(set));
  ASSERT_TRUE(turn_until([&] { return balancer.ready(); }));
  publish(std::make_shared<const Discovered>());
  for (int i = 0; i < 5; ++i) reactor.turn(0ms);

  std::optional<Reason> reason;
  rt::Running picking(reactor, pick(balancer, reason));
  EXPECT_TRUE(turn_until([&] { return reason.has_value(); }, 2s));
  EXPECT_EQ(reason, Reason::kNoEndpoints);
}

}  // namespace
}  // namespace tulle::proxy::outbound
