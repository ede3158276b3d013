// What flows after the handshake: order, back-pressure, ends, memory, renewal.
#include <malloc.h>
#include <openssl/ssl.h>
#include <sys/resource.h>

#include "libs/net/testing/socket_faults.h"
#include "libs/tls/loop.h"

namespace tulle::tls {
namespace {

using ::testing::HasSubstr;

struct Data : Loop {};

TEST_F(Data, BothWaysInOrder) {
  meshed();
  c().write("ping");
  EXPECT_EQ(read(s()), "ping");
  s().write("po");
  s().write("ng");
  EXPECT_EQ(read(c()), "pong") << "one turn, one record";
  EXPECT_EQ(c().pending(), 0u);
}

TEST_F(Data, BytesSentWithTheLastFlightAreRead) {
  // The client's Finished and its first request come in one recv.
  for (size_t size : {1, 1000, 16384, 60000}) {
    std::string request(size, 'r');
    auto [a, b] = pair();
    server.reset();
    client.reset();
    accept(std::move(a), mesh().context("web"));
    connect(std::move(b), mesh().context("api"), "web");
    ASSERT_TRUE(until([&] { return client.has_value(); }));
    c().write(request);
    ASSERT_TRUE(until([&] { return server.has_value(); }));
    std::string got;
    while (got.size() < size) {
      auto r = read(s());
      ASSERT_TRUE(r) << r.error().reason;
      got += *r;
    }
    EXPECT_EQ(got, request);
  }
}

TEST_F(Data, ManyRecordsOfOneRecvComeTogether) {
  if (net::test::sockets_are_at_their_worst()) GTEST_SKIP() << "is about what one system call moves";
  meshed();
  std::string all;
  for (int i = 0; i < 50; ++i) {
    std::string piece(100, static_cast<char>('a' + i % 26));
    c().write(piece);
    c().flush();
    all += piece;
  }
  EXPECT_EQ(read(s()), all);
}

TEST_F(Data, CountsPlaintext) {
  net::Meter read_here{0}, written_here{0};
  meshed();
  c().set_meters(&read_here, &written_here);
  c().write(std::string(1000, 'x'));
  EXPECT_EQ(read(s())->size(), 1000u);
  s().write("four");
  EXPECT_EQ(read(c()), "four");
  EXPECT_EQ(written_here, 1000u);
  EXPECT_EQ(read_here, 4u);
  client.reset();  // the meters outlive it
}

// --- ends

TEST_F(Data, HalfCloseLeavesTheOtherDirection) {
  meshed();
  c().write("last words");
  c().shutdown_write();
  EXPECT_EQ(read(s()), "last words");
  EXPECT_EQ(read(s()), "");
  EXPECT_TRUE(s().ended_cleanly());
  std::string answer(300'000, 'a'), got;
  s().write(answer);
  s().shutdown_write();
  bool done = false;
  std::optional<Error> error;
  scope.spawn(read_all(c(), got, done, error));
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_FALSE(error) << error->reason;
  EXPECT_EQ(got, answer);
  EXPECT_TRUE(c().ended_cleanly());
}

TEST_F(Data, EndWithoutCloseNotifyIsAnError) {
  meshed();
  c().write("cut");
  reactor.turn(0ms);
  client.reset();
  EXPECT_EQ(read(s()), "cut");
  auto r = read(s());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kReset);
  EXPECT_EQ(r.error().side, Side::kPeer);
  EXPECT_THAT(r.error().reason, HasSubstr("without close_notify"));
  EXPECT_FALSE(s().ended_cleanly());
  EXPECT_FALSE(read(s())) << "and stays one";
}

TEST_F(Data, DestroyedStreamSendsWhatWasWritten) {
  meshed();
  c().write("goodbye");
  c().shutdown_write();
  client.reset();
  EXPECT_EQ(read(s()), "goodbye");
  EXPECT_EQ(read(s()), "");
  EXPECT_TRUE(s().ended_cleanly());
}

TEST_F(Data, AbortSendsNothing) {
  meshed();
  c().write("never seen");
  c().shutdown_write();
  c().abort();
  client.reset();
  EXPECT_FALSE(read(s()));
}

TEST_F(Data, ABrokenRecordIsAnError) {
  // The tag of the record is cut off by hand: a socket of our own stands between.
  auto [c1, c2] = pair();
  auto [s1, s2] = pair();
  accept(std::move(s1), mesh().context("web"));
  connect(std::move(c1), mesh().context("api"), "web");
  char block[65536];
  auto relay = [&](Fd& from, Fd& to, bool spoil) {
    ssize_t n = recv(from.get(), block, sizeof block, 0);
    if (n <= 0) return false;
    if (spoil) block[n - 1] ^= 1;
    TULLE_CHECK(::send(to.get(), block, static_cast<size_t>(n), MSG_NOSIGNAL) == n);
    return true;
  };
  ASSERT_TRUE(until([&] {
    relay(c2, s2, false);
    relay(s2, c2, false);
    return server && client && *server && *client;
  }));
  c().write("secret");
  ASSERT_TRUE(until([&] { return relay(c2, s2, true); }));
  auto r = read(s());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kTls);
  EXPECT_THAT(r.error().reason, HasSubstr("BAD_RECORD_MAC"));
  // The other end is told why.
  std::optional<Result<std::string>> told;
  rt::Running reading(reactor, read_once(c(), told));
  ASSERT_TRUE(until([&] {  // behind a ticket, perhaps
    relay(s2, c2, false);
    return told.has_value();
  }));
  ASSERT_FALSE(*told);
  EXPECT_THAT(told->error().reason, HasSubstr("alert: bad record mac"));
  // And nothing more can be sent.
  s().write("x");
  ASSERT_TRUE(until([&] { return s().write_error().has_value(); }));
}

TEST_F(Data, EndlessKeyUpdatesAreAnError) {
  // A client of AWS-LC's own, without a certificate.
  bssl::UniquePtr<SSL_CTX> ctx(SSL_CTX_new(TLS_method()));
  bssl::UniquePtr<SSL> ssl(SSL_new(ctx.get()));
  auto [a, b] = pair();
  accept(std::move(a), mesh().context("web"));
  SSL_set_fd(ssl.get(), b.get());
  SSL_set_tlsext_host_name(ssl.get(), name_of("web").name().c_str());
  ASSERT_TRUE(until([&] { return SSL_connect(ssl.get()) == 1; }));
  ASSERT_TRUE(until([&] { return server.has_value(); }));
  ASSERT_TRUE(*server) << server->error().reason;
  std::optional<Result<std::string>> got;
  scope.spawn(read_once(s(), got));
  int updates = 0;
  while (!got && updates < 100'000) {
    if (SSL_key_update(ssl.get(), SSL_KEY_UPDATE_NOT_REQUESTED)) ++updates;
    SSL_write(ssl.get(), "", 0);
    reactor.turn(0ms);
  }
  ASSERT_TRUE(got) << updates << " key updates were taken";
  ASSERT_FALSE(*got);
  EXPECT_THAT(got->error().reason, HasSubstr("without any data"));
}

// --- bulk

constexpr size_t kBulk = 100'000'000;

// The byte at any place of the stream, so that a wrong order is seen.
char pattern(size_t i) { return static_cast<char>(i * 131 + (i >> 11)); }

rt::Task<void> send_bulk(net::Stream& s, size_t total, size_t& most_pending) {
  std::string block(64 * 1024, '\0');
  for (size_t sent = 0; sent < total;) {
    size_t n = std::min(block.size(), total - sent);
    for (size_t i = 0; i < n; ++i) block[i] = pattern(sent + i);
    s.write(Bytes(block).substr(0, n));
    sent += n;
    if (!co_await s.drained(128 * 1024)) co_return;
    most_pending = std::max(most_pending, s.pending());
  }
  s.shutdown_write();
}
rt::Task<void> receive_bulk(net::Stream& s, size_t& received, bool& right, bool& done) {
  for (;;) {
    auto r = co_await s.read();
    if (!r) right = false;
    if (!r || r->empty()) break;
    for (size_t i = 0; i < r->size(); i += 97) right = right && (*r)[i] == pattern(received + i);
    received += r->size();
  }
  done = true;
}

TEST_F(Data, HundredMegabytesBothWays) {
  meshed();
  size_t pending[2] = {}, received[2] = {};
  bool right[2] = {true, true}, done[2] = {};
  scope.spawn(send_bulk(c(), kBulk, pending[0]));
  scope.spawn(send_bulk(s(), kBulk, pending[1]));
  scope.spawn(receive_bulk(s(), received[0], right[0], done[0]));
  scope.spawn(receive_bulk(c(), received[1], right[1], done[1]));
  TimePoint end = Clock::now() + 60s;
  while (!(done[0] && done[1]) && Clock::now() < end) reactor.turn(10ms);
  for (int i : {0, 1}) {
    EXPECT_TRUE(done[i]);
    EXPECT_TRUE(right[i]);
    EXPECT_EQ(received[i], kBulk);
    EXPECT_LE(pending[i], 128u * 1024);
  }
}

TEST_F(Data, AReaderThatDoesNotReadStopsTheWriter) {
  meshed();
  size_t pending = 0, received = 0;
  bool right = true, done = false;
  scope.spawn(send_bulk(c(), 20'000'000, pending));
  ASSERT_TRUE(until([&] { return c().pending() > 0; }));
  for (int i = 0; i < 50; ++i) reactor.turn(0ms);  // whatever still can, moves
  EXPECT_GT(c().pending(), 0u);
  EXPECT_LE(c().pending(), 256u * 1024);
  scope.spawn(receive_bulk(s(), received, right, done));
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_TRUE(right);
  EXPECT_EQ(received, 20'000'000u);
}

// --- renewal and memory

TEST_F(Data, RenewalDropsNothing) {
  auto web = mesh().context("web"), api = mesh().context("api");
  both(web, api, "web");
  ASSERT_TRUE(*server && *client);
  size_t pending = 0, received = 0;
  bool right = true, done = false;
  scope.spawn(send_bulk(c(), 20'000'000, pending));
  scope.spawn(receive_bulk(s(), received, right, done));
  ASSERT_TRUE(until([&] { return received > 1'000'000; }));
  std::weak_ptr<const Context> old = web;
  web = mesh().context("web");
  api = mesh().context("api");
  ASSERT_FALSE(old.expired()) << "the connection holds what it was made with";
  ASSERT_TRUE(until([&] { return done; }));
  EXPECT_TRUE(right);
  EXPECT_EQ(received, 20'000'000u);
  both(web, api, "web");
  EXPECT_TRUE(*server && *client);
  EXPECT_TRUE(old.expired());
}

size_t allocated() { return mallinfo2().uordblks; }

TEST_F(Data, IdleConnectionsAreSmall) {
  constexpr size_t kPairs = 1000, kLimit = 16'000;
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer's allocator does not count";
#endif
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  ASSERT_GE(files.rlim_max, 2 * kPairs + 100) << "raise the limit of open files";
  auto web = mesh().context("web"), api = mesh().context("api");
  std::vector<std::unique_ptr<TlsStream>> ends;
  auto more = [&] {
    both(web, api, "web");
    ASSERT_TRUE(*server && *client);
    ends.push_back(std::move(**server));
    ends.push_back(std::move(**client));
    server.reset();
    client.reset();
  };
  more();
  ends.reserve(2 * kPairs + 2);
  size_t before = allocated();
  for (size_t i = 0; i < kPairs; ++i) ASSERT_NO_FATAL_FAILURE(more());
  size_t idle = (allocated() - before) / (2 * kPairs);
  // After traffic in both directions, nothing but the session remains.
  for (size_t i = 2; i < ends.size(); i += 2) {
    for (auto [from, to] : {std::pair{i, i + 1}, std::pair{i + 1, i}}) {
      ends[from]->write(std::string(10'000, 'x'));
      ASSERT_EQ(read(*ends[to])->size(), 10'000u);
    }
  }
  size_t used = (allocated() - before) / (2 * kPairs);
  std::printf("bytes of heap per idle end: %zu, after traffic: %zu\n", idle, used);
  RecordProperty("idle_bytes", static_cast<int>(idle));
  EXPECT_LE(idle, kLimit);
  EXPECT_LE(used, kLimit);
}

}  // namespace
}  // namespace tulle::tls
