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
    int i = 0;
    while (i < 1000 && s.feed(make(i))) ++i;
    EXPECT_LE(i, 250) << what;
    EXPECT_GE(i, what == "settings" ? 10 : 30) << what;
    EXPECT_THAT(s.error, HasSubstr(cat("flood of ", what)));
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
