#include "libs/net/dns_message.h"

#include <gtest/gtest.h>

namespace tulle::net::dns {
namespace {

std::string raw(std::initializer_list<int> bytes) {
  std::string s;
  for (int b : bytes) s.push_back(static_cast<char>(b));
  return s;
}
const std::string kHead = raw({0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0});           // one question, RD
const std::string kApi = raw({3}) + "Api" + raw({2}) + "ns" + raw({0, 0, 1, 0, 1});  // Api.ns A IN

TEST(DnsQuery, IsRead) {
  auto q = parse_query(kHead + kApi);
  ASSERT_TRUE(q) << q.error().reason;
  EXPECT_EQ(q->id, 0x1234);
  EXPECT_TRUE(q->recursion_desired);
  EXPECT_EQ(q->question.name, "Api.ns");
  EXPECT_EQ(q->question.type, kTypeA);
  EXPECT_EQ(q->question.klass, kClassIn);
  EXPECT_FALSE(q->edns_udp_size);
  EXPECT_EQ(q->udp_limit(), 512u);
}

TEST(DnsQuery, RoundTripsWithEdns) {
  auto bytes = encode_query(7, Question("a.b\\046c.d", kTypeAaaa, kClassIn), 4096);
  ASSERT_TRUE(bytes);
  auto q = parse_query(*bytes);
  ASSERT_TRUE(q) << q.error().reason;
  EXPECT_EQ(q->question.name, "a.b\\046c.d");
  EXPECT_EQ(q->edns_udp_size, 4096);
  EXPECT_EQ(q->udp_limit(), 4096u);
  EXPECT_FALSE(encode_query(7, Question("a..b")));
  EXPECT_FALSE(encode_query(7, Question(std::string(64, 'a'))));
  EXPECT_FALSE(encode_query(7, Question("a\\9")));
  std::string longest;
  for (int i = 0; i < 5; ++i) longest += std::string(60, 'a') + ".";
  EXPECT_FALSE(encode_query(7, Question(longest + "x")));
  EXPECT_TRUE(encode_query(7, Question("")));
}

TEST(DnsQuery, MalformedIsRefusedAndEachPrefixToo) {
  std::string good = kHead + kApi;
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_query(Bytes(good).substr(0, n))) << n;
  EXPECT_FALSE(parse_query(good + "x"));
  auto with = [&](size_t at, int byte) {
    std::string s = good;
    s[at] = static_cast<char>(byte);
    return s;
  };
  EXPECT_FALSE(parse_query(with(2, 0x81)));                        // an answer
  EXPECT_FALSE(parse_query(with(5, 2)));                           // two questions
  EXPECT_FALSE(parse_query(with(7, 1)));                           // a record
  EXPECT_FALSE(parse_query(with(12, 0x40)));                       // a label of a reserved kind
  EXPECT_FALSE(parse_query(kHead + raw({0xc0, 12, 0, 1, 0, 1})));  // a name that points to itself
  EXPECT_FALSE(parse_query(kHead + raw({0xc0, 0, 0, 1, 0, 1})));   // into the header
  EXPECT_EQ(query_id(with(5, 2)), 0x1234);
  EXPECT_EQ(query_id(with(2, 0x81)), std::nullopt);
  EXPECT_EQ(query_id("short"), std::nullopt);
}

TEST(DnsAnswer, CarriesTheAddressesOfItsType) {
  auto q = parse_query(kHead + kApi);
  std::vector<IpAddr> ips{IpAddr::v4(127, 96, 0, 1), IpAddr::v6(1, 2), IpAddr::v4(127, 96, 0, 2)};
  auto a = parse_answer(encode_answer(*q, Rcode::kNoError, ips, 5s, 512));
  ASSERT_TRUE(a) << a.error().reason;
  EXPECT_EQ(a->id, 0x1234);
  EXPECT_EQ(a->questions[0].name, "Api.ns");
  ASSERT_EQ(a->answers.size(), 2u);
  EXPECT_EQ(a->answers[0].name, "Api.ns");
  EXPECT_EQ(a->answers[0].ip, ips[0]);
  EXPECT_EQ(a->answers[1].ip, ips[2]);
  EXPECT_EQ(a->answers[0].ttl, 5u);

  q->question.type = kTypeAaaa;
  a = parse_answer(encode_answer(*q, Rcode::kNoError, ips, 5s, 512));
  ASSERT_EQ(a->answers.size(), 1u);
  EXPECT_EQ(a->answers[0].ip, ips[1]);
  a = parse_answer(encode_answer(*q, Rcode::kNxDomain, {}, 5s, 512));
  EXPECT_EQ(a->rcode, Rcode::kNxDomain);
  a = parse_answer(encode_format_error(9));
  EXPECT_EQ(a->rcode, Rcode::kFormErr);
  EXPECT_EQ(a->id, 9);
}

TEST(DnsAnswer, TooLongIsTruncated) {
  auto q = parse_query(kHead + kApi);
  std::vector<IpAddr> many(100, IpAddr::v4(127, 96, 0, 1));
  auto bytes = encode_answer(*q, Rcode::kNoError, many, 5s, q->udp_limit());
  EXPECT_LE(bytes.size(), 512u);
  auto a = parse_answer(bytes);
  EXPECT_TRUE(a->truncated);
  EXPECT_TRUE(a->answers.empty());
  a = parse_answer(encode_answer(*q, Rcode::kNoError, many, 5s, kMaxMessage));
  EXPECT_EQ(a->answers.size(), 100u);
}

// As a resolver sends it: CNAME, SRV, A with compressed names, and a SOA.
TEST(DnsAnswer, RecordsOfAServer) {
  std::string m = raw({0, 1, 0x81, 0x80, 0, 1, 0, 3, 0, 1, 0, 0}) + kApi;
  m += raw({0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 'x', 0xc0, 16});               // CNAME x.ns
  m += raw({0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 30, 0, 9, 0, 1, 0, 2, 0, 80, 1, 'y', 0});  // SRV 1 2 80 y
  m += raw({0xc0, 12, 0, 1, 0, 1, 0xff, 0, 0, 0, 0, 4, 10, 0, 0, 1});                  // A, a TTL that is none
  m += raw({0, 0, 6, 0, 1, 0, 0, 0, 9, 0, 22, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 7});
  auto a = parse_answer(m);
  ASSERT_TRUE(a) << a.error().reason;
  ASSERT_EQ(a->answers.size(), 3u);
  EXPECT_EQ(a->answers[0].target, "x.ns");
  EXPECT_EQ(a->answers[1].target, "y");
  EXPECT_EQ(a->answers[1].port, 80);
  EXPECT_EQ(a->answers[1].priority, 1);
  EXPECT_EQ(a->answers[1].weight, 2);
  EXPECT_EQ(a->answers[2].ip, IpAddr::v4(10, 0, 0, 1));
  EXPECT_EQ(a->answers[2].ttl, 0u);
  EXPECT_EQ(a->authority[0].minimum, 7u);
  for (size_t n = 0; n < m.size(); ++n) EXPECT_FALSE(parse_answer(Bytes(m).substr(0, n))) << n;
  m[kHead.size() + kApi.size() + 11] = 3;  // the size of the first record
  EXPECT_FALSE(parse_answer(m));
}

}  // namespace
}  // namespace tulle::net::dns
