#include "libs/base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tulle {
namespace {

std::string plain(std::string_view value) {
  std::string line = log_text(LogFormat::kPlain, 1500ms, LogLevel::kWarn, "what happened", {{"path", value}});
  EXPECT_TRUE(line.starts_with("[     1.500s]  WARN what happened path=")) << line;
  return line.substr(39);
}
std::string json(std::string_view value) {
  std::string line = log_text(LogFormat::kJson, 1500ms, LogLevel::kWarn, "what happened", {{"path", value}});
  EXPECT_TRUE(line.starts_with(R"({"uptime":1.5,"level":"WARN","message":"what happened","path":)")) << line;
  return line.substr(62, line.size() - 63);
}

TEST(Log, TextStaysAsItIs) {
  EXPECT_EQ(plain("/a/b"), "/a/b");
  EXPECT_EQ(plain("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(json("caf\xc3\xa9"), "\"caf\xc3\xa9\"");
  EXPECT_EQ(plain(""), R"("")");
  EXPECT_EQ(plain("a b=\"c\" \\"), R"("a b=\"c\" \\")");
}

TEST(Log, NothingFromOutsideIsAControlCharacter) {
  const std::pair<std::string_view, std::string_view> kRows[] = {
      {"a\nWARN forged", R"("a\nWARN forged")"},
      {"a\r\n", R"("a\u000d\n")"},
      {"\x1b[2J\x1b]0;owned\x07", R"("\u001b[2J\u001b]0;owned\u0007")"},
      {"del\x7f", R"("del\u007f")"},
      {"c1\xc2\x9b"
       "31m",
       R"("c1\u00c2\u009b31m")"},
      {"raw\x9b"
       "31m",
       R"("raw\u009b31m")"},
      {"cut\xe2\x82", R"("cut\u00e2\u0082")"},
      {std::string_view("nul\0", 4), R"("nul\u0000")"},
  };
  for (auto [value, shown] : kRows) {
    EXPECT_EQ(plain(value), shown);
    EXPECT_EQ(json(value), shown);
  }
  for (int c = 0; c < 256; ++c) {
    std::string value(1, static_cast<char>(c));
    for (char shown : plain(value) + json(value)) EXPECT_TRUE(shown >= 0x20 && shown < 0x7f) << c;
  }
}

TEST(Log, NorIsTheMessage) {
  EXPECT_EQ(log_text(LogFormat::kPlain, 0ms, LogLevel::kInfo, "odd\n\x1b[31m", {}),
            "[     0.000s]  INFO odd\\n\\u001b[31m");
}

}  // namespace
}  // namespace tulle
