// Two sessions that talk to each other: messages and flow control.
#include "libs/http/h2_test_support.h"

namespace tulle::http {
namespace {

using ::testing::HasSubstr;

TEST(H2, RequestAndResponseInEverySplit) {
  for (size_t piece : {1u, 2u, 9u, 10u, 100u, 100000u}) {
    Pair p;
    Headers h;
    h.add("Cookie", "a=1");
    h.add("connection", "close");  // does not travel
    h.add("te", "trailers");
    h.add("x-empty", "");
    int32_t id = p.ask("/x?y", false, h);
    p.client.write_data(id, "hello");
    ASSERT_TRUE(p.client.end_data(id));
    p.pump(piece);
    EXPECT_EQ(p.s.take(), "1:[GET http web /x?y|cookie=a=1;te=trailers;x-empty=;]1:<hello>1:end") << piece;
    Headers trailers;
    trailers.add("grpc-status", "0");
    p.answer(id, "world", &trailers);
    p.pump(piece);
    EXPECT_EQ(p.c.take(), "1:[200|x-a=b;]1:<world>1:end(grpc-status=0;)1:closed;");
    EXPECT_EQ(p.s.take(), "1:closed;");
    EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
    EXPECT_EQ(p.c.max_streams, 1024u);
    EXPECT_EQ(p.client_error + p.server_error, "");
  }
}

TEST(H2, ShapesOfResponses) {
  Pair p;
  Headers trailers;
  trailers.add("grpc-status", "14");
  trailers.add("grpc-message", "no");
  int32_t a = p.ask("/a"), b = p.ask("/b"), c = p.ask("/c"), d = p.ask("/d");
  p.pump();
  p.s.take();
  p.answer(a);                 // head only
  p.answer(b, "", &trailers);  // head, trailers, no data
  ResponseHead only;           // trailers-only: one block that ends
  only.headers.add("grpc-status", "5");
  ASSERT_TRUE(p.server.submit_response(c, only, true));
  ResponseHead early;
  early.status = 103;
  early.headers.add("link", "x");
  ASSERT_TRUE(p.server.submit_interim(d, early));
  p.answer(d, "x");
  p.pump();
  std::string said = p.c.take();
  EXPECT_THAT(said, HasSubstr("1:[200|x-a=b;]."));
  EXPECT_THAT(said, HasSubstr("3:[200|x-a=b;]"));
  EXPECT_THAT(said, HasSubstr("3:end(grpc-status=14;grpc-message=no;)"));
  EXPECT_THAT(said, Not(HasSubstr("3:<")));
  EXPECT_THAT(said, HasSubstr("5:[200|grpc-status=5;]."));
  EXPECT_THAT(said, HasSubstr("7:(103)7:[200|x-a=b;]"));
  EXPECT_THAT(said, HasSubstr("7:<x>7:end"));
}

TEST(H2, EverythingFromInsideCallbacks) {
  Pair p;
  p.s.request = [&](int32_t id, RequestHead&& r, bool) {
    if (r.path == "/reset") return p.server.reset(id, H2Code::kCancel);
    if (r.path == "/double") {
      p.server.reset(id, H2Code::kCancel);
      p.server.reset(id, H2Code::kInternalError);
      p.answer(id, "late");
      return;
    }
    p.answer(id, "body");
  };
  p.c.response = [&](int32_t id) {
    if (id == 1) p.ask("/next");
    if (id == 3) p.client.reset(id, H2Code::kCancel);
  };
  p.ask("/1");
  p.ask("/3");
  p.ask("/reset");
  p.ask("/double");
  p.pump();
  std::string said = p.c.take();
  EXPECT_THAT(said, HasSubstr("1:[200"));
  EXPECT_THAT(said, HasSubstr("9:[200"));
  EXPECT_THAT(said, HasSubstr("5:reset CANCEL by peer;5:closed;"));
  EXPECT_THAT(said, HasSubstr("7:reset CANCEL by peer;7:closed;"));
  EXPECT_THAT(said, HasSubstr("3:closed;"));
  EXPECT_THAT(said, Not(HasSubstr("3:reset")));
  EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
}

// Forty streams whose readers stand still leave the connection to the others.
TEST(H2, SlowReadersStopOnlyTheirStreams) {
  Pair p;
  p.c.data = [](int32_t, Bytes) {};  // consumes nothing
  std::string body(60'000, 'x');
  for (int i = 0; i < 40; ++i) {
    int32_t id = p.ask();
    p.pump();
    p.answer(id, body + body);  // more than the stream's window: it stays open
    p.pump();
  }
  EXPECT_EQ(p.client.open_streams(), 40u);
  p.c.data = nullptr;
  for (int i = 0; i < 100; ++i) {
    int32_t id = p.ask();
    p.pump();
    p.c.text.clear();
    p.answer(id, body);
    p.pump();
    ASSERT_THAT(p.c.text, HasSubstr(cat(id, ":closed;"))) << i;
  }
  EXPECT_EQ(p.client_error + p.server_error, "");
}

TEST(H2, FlowControlFollowsTheConsumer) {
  H2Options server_options;
  server_options.stream_window = 70000;
  Pair p({}, server_options);
  p.s.quiet = true;
  p.s.data = [](int32_t, Bytes) {};  // consumes nothing
  int32_t id = p.ask("/", false);
  std::string body(200000, 'x');
  p.client.write_data(id, body);
  ASSERT_TRUE(p.client.end_data(id));
  p.pump();
  EXPECT_EQ(p.s.received, 70000u);
  EXPECT_EQ(p.client.pending(id), 130000u);
  EXPECT_EQ(p.c.writables, 0);
  p.server.consume(id, 70000);
  p.pump();
  EXPECT_EQ(p.s.received, 140000u);
  EXPECT_EQ(p.client.pending(id), 60000u);
  EXPECT_EQ(p.c.writables, 1);
  p.server.consume(id, 70000);
  p.pump();
  EXPECT_EQ(p.s.received, 200000u);
  EXPECT_EQ(p.client.pending(id), 0u);
}

TEST(H2, ConnectionWindowSurvivesStreamsThatDieUnconsumed) {
  Pair p;
  p.s.quiet = true;
  p.s.data = [](int32_t, Bytes) {};
  for (int i = 0; i < 40; ++i) {  // 40 × 64 KiB is more than the connection's window
    int32_t id = p.ask("/", false);
    p.client.write_data(id, std::string(65535, 'x'));
    p.pump();
    p.client.reset(id, H2Code::kCancel);
    p.pump();
  }
  EXPECT_EQ(p.s.received, 40u * 65535);
}

TEST(H2, ProduceKeepsToItsMaximum) {
  H2Options options;
  options.stream_window = options.connection_window = 1 << 24;
  Pair p(options);
  p.c.quiet = true;
  int32_t id = p.ask();
  p.pump();
  p.answer(id, std::string(1 << 20, 'y'));
  size_t total = 0, turns = 0;
  while (p.server.want_write()) {
    Buffer out;
    p.server.produce(out, 32768);
    EXPECT_LE(out.size(), 32768u + 16384 + 9);
    total += out.size();
    ++turns;
    ASSERT_TRUE(p.client.feed(out.view(), p.now));
    Buffer back;
    p.client.produce(back);
    ASSERT_TRUE(p.server.feed(back.view(), p.now));
  }
  EXPECT_EQ(p.c.received, 1u << 20);
  EXPECT_GE(turns, 20u);
  EXPECT_LT(total, (1u << 20) + 2000);
}

TEST(H2, WritableIsToldOncePerFall) {
  H2Options options;
  options.write_mark = 1000;
  H2Options wide;
  wide.stream_window = 1 << 20;
  Pair p(options, wide);
  p.s.quiet = true;
  int32_t id = p.ask("/", false);
  int rounds = 0;
  p.c.writable = [&](int32_t i) {
    if (++rounds < 5) p.client.write_data(i, std::string(5000, 'z'));
    else EXPECT_TRUE(p.client.end_data(i));
  };
  p.client.write_data(id, std::string(5000, 'z'));
  p.pump();
  EXPECT_EQ(p.c.writables, 5);
  EXPECT_EQ(p.s.received, 25000u);
  EXPECT_THAT(p.s.text, HasSubstr("1:end"));
  Buffer whole;
  whole.append("swapped");
  int32_t id2 = p.ask("/", false);
  p.client.write_data(id2, std::move(whole));
  EXPECT_EQ(p.client.pending(id2), 7u);
  EXPECT_TRUE(whole.empty());
}

TEST(H2, AnEarlyAnswerStopsTheRequest) {
  Pair p;
  int32_t id = p.ask("/", false);
  p.client.write_data(id, "part");
  p.pump();
  p.answer(id, "enough");
  p.server.reset(id, H2Code::kNoError);
  p.pump();
  EXPECT_EQ(p.c.take(), "1:[200|x-a=b;]1:<enough>1:end1:reset NO_ERROR by peer;1:closed;");
  EXPECT_THAT(p.s.take(), HasSubstr("1:closed;"));
  // The request ends just before: nothing is reset.
  id = p.ask("/", false);
  p.pump();
  p.answer(id, std::string(100000, 'x'));  // more than the window
  p.server.reset(id, H2Code::kNoError);
  p.c.quiet = true;
  p.c.data = [](int32_t, Bytes) {};
  p.pump();
  ASSERT_TRUE(p.client.end_data(id));
  p.pump();
  p.client.consume(id, 100000);
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("3:end3:closed;"));
  EXPECT_THAT(p.s.text, HasSubstr("3:closed;"));
}

TEST(H2, HeadsThatCannotBeSent) {
  Pair p;
  auto refusal = [&](auto change) {
    RequestHead r;
    change(r);
    auto id = p.client.submit_request(r, true);
    return id ? "sent" : std::string(code_name(id.error().code));
  };
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("a", "b\nc"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("a b", "c"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.path = "x"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.authority = "a@b"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.set_method("A B"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.set_method("CONNECT"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.scheme = "1x"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("host", "h:1"); }), "sent");
  p.pump();
  EXPECT_THAT(p.s.text, HasSubstr("[GET http h:1 /|]"));
  ResponseHead bad;
  bad.status = 101;
  EXPECT_FALSE(p.server.submit_response(1, bad, true));
  bad.status = 200;
  bad.headers.add("x", "a\rb");
  EXPECT_FALSE(p.server.submit_response(1, bad, true));
  ResponseHead good;
  ASSERT_TRUE(p.server.submit_response(1, good, false));
  Headers trailers;
  trailers.add("x", std::string("a\0b", 3));
  EXPECT_FALSE(p.server.end_data(1, &trailers));
}

}  // namespace
}  // namespace tulle::http
