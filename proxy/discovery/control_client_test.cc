#include "proxy/discovery/control_client.h"

#include <gtest/gtest.h>

#include "libs/grpc/client.h"
#include "libs/tls/test_mesh.h"
#include "libs/tls/tls_stream.h"
#include "proxy/discovery/test_server.h"

namespace tulle::proxy {
namespace {

rt::Task<grpc::Status> echo(grpc::ServerCall& call) {
  auto message = co_await call.read_one();
  if (!message) co_return message.error();
  auto sent = co_await call.write(*message);
  co_return sent ? grpc::Status() : sent.error();
}

rt::Task<void> ask(rt::Reactor& r, ControlClient& c, std::vector<grpc::Outcome<std::string>>& out) {
  out.push_back(co_await grpc::unary(r, c.http(), c.authority(), "/t.T/Echo", "hello", r.now() + 10s));
}

struct Fixture {
  rt::Reactor reactor{1};
  std::unique_ptr<net::Resolver> resolver = *net::Resolver::make(reactor);
  observe::Registry registry;
  ControlClientOptions options;
  std::vector<grpc::Outcome<std::string>> answers;
  rt::Scope scope{reactor};

  Fixture() {
    options.backoff = {5ms, 20ms, 0};
    options.service = "destination";
    options.metrics = &registry.add_shard();
  }
  static ControlAddr plain(std::string host, uint16_t port) {
    ControlAddr a;
    a.authority = cat(host, ":", port);
    a.host = std::move(host);
    a.port = port;
    return a;
  }
  const grpc::Outcome<std::string>& call(ControlClient& c) {
    size_t before = answers.size();
    scope.spawn(ask(reactor, c, answers));
    EXPECT_TRUE(run_until(reactor, [&] { return answers.size() > before; }));
    return answers.back();
  }
};

TEST(ControlClient, PlainToLoopbackByName) {
  Fixture f;
  TestGrpcServer server(f.reactor);
  server.grpc.add("/t.T/Echo", echo);
  ControlClient c(f.reactor, *f.resolver, Fixture::plain("localhost", server.addr().port), f.options, {});
  for (int i = 0; i < 3; ++i) {
    auto& a = f.call(c);
    ASSERT_TRUE(a) << a.error().to_string();
    EXPECT_EQ(*a, "hello");
  }
  EXPECT_EQ(server.accepted, 1u);
  EXPECT_TRUE(f.registry.render().contains(
      R"(control_dns_resolutions_total{client="destination",record_type="A",result="ok"} 1)"));
}

TEST(ControlClient, WaitsLongerAfterEachFailureAndRecovers) {
  Fixture f;
  SocketAddr at;
  {
    TestGrpcServer gone(f.reactor);
    at = gone.addr();
  }
  ControlClient c(f.reactor, *f.resolver, Fixture::plain("127.0.0.1", at.port), f.options, {});
  TimePoint start = Clock::now();
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(f.call(c));
  EXPECT_GE(Clock::now() - start, 5ms + 10ms + 20ms);
  TestGrpcServer server(f.reactor, at);
  server.grpc.add("/t.T/Echo", echo);
  EXPECT_TRUE(f.call(c));
  server.drop_connections();
  ASSERT_TRUE(run_until(f.reactor, [&] { return !c.http().connected(); }));
  EXPECT_TRUE(f.call(c));
  EXPECT_EQ(server.accepted, 2u);
}

rt::Task<void> watch(ControlClient& c, std::optional<Result<http::ResponseHead>>& ended) {
  http::RequestHead head;
  head.set_method("POST");
  head.scheme = "http";
  head.authority = c.authority();
  head.path = "/t.T/Watch";
  auto x = co_await c.http().start(head, true);
  EXPECT_TRUE(x);
  ended = co_await (*x)->response();
}

// A stream on which nothing comes would otherwise stay for ever on a connection whose other end has vanished.
TEST(ControlClient, GivesUpAControlPlaneThatNoLongerAnswers) {
  Fixture f;
  f.options.keep_alive = {20ms, 20ms};
  auto silent = *net::Listener::bind(f.reactor, SocketAddr(IpAddr::loopback(), 0));
  ControlClient c(f.reactor, *f.resolver, Fixture::plain("127.0.0.1", silent->local().port), f.options, {});
  std::optional<Result<http::ResponseHead>> ended;
  f.scope.spawn(watch(c, ended));
  ASSERT_TRUE(run_until(f.reactor, [&] { return ended.has_value(); }));
  EXPECT_EQ(ended->error().code, Code::kTimeout);
  ASSERT_TRUE(run_until(f.reactor, [&] { return c.http().connections() == 0; }));
  f.scope.cancel();
}

TEST(ControlClient, AddressesInNamesOfHeadlessServices) {
  EXPECT_EQ(address_in_name("10-0-0-1.linkerd-dst.linkerd.svc.cluster.local"), IpAddr::v4(10, 0, 0, 1));
  EXPECT_EQ(address_in_name("fd00--1.x"), *IpAddr::parse("fd00::1"));
  EXPECT_EQ(address_in_name("web-0.x"), std::nullopt);
  EXPECT_EQ(address_in_name(""), std::nullopt);
}

TEST(ControlClient, OptionsForLoopbackAndElsewhere) {
  Config config{IdentityConfig(*tls::Identity::parse_dns("a.b"))};
  config.inbound.connect_timeout = 300ms;
  config.inbound.connect_backoff = {100ms, 10s, 0.1};
  config.outbound.connect_backoff = {100ms, 60s, 0.1};
  ControlAddr there = Fixture::plain("10.0.0.1", 1);
  there.name = tls::Identity::parse_dns("x.y").value();
  EXPECT_EQ(control_client_options(config, Fixture::plain("127.0.0.1", 1)).backoff.max, 1s);
  EXPECT_EQ(control_client_options(config, Fixture::plain("127.0.0.1", 1)).connect_timeout, 300ms);
  EXPECT_EQ(control_client_options(config, there).backoff.max, 60s);
}

// A server behind mesh TLS.
struct TlsServer {
  rt::Reactor& reactor;
  std::shared_ptr<const tls::Context> context;
  std::unique_ptr<net::Listener> listener;
  grpc::Server grpc;
  httpio::Handler handler;
  httpio::ServeOptions options;
  std::vector<std::string> clients;
  rt::Scope scope;

  TlsServer(rt::Reactor& r, std::shared_ptr<const tls::Context> c)
      : reactor(r),
        context(std::move(c)),
        listener(*net::Listener::bind(r, SocketAddr(IpAddr::loopback(), 0))),
        scope(r) {
    grpc.add("/t.T/Echo", echo);
    handler = [this](std::unique_ptr<httpio::ServerExchange> x) { return grpc.handle(std::move(x)); };
    scope.spawn(run(*this));
  }
  static rt::Task<void> run(TlsServer& s) {
    for (;;) {
      auto a = co_await s.listener->accept();
      if (!a) co_return;
      auto t = co_await tls::TlsStream::accept(s.reactor, s.context, std::move(a->fd), a->local, a->peer, Buffer(), {},
                                               s.reactor.now() + 5s);
      if (!t) continue;
      s.clients.push_back((*t)->peer_identity() ? (*t)->peer_identity()->name() : "");
      s.scope.spawn(httpio::serve(std::move(*t), httpio::Protocol::kHttp2, Buffer(), s.options, s.handler));
    }
  }
};

TEST(ControlClient, MutualTlsByName) {
  Fixture f;
  tls::test::TestMesh mesh;
  TlsServer server(f.reactor, mesh.context("destination"));
  ControlAddr addr = Fixture::plain("127.0.0.1", server.listener->local().port);
  addr.name = tls::test::name_of("destination");
  auto context = mesh.anonymous();
  ControlClient c(f.reactor, *f.resolver, addr, f.options, [&] { return context; });
  ASSERT_TRUE(f.call(c));
  EXPECT_EQ(server.clients, std::vector<std::string>{""});
  context = mesh.context("web");  // certified meanwhile: the next connection says who we are
  c.http().drain();
  ASSERT_TRUE(f.call(c));
  EXPECT_EQ(server.clients.back(), tls::test::name_of("web").name());

  addr.name = tls::test::name_of("policy");
  ControlClient wrong(f.reactor, *f.resolver, addr, f.options, [&] { return context; });
  auto& a = f.call(wrong);
  ASSERT_FALSE(a);
}

}  // namespace
}  // namespace tulle::proxy
