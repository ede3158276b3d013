#include "libs/http/h1.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/http/hop_by_hop.h"

namespace tulle::http {
namespace {

using Event = H1Parser::Event;
using ::testing::HasSubstr;

std::string dump(const Headers& headers) {
  std::string out;
  headers.for_each([&](const Header& h) { append(out, h.name, "=", h.value, ";"); });
  return out;
}

// Feeds a parser pieces and writes down what it says; DATA events that follow each other are joined, so that the
// transcript does not depend on the split.
class Transcript {
 public:
  Transcript(Role role, const Limits& limits = {}) : parser(role, limits) {}

  void feed(Bytes piece) {
    Bytes in = piece;
    for (;;) {
      Event e = parser.next(in);
      if (e != Event::kData && e != Event::kNeedMore) flush_data();
      switch (e) {
        case Event::kNeedMore: EXPECT_TRUE(in.empty() || parser.held()); return;
        case Event::kRequest: {
          RequestHead& r = parser.request();
          append(text, "[", r.method, " ", r.path, r.scheme.empty() ? "" : " scheme=", r.scheme, " @", r.authority,
                 r.version == Version::kHttp10 ? " 1.0" : "", " ", framing(), parser.keep_alive() ? "" : " close", "|",
                 dump(r.headers), "]");
          break;
        }
        case Event::kInterim:
          append(text, "[", parser.response().status, "|", dump(parser.response().headers), "]");
          break;
        case Event::kResponse:
          append(text, "[", parser.response().status, " ", parser.response().reason, " ", framing(),
                 parser.keep_alive() ? "" : " close", "|", dump(parser.response().headers), "]");
          break;
        case Event::kData:
          EXPECT_FALSE(parser.data().empty());
          data_.append(parser.data());
          break;
        case Event::kEnd:
          append(text, "END", parser.trailers().empty() ? "" : "(", dump(parser.trailers()),
                 parser.trailers().empty() ? "" : ")");
          if (auto_resume) parser.resume_http();
          break;
        case Event::kError:
          append(text, "ERROR ", parser.error().status, " ", parser.error().reason);
          EXPECT_EQ(parser.next(in), Event::kError);
          return;
      }
    }
  }
  void eof() {
    Event e = parser.finish_eof();
    flush_data();
    if (e == Event::kEnd) text += "END";
    if (e == Event::kError) append(text, "ERROR ", parser.error().status, " ", parser.error().reason);
  }

  // All that was said, with data that may still go on.
  std::string said() const { return data_.empty() ? text : cat(text, "<", data_, ">"); }

  H1Parser parser;
  std::string text;
  bool auto_resume = true;

 private:
  void flush_data() {
    if (!data_.empty()) append(text, "<", data_, ">");
    data_.clear();
  }
  std::string framing() const {
    switch (parser.framing()) {
      case Framing::kNone: return "none";
      case Framing::kLength: return cat("length=", parser.content_length());
      case Framing::kChunked: return "chunked";
      case Framing::kUntilClose: return "until-close";
      case Framing::kTunnel: return "tunnel";
    }
    return "";
  }
  std::string data_;
};

struct Case {
  std::string_view in;
  std::string_view want;
  Method answers = Method::kGet;
  bool upgrade = false;
  bool eof = false;
};

std::string run(Role role, const Case& c, const std::vector<Bytes>& pieces) {
  Transcript t(role);
  if (role == Role::kResponse) t.parser.expect_response_to(c.answers, c.upgrade);
  for (Bytes piece : pieces) {
    if (t.text.find("ERROR") != std::string::npos) break;
    t.feed(piece);
  }
  if (c.eof) t.eof();
  return t.said();
}

// Whole, in every split in two, and byte by byte: always the same.
void check(Role role, const Case& c) {
  ASSERT_EQ(run(role, c, {c.in}), c.want) << quoted(c.in, 1000);
  for (size_t n = 0; n <= c.in.size(); ++n)
    ASSERT_EQ(run(role, c, {c.in.substr(0, n), c.in.substr(n)}), c.want) << quoted(c.in, 1000) << " split at " << n;
  std::vector<Bytes> bytes;
  for (size_t i = 0; i < c.in.size(); ++i) bytes.push_back(c.in.substr(i, 1));
  ASSERT_EQ(run(role, c, bytes), c.want) << quoted(c.in, 1000) << " byte by byte";
}

TEST(H1Request, Legal) {
  const Case cases[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "[GET / @a none|host=a;]END"},
      {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "[GET / @a none|host=a;]END"},
      {"GET /x?y=%20z HTTP/1.1\r\nhOST:\t a:80 \t\r\nX-Empty:\r\nX-Y: a  b\r\n\r\n",
       "[GET /x?y=%20z @a:80 none|host=a:80;x-empty=;x-y=a  b;]END"},
      {"GET / HTTP/1.0\r\n\r\n", "[GET / @ 1.0 none close|]END"},
      {"GET / HTTP/1.0\r\nConnection: foo , Keep-Alive\r\n\r\n", "[GET / @ 1.0 none|connection=foo , Keep-Alive;]END"},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, CLOSE\r\n\r\n",
       "[GET / @a none close|host=a;connection=foo, CLOSE;]END"},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "[GET / @ none|host=;]END"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: b\r\n\r\n",
       "[POST / @a length=5|host=a;content-length=5;]<hello>END[GET /2 @b none|host=b;]END"},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "[POST / @a length=0|host=a;content-length=0;]END"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n00A;x;y=z;q=\"a\\\"b\" ; w = "
       "v\r\n0123456789\r\n0\r\n\r\n",
       "[POST / @a chunked|host=a;transfer-encoding=Chunked;]<hello0123456789>END"},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGrpc-Status: 0\r\nX-T: u\r\nSet-Cookie: "
       "no\r\n\r\n",
       "[POST / @a chunked|host=a;transfer-encoding=chunked;]END(grpc-status=0;x-t=u;)"},
      {"GET http://b:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /p?q scheme=http @b:81 none|host=a;]END"},
      {"GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", "[GET / scheme=http @b none|host=a;]END"},
      {"GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /?q scheme=http @b none|host=a;]END"},
      {"OPTIONS http://b HTTP/1.1\r\nHost: b\r\n\r\n", "[OPTIONS * scheme=http @b none|host=b;]END"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "[OPTIONS * @a none|host=a;]END"},
      {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "[CONNECT  @a:443 none|host=a:443;]END"},
      {"FOO-bar! / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n", "[FOO-bar! / @a none|host=a;x=\x80\xff;]END"},
  };
  for (const Case& c : cases) check(Role::kRequest, c);
}

TEST(H1Request, Refused) {
#define HEAD "GET / HTTP/1.1\r\nHost: a\r\n"
#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"GET / HTTP/1.1\nHost: a\n\n", "ERROR 400 LF without CR"},
      {"\n", "ERROR 400 LF without CR"},
      {"\r\n\r\nGET / HTTP/1.1\r\n", "ERROR 400 request line is not METHOD TARGET VERSION"},
      {HEAD "X: a\n\r\n", "ERROR 400 LF without CR"},
      {HEAD "X: a\rb\r\n\r\n", "ERROR 400 header field value has a control character"},
      {HEAD "X: a\r\r\n\r\n", "ERROR 400 header field value has a control character"},
      {HEAD " X: a\r\n\r\n", "ERROR 400 folded header line"},
      {HEAD "X: a\r\n\tb\r\n\r\n", "ERROR 400 folded header line"},
      {HEAD "X : a\r\n\r\n", "ERROR 400 space before the colon of a header field"},
      {HEAD ": a\r\n\r\n", "ERROR 400 header field name is empty or has a character that is not allowed"},
      {HEAD "Xa\r\n\r\n", "ERROR 400 header field name is empty or has a character that is not allowed"},
      {HEAD "X\xc3: a\r\n\r\n", "ERROR 400 header field name is empty or has a character that is not allowed"},
      {HEAD "X(: a\r\n\r\n", "ERROR 400 header field name is empty or has a character that is not allowed"},
      {std::string_view(HEAD "X: a\0b\r\n\r\n", sizeof(HEAD "X: a\0b\r\n\r\n") - 1),
       "ERROR 400 header field value has a control character"},
      {HEAD "X: a\x7f\r\n\r\n", "ERROR 400 header field value has a control character"},
      {HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "ERROR 400 Content-Length beside Transfer-Encoding"},
      {HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "ERROR 400 more than one Content-Length"},
      {HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "ERROR 400 more than one Content-Length"},
      {HEAD "Content-Length: 1, 1\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length: +1\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length: -1\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length: 0x1\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length:\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length: 9223372036854775808\r\n\r\n", "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Content-Length: 99999999999999999999999\r\n\r\n",
       "ERROR 400 Content-Length is not a whole number below 2^63"},
      {HEAD "Transfer-Encoding: gzip\r\n\r\n", "ERROR 501 Transfer-Encoding other than chunked"},
      {HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", "ERROR 501 Transfer-Encoding other than chunked"},
      {HEAD "Transfer-Encoding: chunked, identity\r\n\r\n", "ERROR 501 Transfer-Encoding other than chunked"},
      {HEAD "Transfer-Encoding: xchunked\r\n\r\n", "ERROR 501 Transfer-Encoding other than chunked"},
      {HEAD "Transfer-Encoding:\r\n\r\n", "ERROR 501 Transfer-Encoding other than chunked"},
      {HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
       "ERROR 400 more than one Transfer-Encoding"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "ERROR 400 Transfer-Encoding in HTTP/1.0"},
      {HEAD "Host: a\r\n\r\n", "ERROR 400 more than one Host"},
      {"GET / HTTP/1.1\r\n\r\n", "ERROR 400 no Host in an HTTP/1.1 request"},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "ERROR 400 Host is not host[:port]"},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "ERROR 400 Host is not host[:port]"},
      {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "ERROR 400 Host is not host[:port]"},
      {"GET / HTTP/1.1\r\nHost: a:port\r\n\r\n", "ERROR 400 Host is not host[:port]"},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 request target is empty or has a character that is not allowed"},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 request target is neither a path nor an absolute URI"},
      {"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 request target is neither a path nor an absolute URI"},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 request target is neither a path nor an absolute URI"},
      {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 request target has a bad authority"},
      {"GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 request target has a bad authority"},
      {"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 CONNECT wants HTTP/1.1 and a target of host:port"},
      {"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", "ERROR 400 CONNECT wants HTTP/1.1 and a target of host:port"},
      {"CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n",
       "ERROR 400 CONNECT wants HTTP/1.1 and a target of host:port"},
      {"CONNECT a:80 HTTP/1.0\r\n\r\n", "ERROR 400 CONNECT wants HTTP/1.1 and a target of host:port"},
      {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n", "ERROR 400 CONNECT with a body"},
      {"GET / HTTP/2.0\r\n\r\n", "ERROR 505 HTTP version is neither 1.0 nor 1.1"},
      {"GET / HTTP/1.2\r\n\r\n", "ERROR 505 HTTP version is neither 1.0 nor 1.1"},
      {"GET / HTTP/1.10\r\n\r\n", "ERROR 400 malformed HTTP version in the start line"},
      {"GET / http/1.1\r\n\r\n", "ERROR 400 malformed HTTP version in the start line"},
      {"GET / \r\n\r\n", "ERROR 400 malformed HTTP version in the start line"},
      {"GET /\r\n\r\n", "ERROR 400 request line is not METHOD TARGET VERSION"},
      {"G(T / HTTP/1.1\r\n\r\n", "ERROR 400 method is not a token"},
      {" / HTTP/1.1\r\n\r\n", "ERROR 400 method is not a token"},
      {"\x16\x03\x01\r\n", "ERROR 400 request line is not METHOD TARGET VERSION"},
      {CHUNKED "\r\n", "ERROR 400 chunk size is not a hexadecimal number"},
      {CHUNKED "g\r\n", "ERROR 400 chunk size is not a hexadecimal number"},
      {CHUNKED "0x5\r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "-5\r\nhello\r\n", "ERROR 400 chunk size is not a hexadecimal number"},
      {CHUNKED " 5\r\nhello\r\n", "ERROR 400 chunk size is not a hexadecimal number"},
      {CHUNKED "5 \r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "5;\r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "5;a=\r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "5;a=\"b\r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "5;a\rb\r\nhello\r\n", "ERROR 400 malformed chunk extension"},
      {CHUNKED "5\nhello\r\n", "ERROR 400 LF without CR"},
      {CHUNKED "8000000000000000\r\n", "ERROR 400 chunk size is too large"},
      {CHUNKED "00000000000000005\r\n", "ERROR 400 chunk size line is too long"},
      {CHUNKED "0\r\nContent-Length: 3\r\n\r\n",
       "ERROR 400 Content-Length, Transfer-Encoding or Host among the trailers"},
      {CHUNKED "0\r\nX : 3\r\n\r\n", "ERROR 400 space before the colon of a header field"},
      {CHUNKED "0\r\n X: 3\r\n\r\n", "ERROR 400 folded header line"},
  };
  for (auto [in, want] : cases) {
    Case c{in, want};
    std::string whole = run(Role::kRequest, c, {in});
    // Long names of limits apart, only the error counts here; what was read before it is the same in every split.
    size_t at = whole.find("ERROR");
    ASSERT_NE(at, std::string::npos) << quoted(in) << " gave " << whole;
    if (want != "ERROR 400 chunk size line is too long") EXPECT_EQ(whole.substr(at), want) << quoted(in);
    check(Role::kRequest, Case{in, whole});
  }
  Case bad_end{
      CHUNKED "5\r\nhello\n",
      "[POST / @a chunked|host=a;transfer-encoding=chunked;]<hello>ERROR 400 chunk data is not followed by CRLF"};
  check(Role::kRequest, bad_end);
  Case no_end{
      CHUNKED "5\r\nhellox\r\n",
      "[POST / @a chunked|host=a;transfer-encoding=chunked;]<hello>ERROR 400 chunk data is not followed by CRLF"};
  check(Role::kRequest, no_end);
}

TEST(H1Request, Limits) {
  Limits limits;
  limits.request_line = 40;
  limits.header_block = 60;
  limits.header_fields = 3;
  limits.trailer_block = 20;
  limits.trailer_fields = 2;
  limits.chunk_extension = 4;
  limits.chunk_extensions = 10;
  auto say = [&](const std::string& in) {
    Transcript whole(Role::kRequest, limits), bytes(Role::kRequest, limits);
    whole.feed(in);
    for (char c : in)
      if (bytes.text.find("ERROR") == std::string::npos) bytes.feed(Bytes(&c, 1));
    EXPECT_EQ(whole.text, bytes.text) << quoted(in);
    size_t at = whole.text.find("ERROR");
    return at == std::string::npos ? std::string("fine") : whole.text.substr(at);
  };
  std::string line = "GET /" + std::string(26, 'a') + " HTTP/1.1";
  ASSERT_EQ(line.size(), 40u);
  EXPECT_EQ(say(line + "\r\nHost: a\r\n\r\n"), "fine");
  EXPECT_EQ(say("X" + line + "\r\nHost: a\r\n\r\n"), "ERROR 414 start line over 40 bytes");
  EXPECT_EQ(say(std::string(100, 'a')), "ERROR 414 start line over 40 bytes");
  std::string head = "GET / HTTP/1.1\r\nHost: a\r\n";  // 9 bytes of fields
  EXPECT_EQ(say(head + "X: " + std::string(46, 'b') + "\r\n\r\n"), "fine");
  EXPECT_EQ(say(head + "X: " + std::string(49, 'b') + "\r\n\r\n"), "ERROR 431 header fields over 60 bytes");
  EXPECT_EQ(say(head + "a:1\r\nb:2\r\n\r\n"), "fine");
  EXPECT_EQ(say(head + "a:1\r\nb:2\r\nc:3\r\n\r\n"), "ERROR 431 more than 3 header fields");
  std::string body = head + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(say(body + "1;abc\r\nx\r\n1;abc\r\nx\r\n0\r\n\r\n"), "fine");
  EXPECT_EQ(say(body + "1;abcd\r\nx\r\n0\r\n\r\n"), "ERROR 400 chunk extensions are too long");
  EXPECT_EQ(say(body + "1;abc\r\nx\r\n1;abc\r\nx\r\n1;abc\r\nx\r\n0\r\n\r\n"),
            "ERROR 400 chunk extensions are too long");
  EXPECT_EQ(say(body + "1;" + std::string(30, 'a') + "\r\n"), "ERROR 400 chunk size line is too long");
  EXPECT_EQ(say(body + "0\r\nabcdef:0123456789\r\n\r\n"), "fine");
  EXPECT_EQ(say(body + "0\r\nabcdef:0123456789012345\r\n\r\n"), "ERROR 431 trailer fields over 20 bytes");
  EXPECT_EQ(say(body + "0\r\na:1\r\nb:2\r\nc:3\r\n\r\n"), "ERROR 431 more than 2 header fields");
  limits.allow_missing_host = true;
  EXPECT_EQ(say("GET / HTTP/1.1\r\n\r\n"), "fine");
}

TEST(H1Request, HeldUntilTheAnswerIsKnown) {
  for (bool tunnel : {true, false}) {
    Transcript t(Role::kRequest);
    t.auto_resume = false;
    std::string in =
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\nHost: "
        "a\r\n\r\n";
    t.feed(in);
    EXPECT_TRUE(t.parser.held());
    EXPECT_FALSE(t.parser.in_message());
    if (tunnel) t.parser.become_tunnel();
    else t.parser.resume_http();
    t.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    t.eof();
    EXPECT_THAT(t.text,
                HasSubstr(tunnel ? "]END<GET / HTTP/1.1\r\nHost: a\r\n\r\n>END" : "]END[GET / @a none|host=a;]END"));
  }
}

TEST(H1Request, Eof) {
  auto eof = [](std::string_view in) {
    Transcript t(Role::kRequest);
    t.feed(in);
    size_t at = t.said().size();
    t.eof();
    return t.text.substr(at);
  };
  EXPECT_EQ(eof(""), "");
  EXPECT_EQ(eof("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "");
  EXPECT_EQ(eof("G"), "ERROR 400 the connection was closed inside a message head");
  EXPECT_EQ(eof("GET / HTTP/1.1\r\n"), "ERROR 400 the connection was closed inside a message head");
  EXPECT_EQ(eof("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx"),
            "ERROR 400 the connection was closed inside a message body");
  EXPECT_EQ(eof("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"),
            "ERROR 400 the connection was closed inside a message body");
}

TEST(H1Response, Legal) {
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "[200 OK length=2|content-length=2;]<hi>END"},
      {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "[200  length=0|content-length=0;]END"},
      {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "[200  length=0|content-length=0;]END"},
      {"HTTP/1.1 404 Not  F\xc3\xb6und\r\nContent-Length: 0\r\n\r\n",
       "[404 Not  F\xc3\xb6und length=0|content-length=0;]END"},
      {"HTTP/1.1 200 OK\r\n\r\nall of it", "[200 OK until-close close|]<all of it>END", Method::kGet, false, true},
      {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
       "[200 OK length=1|connection=keep-alive;content-length=1;]<x>END"},
      {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "[200 OK length=1 close|content-length=1;]<x>END"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "[200 OK none|content-length=99;]END", Method::kHead},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "[304 Not Modified none|content-length=99;]END"},
      {"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "[204 No Content none|]END"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
       "0\r\n\r\n",
       "[100|][103|link=x;][200 OK length=0|content-length=0;]END"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nraw\r\n",
       "[101 Switching Protocols tunnel close|upgrade=x;connection=upgrade;]<raw\r\n>END", Method::kGet, true, true},
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw", "[200 OK tunnel close|]<raw>END", Method::kConnect, false,
       true},
      {"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "[403 No length=2|content-length=2;]<no>END",
       Method::kConnect},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
       "[200 OK chunked|transfer-encoding=chunked;]<hi>END(a=b;)"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
       "[200 OK length=0|content-length=0;]ENDERROR 502 response to no request"},
  };
  for (const Case& c : cases) check(Role::kResponse, c);
}

TEST(H1Response, Refused) {
  const Case cases[] = {
      {"HTTP/1.1 20 OK\r\n\r\n", "ERROR 502 malformed status line"},
      {"HTTP/1.1 099 OK\r\n\r\n", "ERROR 502 malformed status line"},
      {"HTTP/1.1 2000 OK\r\n\r\n", "ERROR 502 malformed status line"},
      {"HTTP/1.1  200 OK\r\n\r\n", "ERROR 502 malformed status line"},
      {"HTTP/1.1 +20 OK\r\n\r\n", "ERROR 502 malformed status line"},
      {"HTTP/2.0 200 OK\r\n\r\n", "ERROR 502 HTTP version is neither 1.0 nor 1.1"},
      {"ICY 200 OK\r\n\r\n", "ERROR 502 malformed HTTP version in the start line"},
      {"HTTP/1.1 200 O\x01K\r\n\r\n", "ERROR 502 reason phrase has a control character"},
      {"\r\nHTTP/1.1 200 OK\r\n\r\n", "ERROR 502 malformed HTTP version in the start line"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "ERROR 502 more than one Content-Length"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "ERROR 502 Content-Length beside Transfer-Encoding"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "ERROR 502 Transfer-Encoding other than chunked"},
      {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "ERROR 502 Transfer-Encoding in HTTP/1.0"},
      {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
       "ERROR 502 101 to a request that asked for no upgrade"},
      {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "ERROR 502 folded header line"},
      {"", "ERROR 502 the connection was closed before the response", Method::kGet, false, true},
      {"HTTP/1.1 2", "ERROR 502 the connection was closed inside a message head", Method::kGet, false, true},
  };
  for (const Case& c : cases) check(Role::kResponse, c);
  std::string interims;
  for (int i = 0; i < 17; ++i) interims += "HTTP/1.1 100 Continue\r\n\r\n";
  Transcript t(Role::kResponse);
  t.parser.expect_response_to(Method::kGet);
  t.feed(interims);
  EXPECT_THAT(t.text, HasSubstr("ERROR 502 more than 16 interim responses"));
  EXPECT_EQ(t.parser.error().to_error(Side::kPeer).code, Code::kProtocol);
}

TEST(H1Response, AnEarlyCloseSaysSo) {
  Transcript t(Role::kResponse);
  t.parser.expect_response_to(Method::kGet);
  t.eof();
  Error e = t.parser.error().to_error(Side::kPeer);
  EXPECT_EQ(e.code, Code::kClosed);
  EXPECT_EQ(e.retry, Retry::kIdempotentOnly);
}

// ---- Writing

std::string written(const RequestHead& head, BodyFraming body) {
  Buffer out;
  Result<> r = encode_request(head, body, out);
  return r ? std::string(out.view()) : "error: " + r.error().reason;
}
std::string written(const ResponseHead& head, BodyFraming body) {
  Buffer out;
  Result<> r = encode_response(head, body, out);
  return r ? std::string(out.view()) : "error: " + r.error().reason;
}

TEST(H1Encode, Requests) {
  RequestHead r;
  r.authority = "a:80";
  r.path = "/x?y";
  r.headers.add("Host", "other");
  r.headers.add("X-A", "b");
  r.headers.add("content-length", "77");
  r.headers.add("transfer-encoding", "gzip");
  EXPECT_EQ(written(r, BodyFraming::none()), "GET /x?y HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\n\r\n");
  EXPECT_EQ(written(r, BodyFraming::of_length(5)),
            "GET /x?y HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\ncontent-length: 5\r\n\r\n");
  EXPECT_EQ(written(r, BodyFraming::of_length(UINT64_MAX)),
            "GET /x?y HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\ncontent-length: 18446744073709551615\r\n\r\n");
  EXPECT_EQ(written(r, BodyFraming::chunked()),
            "GET /x?y HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\ntransfer-encoding: chunked\r\n\r\n");
  r.form = TargetForm::kAbsolute;
  EXPECT_EQ(written(r, BodyFraming::none()), "GET http://a:80/x?y HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\n\r\n");
  r.form = TargetForm::kAuthority;
  r.set_method("CONNECT");
  EXPECT_EQ(written(r, BodyFraming::none()), "CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\nx-a: b\r\n\r\n");
  RequestHead old;
  old.version = Version::kHttp10;
  EXPECT_EQ(written(old, BodyFraming::none()), "GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(written(old, BodyFraming::of_length(1)), "GET / HTTP/1.0\r\ncontent-length: 1\r\n\r\n");
  EXPECT_EQ(written(old, BodyFraming::chunked()), "GET / HTTP/1.1\r\nhost: \r\ntransfer-encoding: chunked\r\n\r\n");
  old.form = TargetForm::kAsterisk;
  old.path = "*";
  old.set_method("OPTIONS");
  EXPECT_EQ(written(old, BodyFraming::none()), "OPTIONS * HTTP/1.0\r\n\r\n");
}

TEST(H1Encode, Responses) {
  ResponseHead r;
  r.headers.add("content-length", "9");
  r.headers.add("a", "b");
  EXPECT_EQ(written(r, BodyFraming::none()), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\na: b\r\n\r\n");
  EXPECT_EQ(written(r, BodyFraming::of_length(3)), "HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\n\r\n");
  EXPECT_EQ(written(r, BodyFraming::until_close()), "HTTP/1.1 200 OK\r\na: b\r\n\r\n");
  r.status = 204;
  EXPECT_EQ(written(r, BodyFraming::none()), "HTTP/1.1 204 No Content\r\na: b\r\n\r\n");
  r.status = 799;
  r.reason = "Odd";
  r.version = Version::kHttp10;
  EXPECT_EQ(written(r, BodyFraming::chunked()), "HTTP/1.0 799 Odd\r\na: b\r\ntransfer-encoding: chunked\r\n\r\n");
}

TEST(H1Encode, NothingCanBeSplit) {
  for (const std::string& bad : std::vector<std::string>{"a\rb", "a\nb", std::string("a\0b", 3), "a\r\nb: c"}) {
    RequestHead r;
    r.headers.add("x", bad);
    EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("error: header x has a control character"));
    r = {};
    r.headers.add(bad, "x");
    EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("is not a token"));
    r = {};
    r.path = "/" + bad;
    EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("cannot be written"));
    r = {};
    r.authority = bad;
    EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("cannot be written"));
    r = {};
    r.set_method(bad);
    EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("is not a token"));
    ResponseHead s;
    s.reason = bad;
    EXPECT_THAT(written(s, BodyFraming::none()), HasSubstr("error: "));
    Headers trailers;
    trailers.add("x", bad);
    Buffer out;
    EXPECT_FALSE(encode_last_chunk(&trailers, out));
    EXPECT_TRUE(out.empty());
  }
  RequestHead r;
  r.path = "/a b";
  EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("cannot be written"));
  r.path = "";
  EXPECT_THAT(written(r, BodyFraming::none()), HasSubstr("cannot be written"));
}

TEST(H1Encode, ChunksComeBackAsTheyWere) {
  RequestHead head;
  head.set_method("POST");
  head.authority = "a";
  Headers trailers;
  trailers.add("grpc-status", "0");
  trailers.add("content-length", "5");  // may not be a trailer
  Buffer out;
  ASSERT_TRUE(encode_request(head, BodyFraming::chunked(), out));
  encode_chunk("hello", out);
  encode_chunk("", out);
  encode_chunk(std::string(300, 'x'), out);
  ASSERT_TRUE(encode_last_chunk(&trailers, out));
  Transcript t(Role::kRequest);
  t.feed(out.view());
  EXPECT_EQ(t.text, cat("[POST / @a chunked|host=a;transfer-encoding=chunked;]<hello", std::string(300, 'x'),
                        ">END(grpc-status=0;)"));
}

}  // namespace
}  // namespace tulle::http
