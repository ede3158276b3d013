#include "libs/base/addr.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <set>

#include "absl/container/flat_hash_map.h"

namespace tulle {
namespace {

TEST(IpAddr, ParsesAndPrints) {
  for (std::string_view text :
       {"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "::1", "fd00::1", "2001:db8:0:1:1:1:1:1"}) {
    auto ip = IpAddr::parse(text);
    ASSERT_TRUE(ip) << text;
    EXPECT_EQ(ip->to_string(), text);
  }
  for (std::string_view text : {"", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "[::1]",
                                "fe80::1%eth0", "::g", "1.2.3.-4", "localhost"})
    EXPECT_FALSE(IpAddr::parse(text)) << text;
  EXPECT_FALSE(IpAddr::parse(std::string_view("1.2.3.4\0", 8)));
  EXPECT_FALSE(IpAddr::parse(std::string(100, '1')));
}

TEST(IpAddr, MappedIsIpv4) {
  auto mapped = IpAddr::parse("::ffff:10.0.0.1");
  ASSERT_TRUE(mapped);
  EXPECT_TRUE(mapped->is_v4());
  EXPECT_EQ(*mapped, IpAddr::v4(10, 0, 0, 1));
  EXPECT_EQ(IpAddr::v6(mapped->v6_bytes()), *mapped);
  EXPECT_EQ(mapped->v4_bits(), 0x0a000001u);
}

TEST(IpAddr, Kinds) {
  EXPECT_TRUE(IpAddr::v4(127, 64, 0, 1).is_loopback());
  EXPECT_FALSE(IpAddr::v4(128, 0, 0, 1).is_loopback());
  EXPECT_TRUE(IpAddr::v6(0, 1).is_loopback());
  EXPECT_TRUE(IpAddr().is_unspecified());
  EXPECT_TRUE(IpAddr::v6(0, 0).is_unspecified());
  EXPECT_TRUE(IpAddr::v6(0, 0).is_v6());
}

TEST(SocketAddr, ParsesAndPrints) {
  for (std::string_view text : {"10.0.0.1:80", "[::1]:65535", "0.0.0.0:0"}) {
    auto a = SocketAddr::parse(text);
    ASSERT_TRUE(a) << text;
    EXPECT_EQ(a->to_string(), text);
  }
  for (std::string_view text : {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "::1:80",
                                "[::1]", "[1.2.3.4]:80", "web:80", "[::1]80", "[]:80"})
    EXPECT_FALSE(SocketAddr::parse(text)) << text;
}

TEST(SocketAddr, RoundTripsThroughSockaddr) {
  for (std::string_view text : {"10.0.0.1:80", "[fd00::1]:443"})
    for (bool as_v6 : {false, true}) {
      SocketAddr a = *SocketAddr::parse(text);
      sockaddr_storage s;
      socklen_t n = a.to_sockaddr(s, as_v6);
      EXPECT_EQ(n, a.ip.is_v4() && !as_v6 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
      EXPECT_EQ(*SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&s), n), a);
      EXPECT_EQ(*SocketAddr::from_sockaddr(s), a);
      EXPECT_FALSE(SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&s), 8));
    }
  sockaddr_storage unix_family{};
  unix_family.ss_family = AF_UNIX;
  EXPECT_FALSE(SocketAddr::from_sockaddr(unix_family));
}

TEST(SocketAddr, HashesAndOrders) {
  absl::flat_hash_map<SocketAddr, int> map;
  map[SocketAddr(IpAddr::v4(10, 0, 0, 1), 1)] = 1;
  map[SocketAddr(IpAddr::v4(10, 0, 0, 1), 2)] = 2;
  EXPECT_EQ(map.at(*SocketAddr::parse("10.0.0.1:2")), 2);
  std::set<size_t> hashes;
  for (uint32_t i = 0; i < 1000; ++i) hashes.insert(std::hash<SocketAddr>{}(SocketAddr(IpAddr::v4(i), 80)));
  EXPECT_EQ(hashes.size(), 1000u);
  EXPECT_LT(SocketAddr(IpAddr::v4(1), 2), SocketAddr(IpAddr::v4(2), 1));
}

TEST(Cidr, ParsesAndClearsHostBits) {
  for (auto [text, want] : {std::pair{"10.1.2.3/8", "10.0.0.0/8"},
                            {"10.1.2.3", "10.1.2.3/32"},
                            {"0.0.0.0/0", "0.0.0.0/0"},
                            {"fd00::1/8", "fd00::/8"},
                            {"fd00::1", "fd00::1/128"},
                            {"::/0", "::/0"},
                            {"::ffff:10.1.2.3/104", "10.0.0.0/8"},
                            {"2001:db8:1:2:3::/65", "2001:db8:1:2::/65"}}) {
    auto net = Cidr::parse(text);
    ASSERT_TRUE(net) << text;
    EXPECT_EQ(net->to_string(), want);
  }
  for (std::string_view text :
       {"", "/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "::/129", "::ffff:1.2.3.4/95"})
    EXPECT_FALSE(Cidr::parse(text)) << text;
}

TEST(Cidr, ContainsOwnFamilyOnly) {
  EXPECT_TRUE(Cidr::parse("127.64.0.0/11")->contains(IpAddr::v4(127, 95, 255, 255)));
  EXPECT_FALSE(Cidr::parse("127.64.0.0/11")->contains(IpAddr::v4(127, 96, 0, 0)));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(IpAddr::v4(1, 2, 3, 4)));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(IpAddr::v6(1, 1)));
  EXPECT_FALSE(Cidr::parse("::/0")->contains(IpAddr::v4(1, 2, 3, 4)));
  EXPECT_TRUE(Cidr::parse("::/0")->contains(IpAddr::v6(~0ull, ~0ull)));
  EXPECT_TRUE(Cidr::parse("fd00::/65")->contains(*IpAddr::parse("fd00::7fff:0:0:1")));
  EXPECT_FALSE(Cidr::parse("fd00::/65")->contains(*IpAddr::parse("fd00::8000:0:0:1")));
  EXPECT_TRUE(Cidr::parse("10.0.0.0/8")->contains(*Cidr::parse("10.2.0.0/16")));
  EXPECT_FALSE(Cidr::parse("10.2.0.0/16")->contains(*Cidr::parse("10.0.0.0/8")));
}

TEST(HostPort, Splits) {
  struct Case {
    std::string_view text, host;
    uint16_t port;
  };
  for (const Case& c : {Case{"web:80", "web", 80},
                        {"web", "web", 0},
                        {"10.0.0.1:8080", "10.0.0.1", 8080},
                        {"[::1]:80", "::1", 80},
                        {"[::1]", "::1", 0},
                        {"::1", "::1", 0}}) {
    auto hp = split_host_port(c.text);
    ASSERT_TRUE(hp) << c.text;
    EXPECT_EQ(hp->host, c.host);
    EXPECT_EQ(hp->port, c.port);
  }
  for (std::string_view text :
       {"", ":80", "web:", "web:0", "web:65536", "web:80:90", "[::1", "[::1]x", "[web]:80", "[]"})
    EXPECT_FALSE(split_host_port(text)) << text;
}

}  // namespace
}  // namespace tulle
