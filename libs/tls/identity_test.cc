#include "libs/tls/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tulle::tls {
namespace {

using testing::HasSubstr;

TEST(Identity, TakesNamesOfBothForms) {
  auto dns = Identity::parse("Web.Shop.serviceaccount.identity.linkerd.cluster.local");
  ASSERT_TRUE(dns);
  EXPECT_TRUE(dns->is_dns());
  EXPECT_EQ(dns->name(), "web.shop.serviceaccount.identity.linkerd.cluster.local");
  auto uri = Identity::parse("spiffe://cluster.local/ns/shop/sa/Web");
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->kind(), Identity::Kind::kUri);
  EXPECT_EQ(uri->name(), "spiffe://cluster.local/ns/shop/sa/Web");
  EXPECT_NE(*dns, *uri);
  EXPECT_TRUE(Identity::parse("a_b.c"));
  EXPECT_TRUE(Identity::parse("localhost"));
}

TEST(Identity, RefusesWhatIsNotAName) {
  const std::string label(64, 'a');
  std::string lengthy;
  while (lengthy.size() < 254) lengthy += "abcdefg.";
  for (std::string_view bad : {"", ".", "a.", ".a", "a..b", "*.a", "-a.b", "a-.b", "a b", "a/b", "10.0.0.1", "a.1", "1",
                               "http://a", "ä.b", "a:80", "a\n.b", label.c_str(), lengthy.c_str()}) {
    auto r = Identity::parse(bad);
    ASSERT_FALSE(r) << bad;
    EXPECT_EQ(r.error().code, Code::kInvalid);
  }
  EXPECT_FALSE(Identity::parse(std::string_view("a\0b", 3)));
}

TEST(Identity, RefusesMalformedSpiffe) {
  for (std::string_view bad :
       {"spiffe://", "spiffe:///a", "spiffe://a", "spiffe://a/", "spiffe://a//b", "spiffe://a/b/", "spiffe://A/b",
        "spiffe://a:80/b", "spiffe://u@a/b", "spiffe://a/b?c", "spiffe://a/b#c", "spiffe://a/%41", "spiffe://a/../b",
        "spiffe://a/.", "spiffe://a/b c", "SPIFFE://a/b"})
    EXPECT_FALSE(Identity::parse(bad)) << bad;
  EXPECT_FALSE(Identity::parse("spiffe://a/" + std::string(2048, 'b')));
}

TEST(Identity, SaysWhatIsWrong) {
  EXPECT_THAT(Identity::parse("a..b").error().reason, HasSubstr("\"a..b\" is not a DNS name: an empty label"));
  EXPECT_THAT(Identity::parse("spiffe://a").error().reason, HasSubstr("no path"));
}

TEST(Identity, SuffixIsWholeLabels) {
  auto id = *Identity::parse("web.shop.serviceaccount.identity.linkerd.cluster.local");
  EXPECT_TRUE(id.has_suffix(""));
  EXPECT_TRUE(id.has_suffix("cluster.local"));
  EXPECT_TRUE(id.has_suffix("shop.serviceaccount.identity.linkerd.cluster.local"));
  EXPECT_FALSE(id.has_suffix("luster.local"));
  EXPECT_FALSE(id.has_suffix(id.name()));
  auto uri = *Identity::parse("spiffe://cluster.local/a.cluster.local");
  EXPECT_TRUE(uri.has_suffix(""));
  EXPECT_FALSE(uri.has_suffix("cluster.local"));
}

TEST(Workload, NamesGoBothWays) {
  Workload w{"web", "shop", "linkerd", "cluster.local"};
  auto dns = dns_identity(w);
  ASSERT_TRUE(dns);
  EXPECT_EQ(dns->name(), "web.shop.serviceaccount.identity.linkerd.cluster.local");
  EXPECT_EQ(workload_of(*dns), w);
  auto uri = spiffe_identity(w);
  ASSERT_TRUE(uri);
  EXPECT_EQ(uri->name(), "spiffe://cluster.local/ns/shop/sa/web");
  w.control_ns.clear();
  EXPECT_EQ(workload_of(*uri), w);
}

TEST(Workload, PartsCannotSmuggleLabels) {
  EXPECT_FALSE(dns_identity({"web.admin", "shop", "linkerd", "cluster.local"}));
  EXPECT_FALSE(dns_identity({"web", "", "linkerd", "cluster.local"}));
  EXPECT_FALSE(dns_identity({"web", "shop", "linkerd", ""}));
  EXPECT_FALSE(spiffe_identity({"a/b", "shop", "linkerd", "cluster.local"}));
  for (std::string_view other : {"web.shop", "a.b.serviceaccount.identity", "a.b.serviceaccount.identity.c",
                                 "a.b.serviceaccount.other.c.d", "spiffe://a/ns/b", "spiffe://a/ns/b/sa/c/d"})
    EXPECT_EQ(workload_of(*Identity::parse(other)), std::nullopt) << other;
}

}  // namespace
}  // namespace tulle::tls
