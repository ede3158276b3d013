// What costs a peer little and us much.
#include "libs/http/h2_test_support.h"

namespace tulle::http {
namespace {

using ::testing::HasSubstr;

TEST(H2Violations, FloodsEndTheConnection) {
  std::string get = block(kGet);
  const std::pair<std::string_view, std::function<std::string(int)>> floods[] = {
      {"control frames", [](int) { return frame(kPing, 0, 0, "12345678"); }},
      {"control frames", [](int) { return frame(kSettings, 0, 0, ""); }},
      {"control frames", [](int) { return frame(2, 0, 1, std::string_view("\0\0\0\0\0", 5)); }},
      {"control frames", [](int) { return frame(kWindow, 0, 0, std::string_view("\0\0\0\1", 4)); }},
      {"control frames", [](int) { return frame(kPing, 1, 0, "12345678"); }},  // acknowledges nothing
      {"control frames", [](int) { return frame(0x42, 0, 0, ""); }},
      {"control frames", [](int) { return frame(0x42, 0, 1, std::string(100, 'x')); }},
      {"control frames", [](int) { return frame(10, 0, 1, ""); }},      // ALTSVC
      {"control frames", [](int) { return frame(16, 0, 0, "abcd"); }},  // PRIORITY_UPDATE
      {"frames on streams that have ended",
       [&](int i) {
         // Of which we reset the first, so that what follows may have been on its way.
         return frame(kHeaders, kEndHeaders, 1, i == 0 ? block(with(kGet, {{"host", "b"}})) : get);
       }},
      {"streams over the limit",
       [&](int i) {
         std::string more = frame(kHeaders, kEnd | kEndHeaders, 2 * i + 3, get);
         return i == 0 ? frame(kHeaders, kEndHeaders, 1, get) + more : more;
       }},
      {"settings",
       [](int) {
         std::string many;
         for (int k = 0; k < 20; ++k) many += std::string("\0\4\0\0\xff\xff", 6);
         return frame(kSettings, 0, 0, many);
       }},
      {"empty DATA frames",
       [&](int i) { return i == 0 ? frame(kHeaders, kEndHeaders, 1, get) : frame(kData, 0, 1, ""); }},
      {"empty DATA frames",  // but for padding
       [&](int i) {
         return i == 0 ? frame(kHeaders, kEndHeaders, 1, get) : frame(kData, 8, 1, std::string_view("\0", 1));
       }},
      {"control frames",  // one byte of window at a time
       [&](int i) {
         std::string open =
             frame(kSettings, 0, 0, std::string_view("\0\4\0\0\0\0", 6)) + frame(kHeaders, kEnd | kEndHeaders, 1, get);
         return cat(i == 0 ? open : "", frame(kWindow, 0, 1, std::string_view("\0\0\0\1", 4)));
       }},
      {"malformed messages",
       [&](int i) { return frame(kHeaders, kEnd | kEndHeaders, 2 * i + 1, block(with(kGet, {{"host", "b"}}))); }},
      {"stream resets",
       [&](int i) {
         return frame(kHeaders, kEnd | kEndHeaders, 2 * i + 1, get) +
                frame(kRst, 0, 2 * i + 1, std::string_view("\0\0\0\x08", 4));
       }},
  };
  for (auto& [what, make] : floods) {
    H2Options o;
    o.glitch_burst = 100;
    o.glitches_per_second = 10;
    o.reset_burst = 200;
    o.resets_per_second = 10;
    if (what == "streams over the limit") o.max_concurrent_streams = 1;
    Server s(o);
    s.h.request = [&](int32_t id, RequestHead&&, bool) {
      ASSERT_TRUE(s.session.submit_response(id, ResponseHead(), false));
      s.session.write_data(id, std::string(10'000, 'x'));
    };
    int i = 0;
    for (; i < 1000 && s.feed(make(i)); ++i) s.frames();
    EXPECT_LE(i, 250) << what;
    EXPECT_GE(i, what == "settings" ? 10 : 30) << what;
    EXPECT_THAT(s.error, HasSubstr(cat("flood of ", what)));
    EXPECT_EQ(s.session.failure(), cat("flood of ", what));
    EXPECT_THAT(s.frames(), HasSubstr("7(11)")) << what << s.error;  // ENHANCE_YOUR_CALM
  }
}

// What was on its way when we gave up is no fault of the server's, however much we gave up at once.
TEST(H2Violations, LateAnswersToWhatWeGaveUpAreNoFlood) {
  H2Options o;
  o.glitch_burst = 10;
  o.glitches_per_second = 1;
  Pair p(o);
  p.s.request = [&](int32_t id, RequestHead&&, bool) { p.answer(id, "body"); };
  p.pump();
  std::vector<int32_t> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(p.ask());
  Buffer out;
  p.client.produce(out);
  ASSERT_TRUE(p.server.feed(out.view(), p.now));
  for (int32_t id : ids) p.client.reset(id, H2Code::kCancel);
  p.pump();
  EXPECT_EQ(p.client_error + p.server_error, "");
  EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
}

TEST(H2Violations, SettingsOfThousandsOfEntries) {
  std::string entry("\0\4\0\0\x40\0", 6), many;
  for (int i = 0; i < 16; ++i) many += entry;
  Server honest;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(honest.feed(frame(kSettings, 0, 0, many)));
  while (many.size() < 16380) many += entry;
  Server s;
  EXPECT_FALSE(s.feed(frame(kSettings, 0, 0, many)));
  EXPECT_EQ(s.session.failure(), "flood of settings");
}

TEST(H2Violations, HeadsOfOpenRequestsAreBounded) {
  H2Options o;
  o.max_open_heads = 100'000;
  o.max_concurrent_streams = 100;
  Server s(o);
  std::string big = block(with(kGet, {{"x", std::string(15'000, 'y')}}));
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 2 * i + 1, big)));
  EXPECT_EQ(s.session.open_streams(), 6u);
  EXPECT_EQ(s.frames(), "3(7) ");  // REFUSED_STREAM
  s.session.reset(1, H2Code::kCancel);
  EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 21, big)));
  EXPECT_EQ(s.frames(), "3(8) ");  // that of our own
  EXPECT_EQ(s.session.open_streams(), 6u);
}

TEST(H2Violations, LargeHeadsDoNotKeepSmallOnesOut) {
  H2Options o;
  o.max_open_heads = 100'000;
  o.max_concurrent_streams = 100;
  Server s(o);
  std::string big = block(with(kGet, {{"x", std::string(15'000, 'y')}}));
  std::string small = block(with(kGet, {{"x", std::string(700, 'y')}}));
  int32_t id = 1;
  for (int i = 0; i < 5000; ++i, id += 2) ASSERT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, id, big)));
  EXPECT_EQ(s.session.open_streams(), 6u) << "a peer that does not know the limit is not sent away for it";
  s.frames();
  for (int i = 0; i < 94; ++i, id += 2) ASSERT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, id, small)));
  EXPECT_EQ(s.session.open_streams(), 100u);
  EXPECT_EQ(s.frames(), "");
  EXPECT_LT(s.session.held(), 200'000u);
}

TEST(H2Violations, InterimResponsesWithoutEnd) {
  Client c("GET");
  std::string more = frame(kHeaders, kEndHeaders, 1, block({{":status", "103"}}));
  for (int i = 0; i < 17; ++i) c.feed(more);
  EXPECT_THAT(c.h.text, HasSubstr("1:reset ENHANCE_YOUR_CALM;1:closed;"));
}

TEST(H2Violations, AServerMayAnswerWhatWasGivenUpButNotWithoutEnd) {
  Client honest;
  RequestHead r;
  r.set_method("GET");
  r.authority = "a:1";
  std::vector<int32_t> ids;
  for (int i = 0; i < 5000; ++i) {
    auto id = honest.session.submit_request(r, true);
    ASSERT_TRUE(id);
    ids.push_back(*id);
    honest.session.reset(*id, H2Code::kCancel);
    honest.feed("");
  }
  for (int32_t id : ids) honest.feed(frame(kHeaders, kEndHeaders, id, block({{":status", "200"}})));
  Client c("GET");
  std::string more = frame(kHeaders, kEndHeaders, 1, block({{":status", "103"}}));
  int taken = 0;
  while (taken < 10'000 && c.session.feed(more, {})) ++taken;
  EXPECT_EQ(c.session.failure(), "flood of frames on streams that have ended");
  EXPECT_LE(taken, 2100);
}

TEST(H2Violations, WhatHasBegunIsTimed) {
  Server s;
  s.now += 1s;
  EXPECT_EQ(s.session.head_begun(), kNever);
  std::string get = block(kGet);
  std::string all = frame(kHeaders, kEnd, 1, get.substr(0, 5)) + frame(kContinuation, kEndHeaders, 1, get.substr(5));
  TimePoint begun = s.now;
  for (char c : all) {
    EXPECT_TRUE(s.feed(std::string(1, c)));
    s.now += 1s;
    if (s.h.text.empty()) EXPECT_EQ(s.session.head_begun(), begun);
  }
  EXPECT_EQ(s.session.head_begun(), kNever);
  EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 3, get) + frame(kData, 0, 3, "0123456789").substr(0, 12)));
  EXPECT_EQ(s.session.head_begun(), kNever) << "a body may take its time";
  s.session.terminate(H2Code::kEnhanceYourCalm, "header timeout");
  EXPECT_EQ(s.session.failure(), "header timeout");
}

// A head of more than a frame costs the same whatever waits before it.
TEST(H2Flood, LargeHeadsInALongQueue) {
  Recorder h;
  H2Options o;
  o.initial_peer_streams = 2000;
  H2Session session(Role::kClient, o, h);
  RequestHead r;
  r.authority = "a";
  r.headers.add("x", std::string(40'000, '\x7f' - 1));
  for (int i = 0; i < 1500; ++i) ASSERT_TRUE(session.submit_request(r, true));
  EXPECT_GT(session.queued(), 1500u * 30'000);
}

// What nobody takes away is a flood too, and is told when next there is an occasion.
TEST(H2Violations, FramesThatNobodyTakesEndTheConnection) {
  Pair p;
  p.ask();
  p.pump();
  for (int i = 0; i < 50'000; ++i) p.client.ping(1);
  Buffer out;
  p.client.produce(out);
  EXPECT_THAT(p.c.text, HasSubstr("1:reset ENHANCE_YOUR_CALM;1:closed;"));
  while (p.client.want_write()) p.client.produce(out);
  EXPECT_TRUE(p.client.finished());
}

TEST(H2Violations, WhatIsSlowIsNoFlood) {
  H2Options o;
  o.glitch_burst = 10;
  o.glitches_per_second = 10;
  Server s(o);
  for (int i = 0; i < 1000; ++i) {
    s.now += 100ms;
    ASSERT_TRUE(s.feed(frame(kPing, 0, 0, "12345678"))) << i;
  }
}

}  // namespace
}  // namespace tulle::http
