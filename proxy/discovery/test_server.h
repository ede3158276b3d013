// For tests: a gRPC server on loopback, and clients of it, in the test's own reactor.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "libs/grpc/server.h"
#include "libs/httpio/client.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/rt/scope.h"

namespace tulle::proxy {

// Turns the loop until `done()` or some seconds of real time have passed; gives done().
template <class F>
bool run_until(rt::Reactor& r, F done) {
  TimePoint end = Clock::now() + 20s;
  while (!done() && Clock::now() < end) r.turn(10ms);
  return done();
}

class TestGrpcServer {
 public:
  explicit TestGrpcServer(rt::Reactor& r, SocketAddr at = SocketAddr(IpAddr::loopback(), 0)) : reactor_(r), scope_(r) {
    auto l = net::Listener::bind(r, at);
    EXPECT_TRUE(l) << l.error().reason;
    listener_ = std::move(*l);
    handler_ = [this](std::unique_ptr<httpio::ServerExchange> x) { return grpc.handle(std::move(x)); };
    scope_.spawn(accept_forever());
  }
  SocketAddr addr() const { return listener_->local(); }
  // Ends all connections; the listener stays.
  void drop_connections() { connections_.emplace(reactor_); }
  size_t accepted = 0;
  grpc::Server grpc;

 private:
  rt::Task<void> accept_forever() {
    connections_.emplace(reactor_);
    for (;;) {
      auto a = co_await listener_->accept();
      if (!a) co_return;
      ++accepted;
      auto stream = std::make_unique<net::TcpStream>(reactor_, std::move(a->fd), a->local, a->peer, true);
      connections_->spawn(httpio::serve(std::move(stream), httpio::Protocol::kHttp2, Buffer(), options_, handler_));
    }
  }
  rt::Reactor& reactor_;
  httpio::ServeOptions options_;
  httpio::Handler handler_;
  std::unique_ptr<net::Listener> listener_;
  std::optional<rt::Scope> connections_;
  rt::Scope scope_;
};

inline rt::Task<Result<std::unique_ptr<net::Stream>>> test_connect(rt::Reactor& r, SocketAddr to) {
  net::ConnectOptions options;
  auto c = co_await net::connect(r, to, options, r.now() + 5s);
  if (!c) co_return fail(std::move(c).error());
  co_return std::make_unique<net::TcpStream>(r, std::move(c->fd), c->local, to, false);
}

inline std::unique_ptr<httpio::Client> test_client(rt::Reactor& r, SocketAddr to) {
  return std::make_unique<httpio::Client>(
      r, httpio::Protocol::kHttp2, [&r, to] { return test_connect(r, to); }, httpio::ClientOptions());
}

}  // namespace tulle::proxy
