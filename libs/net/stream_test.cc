#include "libs/net/stream.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "libs/base/log.h"
#include "libs/net/socket.h"
#include "libs/net/testing/socket_faults.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"

namespace tulle::net {
namespace {

const SocketAddr kAny(IpAddr::v4(0x7f000001), 0);

struct Net : testing::Test {
  rt::Reactor reactor{1};
  rt::Scope scope{reactor};

  void run(rt::Task<void> t) {
    bool done = false;
    rt::Running running(reactor, mark(std::move(t), done));
    for (int i = 0; i < 20000 && !done; ++i) reactor.turn(10ms);
    ASSERT_TRUE(done) << "did not end in time";
  }
  static rt::Task<void> mark(rt::Task<void> t, bool& done) {
    co_await std::move(t);
    done = true;
  }
  // Two connected streams.
  rt::Task<void> connect_pair(std::unique_ptr<TcpStream>& a, std::unique_ptr<TcpStream>& b) {
    auto listener = Listener::bind(reactor, kAny);
    EXPECT_TRUE(listener);
    ConnectOptions none;
    auto c = co_await connect(reactor, (*listener)->local(), none, reactor.now() + 1s);
    EXPECT_TRUE(c) << c.error().reason;
    auto s = co_await (*listener)->accept();
    EXPECT_TRUE(s);
    a = std::make_unique<TcpStream>(reactor, std::move(c->fd), c->local, (*listener)->local(), false);
    b = std::make_unique<TcpStream>(reactor, std::move(s->fd), s->local, s->peer, true);
  }
};

rt::Task<std::string> read_all(Stream& s) {
  std::string got;
  for (;;) {
    auto bytes = co_await s.read();
    if (!bytes) co_return cat("error ", code_name(bytes.error().code), " after ", got.size());
    if (bytes->empty()) co_return got;
    got.append(*bytes);
  }
}
rt::Task<void> write_much(Stream& s, size_t total) {
  std::string block(50'000, 'z');
  for (size_t n = 0; n < total; n += block.size()) {
    s.write(block);
    EXPECT_TRUE(co_await s.drained(100'000));
  }
  s.shutdown_write();
}

rt::Task<void> one_write_a_turn(Net& t) {
  std::unique_ptr<TcpStream> a, b;
  co_await t.connect_pair(a, b);
  a->write("one ");
  a->write("two ");
  a->write("three");
  auto bytes = co_await b->read();
  EXPECT_EQ(*bytes, "one two three");
  a->shutdown_write();
  EXPECT_EQ(co_await read_all(*b), "");
  b->write("still open");
  b->shutdown_write();
  EXPECT_EQ(co_await read_all(*a), "still open");
}
TEST_F(Net, OneWriteATurnAndHalfClose) {
  if (test::sockets_are_at_their_worst()) GTEST_SKIP() << "is about what one system call moves";
  run(one_write_a_turn(*this));
}

rt::Task<void> bulk(Net& t) {
  Meter read{0}, written{0};
  std::unique_ptr<TcpStream> a, b;
  co_await t.connect_pair(a, b);
  a->set_meters(nullptr, &written);
  b->set_meters(&read, nullptr);
  t.scope.spawn(write_much(*a, 50'000'000));
  std::string got = co_await read_all(*b);
  EXPECT_EQ(got.size(), 50'000'000u);
  EXPECT_EQ(read.load(), 50'000'000u);
  EXPECT_EQ(written.load(), 50'000'000u);
  EXPECT_EQ(a->pending(), 0u);
}
TEST_F(Net, BulkWithBackPressure) { run(bulk(*this)); }

rt::Task<void> final_bytes(Net& t) {
  std::unique_ptr<TcpStream> a, b;
  co_await t.connect_pair(a, b);
  // The FIN comes with the data: the short read must not hide it.
  a->write("bye");
  a->shutdown_write();
  while (!b->hung_up()) co_await b->changed().wait();
  EXPECT_EQ(co_await read_all(*b), "bye");
}
TEST_F(Net, FinThatCameWithDataIsSeen) { run(final_bytes(*this)); }

rt::Task<void> aborted(Net& t) {
  std::unique_ptr<TcpStream> a, b;
  co_await t.connect_pair(a, b);
  a->abort();
  a.reset();
  EXPECT_EQ(co_await read_all(*b), "error reset after 0");
  while (!b->hung_up()) co_await b->changed().wait();
  b->write("lost");
  EXPECT_FALSE(co_await b->drained(0));
}
TEST_F(Net, AbortIsAResetAtTheOtherEnd) { run(aborted(*this)); }

// Who has only ended its direction stays; who has closed is found out when its kernel has forgotten the connection,
// here after a second.
rt::Task<void> probed(Net& t) {
  std::unique_ptr<TcpStream> a, b, c, d;
  co_await t.connect_pair(a, b);
  co_await t.connect_pair(c, d);
  int second = 1;
  EXPECT_EQ(setsockopt(a->fd(), IPPROTO_TCP, TCP_LINGER2, &second, sizeof second), 0);
  a.reset();
  c->shutdown_write();
  EXPECT_EQ(co_await read_all(*b) + co_await read_all(*d), "");
  EXPECT_FALSE(b->broken());
  b->probe(1s);
  d->probe(1s);
  while (!b->broken()) co_await b->changed().wait();
  EXPECT_TRUE(d->hung_up());
  EXPECT_FALSE(d->broken());
}
TEST_F(Net, AProbeTellsAHalfClosedEndFromAClosedOne) { run(probed(*this)); }

rt::Task<void> interrupted_read(Stream& s, std::string& out) {
  auto r = co_await s.read();
  out = r ? std::string(*r) : std::string(code_name(r.error().code));
}
rt::Task<void> interrupt(Net& t) {
  std::unique_ptr<TcpStream> a, b;
  co_await t.connect_pair(a, b);
  std::string out;
  t.scope.spawn(interrupted_read(*b, out));
  co_await rt::yield(t.reactor);  // it waits
  b->interrupt_read();
  co_await t.scope.join();
  EXPECT_EQ(out, "cancelled");
  a->write("later");
  auto bytes = co_await b->read();
  EXPECT_EQ(*bytes, "later");
}
TEST_F(Net, InterruptedReadLosesNothing) { run(interrupt(*this)); }

rt::Task<void> copy(Stream& a, Stream& b, CopyResult& out) { out = co_await copy_both(a, b); }
rt::Task<void> proxied(Net& t) {
  std::unique_ptr<TcpStream> a, a2, b2, b;
  co_await t.connect_pair(a, a2);
  co_await t.connect_pair(b2, b);
  CopyResult result;
  rt::Running copying(t.reactor, copy(*a2, *b2, result));
  t.scope.spawn(write_much(*a, 5'000'000));
  t.scope.spawn(write_much(*b, 3'000'000));
  EXPECT_EQ((co_await read_all(*b)).size(), 5'000'000u);
  EXPECT_EQ((co_await read_all(*a)).size(), 3'000'000u);
  while (!copying.done()) co_await rt::yield(t.reactor);
  EXPECT_FALSE(result.error);
  EXPECT_EQ(result.a_to_b, 5'000'000u);
  EXPECT_EQ(result.b_to_a, 3'000'000u);
}
TEST_F(Net, CopyBothWays) { run(proxied(*this)); }

rt::Task<void> copy_held(Stream& a, Stream& b, CopyResult& out, Holders& holders) {
  out = co_await copy_both(a, b, kCopyMark, &holders);
}
size_t held_by(Holders& holders, std::vector<Holders::Holding>& found) {
  size_t total = 0;
  found.clear();
  holders.largest(1, 0, found, total);
  return total;
}
// Both ends have said all, and one does not take it.
rt::Task<void> shed_at_the_end(Net& t) {
  std::unique_ptr<TcpStream> a, a2, b2, b;
  co_await t.connect_pair(a, a2);
  co_await t.connect_pair(b2, b);
  a2->write(std::string(8'000'000, 'z'));  // more than systems take
  Holders holders;
  CopyResult result;
  rt::Running copying(t.reactor, copy_held(*a2, *b2, result, holders));
  a->shutdown_write();
  EXPECT_EQ(co_await read_all(*b), "");
  b->shutdown_write();
  std::vector<Holders::Holding> found;
  for (int i = 0; i < 1000; ++i) co_await rt::yield(t.reactor);
  EXPECT_GT(held_by(holders, found), 0u);
  EXPECT_EQ(found.size(), 1u);
  if (found.empty()) co_return;
  EXPECT_TRUE(holders.shed(found[0].serial));
  for (int i = 0; i < 1000 && !copying.done(); ++i) co_await rt::yield(t.reactor);
  EXPECT_TRUE(copying.done());
  EXPECT_TRUE(result.error && result.error->code == Code::kExhausted);
  EXPECT_EQ(a2->pending(), 0u);
}
TEST_F(Net, WhatOnlyWaitsForItsReaderIsShedToo) {
  if (test::sockets_are_at_their_worst()) GTEST_SKIP() << "is about what sockets hold";
  run(shed_at_the_end(*this));
}

rt::Task<void> refused(Net& t) {
  auto listener = Listener::bind(t.reactor, kAny);
  SocketAddr gone = (*listener)->local();
  listener->reset();
  ConnectOptions none;
  auto c = co_await connect(t.reactor, gone, none, t.reactor.now() + 1s);
  EXPECT_FALSE(c);
  EXPECT_EQ(c.error().code, Code::kConnect);
  EXPECT_EQ(c.error().retry, Retry::kSafe);
}
TEST_F(Net, RefusedConnectIsSafeToRetry) { run(refused(*this)); }

rt::Task<void> take(Listener& listener, std::optional<Result<Accepted>>& out) { out = co_await listener.accept(); }
rt::Task<void> sleep_long(rt::Reactor& r) { co_await rt::sleep_for(r, 1h); }
rt::Task<void> out_of_fds(Net& t) {
  auto listener = std::move(*Listener::bind(t.reactor, kAny));
  // UBSan needs a descriptor when it meets a class for the first time, so it meets them now.
  log_warn("running out of descriptors on purpose");
  t.scope.spawn(sleep_long(t.reactor));
  co_await rt::yield(t.reactor);
  t.scope.cancel();
  ConnectOptions none;
  auto first = co_await connect(t.reactor, listener->local(), none, t.reactor.now() + 1s);
  EXPECT_TRUE(first);
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  rlimit none_left{.rlim_cur = 3, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none_left);
  std::optional<Result<Accepted>> accepted;
  t.scope.spawn(take(*listener, accepted));
  co_await rt::yield(t.reactor);  // it has tried
  EXPECT_EQ(listener->errors(), 1u);
  EXPECT_FALSE(accepted);
  setrlimit(RLIMIT_NOFILE, &before);
  co_await t.scope.join();
  EXPECT_TRUE(accepted && *accepted);
}
TEST_F(Net, ListenerSurvivesRunningOutOfDescriptors) { run(out_of_fds(*this)); }

rt::Task<void> unix_socket(Net& t, std::string path) {
  auto fd = listen_unix(path);
  EXPECT_TRUE(fd) << fd.error().reason;
  EXPECT_FALSE(listen_unix(path)) << "a live socket must not be taken over";
  auto listener = std::move(*Listener::adopt(t.reactor, std::move(*fd)));
  auto c = connect_unix(path);
  EXPECT_TRUE(c);
  EXPECT_TRUE(co_await listener->accept());
  listener.reset();
  EXPECT_TRUE(listen_unix(path)) << "a dead one is replaced";
}
TEST_F(Net, UnixSocket) {
  std::string path = testing::TempDir() + cat("tulle-net-", getpid(), ".sock");
  run(unix_socket(*this, path));
  unlink(path.c_str());
}

}  // namespace
}  // namespace tulle::net
