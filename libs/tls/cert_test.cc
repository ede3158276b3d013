#include "libs/tls/cert.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "libs/tls/ca.h"
#include "libs/tls/verify.h"

namespace tulle::tls {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const WallTime kNow(std::chrono::seconds(1'800'000'000));
const Identity kWeb = *Identity::parse("web.shop.serviceaccount.identity.linkerd.cluster.local");
const Identity kWebUri = *Identity::parse("spiffe://cluster.local/ns/shop/sa/web");

// A root, an issuer below it, and a certificate for kWeb.
struct Mesh {
  Authority root = *Authority::make_root("root.linkerd.cluster.local", 24h * 365, kNow);
  Authority issuer = *root.make_issuer("identity.linkerd.cluster.local", 24h * 30, kNow);
  TrustBundle bundle = *TrustBundle::from_ders(root.chain());
  PrivateKey key = *PrivateKey::generate();
  Csr csr = *parse_csr(*make_csr(key, kWeb));
};

std::vector<std::string> whole(const Issued& issued) {
  std::vector<std::string> chain{issued.leaf};
  chain.insert(chain.end(), issued.chain.begin(), issued.chain.end());
  return chain;
}

TEST(PrivateKey, GoesToPemAndBack) {
  PrivateKey key = *PrivateKey::generate();
  std::string pem = *key.to_pem();
  EXPECT_TRUE(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
  EXPECT_EQ(PrivateKey::from_pem(pem)->public_key(), key.public_key());
  EXPECT_NE(PrivateKey::generate()->public_key(), key.public_key());
  cleanse(pem);
  EXPECT_TRUE(pem.empty());
}

TEST(PrivateKey, RefusesOtherThings) {
  EXPECT_FALSE(PrivateKey::from_pem(""));
  EXPECT_FALSE(PrivateKey::from_pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"));
  EXPECT_FALSE(PrivateKey::from_pkcs8("x"));
  EXPECT_EQ(PrivateKey::from_pem(std::string(kMaxPemBytes + 1, 'x')).error().code, Code::kTooLarge);
}

TEST(Csr, IsMadeAndRead) {
  PrivateKey key = *PrivateKey::generate();
  auto csr = parse_csr(*make_csr(key, kWeb));
  ASSERT_TRUE(csr) << csr.error().reason;
  EXPECT_EQ(csr->name, kWeb);
  EXPECT_EQ(csr->public_key, key.public_key());
  EXPECT_FALSE(make_csr(key, kWebUri));
}

TEST(Csr, TakesNamesLongerThanACommonName) {
  Identity lengthy = *Identity::parse(std::string(60, 'a') + "." + std::string(60, 'b') +
                                      ".serviceaccount.identity.linkerd.cluster.local");
  auto csr = parse_csr(*make_csr(*PrivateKey::generate(), lengthy));
  ASSERT_TRUE(csr) << csr.error().reason;
  EXPECT_EQ(csr->name, lengthy);
}

TEST(Csr, RefusesAnyChangedByte) {
  std::string der = *make_csr(*PrivateKey::generate(), kWeb);
  for (size_t i = 0; i < der.size(); ++i) {
    std::string bad = der;
    bad[i] ^= 1;
    EXPECT_FALSE(parse_csr(bad)) << "byte " << i;
  }
  EXPECT_FALSE(parse_csr(der + "x"));
  EXPECT_FALSE(parse_csr(der.substr(0, der.size() - 1)));
  EXPECT_FALSE(parse_csr(""));
  EXPECT_EQ(parse_csr("").error().side, Side::kClient);
}

TEST(Authority, IssuesWhatLinkerdIssues) {
  Mesh mesh;
  std::vector<Identity> names{kWeb, kWebUri};
  auto issued = mesh.issuer.issue(mesh.csr, names, 24h, 20s, kNow);
  ASSERT_TRUE(issued) << issued.error().reason;
  EXPECT_EQ(issued->not_after, kNow + 24h + 20s);
  EXPECT_THAT(issued->chain, ElementsAre(mesh.issuer.chain().front()));
  CertInfo info = *read_cert(issued->leaf);
  EXPECT_EQ(info.identities, names);
  EXPECT_EQ(info.not_before, kNow - 20s);
  EXPECT_EQ(info.not_after, issued->not_after);
  EXPECT_EQ(info.subject_cn, kWeb.name());
  EXPECT_EQ(info.issuer_cn, "identity.linkerd.cluster.local");
  EXPECT_EQ(info.public_key, mesh.key.public_key());
  EXPECT_FALSE(info.is_ca);
  for (PeerRole role : {PeerRole::kClient, PeerRole::kServer}) {
    auto peer = verify_chain(whole(*issued), mesh.bundle, role, kNow);
    ASSERT_TRUE(peer) << peer.error().reason;
    EXPECT_EQ(*peer->identity(), kWeb);
    EXPECT_TRUE(peer->is(kWebUri));
    EXPECT_EQ(peer->not_after, issued->not_after);
  }
  EXPECT_TRUE(mesh.issuer.verify(mesh.bundle, kNow));
}

TEST(Authority, ARootAloneIsEnough) {
  Mesh mesh;
  auto issued = mesh.root.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow);
  ASSERT_TRUE(issued);
  EXPECT_TRUE(issued->chain.empty());
  EXPECT_TRUE(verify_chain(whole(*issued), mesh.bundle, PeerRole::kServer, kNow));
}

TEST(Authority, NeverOutlivesItsIssuer) {
  Mesh mesh;
  auto issued = mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h * 90, 20s, kNow);
  EXPECT_EQ(issued->not_after, kNow + 24h * 30);
  EXPECT_EQ(mesh.root.make_issuer("longer", 24h * 3650, kNow)->not_after(), mesh.root.not_after());
  auto late = mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow + 24h * 31);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
  EXPECT_FALSE(mesh.issuer.verify(mesh.bundle, kNow + 24h * 31));
}

TEST(Authority, SerialNumbersDiffer) {
  Mesh mesh;
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i)
    seen.insert(read_cert(mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow)->leaf)->serial);
  EXPECT_EQ(seen.size(), 100u);
  EXPECT_GE(seen.begin()->size(), 30u);
}

TEST(Authority, LoadsOnlyWhatFitsTogether) {
  Mesh mesh;
  EXPECT_TRUE(Authority::load(mesh.issuer.key(), mesh.issuer.chain()));
  EXPECT_THAT(Authority::load(mesh.key, mesh.issuer.chain()).error().reason, HasSubstr("the key is not that of"));
  Mesh other;
  EXPECT_THAT(Authority::load(mesh.issuer.key(), {mesh.issuer.chain()[0], other.root.chain()[0]}).error().reason,
              HasSubstr("certificate 1 of the chain is not signed by certificate 2"));
  auto leaf = *mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow);
  EXPECT_THAT(Authority::load(mesh.key, whole(leaf)).error().reason, HasSubstr("not a CA"));
  EXPECT_FALSE(Authority::load(mesh.key, {}));
  EXPECT_FALSE(mesh.issuer.verify(other.bundle, kNow));
}

TEST(Authority, GoesToDiskAndBack) {
  Mesh mesh;
  auto again = Authority::load(*PrivateKey::from_pem(*mesh.issuer.key().to_pem()),
                               *certs_from_pem(certs_to_pem(mesh.issuer.chain())));
  ASSERT_TRUE(again) << again.error().reason;
  EXPECT_EQ(again->info().serial, mesh.issuer.info().serial);
}

TEST(Verify, SaysWhatIsWrong) {
  Mesh mesh, other;
  auto chain = whole(*mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow));
  auto reason = [&](const std::vector<std::string>& c, const TrustBundle& b, WallTime t) {
    auto r = verify_chain(c, b, PeerRole::kServer, t);
    EXPECT_FALSE(r);
    if (r) return std::string();
    EXPECT_EQ(r.error().code, Code::kIdentity);
    EXPECT_EQ(r.error().side, Side::kPeer);
    return r.error().reason;
  };
  EXPECT_EQ(reason(chain, mesh.bundle, kNow + 25h),
            cat("certificate of ", kWeb.name(), " expired at ", format_rfc3339(kNow + 24h + 20s), ", now it is ",
                format_rfc3339(kNow + 25h)));
  EXPECT_THAT(reason(chain, mesh.bundle, kNow - 1h), HasSubstr("is not valid before"));
  EXPECT_THAT(reason(chain, other.bundle, kNow), HasSubstr("does not lead to a root that we trust (1 in our bundle)"));
  EXPECT_THAT(reason({chain[0]}, mesh.bundle, kNow), HasSubstr("its issuer is \"identity.linkerd.cluster.local\""));
  // A leaf may not sign.
  Authority fake = *other.root.make_issuer("identity.linkerd.cluster.local", 1h, kNow);
  EXPECT_THAT(reason({fake.issue(mesh.csr, {&kWeb, 1}, 1h, 0s, kNow)->leaf, chain[1]}, mesh.bundle, kNow),
              HasSubstr("certificate"));
  // Nor is who may sign a workload.
  EXPECT_THAT(reason(mesh.issuer.chain(), mesh.bundle, kNow), HasSubstr("is a CA's, not a workload's"));
  EXPECT_FALSE(verify_chain({}, mesh.bundle, PeerRole::kServer, kNow));
  EXPECT_FALSE(verify_chain({"x"}, mesh.bundle, PeerRole::kServer, kNow));
  EXPECT_FALSE(verify_chain(std::vector<std::string>(kMaxChain + 1, chain[0]), mesh.bundle, PeerRole::kServer, kNow));
}

TEST(TrustBundle, HoldsSeveralRoots) {
  Mesh a, b;
  auto both = TrustBundle::from_pem(
      cat("# the old one\n", a.bundle.to_pem(), "\n# the new one\n", b.bundle.to_pem(), a.bundle.to_pem()));
  ASSERT_TRUE(both) << both.error().reason;
  EXPECT_EQ(both->roots().size(), 2u);
  for (Mesh* m : {&a, &b})
    EXPECT_TRUE(
        verify_chain(whole(*m->issuer.issue(m->csr, {&kWeb, 1}, 24h, 20s, kNow)), *both, PeerRole::kClient, kNow));
  EXPECT_EQ(*both, *TrustBundle::from_pem(both->to_pem()));
  EXPECT_FALSE(*both == a.bundle);
}

TEST(TrustBundle, AnIssuerCanBePinned) {
  Mesh mesh;
  auto pinned = *TrustBundle::from_ders({mesh.issuer.chain()[0]});
  EXPECT_TRUE(
      verify_chain(whole(*mesh.issuer.issue(mesh.csr, {&kWeb, 1}, 24h, 20s, kNow)), pinned, PeerRole::kClient, kNow));
}

TEST(Pem, SaysWhichBlock) {
  Mesh mesh;
  std::string pem = mesh.bundle.to_pem();
  EXPECT_THAT(certs_from_pem(pem + *mesh.key.to_pem()).error().reason,
              HasSubstr("PEM block 2: expected CERTIFICATE, got \"PRIVATE KEY\""));
  EXPECT_THAT(certs_from_pem(pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").error().reason,
              HasSubstr("PEM block 2: not a certificate"));
  EXPECT_THAT(certs_from_pem(pem + "-----BEGIN CERTIFICATE-----\nAAAA\n").error().reason, HasSubstr("PEM block 2"));
  EXPECT_THAT(certs_from_pem("").error().reason, HasSubstr("no certificate"));
}

TEST(Cert, DatesBeyondTheClockAreItsEnds) {
  Authority forever = *Authority::make_root("forever", 24h * 365 * 200, kNow);
  EXPECT_GT(forever.not_after(), kNow + 24h * 365 * 100);
}

}  // namespace
}  // namespace tulle::tls
