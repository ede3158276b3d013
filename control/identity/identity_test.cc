#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "control/identity/authority.h"
#include "control/identity/certify.h"
#include "control/identity/token.h"
#include "libs/base/file.h"
#include "libs/tls/verify.h"

namespace tulle::control {
namespace {

using grpc::StatusCode;
using testing::HasSubstr;

const WallTime kNow = WallTime(1'800'000'000s);

struct StateDir {
  std::string path;
  StateDir() {
    char name[] = "/tmp/tulle-state-XXXXXX";
    path = mkdtemp(name);
  }
  ~StateDir() { std::filesystem::remove_all(path); }
};

TEST(Token, SaysWhoseItIs) {
  std::string key(32, 'k');
  TokenSubject api{"shop", "api", "api-1"};
  std::string token = issue_token(key, api, 1h, kNow);
  EXPECT_EQ(*check_token(key, token, kNow), api);
  EXPECT_EQ(check_token(key, token, kNow + 1h).error().reason, "token: expired");
  EXPECT_EQ(check_token(std::string(32, 'x'), token, kNow).error().code, Code::kDenied);
  std::string changed = token;
  changed[token.find('.') + 5] ^= 1;
  EXPECT_FALSE(check_token(key, changed, kNow));
  for (auto bad : {"", "a", "a.b.c", "..", "e30.e30.e30"})
    EXPECT_EQ(check_token(key, bad, kNow).error().code, Code::kInvalid) << bad;
  EXPECT_EQ(check_token(key, std::string(5000, 'a'), kNow).error().code, Code::kInvalid);
  // An unsigned one: {"alg":"none"}.
  std::string none = cat("eyJhbGciOiJub25lIn0", token.substr(token.find('.')));
  EXPECT_THAT(check_token(key, none, kNow).error().reason, HasSubstr("alg"));
}

TEST(Authorities, AreMadeOnceAndKept) {
  StateDir dir;
  auto a = open_authorities(dir.path, "cluster.local", kNow);
  ASSERT_TRUE(a) << a.error().reason;
  struct stat st;
  for (auto file : {"root.key", "root.crt", "issuer.key", "issuer.crt", "token.key"}) {
    ASSERT_EQ(stat(cat(dir.path, "/", file).c_str(), &st), 0) << file;
    EXPECT_EQ(st.st_mode & 0777, 0600u) << file;
  }
  auto b = open_authorities(dir.path, "cluster.local", kNow + 1h);
  ASSERT_TRUE(b);
  EXPECT_TRUE(a->roots == b->roots);
  EXPECT_EQ(a->issuer.chain(), b->issuer.chain());
  EXPECT_EQ(a->token_key, b->token_key);
  // The clock was set back an hour: what has been made counts, and is used.
  auto early = open_authorities(dir.path, "cluster.local", kNow - 1h);
  ASSERT_TRUE(early);
  EXPECT_EQ(a->issuer.chain(), early->issuer.chain());
  EXPECT_TRUE(a->issuer.verify(a->roots, kNow - 23h));
  // Eleven months on there is a new issuer under the same root.
  auto c = open_authorities(dir.path, "cluster.local", kNow + 24h * 340);
  ASSERT_TRUE(c);
  EXPECT_TRUE(a->roots == c->roots);
  EXPECT_NE(a->issuer.chain(), c->issuer.chain());
  EXPECT_FALSE(*renew_issuer(*c, dir.path, "cluster.local", kNow + 24h * 341));
  // A file that is not what it should be is not overwritten.
  ASSERT_TRUE(write_file_atomic(cat(dir.path, "/root.crt"), "nonsense", 0600));
  auto d = open_authorities(dir.path, "cluster.local", kNow);
  ASSERT_FALSE(d);
  EXPECT_THAT(d.error().reason, HasSubstr("/root.crt"));
  EXPECT_EQ(*read_file(cat(dir.path, "/root.crt"), 100), "nonsense");
}

TEST(Certify, InLinkerdsOrderWithItsCodes) {
  StateDir dir;
  auto a = open_authorities(dir.path, "cluster.local", kNow);
  ASSERT_TRUE(a);
  MeshConfig mesh = MeshConfig::local();
  std::string name = mesh.identity("shop", "api");
  auto id = tls::Identity::parse(name);
  auto key = tls::PrivateKey::generate();
  wire::CertifyRequest good{name, issue_token(a->token_key, {"shop", "api", "api-1"}, 24h, kNow),
                            *tls::make_csr(*key, *id)};
  auto ask = [&](const wire::CertifyRequest& r, WallTime now = kNow) { return certify(*a, mesh, {}, r, now); };

  auto ok = ask(good);
  ASSERT_TRUE(ok) << ok.error().message;
  std::vector<std::string> chain{ok->leaf};
  chain.insert(chain.end(), ok->intermediates.begin(), ok->intermediates.end());
  auto peer = tls::verify_chain(chain, a->roots, tls::PeerRole::kClient, kNow);
  ASSERT_TRUE(peer) << peer.error().reason;
  EXPECT_EQ(peer->identity()->name(), name);
  EXPECT_EQ(ok->valid_until, kNow + 24h + 20s);
  EXPECT_EQ(tls::read_cert(ok->leaf)->public_key, key->public_key());

  auto code = [&](auto change, WallTime now = kNow) {
    wire::CertifyRequest r = good;
    change(r);
    auto out = ask(r, now);
    return out ? StatusCode::kOk : out.error().code;
  };
  EXPECT_EQ(code([](auto& r) { r.identity = ""; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](auto& r) { r.token = ""; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](auto& r) { r.csr = ""; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](auto& r) { r.csr = "garbage"; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](auto& r) { r.token = "garbage"; }), StatusCode::kInvalidArgument);
  EXPECT_EQ(code([](auto& r) { r.identity = "web.shop.serviceaccount.identity.linkerd.cluster.local"; }),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([&](auto& r) { r.token = issue_token(a->token_key, {"shop", "web", "web-1"}, 24h, kNow); }),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([&](auto& r) {
              r.token = issue_token("another key of thirty-two bytes.", {"shop", "api", "api-1"}, 24h, kNow);
            }),
            StatusCode::kFailedPrecondition);
  EXPECT_EQ(code([](auto&) {}, kNow + 25h), StatusCode::kFailedPrecondition);  // the token has expired
  EXPECT_EQ(code([](auto&) {}, kNow + 24h * 400), StatusCode::kUnknown);       // the issuer has
}

}  // namespace
}  // namespace tulle::control
