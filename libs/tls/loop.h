// A reactor, connected sockets and coroutines to drive both ends, for the tests of libs/tls.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <functional>

#include "libs/rt/scope.h"
#include "libs/tls/test_mesh.h"
#include "libs/tls/tls_stream.h"

namespace tulle::tls {

using StreamResult = Result<std::unique_ptr<TlsStream>>;
using test::name_of;
using test::TestMesh;

inline rt::Task<void> put(std::optional<StreamResult>& out, rt::Task<StreamResult> task) {
  out = co_await std::move(task);
}
inline rt::Task<void> read_once(net::Stream& s, std::optional<Result<std::string>>& out) {
  auto r = co_await s.read();
  if (r) out = std::string(*r);
  else out = fail(r.error());
}
// Reads to the end; the error, if it is one, in `error`.
inline rt::Task<void> read_all(net::Stream& s, std::string& out, bool& done, std::optional<Error>& error) {
  for (;;) {
    auto r = co_await s.read();
    if (!r) error = r.error();
    if (!r || r->empty()) break;
    out.append(*r);
  }
  done = true;
}

inline const TestMesh& mesh() {
  static const TestMesh m;
  return m;
}

struct Loop : ::testing::Test {
  rt::Reactor reactor{1};
  rt::Scope scope{reactor};
  std::optional<StreamResult> server, client;

  static std::pair<Fd, Fd> pair() {
    int p[2];
    TULLE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p) == 0);
    return {Fd(p[0]), Fd(p[1])};
  }
  // True once `done` holds; false after about ten seconds.
  bool until(const std::function<bool()>& done) {
    for (TimePoint end = Clock::now() + 10s; Clock::now() < end; reactor.turn(5ms))
      if (done()) return true;
    return false;
  }
  TimePoint soon() const { return reactor.now() + 5s; }

  void accept(Fd fd, std::shared_ptr<const Context> context, std::vector<std::string> alpn = {}, Buffer initial = {},
              TimePoint deadline = Clock::now() + 5s) {
    scope.spawn(put(server, TlsStream::accept(reactor, std::move(context), std::move(fd), {}, {}, std::move(initial),
                                              std::move(alpn), deadline)));
  }
  void connect(Fd fd, std::shared_ptr<const Context> context, std::string_view expected,
               std::vector<std::string> alpn = {}, std::optional<std::string> sni = {},
               TimePoint deadline = Clock::now() + 5s) {
    scope.spawn(put(client, TlsStream::connect(reactor, std::move(context), std::move(fd), {}, {},
                                               sni.value_or(name_of(expected).name()), name_of(expected),
                                               std::move(alpn), deadline)));
  }
  void both(std::shared_ptr<const Context> s, std::shared_ptr<const Context> c, std::string_view expected) {
    server.reset();
    client.reset();
    auto [a, b] = pair();
    accept(std::move(a), std::move(s));
    connect(std::move(b), std::move(c), expected);
    ASSERT_TRUE(until([&] { return server && client; }));
  }
  // Both ends of a finished handshake, or a failed test.
  void meshed() {
    both(mesh().context("web"), mesh().context("api"), "web");
    ASSERT_TRUE(*server) << server->error().reason;
    ASSERT_TRUE(*client) << client->error().reason;
  }
  TlsStream& s() { return ***server; }
  TlsStream& c() { return ***client; }
  Result<std::string> read(net::Stream& stream) {
    std::optional<Result<std::string>> out;
    rt::Running running(reactor, read_once(stream, out));
    if (!until([&] { return out.has_value(); })) return fail(Code::kTimeout, "nothing to read");
    return *out;
  }
};

}  // namespace tulle::tls
