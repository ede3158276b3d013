// The life of a connection: stream limits, draining, GOAWAY, pings.
#include "libs/http/h2_test_support.h"

namespace tulle::http {
namespace {

using ::testing::HasSubstr;

TEST(H2, StreamLimitIsKept) {
  H2Options server_options;
  server_options.max_concurrent_streams = 3;
  H2Options client_options;
  client_options.initial_peer_streams = 5;
  Pair p(client_options, server_options);
  p.pump();
  EXPECT_EQ(p.c.max_streams, 3u);
  for (int i = 0; i < 3; ++i) p.ask();
  EXPECT_FALSE(p.client.can_open());
  RequestHead r;
  auto refused = p.client.submit_request(r, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_EQ(refused.error().retry, Retry::kSafe);
  p.pump();
  p.answer(1);
  p.pump();
  EXPECT_TRUE(p.client.can_open());
}

TEST(H2, BeforeTheLimitIsKnownStreamsAreRefusedOneByOne) {
  H2Options server_options;
  server_options.max_concurrent_streams = 2;
  Pair p({}, server_options);
  for (int i = 0; i < 4; ++i) p.ask();  // before the server's SETTINGS came
  p.pump();
  EXPECT_EQ(p.client_error + p.server_error, "");
  EXPECT_THAT(p.c.text, HasSubstr("5:reset REFUSED_STREAM by peer;"));
  EXPECT_THAT(p.c.text, HasSubstr("7:reset REFUSED_STREAM by peer;"));
}

// A peer that goes over a limit that it knows: only those streams end (RFC 9113 §5.1.2).
TEST(H2, StreamsOverTheLimitAreRefusedOneByOne) {
  H2Options o;
  o.max_concurrent_streams = 2;
  Server s(o);
  EXPECT_TRUE(s.feed(frame(kSettings, 1, 0, "")));  // acknowledged
  auto get = [](int32_t id) { return frame(kHeaders, kEnd | kEndHeaders, id, block(kGet)); };
  EXPECT_TRUE(s.feed(get(1) + get(3) + get(5) + get(7)));
  EXPECT_EQ(s.frames(), "3(7) 3(7) ");  // REFUSED_STREAM
  EXPECT_EQ(s.session.open_streams(), 2u);
  EXPECT_EQ(s.h.ids, (std::vector<int32_t>{1, 3}));
  ResponseHead ok;
  EXPECT_TRUE(s.session.submit_response(3, ok, true));
  EXPECT_TRUE(s.feed(""));
  // With its head in two pieces and a body on its way.
  std::string late = frame(kHeaders, 0, 11, block(kGet).substr(0, 10)) +
                     frame(kContinuation, kEndHeaders, 11, block(kGet).substr(10)) + frame(kData, kEnd, 11, "body");
  EXPECT_TRUE(s.feed(get(9) + late.substr(0, 30)));
  EXPECT_EQ(s.frames(), "3(7) ");
  EXPECT_TRUE(s.feed(late.substr(30)));
  EXPECT_EQ(s.frames(), "");
  EXPECT_EQ(s.h.ids, (std::vector<int32_t>{1, 3, 9}));
  EXPECT_TRUE(s.feed(frame(kPing, 0, 0, "12345678")));
  EXPECT_EQ(s.error, "");
}

TEST(H2, AClientLeavesAConnectionBeforeItsIdsEnd) {
  H2Options o;
  o.max_requests = 2;
  Pair p(o);
  p.s.request = [&](int32_t id, RequestHead&&, bool) { p.answer(id); };
  p.ask();
  EXPECT_TRUE(p.client.can_open());
  p.ask();
  EXPECT_FALSE(p.client.can_open());
  EXPECT_TRUE(p.client.draining());
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("3:[200"));
  EXPECT_TRUE(p.client.finished());
}

TEST(H2, DrainOfAServerLosesNothing) {
  Pair p;
  int32_t a = p.ask("/a");
  p.pump();
  p.server.drain();
  EXPECT_FALSE(p.server.finished());
  int32_t b = p.ask("/b");  // crosses the first GOAWAY
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("goaway 2147483647 NO_ERROR;"));
  EXPECT_THAT(p.c.text, HasSubstr("goaway 3 NO_ERROR;"));
  EXPECT_FALSE(p.client.can_open());
  RequestHead r;
  auto late = p.client.submit_request(r, true);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().retry, Retry::kSafe);
  EXPECT_FALSE(p.server.finished());
  p.answer(a, "a");
  p.answer(b, "b");
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("1:<a>"));
  EXPECT_THAT(p.c.text, HasSubstr("3:<b>"));
  EXPECT_TRUE(p.server.finished());
  EXPECT_TRUE(p.client.finished());
}

TEST(H2, DrainOfAnIdleServerWaitsForTheAcknowledgement) {
  Pair p;
  p.pump();
  p.server.drain();
  Buffer out;
  p.server.produce(out);
  EXPECT_FALSE(p.server.finished());
  ASSERT_TRUE(p.client.feed(out.view(), p.now));
  p.pump();
  EXPECT_TRUE(p.server.finished());
}

TEST(H2, DrainOfAClient) {
  Pair p;
  int32_t a = p.ask("/a");
  p.pump();
  p.client.drain();
  EXPECT_FALSE(p.client.can_open());
  p.pump();
  EXPECT_FALSE(p.client.finished());
  p.answer(a);
  p.pump();
  EXPECT_TRUE(p.client.finished());
}

TEST(H2, GoawayRefusesWhatTheServerNeverSaw) {
  Pair p;
  p.ask("/a");
  p.pump();
  p.s.take();
  // A server that says it saw stream 1 only, while 3 is on its way.
  p.ask("/b");
  std::string frame("\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0", 17);
  ASSERT_TRUE(p.client.feed(frame, p.now));
  EXPECT_THAT(p.c.text, HasSubstr("goaway 1 NO_ERROR;"));
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("3:reset REFUSED_STREAM by peer;3:closed;"));
  EXPECT_THAT(p.c.text, Not(HasSubstr("1:reset")));
}

TEST(H2, AClientThatSaysGoawayIsAnsweredWhatItHasAsked) {
  Pair p;
  int32_t a = p.ask("/a");
  p.pump();
  std::string frame("\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0", 17);
  ASSERT_TRUE(p.server.feed(frame, p.now));
  p.s.take();
  for (int i = 0; i < 3; ++i) p.ask("/late");  // as one that says it and goes on
  p.pump();
  EXPECT_EQ(p.s.text, "") << "nobody looks";
  EXPECT_THAT(p.c.text, HasSubstr("goaway 1 NO_ERROR;"));
  EXPECT_THAT(p.c.text, HasSubstr("3:reset REFUSED_STREAM by peer;3:closed;"));
  EXPECT_FALSE(p.server.finished());
  p.answer(a, "a");
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("1:<a>"));
  EXPECT_TRUE(p.server.finished());
}

TEST(H2, PingAndTerminate) {
  Pair p;
  int32_t id = p.ask();
  p.client.ping(42);
  p.pump();
  EXPECT_EQ(p.c.take(), "pong 42;");
  p.server.terminate(H2Code::kInternalError);
  EXPECT_THAT(p.s.take(), HasSubstr("1:reset INTERNAL_ERROR;1:closed;"));
  p.pump();
  EXPECT_TRUE(p.server.finished());
  EXPECT_THAT(p.c.text, HasSubstr("goaway 1 INTERNAL_ERROR;"));
  p.client.abandon(H2Code::kCancel);
  EXPECT_THAT(p.c.text, HasSubstr("1:reset CANCEL by peer;1:closed;"));
  EXPECT_TRUE(p.client.finished());
  p.client.write_data(id, "x");
  p.client.reset(id, H2Code::kCancel);
  EXPECT_EQ(p.client.submit_request(RequestHead(), true).error().code, Code::kUnavailable);
}

TEST(H2, ContextIsGivenBack) {
  Pair p;
  int mine = 0;
  RequestHead r;
  auto id = p.client.submit_request(r, true, &mine);
  ASSERT_TRUE(id);
  EXPECT_EQ(p.client.context(*id), &mine);
  p.pump();
  p.server.set_context(*id, &p);
  EXPECT_EQ(p.server.context(*id), &p);
  EXPECT_EQ(p.server.context(77), nullptr);
}

TEST(H2, ALongLifeKeepsNothing) {
  Pair p;
  p.s.request = [&](int32_t id, RequestHead&&, bool) { p.answer(id, "body"); };
  for (int i = 0; i < 20000; ++i) {
    p.ask();
    p.pump();
    p.c.text.clear();
    p.s.text.clear();
  }
  EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
  EXPECT_EQ(p.client_error + p.server_error, "");
}

// ---- What one connection queues

TEST(H2Queued, AboveTheMarkAStreamIsWritableWhenItHasNothingPending) {
  H2Options options;
  options.queued_mark = 100'000;
  Pair p({}, options);
  p.pump();
  int32_t a = p.ask(), b = p.ask();
  p.pump();
  p.client.set_context(a, nullptr);
  size_t empty = p.server.held();
  ResponseHead head;
  ASSERT_TRUE(p.server.submit_response(a, head, false));
  ASSERT_TRUE(p.server.submit_response(b, head, false));
  p.pump();
  std::string much(90'000, 'x'), little(4096, 'y');
  p.server.write_data(a, much);
  EXPECT_FALSE(p.server.crowded());
  p.server.write_data(b, much);
  EXPECT_TRUE(p.server.crowded());
  EXPECT_EQ(p.server.held(), empty + 180'000);
  p.c.quiet = true;
  p.pump();
  EXPECT_FALSE(p.server.crowded());
  EXPECT_EQ(p.server.held(), empty);
  EXPECT_EQ(p.s.writables, 2);
  EXPECT_EQ(p.c.received, 180'000u);

  // Without a window nothing leaves; what is reset no longer counts.
  p.c.data = [](int32_t, Bytes) {};  // not consumed
  p.server.write_data(a, much);
  p.server.write_data(b, much);
  p.pump();
  size_t left = p.server.held() - empty;
  EXPECT_GT(left, 0u);
  EXPECT_EQ(left, p.server.pending(a) + p.server.pending(b));
  p.server.reset(a, H2Code::kCancel);
  p.pump();
  EXPECT_LT(p.server.held(), left + empty);
  p.client.reset(b, H2Code::kCancel);
  p.pump();
  EXPECT_EQ(p.server.open_streams(), 0u);
  EXPECT_LE(p.server.held(), empty);
}

}  // namespace
}  // namespace tulle::http
