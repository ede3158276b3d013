#include "libs/http/message.h"

#include <gtest/gtest.h>

#include "libs/http/chars.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::http {
namespace {

std::string dump(const Headers& headers) {
  std::string out;
  headers.for_each([&](const Header& h) { append(out, h.name, "=", h.value, ";"); });
  return out;
}

TEST(HeaderId, EveryWellKnownNameAndNothingElse) {
  for (size_t i = 1; i < std::size(kHeaderNames); ++i) {
    std::string name(kHeaderNames[i]);
    EXPECT_EQ(header_id(name), static_cast<HeaderId>(i)) << name;
    EXPECT_EQ(header_id(name + "x"), HeaderId::kOther);
    EXPECT_EQ(header_id(name.substr(1)), HeaderId::kOther);
    name[name.size() / 2] = '!';
    EXPECT_EQ(header_id(name), HeaderId::kOther);
  }
  EXPECT_EQ(header_id(""), HeaderId::kOther);
  EXPECT_EQ(header_id(std::string(1000, 'a')), HeaderId::kOther);
}

TEST(Headers, AddSetRemove) {
  Headers h;
  h.add("X-One", "1");
  h.add("Content-Type", "text/plain");
  h.add("x-one", "2");
  EXPECT_EQ(dump(h), "x-one=1;content-type=text/plain;x-one=2;");
  EXPECT_EQ(h.get("x-one"), "1");
  EXPECT_EQ(h.get(HeaderId::kContentType), "text/plain");
  EXPECT_EQ(h.byte_size(), 5u + 1 + 12 + 10 + 5 + 1 + 3 * 32);
  h.set("X-ONE", "3");
  EXPECT_EQ(dump(h), "x-one=3;content-type=text/plain;");
  h.set(HeaderId::kHost, "a");
  h.set(HeaderId::kContentType, "application/grpc");
  EXPECT_EQ(dump(h), "x-one=3;content-type=application/grpc;host=a;");
  EXPECT_TRUE(is_grpc(h));
  EXPECT_TRUE(h.remove("x-one"));
  EXPECT_FALSE(h.remove("x-one"));
  EXPECT_TRUE(h.remove(HeaderId::kHost));
  EXPECT_EQ(h.size(), 1u);
  Headers copy = h;
  h.clear();
  EXPECT_TRUE(h.empty());
  EXPECT_EQ(dump(copy), "content-type=application/grpc;");
}

TEST(Headers, ValuesMayPointIntoTheList) {
  Headers h;
  h.add("a-name", std::string(200, 'v'));
  for (int i = 0; i < 50; ++i) h.add("b" + std::to_string(i), *h.get("a-name"));
  for (int i = 0; i < 50; ++i) h.set("a-name", *h.get("a-name"));
  EXPECT_EQ(h.get("a-name"), std::string(200, 'v'));
  EXPECT_EQ(h.get("b49"), std::string(200, 'v'));
}

TEST(Message, Methods) {
  for (auto [text, id] : {std::pair{"GET", Method::kGet},
                          {"HEAD", Method::kHead},
                          {"POST", Method::kPost},
                          {"PUT", Method::kPut},
                          {"DELETE", Method::kDelete},
                          {"CONNECT", Method::kConnect},
                          {"OPTIONS", Method::kOptions},
                          {"TRACE", Method::kTrace},
                          {"PATCH", Method::kPatch},
                          {"get", Method::kOther},
                          {"FOO", Method::kOther},
                          {"", Method::kOther},
                          {"PROPFIND", Method::kOther}})
    EXPECT_EQ(method_id(text), id) << text;
  EXPECT_TRUE(is_idempotent(Method::kPut));
  EXPECT_FALSE(is_idempotent(Method::kPost));
}

TEST(Message, GrpcTypes) {
  auto grpc = [](std::string_view type) {
    Headers h;
    h.add(HeaderId::kContentType, type);
    return is_grpc(h);
  };
  EXPECT_TRUE(grpc("application/grpc"));
  EXPECT_TRUE(grpc("application/grpc+proto"));
  EXPECT_TRUE(grpc("Application/gRPC;x=y"));
  EXPECT_FALSE(grpc("application/grpc-web"));
  EXPECT_FALSE(grpc("application/json"));
}

TEST(Chars, Authority) {
  for (auto good :
       {"a", "a.b-c_d:80", "127.0.0.1:65535", "[::1]:80", "[::1]", "a:", "a%20b", "xn--a.b", "[fe80::1%25eth0]"})
    EXPECT_TRUE(is_authority(good)) << good;
  for (auto bad : {"", ":80", "a:65536", "a:8x", "u@a", "a b", "a/b", "[::1", "[]", "[::1]x", "a%2", "a%zz", "::1",
                   "a:80:80", "a\xc3"})
    EXPECT_FALSE(is_authority(bad)) << bad;
  EXPECT_FALSE(is_authority("a", true));
  EXPECT_FALSE(is_authority("a:", true));
  EXPECT_TRUE(is_authority("a:443", true));
}

TEST(Chars, ScansFindEveryBadByteAtEveryPlace) {
  for (int c = 0; c < 256; ++c) {
    bool value = c == '\t' || (c >= 0x20 && c != 0x7f);
    bool target = c > 0x20 && c < 0x7f && c != '#';
    for (size_t size : {1u, 2u, 7u, 15u, 16u, 17u, 31u, 32u, 33u, 40u}) {
      for (size_t at = 0; at < size; ++at) {
        std::string s(size, 'x');
        s[at] = static_cast<char>(c);
        ASSERT_EQ(find_control(s), value ? size : at) << c << " at " << at << " of " << size;
        ASSERT_EQ(is_target(s), target) << c << " at " << at << " of " << size;
        std::string high(size, '\xff');
        high[at] = static_cast<char>(c);
        ASSERT_EQ(is_field_value(high), value) << c << " at " << at << " of " << size;
      }
    }
  }
  EXPECT_TRUE(is_field_value(""));
  EXPECT_EQ(find_control("a\nb\nc"), 1u);
}

TEST(HopByHop, StripsWhatBelongsToTheConnection) {
  struct Case {
    std::vector<std::pair<std::string, std::string>> in;
    bool keep_upgrade;
    std::string want;
  };
  const Case cases[] = {
      {{{"connection", "close, X-Mine"}, {"x-mine", "1"}, {"x-other", "2"}}, false, "x-other=2;"},
      {{{"connection", "x-a"}, {"connection", "x-b"}, {"x-a", "1"}, {"x-b", "2"}}, false, ""},
      {{{"connection", "host, content-length, transfer-encoding"}, {"host", "a"}, {"content-length", "1"}},
       false,
       "host=a;content-length=1;"},
      {{{"keep-alive", "x"}, {"proxy-connection", "y"}, {"http2-settings", "z"}, {"a", "b"}}, false, "a=b;"},
      {{{"te", "gzip, trailers"}, {"a", "b"}}, false, "a=b;te=trailers;"},
      {{{"te", "gzip"}}, false, ""},
      {{{"connection", "Upgrade"}, {"upgrade", "websocket"}}, true, "upgrade=websocket;connection=upgrade;"},
      {{{"connection", "Upgrade"}, {"upgrade", "websocket"}}, false, ""},
      {{{"upgrade", "h2c"}, {"http2-settings", "z"}, {"connection", "upgrade, http2-settings"}}, false, ""},
  };
  for (const Case& c : cases) {
    Headers h;
    for (auto& [n, v] : c.in) h.add(n, v);
    strip_hop_by_hop(h, c.keep_upgrade);
    EXPECT_EQ(dump(h), c.want);
  }
}

TEST(HopByHop, Upgrade) {
  auto upgrade = [](std::string_view protocol, std::string_view connection, Version v = Version::kHttp11) {
    RequestHead r;
    r.version = v;
    r.headers.add("upgrade", protocol);
    r.headers.add("connection", connection);
    return is_upgrade(r);
  };
  EXPECT_TRUE(upgrade("websocket", "keep-alive, Upgrade"));
  EXPECT_FALSE(upgrade("websocket", "keep-alive"));
  EXPECT_FALSE(upgrade("h2c", "upgrade"));
  EXPECT_FALSE(upgrade("", "upgrade"));
  EXPECT_FALSE(upgrade("websocket", "upgrade", Version::kHttp10));
}

}  // namespace
}  // namespace tulle::http
