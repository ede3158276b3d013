#include "proxy/discovery/certify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "libs/base/file.h"
#include "libs/tls/ca.h"
#include "proxy/discovery/test_server.h"

namespace tulle::proxy {
namespace {

using testing::HasSubstr;

WallTime wall_now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }

struct TempDir {
  std::string path;
  TempDir() {
    char name[] = "/tmp/tulle-certify-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TempDir() {
    for (auto* f : {"token", "key.p8", "csr.der"}) ::unlink(cat(path, "/", f).c_str());
    ::rmdir(path.c_str());
  }
  void write(std::string_view file, Bytes contents) const { std::ofstream(cat(path, "/", file)) << contents; }
};

// The machine's clock, which a test sets. A plain function reads it.
Duration wall_shift{};
WallTime shifted_wall() { return wall_now() + wall_shift; }

// An identity service with a CA, and a certifier that asks it.
struct Mesh {
  rt::Reactor reactor;
  TempDir dir;
  tls::Authority root = *tls::Authority::make_root("root.linkerd.cluster.local", 24h * 100, wall_now() - 24h * 50);
  tls::Authority other_root = *tls::Authority::make_root("other.linkerd.cluster.local", 24h, wall_now());
  TestGrpcServer server{reactor};
  std::unique_ptr<httpio::Client> client = test_client(reactor, server.addr());
  IdentityConfig config{*tls::Identity::parse_dns("web.default.serviceaccount.identity.linkerd.cluster.local")};
  observe::Registry registry;

  // How the service answers.
  std::vector<wire::CertifyRequest> asked;
  std::string issue_for;  // "": who asks
  const tls::Authority* issue_by = &root;
  Duration lifetime = 1h;
  std::optional<grpc::Status> refuse;
  std::optional<WallTime> valid_until;
  std::vector<std::string> bundles;  // sent in order, then the stream stays open
  rt::Signal bundle_added{reactor};

  std::vector<std::shared_ptr<const tls::Context>> contexts;
  std::unique_ptr<Certifier> certifier;

  explicit Mesh(const TimePoint* clock = nullptr) : reactor(1, clock) {
    wall_shift = {};
    dir.write("token", "token-1\n");
    config.server_name = config.name.name();
    config.ephemeral = true;
    config.token_file = dir.path + "/token";
    config.trust_anchors_pem = tls::certs_to_pem(root.chain());
    config.min_refresh = 5ms;
    config.max_refresh = 10ms;
    server.grpc.add(std::string(wire::kIdentityCertify), [this](grpc::ServerCall& c) { return certify(*this, c); });
  }
  void serve_bundles() {
    server.grpc.add(std::string(wire::kTrustBundlesWatch),
                    [this](grpc::ServerCall& c) { return bundles_of(*this, c); });
  }
  static rt::Task<grpc::Status> certify(Mesh& m, grpc::ServerCall& call) {
    auto bytes = co_await call.read_one();
    if (!bytes) co_return bytes.error();
    auto request = wire::decode_certify_request(*bytes);
    EXPECT_TRUE(request);
    m.asked.push_back(*request);
    if (m.refuse) co_return *m.refuse;
    auto csr = tls::parse_csr(request->csr);
    EXPECT_TRUE(csr) << csr.error().reason;
    std::vector names{*tls::Identity::parse_dns(m.issue_for.empty() ? request->identity : m.issue_for)};
    auto issued = m.issue_by->issue(*csr, names, m.lifetime, 20s, shifted_wall());
    EXPECT_TRUE(issued) << issued.error().reason;
    wire::CertifyResponse answer{issued->leaf, issued->chain, m.valid_until.value_or(issued->not_after)};
    auto sent = co_await call.write(wire::encode(answer));
    co_return sent ? grpc::Status() : sent.error();
  }
  static rt::Task<grpc::Status> bundles_of(Mesh& m, grpc::ServerCall& call) {
    (void)co_await call.read_one();
    for (size_t i = 0;; ++i) {
      while (i >= m.bundles.size()) co_await m.bundle_added.wait();
      auto sent = co_await call.write(wire::encode(wire::TrustBundle{m.bundles[i], {}}));
      if (!sent) co_return sent.error();
    }
  }

  void start() {
    CertifierOptions o;
    o.config = &config;
    o.workload = "default:web";
    o.authority = "identity";
    o.backoff = {1ms, 5ms, 0};
    o.wall_clock = shifted_wall;
    auto made = Certifier::make(reactor, o, registry.add_shard(), [this](auto c) { contexts.push_back(std::move(c)); });
    ASSERT_TRUE(made) << made.error().reason;
    certifier = std::move(*made);
    certifier->start(*client);
  }
  void let_pass(TimePoint& clock, int seconds) {
    for (; seconds > 0; --seconds) {
      clock += 1s;
      for (int i = 0; i < 5; ++i) reactor.turn(0ms);
    }
  }
  bool metric(std::string_view line) { return registry.render().contains(line); }
};

TEST(Certifier, CertifiesAndRenews) {
  Mesh m;
  m.start();
  EXPECT_FALSE(m.certifier->certified());
  ASSERT_NE(m.certifier->context(), nullptr);
  EXPECT_FALSE(m.certifier->context()->identity());
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1; }));
  EXPECT_TRUE(m.certifier->certified());
  EXPECT_EQ(m.certifier->context(), m.contexts[0]);
  EXPECT_EQ(*m.contexts[0]->identity(), m.config.name);
  EXPECT_EQ(m.asked[0].token, "token-1");
  EXPECT_EQ(m.asked[0].identity, m.config.name.name());

  m.dir.write("token", "token-2");  // tokens are rotated too
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() >= 4; }));
  EXPECT_EQ(m.asked.back().token, "token-2");
  EXPECT_NE(m.contexts[0], m.contexts[1]);
  EXPECT_TRUE(m.metric("control_identity_cert_refreshes_total{result=\"ok\"}"));
  EXPECT_TRUE(m.metric("control_identity_cert_expiration_timestamp_seconds"));
}

TEST(Certifier, RenewsAtSeventyPercentWithinBounds) {
  IdentityConfig c(*tls::Identity::parse_dns("a.b"));
  EXPECT_EQ(renewal_delay(10h, c), 7h);
  EXPECT_EQ(renewal_delay(1s, c), 10s);
  EXPECT_EQ(renewal_delay(1000h, c), 24h);
}

// A clock that is set, or a machine that slept: its own timer of hours says nothing.
TEST(Certifier, RenewsWhenTheClockHasJumped) {
  TimePoint clock{};
  Mesh m(&clock);
  m.config.min_refresh = 10min;
  m.config.max_refresh = 24h;
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1; }));
  clock += 1s;         // it looks at the other clock each second
  wall_shift = 45min;  // past 70 % of an hour
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 2; }));
  clock += 1s;
  wall_shift = 24h * 3;  // it has expired
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 3; }));
  clock += 1s;
  wall_shift = -24h;  // it is not valid yet
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 4; }));
  EXPECT_LE(m.contexts.back()->not_before(), shifted_wall());
  wall_shift += 30min;  // nothing to do
  m.let_pass(clock, 60);
  EXPECT_EQ(m.asked.size(), 4u);
}

TEST(Certifier, ARefusalAfterAJumpIsNotAskedAgainAtOnce) {
  TimePoint clock{};
  Mesh m(&clock);
  m.config.min_refresh = m.config.max_refresh = 1h;
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1; }));
  m.refuse = grpc::Status(grpc::StatusCode::kPermissionDenied, "the token is of the past");
  clock += 1s;
  wall_shift = 24h;
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() == 2; }));
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.metric("refreshes_total{result=\"error\"} 1"); }));
  m.let_pass(clock, 60);
  EXPECT_EQ(m.asked.size(), 2u);
}

TEST(Certifier, UnreachableIsAskedSoonAgain) {
  Mesh m;
  m.config.min_refresh = m.config.max_refresh = 1h;
  m.refuse = grpc::Status(grpc::StatusCode::kUnavailable, "starting");
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() == 3; }));
  m.refuse.reset();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1; }));
  EXPECT_TRUE(m.metric("control_identity_cert_refreshes_total{result=\"error\"} 3"));
}

TEST(Certifier, RefusedIsAskedAgainAfterTheLeastDelay) {
  TimePoint clock{};
  Mesh m(&clock);
  m.config.min_refresh = 1h;
  m.config.max_refresh = 2h;
  m.refuse = grpc::Status(grpc::StatusCode::kPermissionDenied, "not you");
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() == 1; }));
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.metric("refreshes_total{result=\"error\"} 1"); }));
  clock += 1h - 1ms;
  for (int i = 0; i < 10; ++i) m.reactor.turn(0ms);
  EXPECT_EQ(m.asked.size(), 1u);
  clock += 1ms;
  EXPECT_TRUE(run_until(m.reactor, [&] { return m.asked.size() == 2; }));
}

TEST(Certifier, AWrongNameIsRefusedAndTheOldOneStays) {
  Mesh m;
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1; }));
  m.issue_for = "admin.default.serviceaccount.identity.linkerd.cluster.local";
  size_t asked = m.asked.size(), good = m.contexts.size();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() >= asked + 3; }));
  EXPECT_LE(m.contexts.size(), good + 1);  // one answer may have been on its way
  EXPECT_EQ(*m.certifier->context()->identity(), m.config.name);
  EXPECT_TRUE(m.metric("control_identity_cert_refreshes_total{result=\"error\"}"));
}

TEST(Certifier, AnUnknownIssuerOrAPastEndIsRefused) {
  Mesh m;
  m.issue_by = &m.other_root;
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() >= 2; }));
  EXPECT_FALSE(m.certifier->certified());
  m.issue_by = &m.root;
  m.valid_until = wall_now() - 1s;
  size_t asked = m.asked.size();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.asked.size() >= asked + 3; }));
  EXPECT_FALSE(m.certifier->certified());
  m.valid_until.reset();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.certifier->certified(); }));
}

TEST(Certifier, WithoutATokenNothingIsAsked) {
  Mesh m;
  m.dir.write("token", " \n");
  m.start();
  ASSERT_TRUE(
      run_until(m.reactor, [&] { return m.metric("control_identity_cert_refreshes_total{result=\"error\"} 2"); }));
  EXPECT_TRUE(m.asked.empty());
  m.dir.write("token", "t");
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.certifier->certified(); }));
}

TEST(Certifier, ANewBundleMakesANewContext) {
  Mesh m;
  m.config.min_refresh = m.config.max_refresh = 1h;
  m.serve_bundles();
  std::string both = tls::certs_to_pem(m.root.chain()) + tls::certs_to_pem(m.other_root.chain());
  m.bundles = {m.config.trust_anchors_pem, "nonsense", both};
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 2; }));
  EXPECT_EQ(m.contexts[0]->roots().roots().size(), 1u);
  EXPECT_EQ(m.contexts[1]->roots().roots().size(), 2u);
  EXPECT_EQ(m.asked.size(), 1u);

  // The old root goes while our certificate still hangs on it: another is asked for, the old context stays meanwhile.
  m.issue_by = &m.other_root;
  m.bundles.push_back(tls::certs_to_pem(m.other_root.chain()));
  m.bundle_added.notify();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 3; }));
  EXPECT_EQ(m.asked.size(), 2u);
  EXPECT_EQ(m.contexts[2]->roots().roots().size(), 1u);
  EXPECT_TRUE(m.contexts[2]->identity());
}

TEST(Certifier, ABrokenWatchOfBundlesIsMadeAgain) {
  Mesh m;
  m.config.min_refresh = m.config.max_refresh = 1h;
  m.serve_bundles();
  m.start();
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 1 && m.bundle_added.waited_for(); }));
  m.server.drop_connections();
  m.bundles = {tls::certs_to_pem(m.root.chain()) + tls::certs_to_pem(m.other_root.chain())};
  ASSERT_TRUE(run_until(m.reactor, [&] { return m.contexts.size() == 2; }));
}

TEST(LoadKey, ReadsLinkerdsFolder) {
  TempDir dir;
  IdentityConfig c(*tls::Identity::parse_dns("a.b"));
  c.dir = dir.path;
  auto missing = load_key(c);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().reason, HasSubstr("key.p8"));

  auto key = tls::PrivateKey::generate();
  std::string pem = *key->to_pem();
  std::string body = pem.substr(pem.find('\n') + 1);
  body.resize(body.find("-----END"));
  std::erase(body, '\n');
  dir.write("key.p8", *unbase64(body));
  missing = load_key(c);
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().reason, HasSubstr("csr.der"));
  dir.write("csr.der", *tls::make_csr(*key, c.name));
  auto loaded = load_key(c);
  ASSERT_TRUE(loaded) << loaded.error().reason;
  EXPECT_EQ(loaded->key.public_key(), key->public_key());
  EXPECT_EQ(loaded->csr, *read_file(dir.path + "/csr.der", 10000));

  dir.write("key.p8", "garbage");
  EXPECT_FALSE(load_key(c));
}

}  // namespace
}  // namespace tulle::proxy
