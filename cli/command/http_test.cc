#include "cli/command/http.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "libs/base/strings.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/rt/scope.h"

namespace tulle::cli {
namespace {

rt::Task<void> answer(std::unique_ptr<httpio::ServerExchange> exchange) {
  http::ResponseHead head;
  if (exchange->request.path == "/none") head.status = 404;
  if (exchange->request.path == "/never") {
    while (true) co_await exchange->changed().wait();
  }
  (void)exchange->respond(head, false);
  std::string body = cat("you asked for ", exchange->request.path);
  if (exchange->request.path == "/large") body.assign(1 << 20, 'x');
  for (int i = exchange->request.path == "/large" ? 3 : 1; i > 0; --i) {
    Buffer buffer;
    buffer.append(body);
    exchange->write(std::move(buffer));
    if (!co_await exchange->room()) co_return;
  }
  (void)exchange->finish();
}

rt::Task<void> serve_one(rt::Reactor& reactor, net::Accepted accepted) {
  static const httpio::ServeOptions options;
  static const httpio::Handler handler = [](std::unique_ptr<httpio::ServerExchange> e) { return answer(std::move(e)); };
  SocketAddr local = accepted.local, peer = accepted.peer;
  auto stream = std::make_unique<net::TcpStream>(reactor, std::move(accepted.fd), local, peer, true);
  co_await httpio::serve(std::move(stream), httpio::Protocol::kHttp1, Buffer(), options, handler);
}

rt::Task<void> accept_all(rt::Scope& scope, net::Listener& listener) {
  while (true) {
    auto accepted = co_await listener.accept();
    if (!accepted) co_return;
    scope.spawn(serve_one(scope.reactor(), std::move(*accepted)));
  }
}

// Servers on a TCP port and on a Unix socket, on a thread of their own.
class Http : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/tulle-test-XXXXXX";
    folder_ = ::mkdtemp(path);
    std::atomic<bool> up = false;
    thread_ = std::thread([this, &up] {
      rt::Reactor reactor;
      auto tcp = net::Listener::bind(reactor, SocketAddr(IpAddr::loopback(), 0)).value();
      auto local = net::Listener::adopt(reactor, net::listen_unix(socket()).value()).value();
      rt::Scope scope(reactor);
      scope.spawn(accept_all(scope, *tcp));
      scope.spawn(accept_all(scope, *local));
      address_ = tcp->local();
      reactor_ = &reactor;
      up = true;
      up.notify_one();
      reactor.run();
    });
    up.wait(false);
  }
  void TearDown() override {
    reactor_->stop();
    thread_.join();
    ::unlink(socket().c_str());
    ::rmdir(folder_.c_str());
  }
  std::string socket() const { return folder_ + "/s"; }

  std::string folder_;
  SocketAddr address_;
  rt::Reactor* reactor_ = nullptr;
  std::thread thread_;
};

TEST_F(Http, OverTcpAndUnixSockets) {
  auto tcp = http_get({{address_, ""}, "/a"}, 10s);
  ASSERT_TRUE(tcp) << tcp.error().reason;
  EXPECT_EQ(tcp->body, "you asked for /a");
  auto local = http_get({{{}, socket()}, "/b?c=d"}, 10s);
  ASSERT_TRUE(local) << local.error().reason;
  EXPECT_EQ(local->body, "you asked for /b?c=d");
  EXPECT_EQ(http_get({{address_, ""}, "/none"}, 10s)->status, 404);
  EXPECT_EQ(http_get({{address_, ""}, "/large"}, 10s)->body.size(), 3u << 20);
}

TEST_F(Http, ManyAtOnceInOrder) {
  std::vector<Ask> asks;
  for (int i = 0; i < 200; ++i) asks.push_back({{address_, ""}, cat("/", i)});
  auto answers = http_get_all(asks, 10s);
  ASSERT_EQ(answers.size(), 200u);
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(answers[i]) << answers[i].error().reason;
    EXPECT_EQ(answers[i]->body, cat("you asked for /", i));
  }
}

TEST_F(Http, Failures) {
  EXPECT_EQ(http_get({{address_, ""}, "/never"}, 50ms).error().code, Code::kTimeout);
  EXPECT_FALSE(http_get({{{}, folder_ + "/none"}, "/"}, 10s));
  Fd closed(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));  // bound and not listening: refused
  sockaddr_storage sa;
  socklen_t size = SocketAddr(IpAddr::loopback(), 0).to_sockaddr(sa);
  ASSERT_EQ(::bind(closed.get(), reinterpret_cast<sockaddr*>(&sa), size), 0);
  ASSERT_EQ(::getsockname(closed.get(), reinterpret_cast<sockaddr*>(&sa), &size), 0);
  EXPECT_EQ(http_get({{SocketAddr::from_sockaddr(sa).value(), ""}, "/"}, 10s).error().code, Code::kConnect);
}

}  // namespace
}  // namespace tulle::cli
