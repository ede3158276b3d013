// Sessions that are resumed: whose they are, and when they are not.
#include <malloc.h>
#include <openssl/ssl.h>

#include "libs/tls/internal.h"
#include "libs/tls/loop.h"

namespace tulle::tls {
namespace {

using ::testing::HasSubstr;

WallTime clock_now;
WallTime our_clock() { return clock_now; }

struct Resumption : Loop {
  void SetUp() override { clock_now = mesh().now; }
  // Certificates that outlast the session, and a clock that the test moves.
  static ContextOptions options(std::string_view workload, Duration lifetime = 24h) {
    ContextOptions o = mesh().options(workload);
    o.credentials = mesh().credentials({name_of(workload)}, mesh().now - 60s, lifetime);
    o.server_names = {};
    o.wall_clock = our_clock;
    return o;
  }
  static std::shared_ptr<const Context> context(std::string_view workload, Duration lifetime = 24h) {
    return *Context::make(options(workload, lifetime));
  }
  // A connection that carries a word each way, so that the client has its ticket. True: resumed, at both ends.
  bool meet(const std::shared_ptr<const Context>& web, const std::shared_ptr<const Context>& api,
            std::string_view expected = "web", std::optional<std::string> sni = {}) {
    server.reset();
    client.reset();
    auto [a, b] = pair();
    accept(std::move(a), web);
    connect(std::move(b), api, expected, {}, sni ? sni : name_of("web").name());
    EXPECT_TRUE(until([&] { return server && client; }));
    if (!*client) return ADD_FAILURE() << client->error().reason, false;
    if (!*server) return ADD_FAILURE() << server->error().reason, false;
    c().write("question");
    EXPECT_EQ(read(s()), "question");
    s().write("answer");
    EXPECT_EQ(read(c()), "answer");
    EXPECT_EQ(s().resumed(), c().resumed());
    return s().resumed();
  }
  void expect_peers(std::string_view at_server, std::string_view at_client) {
    ASSERT_TRUE(s().peer_identity());
    EXPECT_EQ(*s().peer_identity(), name_of(at_server));
    ASSERT_TRUE(c().peer_identity());
    EXPECT_EQ(*c().peer_identity(), name_of(at_client));
  }
};

TEST_F(Resumption, GivesTheIdentitiesOfTheFullHandshake) {
  auto web = context("web"), api = context("api"), db = context("db");
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(meet(web, api), i > 0);
    expect_peers("api", "web");
    EXPECT_EQ(s().sni(), name_of("web").name());
    EXPECT_EQ(s().group(), "X25519MLKEM768") << "with a key exchange of its own";
    EXPECT_EQ(meet(web, db), i > 0);
    expect_peers("db", "web");
  }
}

TEST_F(Resumption, HasAnAlpnOfItsOwn) {
  auto web = context("web"), api = context("api");
  meet(web, api);
  for (std::string alpn : {"", "one", "two"}) {
    server.reset();
    client.reset();
    auto [a, b] = pair();
    accept(std::move(a), web, {"one", "two"});
    connect(std::move(b), api, "web", alpn.empty() ? std::vector<std::string>() : std::vector{alpn});
    ASSERT_TRUE(until([&] { return server && client && *server && *client; }));
    EXPECT_TRUE(s().resumed());
    EXPECT_EQ(s().alpn(), alpn);
    EXPECT_EQ(c().alpn(), alpn);
    s().write("x");
    ASSERT_EQ(read(c()), "x");
  }
}

TEST_F(Resumption, ASessionIsOfferedOnce) {
  auto web = context("web"), api = context("api");
  meet(web, api);
  EXPECT_EQ(api->session_stats().size, 1u);
  both(web, api, "web");
  EXPECT_TRUE(s().resumed());
  EXPECT_EQ(api->session_stats().size, 0u) << "nothing has been said that could have brought a new one";
  both(web, api, "web");
  EXPECT_FALSE(s().resumed());
}

TEST_F(Resumption, CanBeSwitchedOffAtEitherEnd) {
  ContextOptions off = options("web");
  off.resumption = false;
  auto web_off = *Context::make(off);
  off = options("api");
  off.resumption = false;
  auto api_off = *Context::make(off);
  auto web = context("web"), api = context("api");
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(meet(web_off, api));
    EXPECT_FALSE(meet(web, api_off));
    EXPECT_FALSE(meet(web_off, api_off));
  }
  EXPECT_EQ(api->session_stats().size, 0u);
  EXPECT_EQ(api_off->session_stats().size, 0u);
}

TEST_F(Resumption, NobodyStaysNobody) {
  ContextOptions o(mesh().bundle);
  o.wall_clock = our_clock;
  auto web = context("web"), anonymous = *Context::make(std::move(o));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(meet(web, anonymous), i > 0);
    EXPECT_EQ(s().peer_identity(), nullptr);
    EXPECT_EQ(*c().peer_identity(), name_of("web"));
  }
}

TEST_F(Resumption, EndsWithTheCertificateOfTheClient) {
  auto web = context("web"), api = context("api", 30min);
  meet(web, api);
  clock_now += 28min;
  EXPECT_TRUE(meet(web, api));
  ContextOptions o = options("api", 30min);
  o.credentials = mesh().credentials({name_of("api")}, mesh().now - 60s, 30min);
  o.wall_clock = nullptr;  // that knows nothing of it and offers its session
  api = *Context::make(std::move(o));
  meet(web, api);
  clock_now += 5min;
  both(web, api, "web");
  ASSERT_FALSE(*server);
  EXPECT_EQ(server->error().code, Code::kIdentity) << "a full handshake followed, and showed why";
  EXPECT_THAT(server->error().reason, HasSubstr(cat("certificate of ", name_of("api").name(), " expired at ")));
}

TEST_F(Resumption, EndsWithTheCertificateOfTheServer) {
  ContextOptions o = options("web", 30min);
  o.wall_clock = nullptr;  // it would go on for ever
  auto web = *Context::make(std::move(o)), api = context("api");
  meet(web, api);
  clock_now += 28min;
  EXPECT_TRUE(meet(web, api));
  EXPECT_EQ(api->session_stats().size, 1u);
  clock_now += 5min;
  both(web, api, "web");
  ASSERT_FALSE(*client);
  EXPECT_EQ(client->error().code, Code::kIdentity);
  EXPECT_THAT(client->error().reason, HasSubstr(cat("certificate of ", name_of("web").name(), " expired at ")));
  EXPECT_EQ(api->session_stats().size, 0u);
}

TEST_F(Resumption, AServerThatHasExpiredResumesNothing) {
  auto web = context("web", 30min);
  ContextOptions o = options("api");
  o.wall_clock = nullptr;
  auto api = *Context::make(std::move(o));
  meet(web, api);
  clock_now += 30min;
  EXPECT_FALSE(meet(web, api)) << "it is for the client to find that out";
}

TEST_F(Resumption, EndsAnHourAfterTheFullHandshake) {
  auto web = context("web");
  ContextOptions o = options("api");
  o.wall_clock = nullptr;  // offers whatever it has
  auto api = *Context::make(std::move(o));
  EXPECT_FALSE(meet(web, api));
  clock_now += 40min;
  EXPECT_TRUE(meet(web, api));
  clock_now += 15min;
  EXPECT_TRUE(meet(web, api)) << "resumed with what a resumption gave";
  clock_now += 10min;
  EXPECT_FALSE(meet(web, api));
  expect_peers("api", "web");
  EXPECT_TRUE(meet(web, api));
  clock_now -= 65min;
  EXPECT_FALSE(meet(web, api)) << "the clock was put back";
}

TEST_F(Resumption, AClientOffersNothingThatIsTooOld) {
  auto web = context("web"), api = context("api");
  meet(web, api);
  clock_now += 61min;
  EXPECT_FALSE(meet(web, api));
  EXPECT_EQ(api->session_stats().size, 1u) << "the new one";
}

TEST_F(Resumption, EndsWithRenewal) {
  auto web = context("web"), api = context("api");
  meet(web, api);
  EXPECT_TRUE(meet(web, api));
  web = context("web");
  EXPECT_FALSE(meet(web, api)) << "of the server";
  EXPECT_TRUE(meet(web, api));
  api = context("api");
  EXPECT_FALSE(meet(web, api)) << "of the client";
  EXPECT_TRUE(meet(web, api));
}

TEST_F(Resumption, EndsWithTheTrustBundle) {
  ContextOptions web_options = options("web"), api_options = options("api");
  auto web = *Context::make(web_options), api = *Context::make(api_options);
  meet(web, api);
  std::vector<std::string> roots = mesh().bundle.roots();
  roots.push_back(TestMesh().bundle.roots()[0]);
  web_options.roots = api_options.roots = *TrustBundle::from_ders(roots);
  EXPECT_FALSE(meet(*Context::make(web_options), api)) << "the same certificate, other roots";
  meet(web, api);
  EXPECT_FALSE(meet(web, *Context::make(api_options)));
}

TEST_F(Resumption, AnotherPodOfTheWorkloadCannotUseATicket) {
  auto one = context("web"), other = context("web"), api = context("api");
  meet(one, api);
  EXPECT_FALSE(meet(other, api));
  expect_peers("api", "web");
}

TEST_F(Resumption, IsNotOfferedToAnotherIdentity) {
  auto web = context("web"), db = context("db"), api = context("api");
  std::string sni = name_of("web").name();
  meet(web, api, "web", sni);
  EXPECT_FALSE(meet(db, api, "db", sni)) << "the same address and the same SNI, somebody else expected";
  expect_peers("api", "db");
  EXPECT_EQ(api->session_stats().size, 2u) << "the first was not offered";
  EXPECT_TRUE(meet(web, api, "web", sni));
  expect_peers("api", "web");
  EXPECT_TRUE(meet(db, api, "db", sni));
  expect_peers("api", "db");
}

TEST_F(Resumption, SomebodyElseAtThatAddressMustShowWhoHeIs) {
  auto web = context("web"), db = context("db"), api = context("api");
  meet(web, api);
  both(db, api, "web");
  ASSERT_FALSE(*client);
  EXPECT_THAT(client->error().reason, HasSubstr(cat("but the certificate is of ", name_of("db").name())));
}

// --- what it is made of

SessionPtr session_of(SSL_CTX* ctx) { return SessionPtr(SSL_SESSION_new(ctx)); }

struct Cache : ::testing::Test {
  bssl::UniquePtr<SSL_CTX> ctx{SSL_CTX_new(TLS_with_buffers_method())};
  SessionCache cache;
  WallTime now = mesh().now;
  static std::shared_ptr<const Peer> peer(std::string_view workload) {
    return std::make_shared<const Peer>(Peer{{name_of(workload)}, mesh().now - 1h, mesh().now + 1h});
  }
  static IpAddr ip(uint32_t n) { return IpAddr::v4(0x7f400000 + n); }
  SSL_SESSION* put(uint32_t n, std::string_view workload, Duration lifetime = 30min) {
    SessionPtr s = session_of(ctx.get());
    SSL_SESSION* raw = s.get();
    cache.put(ip(n), "sni", peer(workload), std::move(s), now + lifetime);
    return raw;
  }
  SessionPtr take(uint32_t n, std::string_view workload) { return cache.take(ip(n), "sni", name_of(workload), now); }
};

TEST_F(Cache, GivesTheNewestOnce) {
  SSL_SESSION* first = put(1, "web");
  SSL_SESSION* second = put(1, "web");
  EXPECT_EQ(take(2, "web"), nullptr);
  EXPECT_EQ(cache.take(ip(1), "other", name_of("web"), now), nullptr);
  EXPECT_EQ(take(1, "db"), nullptr);
  EXPECT_EQ(take(1, "web").get(), second);
  EXPECT_EQ(take(1, "web").get(), first);
  EXPECT_EQ(take(1, "web"), nullptr);
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(Cache, PassesOverWhatIsOfOthersAndDropsWhatHasEnded) {
  SSL_SESSION* web = put(1, "web");
  put(1, "db");
  put(1, "web", -1s);
  EXPECT_EQ(take(1, "web").get(), web);
  EXPECT_EQ(cache.size(), 1u);
  now += 2h;
  EXPECT_EQ(take(1, "db"), nullptr);
  EXPECT_EQ(cache.size(), 0u);
  now = mesh().now;
  put(1, "web", 5h);
  now += 2h;
  EXPECT_EQ(take(1, "web"), nullptr) << "its certificate has expired";
  put(1, "web", 5h);
  now -= 4h;
  EXPECT_EQ(take(1, "web"), nullptr) << "its certificate is not valid yet";
}

TEST_F(Cache, IsBounded) {
  for (int i = 0; i < 100; ++i) put(0, "web");
  EXPECT_EQ(cache.size(), SessionCache::kMaxOfOne);
  EXPECT_EQ(cache.evictions(), 0u);
  for (uint32_t i = 1; i <= 3000; ++i) put(i, "web");
  EXPECT_EQ(cache.size(), SessionCache::kMax);
  EXPECT_EQ(cache.evictions(), 3000 + SessionCache::kMaxOfOne - SessionCache::kMax);
  EXPECT_EQ(take(0, "web"), nullptr) << "the oldest went";
  EXPECT_NE(take(3000, "web"), nullptr);
}

TEST(Tickets, AreForOneKeyAndOneServerName) {
  auto key = *TicketKey::make(), other = *TicketKey::make();
  std::string session(200, 's'), ticket(1000, '\0');
  WallTime until = std::chrono::floor<std::chrono::seconds>(mesh().now);
  auto* out = reinterpret_cast<uint8_t*>(ticket.data());
  for (const std::string& hash : {std::string(32, 'h'), std::string()}) {
    ticket.resize(1000);
    EXPECT_EQ(key->seal("web", {hash, until}, session, out, session.size() + TicketKey::kOverhead - 1), 0u);
    ticket.resize(key->seal("web", {hash, until}, session, out, ticket.size()));
    EXPECT_EQ(ticket.size(), session.size() + TicketKey::kOverhead);
    std::string opened(1000, '\0');
    size_t size = 0;
    auto open = [&](TicketKey& k, std::string_view sni, const std::string& t) {
      return k.open(sni, t, reinterpret_cast<uint8_t*>(opened.data()), size);
    };
    auto head = open(*key, "web", ticket);
    ASSERT_TRUE(head);
    EXPECT_EQ(head->leaf_hash, hash);
    EXPECT_EQ(head->until, until);
    EXPECT_EQ(opened.substr(0, size), session);
    EXPECT_FALSE(open(*key, "db", ticket));
    EXPECT_FALSE(open(*key, "", ticket));
    EXPECT_FALSE(open(*other, "web", ticket));
    for (size_t i = 0; i < ticket.size(); ++i) {
      std::string forged = ticket;
      forged[i] ^= 1;
      EXPECT_FALSE(open(*key, "web", forged)) << i;
      EXPECT_FALSE(open(*key, "web", ticket.substr(0, i))) << i;
    }
    EXPECT_FALSE(open(*key, "web", ticket + "x"));
    EXPECT_FALSE(open(*key, "web", std::string(60'000, 'x')));
  }
}

TEST_F(Resumption, SessionsAreSmall) {
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "a sanitizer's allocator does not count";
#endif
  auto web = context("web"), api = context("api");
  meet(web, api);
  std::vector<std::shared_ptr<const Context>> kept;
  size_t before = mallinfo2().uordblks;
  SessionCache more;
  constexpr uint32_t kCount = 500;
  for (uint32_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(meet(web, api), true);
    SessionPtr session = api->impl().sessions.take(c().peer().ip, name_of("web").name(), name_of("web"), clock_now);
    ASSERT_TRUE(session);
    more.put(IpAddr::v4(i), name_of("web").name(), std::make_shared<const Peer>(*c().peer_cert()), std::move(session),
             clock_now + 1h);
    ASSERT_FALSE(meet(web, api)) << "it is taken";
  }
  size_t each = (mallinfo2().uordblks - before) / kCount;
  std::printf("bytes of heap per session: %zu\n", each);
  EXPECT_LE(each, 1800u);
}

}  // namespace
}  // namespace tulle::tls
