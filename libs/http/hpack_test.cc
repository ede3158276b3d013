#include "libs/http/hpack.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <string>
#include <vector>

#include "libs/base/random.h"
#include "libs/http/hpack_huffman.h"

// nghttp2 is here only to compare with.
namespace tulle::http {
namespace {

using Texts = std::vector<std::pair<std::string, std::string>>;

std::string from_hex(std::string_view s) {
  std::string out;
  for (size_t i = 0; i + 1 < s.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(s.substr(i, 2)), nullptr, 16));
  return out;
}

std::optional<Texts> decode(HpackDecoder& decoder, Bytes block) {
  Texts out;
  HpackField f;
  for (;;) {
    switch (decoder.next(block, f)) {
      case HpackDecoder::Next::kError: return std::nullopt;
      case HpackDecoder::Next::kEnd: return out;
      case HpackDecoder::Next::kField: EXPECT_EQ(f.id, header_id(f.name)); out.emplace_back(f.name, f.value);
    }
  }
}

std::string encode(HpackEncoder& encoder, const Texts& texts) {
  H2Fields fields;
  for (const auto& [name, value] : texts) fields.push_back({header_id(name), 0, name, value});
  Buffer out;
  encoder.encode(fields, out);
  return std::string(out.view());
}

struct Inflater {
  nghttp2_hd_inflater* p = nullptr;
  Inflater() { nghttp2_hd_inflate_new(&p); }
  ~Inflater() { nghttp2_hd_inflate_del(p); }
  std::optional<Texts> decode(Bytes block) {
    Texts out;
    for (;;) {
      nghttp2_nv nv;
      int flags = 0;
      auto* at = reinterpret_cast<const uint8_t*>(block.data());
      ssize_t n = nghttp2_hd_inflate_hd2(p, &nv, &flags, at, block.size(), 1);
      if (n < 0) return std::nullopt;
      block.remove_prefix(static_cast<size_t>(n));
      if (flags & NGHTTP2_HD_INFLATE_EMIT)
        out.emplace_back(std::string(reinterpret_cast<char*>(nv.name), nv.namelen),
                         std::string(reinterpret_cast<char*>(nv.value), nv.valuelen));
      if (flags & NGHTTP2_HD_INFLATE_FINAL) return nghttp2_hd_inflate_end_headers(p), out;
      if (!(flags & NGHTTP2_HD_INFLATE_EMIT) && block.empty()) return out;
    }
  }
};

struct Deflater {
  nghttp2_hd_deflater* p = nullptr;
  Deflater() { nghttp2_hd_deflate_new(&p, 4096); }
  ~Deflater() { nghttp2_hd_deflate_del(p); }
  std::string encode(const Texts& texts) {
    std::vector<nghttp2_nv> nv;
    auto bytes = [](const std::string& s) { return reinterpret_cast<uint8_t*>(const_cast<char*>(s.data())); };
    for (const auto& [name, value] : texts)
      nv.push_back({bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    std::string out(nghttp2_hd_deflate_bound(p, nv.data(), nv.size()), 0);
    ssize_t n = nghttp2_hd_deflate_hd(p, bytes(out), out.size(), nv.data(), nv.size());
    out.resize(static_cast<size_t>(n));
    return out;
  }
};

// Fields that come again, fields that do not, and some that are large.
Texts some_fields(Rng& rng) {
  static const char* const names[] = {":path", ":authority", "content-type",  "x-a",
                                      "x-b",   "cookie",     "authorization", "date",
                                      "te",    "user-agent", "grpc-status",   "l5d-client-id"};
  Texts out;
  for (uint32_t n = rng.below(12); n > 0; --n) {
    std::string name = names[rng.below(std::size(names))];
    std::string value = cat("value", rng.below(rng.below(4) ? 5 : 1000000));
    if (rng.below(20) == 0) value.append(rng.below(5000), static_cast<char>(rng.below(95) + 32));
    out.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

TEST(Hpack, ExamplesOfTheRfc) {  // RFC 7541 C.3, C.4, C.5 and C.6
  HpackDecoder plain, huffman;
  EXPECT_EQ(decode(plain, from_hex("828684410f7777772e6578616d706c652e636f6d")),
            (Texts{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}}));
  EXPECT_EQ(decode(huffman, from_hex("828684418cf1e3c2e5f23a6ba0ab90f4ff")),
            (Texts{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}}));
  for (HpackDecoder* d : {&plain, &huffman}) {
    EXPECT_EQ(decode(*d, from_hex(d == &plain ? "828684be58086e6f2d6361636865" : "828684be5886a8eb10649cbf")),
              (Texts{{":method", "GET"},
                     {":scheme", "http"},
                     {":path", "/"},
                     {":authority", "www.example.com"},
                     {"cache-control", "no-cache"}}));
  }
  EXPECT_EQ(decode(huffman, from_hex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")),
            (Texts{{":method", "GET"},
                   {":scheme", "https"},
                   {":path", "/index.html"},
                   {":authority", "www.example.com"},
                   {"custom-key", "custom-value"}}));
}

TEST(Hpack, BothEndsAgreeWithNghttp2) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    HpackEncoder encoder(4096);
    HpackDecoder decoder, ours;
    Inflater inflater;
    Deflater deflater;
    for (int i = 0; i < 300; ++i) {
      if (rng.below(30) == 0) {  // the peer's SETTINGS change
        encoder.set_peer_table(rng.below(3) ? 4096 : rng.below(4096));
        if (rng.below(2)) encoder.set_peer_table(rng.below(4096));
      }
      Texts texts = some_fields(rng);
      std::string block = encode(encoder, texts);
      ASSERT_EQ(inflater.decode(block), texts) << seed << " " << i;
      ASSERT_EQ(decode(ours, block), texts) << seed << " " << i;
      ASSERT_EQ(decode(decoder, deflater.encode(texts)), texts) << seed << " " << i;
    }
  }
}

TEST(Hpack, WhatComesAgainIsAByte) {
  HpackEncoder encoder(4096);
  Texts texts = {{"x-tenant", "blue"}, {"content-type", "application/grpc"}, {"user-agent", "grpc-c++/1.51"}};
  for (int i = 0; i < 2; ++i) EXPECT_GT(encode(encoder, texts).size(), 40u);
  EXPECT_EQ(encode(encoder, texts).size(), texts.size());
}

TEST(Hpack, SecretsAreNeverIndexed) {
  HpackEncoder encoder(4096);
  Texts secrets = {{"authorization", "Bearer x"}, {"proxy-authorization", "y"}, {"cookie", "short"}};
  for (int i = 0; i < 4; ++i)
    for (const auto& secret : secrets) EXPECT_EQ(encode(encoder, {secret})[0] & 0xf0, 0x10) << secret.first;
}

TEST(Hpack, TablesOfOddSizes) {
  for (uint32_t size : {0u, 31u, 33u, 100u, 4095u, 4097u, 65536u}) {
    Rng rng(size);
    HpackEncoder encoder(size);
    encoder.set_peer_table(size);
    HpackDecoder decoder;
    decoder.set_table(size);
    for (int i = 0; i < 500; ++i) {
      Texts texts = some_fields(rng);
      ASSERT_EQ(decode(decoder, encode(encoder, texts)), texts) << size << " " << i;
    }
  }
}

TEST(Hpack, WhatWasCheckedIsMarked) {
  HpackDecoder decoder;
  Bytes block =
      "\x40\x01"
      "a\x01"
      "b"
      "\x40\x01"
      "A\x01"
      "b"
      "\x40\x01"
      "a\x01\n\xc0\xbf\xbe";
  HpackField f;
  std::string good;
  while (decoder.next(block, f) == HpackDecoder::Next::kField) good += f.good ? 'y' : 'n';
  EXPECT_EQ(good, "ynnynn");
}

TEST(Hpack, BadBlocks) {
  for (const char* hex : {
           "80",                // index 0
           "be",                // beyond the tables
           "ffffffffff7f",      // an index that overflows
           "40",                // a literal without its name
           "4001",              // a name without its bytes
           "400161",            // no value
           "4001610361",        // a value that is cut
           "41ff",              // a length that is cut
           "82203f",            // a size update after a field
           "3fe21f",            // 4097: above what was allowed
           "4001618100",        // Huffman padded with zeros
           "40016182ffff",      // a whole byte of padding
           "40016184ffffffff",  // EOS
       }) {
    HpackDecoder decoder;
    EXPECT_EQ(decode(decoder, from_hex(hex)), std::nullopt) << hex;
  }
  HpackDecoder smaller;
  EXPECT_TRUE(decode(smaller, from_hex("82")));
  smaller.set_table(100);
  EXPECT_EQ(decode(smaller, from_hex("82")), std::nullopt);  // without telling that it uses less
  HpackDecoder told;
  told.set_table(100);
  EXPECT_TRUE(decode(told, from_hex("3f4582")));
}

TEST(Hpack, HuffmanOfEveryByte) {
  Deflater deflater;
  HpackDecoder decoder;
  for (int a = 0; a < 256; ++a) {
    std::string value(60, 'e');  // short codes, so that nghttp2 takes Huffman's
    value[30] = static_cast<char>(a);
    value += static_cast<char>(255 - a);
    Texts texts = {{"x", value}};
    ASSERT_EQ(decode(decoder, deflater.encode(texts)), texts) << a;
  }
}

}  // namespace
}  // namespace tulle::http
