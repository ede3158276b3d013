// Handshakes: who gets in, who does not, and what is said about it.
#include <thread>

#include "libs/tls/loop.h"

namespace tulle::tls {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Handshake : Loop {};

TEST_F(Handshake, MutualWithIdentities) {
  auto [a, b] = pair();
  accept(std::move(a), mesh().context("web"), {std::string(kTransportAlpn)});
  connect(std::move(b), mesh().context("api"), "web", {"other", std::string(kTransportAlpn)});
  ASSERT_TRUE(until([&] { return server && client; }));
  ASSERT_TRUE(*server) << server->error().reason;
  ASSERT_TRUE(*client) << client->error().reason;
  EXPECT_EQ(*s().peer_identity(), name_of("api"));
  EXPECT_EQ(*c().peer_identity(), name_of("web"));
  EXPECT_EQ(s().sni(), name_of("web").name());
  EXPECT_EQ(s().alpn(), kTransportAlpn);
  EXPECT_EQ(c().alpn(), kTransportAlpn);
  EXPECT_EQ(s().group(), "X25519MLKEM768");
  EXPECT_EQ(c().cipher(), "TLS_AES_128_GCM_SHA256");
}

TEST_F(Handshake, WithoutClientCertificate) {
  both(mesh().context("web"), mesh().anonymous(), "web");
  ASSERT_TRUE(*server) << server->error().reason;
  ASSERT_TRUE(*client);
  EXPECT_EQ(s().peer_identity(), nullptr);
  EXPECT_EQ(s().peer_cert(), nullptr);
  c().write("hello");
  EXPECT_EQ(read(s()), "hello");
}

TEST_F(Handshake, WithoutCommonAlpnThereIsNone) {
  auto [a, b] = pair();
  accept(std::move(a), mesh().context("web"), {std::string(kTransportAlpn)});
  connect(std::move(b), mesh().context("api"), "web", {"h2"});
  ASSERT_TRUE(until([&] { return server && client; }));
  ASSERT_TRUE(*server && *client);
  EXPECT_EQ(s().alpn(), "");
  EXPECT_EQ(c().alpn(), "");
}

TEST_F(Handshake, SpiffeNamesAreIdentitiesToo) {
  Identity uri = *Identity::parse("spiffe://cluster.local/ns/shop/sa/web");
  ContextOptions o(mesh().bundle);
  o.credentials = mesh().credentials({uri, name_of("web")});
  auto web = *Context::make(std::move(o));
  EXPECT_EQ(web->identity(), uri);
  both(web, web, "web");
  ASSERT_TRUE(*server && *client);
  EXPECT_EQ(*s().peer_identity(), uri);
  EXPECT_TRUE(s().peer_cert()->is(name_of("web")));
}

TEST_F(Handshake, WrongServerIdentity) {
  ContextOptions o = mesh().options("other");
  o.server_names = {};
  both(*Context::make(std::move(o)), mesh().context("api"), "web");
  ASSERT_FALSE(*client);
  const Error& e = client->error();
  EXPECT_EQ(e.code, Code::kIdentity);
  EXPECT_EQ(e.side, Side::kPeer);
  EXPECT_EQ(e.retry, Retry::kSafe);
  EXPECT_THAT(e.reason, StartsWith("TLS handshake with "));
  EXPECT_THAT(e.reason, HasSubstr(cat("expected ", name_of("web").name(), ", but the certificate is of ",
                                      name_of("other").name())));
  ASSERT_FALSE(*server);
  EXPECT_EQ(server->error().code, Code::kTls);
  EXPECT_THAT(server->error().reason, HasSubstr("the other end sent an alert: certificate unknown"));
}

TEST_F(Handshake, ServerOfAnotherMesh) {
  TestMesh other;
  both(other.context("web"), mesh().context("api"), "web");
  ASSERT_FALSE(*client);
  EXPECT_EQ(client->error().code, Code::kIdentity);
  EXPECT_THAT(client->error().reason, HasSubstr("does not lead to a root that we trust"));
}

TEST_F(Handshake, ClientOfAnotherMesh) {
  TestMesh other;
  ContextOptions o(other.bundle);
  o.credentials = other.credentials({name_of("api")});
  std::vector<std::string> both_roots = other.bundle.roots();
  both_roots.push_back(mesh().bundle.roots()[0]);
  o.roots = *TrustBundle::from_ders(both_roots);
  both(mesh().context("web"), *Context::make(std::move(o)), "web");
  ASSERT_FALSE(*server);
  EXPECT_EQ(server->error().code, Code::kIdentity);
  EXPECT_THAT(server->error().reason, HasSubstr("does not lead to a root"));
  // TLS 1.3: the client learns of it at its first read, and knows that nothing it sent was looked at.
  ASSERT_TRUE(*client);
  c().write("request");
  auto r = read(c());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, Code::kTls);
  EXPECT_EQ(r.error().retry, Retry::kSafe);
  EXPECT_THAT(r.error().reason, HasSubstr("certificate unknown"));
  EXPECT_FALSE(c().ended_cleanly());
}

WallTime two_hours_later() { return std::chrono::system_clock::now() + 2h; }

TEST_F(Handshake, ExpiredServer) {
  ContextOptions late(mesh().bundle);
  late.wall_clock = two_hours_later;
  both(mesh().context("web"), *Context::make(std::move(late)), "web");
  ASSERT_FALSE(*client);
  EXPECT_EQ(client->error().code, Code::kIdentity);
  EXPECT_THAT(client->error().reason, HasSubstr(cat("certificate of ", name_of("web").name(), " expired at ")));
}

TEST_F(Handshake, AKnownPeerStillExpires) {
  static WallTime clock;
  clock = mesh().now;
  ContextOptions o(mesh().bundle);
  o.wall_clock = [] { return clock; };
  auto api = *Context::make(std::move(o));
  auto web = mesh().context("web");
  for (int i = 0; i < 3; ++i) {
    both(web, api, "web");
    ASSERT_TRUE(*client);
  }
  EXPECT_EQ(api->cache_stats().hits, 2u);
  EXPECT_EQ(api->cache_stats().misses, 1u);
  clock += 2h;
  both(web, api, "web");
  ASSERT_FALSE(*client);
  EXPECT_EQ(client->error().code, Code::kIdentity);
  EXPECT_EQ(api->cache_stats().size, 0u);
}

TEST_F(Handshake, WrongOrMissingServerName) {
  for (std::string sni : {name_of("other").name(), std::string()}) {
    server.reset();
    client.reset();
    auto [a, b] = pair();
    accept(std::move(a), mesh().context("web"));
    connect(std::move(b), mesh().context("api"), "web", {}, sni);
    ASSERT_TRUE(until([&] { return server && client; }));
    ASSERT_FALSE(*server);
    EXPECT_EQ(server->error().code, Code::kTls);
    EXPECT_THAT(server->error().reason, HasSubstr(cat("we serve ", name_of("web").name())));
    ASSERT_FALSE(*client);
    EXPECT_THAT(client->error().reason, HasSubstr("alert: unrecognized name"));
  }
}

TEST_F(Handshake, ContextChecksItself) {
  ContextOptions wrong_name = mesh().options("web");
  wrong_name.identity = name_of("api");
  EXPECT_EQ(Context::make(std::move(wrong_name)).error().code, Code::kIdentity);
  ContextOptions wrong_key = mesh().options("web");
  wrong_key.credentials->key = *PrivateKey::generate();
  EXPECT_EQ(Context::make(std::move(wrong_key)).error().code, Code::kInvalid);
  ContextOptions expired = mesh().options("web");
  expired.wall_clock = two_hours_later;
  EXPECT_THAT(Context::make(std::move(expired)).error().reason, HasSubstr("own certificate: certificate of"));
  ContextOptions no_root = mesh().options("web");
  no_root.roots = TestMesh().bundle;
  EXPECT_EQ(Context::make(std::move(no_root)).error().code, Code::kIdentity);
  EXPECT_EQ(Context::make(mesh().options("web")).value()->not_after(),
            std::chrono::floor<std::chrono::seconds>(mesh().now - 60s + 1h));
}

TEST_F(Handshake, CannotAcceptWithoutCertificate) {
  auto [a, b] = pair();
  accept(std::move(a), mesh().anonymous());
  ASSERT_TRUE(until([&] { return server.has_value(); }));
  EXPECT_EQ(server->error().code, Code::kInvalid);
}

// One thread's handshakes, both ends.
void shake_many(const std::shared_ptr<const Context>& web, const std::shared_ptr<const Context>& api, int& good) {
  rt::Reactor reactor(1);
  for (int i = 0; i < 100; ++i) {
    auto [a, b] = Loop::pair();
    std::optional<StreamResult> server, client;
    rt::Scope scope(reactor);
    scope.spawn(put(server, TlsStream::accept(reactor, web, std::move(a), {}, {}, {}, {}, kNever)));
    scope.spawn(put(client, TlsStream::connect(reactor, api, std::move(b), {}, {}, name_of("web").name(),
                                               name_of("web"), {}, kNever)));
    while (scope.size() > 0) reactor.turn(1ms);
    if (!server->has_value() || !client->has_value()) continue;
    std::optional<Result<std::string>> word;  // with it comes a session for whoever is next
    (**server)->write("x");
    scope.spawn(read_once(***client, word));
    while (scope.size() > 0) reactor.turn(1ms);
    good += word && *word && **word == "x";
  }
}

TEST_F(Handshake, ContextsAreSharedBetweenThreads) {
  auto web = mesh().context("web"), api = mesh().context("api");
  int good[4] = {};
  {
    std::vector<std::jthread> threads;
    for (int& g : good) threads.emplace_back(shake_many, std::cref(web), std::cref(api), std::ref(g));
  }
  for (int g : good) EXPECT_EQ(g, 100);
  EXPECT_LE(api->session_stats().size, 8u);
}

// --- splits

// Moves bytes between two sockets by hand, so that a test says how they are cut.
struct Relay : Loop {
  Fd client_side, server_side;
  size_t to_server = 0, to_client = 0;  // bytes so far

  void start() {
    server.reset();
    client.reset();
    to_server = to_client = 0;
    auto [c1, c2] = pair();
    auto [s1, s2] = pair();
    client_side = std::move(c2);
    server_side = std::move(s2);
    accept(std::move(s1), web);
    connect(std::move(c1), api, "web");
  }
  // At most `size` bytes.
  static size_t move(Fd& from, Fd& to, size_t size) {
    char block[4096];
    ssize_t n = recv(from.get(), block, std::min(size, sizeof block), 0);
    if (n <= 0) return 0;
    TULLE_CHECK(send(to.get(), block, static_cast<size_t>(n), MSG_NOSIGNAL) == n);
    return static_cast<size_t>(n);
  }
  void turn() {
    for (int i = 0; i < 3; ++i) reactor.turn(0ms);
  }
  bool both_done() const { return server && client && *server && *client; }
  std::shared_ptr<const Context> web = mesh().context("web"), api = mesh().context("api");
};

TEST_F(Relay, OneByteAtATime) {
  start();
  for (int i = 0; i < 20000 && !both_done(); ++i) {
    turn();
    to_server += move(client_side, server_side, 1);
    to_client += move(server_side, client_side, 1);
  }
  ASSERT_TRUE(both_done());
  EXPECT_GT(to_server, 2000u);
}

TEST_F(Relay, AnySplit) {
  size_t total = 4000;
  for (size_t cut = 1; cut < total; cut += 37) {
    start();
    for (int i = 0; i < 200 && !both_done(); ++i) {
      turn();
      to_server += move(client_side, server_side, to_server < cut ? cut - to_server : 4096);
      to_client += move(server_side, client_side, to_client < cut ? cut - to_client : 4096);
    }
    ASSERT_TRUE(both_done()) << "cut at " << cut;
    total = std::max(to_server, to_client);
    c().write("x");
    turn();
    move(client_side, server_side, 4096);
    ASSERT_EQ(read(s()), "x");
  }
}

TEST_F(Relay, CloseAtEachStepIsHarmless) {
  for (size_t cut : {0, 1, 4, 5, 6, 100, 1000, 1500, 1600, 1800, 2000, 2500}) {
    start();
    for (int i = 0; i < 30; ++i) {
      turn();
      if (to_server < cut) to_server += move(client_side, server_side, cut - to_server);
      to_client += move(server_side, client_side, 4096);
    }
    server_side.reset();
    client_side.reset();
    ASSERT_TRUE(until([&] { return server && client; })) << cut;
    ASSERT_FALSE(*server) << cut;
    EXPECT_THAT(server->error().code, ::testing::AnyOf(Code::kReset, Code::kTls)) << server->error().reason;
    EXPECT_EQ(server->error().retry, Retry::kSafe);
  }
}

// --- hostile clients

struct Hostile : Loop {
  Fd raw;
  void serve(TimePoint deadline = Clock::now() + 5s, Buffer initial = {}) {
    server.reset();
    auto [a, b] = pair();
    raw = std::move(b);
    accept(std::move(a), mesh().context("web"), {}, std::move(initial), deadline);
    reactor.turn(0ms);
  }
  void say(std::string_view bytes) { (void)!::send(raw.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  Error outcome() {
    EXPECT_TRUE(until([&] { return server.has_value(); }));
    EXPECT_FALSE(*server);
    return server->error();
  }
};

TEST_F(Hostile, Garbage) {
  for (std::string_view bytes : {"GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01",
                                 "SSH-2.0-x\r\n", "\x15\x03\x03\0\2\2\0"}) {
    serve();
    say(bytes);
    raw.reset();
    EXPECT_THAT(outcome().code, ::testing::AnyOf(Code::kTls, Code::kReset));
  }
}

TEST_F(Hostile, HelloTooLong) {
  serve();
  // A handshake message of 2^24 − 1 bytes, in full records.
  std::string record("\x16\x03\x01\x40\x00", 5);
  say(record + "\x01\xff\xff\xff" + std::string(16380, 'x'));
  Error e = outcome();
  EXPECT_EQ(e.code, Code::kTls);
  EXPECT_THAT(e.reason, HasSubstr("EXCESSIVE_MESSAGE_SIZE"));
}

TEST_F(Hostile, EndlessEmptyRecords) {
  serve();
  std::string empty;
  for (int i = 0; i < 100; ++i) empty.append("\x16\x03\x01\0\0", 5);
  say(empty);
  EXPECT_EQ(outcome().code, Code::kTls);
}

TEST_F(Hostile, SilentOrSlowClientTimesOut) {
  serve(reactor.now() + 20ms);
  Error e = outcome();
  EXPECT_EQ(e.code, Code::kTimeout);
  EXPECT_EQ(e.retry, Retry::kSafe);
  serve(Clock::now() + 20ms);
  say("\x16\x03\x01\x02");
  EXPECT_EQ(outcome().code, Code::kTimeout);
  char byte;
  EXPECT_EQ(recv(raw.get(), &byte, 1, 0), 0) << "the connection is closed";
}

TEST_F(Hostile, ManyThatLeaveAtOnceDoNoHarm) {
  for (int i = 0; i < 200; ++i) {
    serve();
    if (i % 2) say("\x16\x03\x01\x02\x00\x01");
    raw.reset();
    EXPECT_EQ(outcome().code, Code::kReset);
  }
  meshed();
}

TEST_F(Hostile, CancelledInTheMiddle) {
  {
    rt::Scope inner(reactor);
    auto [a, b] = pair();
    std::optional<StreamResult> out;
    inner.spawn(put(out, TlsStream::accept(reactor, mesh().context("web"), std::move(a), {}, {}, {}, {}, soon())));
    reactor.turn(0ms);
  }
  reactor.turn(1ms);
  meshed();
}

}  // namespace
}  // namespace tulle::tls
