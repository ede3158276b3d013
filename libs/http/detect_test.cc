#include "libs/http/detect.h"

#include <gtest/gtest.h>

namespace tulle::http {
namespace {

// What detect() says of each prefix must be kNeedMore until it says `want`, and that for every longer prefix too.
void expect_detected(std::string_view text, Detected want) {
  bool decided = false;
  for (size_t n = 0; n <= text.size(); ++n) {
    Detected d = detect(text.substr(0, n));
    if (decided) EXPECT_EQ(d, want) << quoted(text.substr(0, n));
    else if (d != Detected::kNeedMore) {
      EXPECT_EQ(d, want) << quoted(text.substr(0, n));
      decided = true;
    }
  }
  EXPECT_TRUE(decided || want == Detected::kNeedMore) << quoted(text);
}

TEST(Detect, Table) {
  expect_detected("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::kHttp2);
  expect_detected("PRI * HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("GET / HTTP/1.1\r\nHost: a\r\n", Detected::kHttp1);
  expect_detected("\r\nGET / HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("POST /a?b=c HTTP/1.0\r\n", Detected::kHttp1);
  expect_detected("CONNECT a:443 HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("OPTIONS * HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("GET http://a/ HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("M-SEARCH / HTTP/1.1\r\n", Detected::kHttp1);
  expect_detected("PING\r\n", Detected::kNotHttp);
  expect_detected("*1\r\n$4\r\nPING\r\n", Detected::kNotHttp);
  expect_detected("EHLO mail.example\r\n", Detected::kNotHttp);
  expect_detected("SET key value\r\n", Detected::kNotHttp);
  expect_detected("SSH-2.0-OpenSSH_9.2p1 Debian\r\n", Detected::kNotHttp);
  expect_detected(std::string_view("\x16\x03\x01\x02\x00\x01", 6), Detected::kNotHttp);
  expect_detected(std::string_view("\0\0\0\x08\x04\xd2\x16\x2f", 8), Detected::kNotHttp);
  expect_detected("GET /abc HTTP", Detected::kNeedMore);
  expect_detected("GE", Detected::kNeedMore);
  expect_detected("", Detected::kNeedMore);
}

// No request that some server would take passes as raw bytes: the codec refuses it.
TEST(Detect, WhatALaxServerWouldTakeIsHttp) {
  for (const char* line : {"GET / HTTP/2.0",
                           "GET /",
                           "GET\t/ HTTP/1.1",
                           "GET  / HTTP/1.1",
                           "GET /  HTTP/1.1 ",
                           "get  / http/1.0",
                           "FOO  /admin HTTP/1.1",
                           "\nGET / HTTP/1.1",
                           "\r\n\r\n\r\nGET / HTTP/1.1",
                           "\r\rGET / HTTP/1.1",
                           "GET /\xc3\xa4 HTTP/1.1",
                           "GET /\x01 HTTP/1.1",
                           "GET /a b HTTP/1.1",
                           "GET HTTP/1.1",
                           "POST \"/\" HTTP/1.1",
                           "GET\xa0/admin\xa0HTTP/1.1",
                           "GET\r/admin HTTP/1.1",
                           "GET\x1c/admin\x1fHTTP/1.1",
                           "FOO\x85/admin HTTP/1.1",
                           "GET http://a/admin",
                           "FOO /admin ICY/1.1",
                           "FOO http://a/admin RTSP/1.0"})
    for (const char* end : {"\n", "\r\n"}) expect_detected(cat(line, end), Detected::kHttp1);
}

TEST(Detect, TextProtocolsAreNot) {
  for (const char* text :
       {"GET key\r\n", "get /a\r\n", "get a b c\r\n", "set key 0 0 5\r\nHTTP/\r\n", "OPTIONS rtsp://a RTSP/1.0\r\n",
        "INVITE sip:b@a SIP/2.0\r\n", "SELECT 1\n", "\r\n\r\n*1\r\n", "USER a 0 * :HTTP\r\n", "put 1 2 3\r\n",
        "DESCRIBE rtsp://a RTSP/1.0\r\n", "mv /a /b/1.1\r\n", "get /1.1\r\n", "CONNECT {\"url\":\"http://a\"}\r\n",
        "CONNECT\r\naccept-version:1.2\r\n"})
    expect_detected(text, Detected::kNotHttp);
  expect_detected(std::string_view("\r\n\r\n\0\r\nQUIT\n", 12), Detected::kNotHttp);  // the PROXY protocol
  expect_detected(std::string_view("abc \0\1\2", 7), Detected::kNotHttp);
}

// Guarded, also what a server might skip before it, and what is not over.
TEST(Detect, NothingGetsRoundAGuard) {
  for (std::string_view before : {"", " ", "\t", "\r\n ", "\x7f\x80\xa0", "\x1c"})
    for (std::string_view line :
         {"GET /a HTTP/1.1\r\n", "FOO /a HTTP/1.1\n", "FOO /a?\x01 HTTP/1.1\n", "get /a x/1.1\r\n", "GET /\n",
          "GET a\r\n", "FOO rtsp://a/b RTSP/1.0\r\n", "FOO a ICE/1.0\n"})
      EXPECT_EQ(detect_guarded(cat(before, line)), Detected::kHttp1) << quoted(cat(before, line));
  std::string nul("\0", 1), method(kDetectMax - 100, 'A');
  EXPECT_EQ(detect_guarded(nul + "GET /a HTTP/1.1\r\n"), Detected::kHttp1);
  EXPECT_EQ(detect_guarded(nul + "PRI * HTTP/2.0\r\n"), Detected::kHttp2);  // which its codec refuses
  EXPECT_EQ(detect_guarded(method + " /a HTTP/1.1\r\n"), Detected::kHttp1);
  EXPECT_EQ(detect_guarded(method), Detected::kNeedMore);
  EXPECT_EQ(detect_guarded(std::string(kDetectMax + 1, 'A')), Detected::kHttp1);
  EXPECT_EQ(detect_guarded(std::string(kDetectMax, ' ')), Detected::kHttp1);
  EXPECT_EQ(detect_guarded(std::string(kDetectMax, ' ') + "G"), Detected::kHttp1);
  EXPECT_EQ(detect_guarded("FOO  /" + std::string(kDetectMax, 'a')), Detected::kHttp1);
  for (std::string_view undecided : {" ", "\r\n", "\x1f", "FOO", "FOO /a HT", "FOO  /a"})
    EXPECT_EQ(detect_guarded(undecided), Detected::kNeedMore) << quoted(undecided);
  for (std::string_view text : {"EHLO mail.example\r\n", "*1\r\n$4\r\nPING\r\n", "SELECT 1\n", "SSH-2.0-x\r\n"})
    EXPECT_EQ(detect_guarded(text), Detected::kNotHttp) << quoted(text);
}

TEST(Detect, AServerThatGreetsInHttp2) {
  EXPECT_TRUE(greets_in_http2(std::string_view("\0\0\0\4\0\0\0\0\0", 9)));
  EXPECT_TRUE(greets_in_http2(std::string_view("\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144", 15)));
  EXPECT_FALSE(greets_in_http2(std::string_view("\0\0\0\4\1\0\0\0\0", 9)));  // an acknowledgement
  EXPECT_FALSE(greets_in_http2(std::string_view("\0\0\7\4\0\0\0\0\0", 9)));
  EXPECT_FALSE(greets_in_http2(std::string_view("\0\0\0\4\0\0\0\0", 8)));
  EXPECT_FALSE(
      greets_in_http2(std::string_view("\x4a\0\0\0\x0a"
                                       "8.0.33\0",
                                       12)));  // MySQL
  EXPECT_FALSE(greets_in_http2("220 mail.example ESMTP\r\n"));
}

TEST(Detect, AMethodThatWasCut) {
  for (const char* text : {"G", "GE", "GET", "GET ", "GET /a b", "\r\nPOS", "DELETE\t"})
    EXPECT_TRUE(begins_with_method(text));
  for (const char* text : {"", "\r\n", "get", "GETS", "GET:", "HELLO", "*1"}) EXPECT_FALSE(begins_with_method(text));
}

TEST(Detect, IsNeverUndecidedAtTheMaximum) {
  EXPECT_EQ(detect("FOO  " + std::string(kDetectMax, 'a')), Detected::kNotHttp);
  EXPECT_EQ(detect("GET  " + std::string(kDetectMax, 'a')), Detected::kHttp1);
  EXPECT_EQ(detect(std::string(kDetectMax, '\n')), Detected::kNotHttp);
  EXPECT_EQ(detect("GET /" + std::string(kDetectMax, 'a')), Detected::kHttp1);
  EXPECT_EQ(detect(std::string(kDetectMax, 'A')), Detected::kNotHttp);
  EXPECT_EQ(detect("\r\n" + std::string(kDetectMax - 2, 'A')), Detected::kNotHttp);
  std::string longest = "\r\n" + std::string(32, 'A') + " /" + std::string(8191, 'a') + " HTTP/1.";
  EXPECT_LE(longest.size(), kDetectMax);
  EXPECT_EQ(detect(longest), Detected::kHttp1);
}

std::string u16(size_t n) { return {static_cast<char>(n >> 8), static_cast<char>(n)}; }

std::string make_hello(const std::string& sni, const std::vector<std::string>& alpn, size_t padding = 0) {
  std::string ext;
  if (!sni.empty()) {
    std::string name = std::string(1, '\0') + u16(sni.size()) + sni;
    std::string list = u16(name.size()) + name;
    ext += u16(0) + u16(list.size()) + list;
  }
  if (padding) ext += u16(21) + u16(padding) + std::string(padding, '\0');
  if (!alpn.empty()) {
    std::string names;
    for (const auto& a : alpn) names += static_cast<char>(a.size()) + a;
    std::string list = u16(names.size()) + names;
    ext += u16(16) + u16(list.size()) + list;
  }
  std::string body = "\x03\x03" + std::string(32, 'r') + std::string("\0", 1) + u16(2) + "\x13\x01" +
                     std::string("\x01\0", 2) + u16(ext.size()) + ext;
  return std::string("\x01\0", 2) + u16(body.size()) + body;
}

std::string in_records(const std::string& message, size_t piece) {
  std::string out;
  for (size_t i = 0; i < message.size(); i += piece) {
    std::string part = message.substr(i, piece);
    out += std::string("\x16\x03\x01") + u16(part.size()) + part;
  }
  return out;
}

TEST(ClientHello, FoundInEverySplitOfRecordsAndBytes) {
  std::string message =
      make_hello("Web.Default.serviceaccount.identity.linkerd.cluster.local", {"transport.l5d.io/v1", "h2"}, 1300);
  for (size_t piece : {1u, 3u, 100u, 1024u, 16384u}) {
    std::string bytes = in_records(message, piece);
    for (size_t n = 0; n < bytes.size(); n += piece == 1 ? 97 : 1)
      EXPECT_EQ(parse_client_hello(Bytes(bytes).substr(0, n)).kind, HelloResult::Kind::kNeedMore) << n;
    HelloResult r = parse_client_hello(bytes + "next record");
    ASSERT_EQ(r.kind, HelloResult::Kind::kFound);
    EXPECT_EQ(r.hello.sni, "web.default.serviceaccount.identity.linkerd.cluster.local");
    EXPECT_EQ(r.hello.alpn, (std::vector<std::string>{"transport.l5d.io/v1", "h2"}));
  }
}

TEST(ClientHello, WithoutNameOrExtensions) {
  HelloResult r = parse_client_hello(in_records(make_hello("", {}), 16384));
  ASSERT_EQ(r.kind, HelloResult::Kind::kFound);
  EXPECT_EQ(r.hello.sni, "");
  EXPECT_TRUE(r.hello.alpn.empty());
}

// To a server that skips control characters it is nothing before the request that follows.
TEST(ClientHello, OfNothingButControlCharactersIsNone) {
  std::string message = make_hello("", {});
  for (char filler : {' ', '\0', '\x9f'}) {
    message.replace(6, 32, 32, filler);
    EXPECT_EQ(parse_client_hello(in_records(message, 16384)).kind, HelloResult::Kind::kNotTls);
  }
  message[20] = 'r';
  EXPECT_EQ(parse_client_hello(in_records(message, 16384)).kind, HelloResult::Kind::kFound);
}

TEST(ClientHello, Refused) {
  auto kind = [](std::string_view s) { return parse_client_hello(s).kind; };
  EXPECT_EQ(kind("GET / HTTP/1.1\r\n"), HelloResult::Kind::kNotTls);
  EXPECT_EQ(kind("\x16\x02\x01"), HelloResult::Kind::kNotTls);
  EXPECT_EQ(kind(std::string_view("\x16\x03\x01\0\0", 5)), HelloResult::Kind::kNotTls);
  EXPECT_EQ(kind(std::string_view("\x16\x03\x01\x40\x01", 5)), HelloResult::Kind::kNotTls);
  EXPECT_EQ(kind(std::string_view("\x16\x03\x01\0\x04\x02\0\0\0", 9)), HelloResult::Kind::kNotTls);    // ServerHello
  EXPECT_EQ(kind(std::string_view("\x16\x03\x01\0\x04\x01\x01\0\0", 9)), HelloResult::Kind::kNotTls);  // 64 KiB
  std::string bad = make_hello("a b", {});
  EXPECT_EQ(kind(in_records(bad, 16384)), HelloResult::Kind::kNotTls);
  std::string cut = make_hello("a.b", {});
  cut[3] = static_cast<char>(cut[3] - 3);  // ends inside its extensions
  EXPECT_EQ(kind(in_records(cut, 16384)), HelloResult::Kind::kNotTls);
  std::string slow = in_records(make_hello("a.b", {}, 12000), 1);  // one byte a record: over the limit before its end
  EXPECT_EQ(kind(slow.substr(0, kHelloMax)), HelloResult::Kind::kNotTls);
}

}  // namespace
}  // namespace tulle::http
