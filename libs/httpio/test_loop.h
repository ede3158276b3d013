// For the tests of this folder: a reactor, servers on loopback, and a task that must end in time.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "libs/httpio/client.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/rt/combine.h"

namespace tulle::httpio {

struct TestLoop {
  rt::Reactor reactor{1};
  ServeOptions options;
  int serving = 0;  // connections that serve_on() has taken and not yet done with
  rt::Scope scope{reactor};

  std::unique_ptr<net::Listener> listen() {
    return std::move(*net::Listener::bind(reactor, SocketAddr(IpAddr::v4(0x7f000001), 0)));
  }
  rt::Task<std::unique_ptr<net::Stream>> accept(net::Listener& listener) {
    auto c = co_await listener.accept();
    co_return std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true);
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial(SocketAddr to) {
    net::ConnectOptions none;
    auto c = co_await net::connect(reactor, to, none, reactor.now() + 1s);
    if (!c) co_return fail(c.error());
    co_return std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, to, false);
  }
  void serve_on(net::Listener& listener, Protocol protocol, const Handler& handler) {
    scope.spawn(accept_loop(listener, protocol, handler));
  }
  // Turns the loop until `t` has ended.
  void run(rt::Task<void> t) {
    bool done = false;
    rt::Running running(reactor, mark(std::move(t), done));
    EXPECT_TRUE(turn_until([&] { return done; })) << "did not end in time";
  }
  template <class F>
  bool turn_until(F&& condition) {
    for (TimePoint end = reactor.now() + 20s; reactor.now() < end && !condition();) reactor.turn(10ms);
    return condition();
  }
  // Waits in a task until `condition` is true, which nobody tells; run() bounds the time.
  template <class F>
  rt::Task<void> until(F condition) {
    while (!condition()) co_await rt::sleep_for(reactor, 1ms);
  }
  // All that comes until the end, and " error: …" where that is none.
  static rt::Task<std::string> all_of(net::Stream& s) {
    std::string got;
    for (;;) {
      auto bytes = co_await s.read();
      if (!bytes) co_return cat(got, " error: ", bytes.error().reason);
      if (bytes->empty()) co_return got;
      got.append(*bytes);
    }
  }

 private:
  rt::Task<void> accept_loop(net::Listener& listener, Protocol protocol, const Handler& handler) {
    for (;;) {
      auto c = co_await listener.accept();
      if (!c) co_return;
      auto stream = std::make_unique<net::TcpStream>(reactor, std::move(c->fd), c->local, c->peer, true);
      scope.spawn(counted(serve(std::move(stream), protocol, Buffer(), options, handler)));
    }
  }
  rt::Task<void> counted(rt::Task<void> one) {
    ++serving;
    co_await std::move(one);
    --serving;
  }
  static rt::Task<void> mark(rt::Task<void> t, bool& done) {
    co_await std::move(t);
    done = true;
  }
};

inline http::RequestHead get_request(std::string path) {
  http::RequestHead head;
  head.scheme = "http";
  head.authority = "test";
  head.path = std::move(path);
  return head;
}

}  // namespace tulle::httpio
