// A peer that breaks rules, by hand-made frames.
#include "libs/http/h2_test_support.h"

namespace tulle::http {
namespace {

using ::testing::HasSubstr;

TEST(H2Violations, MalformedMessagesResetOnlyTheirStream) {
  const Fields cases[] = {
      with(kGet, {{"connection", "close"}}),
      with(kGet, {{"transfer-encoding", "chunked"}}),
      with(kGet, {{"upgrade", "x"}}),
      with(kGet, {{"keep-alive", "x"}}),
      with(kGet, {{"proxy-connection", "x"}}),
      with(kGet, {{"te", "gzip"}}),
      with(kGet, {{"X-Upper", "x"}}),
      with(kGet, {{"x", "a\nb"}}),
      with(kGet, {{"x", "a\rb"}}),
      with(kGet, {{"x", std::string("a\0b", 3)}}),
      with(kGet, {{"x", " a"}}),
      with(kGet, {{"x y", "a"}}),
      with(kGet, {{"", "a"}}),
      with(kGet, {{":path", "/2"}}),
      with(kGet, {{":status", "200"}}),
      with(kGet, {{":odd", "x"}}),
      with(kGet, {{"x", "y"}, {":authority", "b"}}),
      with(kGet, {{"host", "b"}}),
      with(kGet, {{"host", "a"}, {"host", "a"}}),
      with(kGet, {{"content-length", "1"}, {"content-length", "1"}}),
      with(kGet, {{"content-length", "x"}}),
      with(kGet, {{"content-length", "5"}}),  // and no body
      {{":method", "GET"}, {":scheme", "http"}, {":path", "x"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", ""}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/a b"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/#f"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "u@a"}},
      {{":method", "G T"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}},
      {{":method", "GET"}, {":path", "/"}},
      {{":scheme", "http"}, {":path", "/"}},
      {{":method", "CONNECT"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a:1"}},
      {{":method", "CONNECT"}},
  };
  for (const Fields& fields : cases) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 1, block(fields)))) << s.error;
    EXPECT_THAT(s.frames(), HasSubstr("3(1) ")) << quoted(block(fields), 500) << s.h.text;
    EXPECT_THAT(s.h.text, testing::AnyOf("", HasSubstr("1:reset PROTOCOL_ERROR;1:closed;")))
        << quoted(block(fields), 500);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 3, block(kGet))));
    EXPECT_THAT(s.h.text, HasSubstr("3:[GET http a /|]."));
  }
}

TEST(H2Violations, BodyMustMatchItsLength) {
  for (std::string_view body : {"four", "sixsix"}) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 1, block(with(kGet, {{"content-length", "5"}}))) +
                       frame(kData, kEnd, 1, body)));
    EXPECT_THAT(s.frames(), HasSubstr("3(1) "));
    EXPECT_THAT(s.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;"));
    EXPECT_THAT(s.h.text, Not(HasSubstr("end")));
  }
}

TEST(H2Violations, TrailersEndAMessage) {
  std::string open = frame(kHeaders, kEndHeaders, 1, block(kGet));
  for (auto& last : {frame(kHeaders, kEndHeaders, 1, block({{"x", "y"}})),
                     frame(kHeaders, kEnd | kEndHeaders, 1, block({{":path", "/"}})),
                     frame(kHeaders, kEnd | kEndHeaders, 1, block({{"content-length", "1"}}))}) {
    Server s;
    EXPECT_TRUE(s.feed(open + last));
    EXPECT_THAT(s.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;"));
  }
}

TEST(H2Violations, Responses) {
  auto head = [](std::string status, int flags, const Fields& more = {}) {
    return frame(kHeaders, flags | kEndHeaders, 1, block(with({{":status", status}}, more)));
  };
  const std::pair<std::string, std::string_view> wrong[] = {
      {head("103", kEnd), "GET"},
      {head("101", 0), "GET"},
      {head("20", 0), "GET"},
      {head("2000", 0), "GET"},
      {head("abc", 0), "GET"},
      {frame(kHeaders, kEndHeaders, 1, block({{"x", "y"}})), "GET"},
      {frame(kHeaders, kEndHeaders, 1, block({{":status", "200"}, {":status", "200"}})), "GET"},
      {head("103", 0) + frame(kData, 0, 1, "x"), "GET"},
      {head("200", kEnd, {{"content-length", "2"}}), "GET"},
      {head("200", 0, {{"content-length", "2"}}) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"content-length", "2"}}) + frame(kData, kEnd, 1, "xyz"), "GET"},
      {head("200", 0) + frame(kData, kEnd, 1, "x"), "HEAD"},
      {head("304", 0) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"connection", "close"}}), "GET"},
      {head("200", 0) + head("200", 0), "GET"},
  };
  for (auto& [bytes, method] : wrong) {
    Client c(method);
    c.feed(bytes);
    EXPECT_THAT(c.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;")) << quoted(bytes) << c.h.text;
    EXPECT_THAT(c.h.text, Not(HasSubstr("end")));
  }
  const std::pair<std::string, std::string_view> right[] = {
      {head("200", kEnd, {{"content-length", "2"}}), "HEAD"},
      {head("304", kEnd, {{"content-length", "2"}}), "GET"},
      {head("100", 0) + head("103", 0) + head("200", 0) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"content-length", "0"}}) + frame(kData, kEnd, 1, ""), "GET"},
      {head("200", 0, {{"content-length", "1"}}) + frame(kData, kEnd, 1, "abc"), "CONNECT"},
      {head("200", 0) + frame(kHeaders, kEnd | kEndHeaders, 1, block({{"grpc-status", "0"}})), "POST"},
  };
  for (auto& [bytes, method] : right) {
    Client c(method);
    c.feed(bytes);
    EXPECT_THAT(c.h.text, Not(HasSubstr("reset"))) << quoted(bytes);
    EXPECT_THAT(c.h.text, HasSubstr("1:closed;")) << quoted(bytes);
  }
}

TEST(H2Violations, DataAfterTheEnd) {  // RFC 9113 §5.1
  std::string open = frame(kHeaders, kEndHeaders, 1, block(kGet)), data = frame(kData, 0, 1, "x");
  std::string cancel = frame(kRst, 0, 1, std::string("\0\0\0\10", 4));
  for (bool answered : {false, true}) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 1, block(kGet))));
    if (answered) EXPECT_TRUE(s.session.submit_response(1, {}, true));
    EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 3, block(kGet))));
    EXPECT_FALSE(s.feed(data));
    EXPECT_THAT(s.frames(), HasSubstr("7(5) "));
    EXPECT_THAT(s.h.text, HasSubstr("3:reset STREAM_CLOSED"));
  }
  Server by_peer;
  EXPECT_TRUE(by_peer.feed(open + cancel + data + data));
  EXPECT_THAT(by_peer.frames(), HasSubstr("3(5) "));
  Server by_us;
  EXPECT_TRUE(by_us.feed(open));
  by_us.session.reset(1, H2Code::kCancel);
  EXPECT_TRUE(by_us.feed(data + data));
  EXPECT_THAT(by_us.frames(), Not(HasSubstr("(5)")));
}

TEST(H2Violations, PushIsRefused) {
  Recorder h;
  H2Session session(Role::kClient, {}, h);
  RequestHead r;
  r.authority = "a";
  ASSERT_TRUE(session.submit_request(r, true));
  Buffer out;
  session.produce(out);
  EXPECT_FALSE(session.feed(
      frame(kSettings, 0, 0, "") + frame(5, kEndHeaders, 1, std::string("\0\0\0\2", 4) + block(kGet)), {}));
}

TEST(H2Violations, AcceptedOddities) {
  const std::pair<Fields, std::string_view> cases[] = {
      {with(kGet, {{"host", "A"}}), "1:[GET http a /|]."},
      {with(kGet, {{"te", "trailers"}}), "1:[GET http a /|te=trailers;]."},
      {with(kGet, {{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}}),
       "1:[GET http a /|cookie=a=1; b=2; c=3;x=y;]."},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "h"}}, "1:[GET http h /|]."},
      {{{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {":authority", "a"}}, "1:[OPTIONS http a *|]."},
      {{{":method", "CONNECT"}, {":authority", "a:1"}}, "1:[CONNECT  a:1 |]."},
  };
  for (auto& [fields, want] : cases) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 1, block(fields))));
    EXPECT_EQ(s.h.text, want);
  }
}

TEST(H2Violations, ConnectionErrorsSayWhyAtOnce) {
  const std::pair<std::string, std::string_view> cases[] = {
      {frame(kData, 0, 1, "x"), "PROTOCOL_ERROR"},                              // idle stream
      {frame(kHeaders, kEnd | kEndHeaders, 2, block(kGet)), "PROTOCOL_ERROR"},  // even id
      {frame(kHeaders, kEnd | kEndHeaders, 1, "\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR"},
      {frame(kPing, 0, 0, "1234567"), "FRAME_SIZE_ERROR"},
      {frame(kSettings, 0, 0, "12345"), "FRAME_SIZE_ERROR"},
      {frame(kData, 0, 1, std::string(20000, 'x')).substr(0, 9), "FRAME_SIZE_ERROR"},
      {frame(kWindow, 0, 0, std::string_view("\0\0\0\0", 4)), "PROTOCOL_ERROR"},
      {frame(kWindow, 0, 0, "\x7f\xff\xff\xff"), "FLOW_CONTROL_ERROR"},
      {frame(kContinuation, kEndHeaders, 1, ""), "PROTOCOL_ERROR"},
      {frame(kHeaders, kEnd, 1, block(kGet)) + frame(kPing, 0, 0, "12345678"), "PROTOCOL_ERROR"},
  };
  for (auto& [bytes, code] : cases) {
    Server s;
    EXPECT_FALSE(s.feed(bytes)) << quoted(bytes);
    EXPECT_THAT(s.error, HasSubstr(std::string(code))) << quoted(bytes);
    EXPECT_THAT(s.frames(), HasSubstr("7("));
    EXPECT_TRUE(s.session.finished());
    EXPECT_FALSE(s.feed("more"));
    EXPECT_EQ(s.session.open_streams(), 0u);
  }
  Recorder h;
  H2Session magic(Role::kServer, {}, h);
  auto r = magic.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().side, Side::kClient);
}

TEST(H2Violations, TooManyFieldsGet431AndThenAnEnd) {
  H2Options o;
  o.max_header_list = 1000;
  o.max_header_fields = 20;
  Fields many = kGet;
  for (int i = 0; i < 20; ++i) many.push_back({"a", "b"});
  for (const Fields& fields : {with(kGet, {{"x", std::string(1000, 'y')}}), many}) {
    Server s(o);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 1, block(fields))));
    EXPECT_EQ(s.h.text, "");
    EXPECT_EQ(s.frames(), "1 3(0) ");  // HEADERS with 431, then RST_STREAM with NO_ERROR
    EXPECT_EQ(s.session.open_streams(), 0u);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 3, block(kGet))));
    EXPECT_THAT(s.h.text, HasSubstr("3:[GET"));
  }
  Server s(o);
  Fields bomb = kGet;
  for (int i = 0; i < 10; ++i) bomb.push_back({"x", std::string(10000, 'y')});
  std::string all = block(bomb);
  std::string frames = frame(kHeaders, kEnd, 1, all.substr(0, 16000));
  for (size_t i = 16000; i < all.size(); i += 16000) frames += frame(kContinuation, 0, 1, all.substr(i, 16000));
  EXPECT_FALSE(s.feed(frames));
  EXPECT_THAT(s.error, HasSubstr("flood of header fields"));
}

TEST(H2Violations, TheReasonIsForThoseWhoMayKnow) {
  for (bool explain : {false, true}) {
    H2Options o;
    o.explain = explain;
    Server s(o);
    EXPECT_FALSE(s.feed(frame(kData, 0, 0, "x")));
    EXPECT_EQ(s.frames(), "7(1) ");
    EXPECT_EQ(s.sent.find("DATA on stream 0") != std::string::npos, explain);
  }
}

}  // namespace
}  // namespace tulle::http
