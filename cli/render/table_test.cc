#include "cli/render/table.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cli/render/text.h"

namespace tulle::cli {
namespace {

Table sample() {
  Table t;
  t.columns = {{"NAME", "name"}, {"RPS", "rps", true}, {"NOTE", "note", false, true}, {"TLS", "tls"}};
  t.rows = {
      {text_cell("api"), number_cell(12.5, "12.5rps"), text_cell("a note"), bool_cell(true, "√").styled(Style::kGood)},
      {text_cell("größe-漢"), no_cell(), text_cell(""), bool_cell(false, "no").styled(Style::kBad)}};
  t.empty = "nothing runs";
  return t;
}

TEST(Text, NearestWord) {
  const std::vector<std::string> words{"up", "down", "run", "get", "stat", "edges", "diagnostics", "validate", "check"};
  for (auto [typed, meant] : std::vector<std::pair<std::string, std::string>>{{"edge", "edges"},
                                                                              {"egdes", "edges"},
                                                                              {"runn", "run"},
                                                                              {"rnu", "run"},
                                                                              {"diag", "diagnostics"},
                                                                              {"diagnotics", "diagnostics"},
                                                                              {"vlaidate", "validate"},
                                                                              {"nonsense", ""},
                                                                              {"x", ""},
                                                                              {"", ""},
                                                                              {std::string(1000, 'a'), ""}})
    EXPECT_EQ(nearest_word(typed, words), meant) << typed;
}

TEST(Text, WidthCutAndPad) {
  EXPECT_EQ(text_width("größe"), 5u);
  EXPECT_EQ(text_width("漢字"), 4u);
  EXPECT_EQ(text_width("e\u0301"), 1u);
  EXPECT_EQ(text_width("\xff"), 1u);
  EXPECT_EQ(fit("größer", 6), "größer");
  EXPECT_EQ(fit("größer", 4), "grö…");
  EXPECT_EQ(fit("漢字", 3), "漢…");
  EXPECT_EQ(fit("漢字", 2), "…");
  EXPECT_EQ(fit("x", 0), "");
  EXPECT_EQ(pad("ü", 3), "ü  ");
  EXPECT_EQ(pad("ü", 3, true), "  ü");
}

TEST(Text, NothingFromOutsideMovesTheCursor) {
  EXPECT_EQ(printable("a\x1b[2Jb\xff\u202e\n"), "a\ufffd[2Jb\ufffd\ufffd\ufffd");
  EXPECT_EQ(text_cell("\x1b[2J").text, "\ufffd[2J");
  EXPECT_EQ(json_string("a\"\\\n\x01\xff"), "\"a\\\"\\\\\\n\\u0001\ufffd\"");
  EXPECT_EQ(json_number(std::nan("")), "null");
}

TEST(Table, PlainText) {
  EXPECT_EQ(table_text(sample(), {}),
            "NAME           RPS   TLS\n"
            "api        12.5rps   √\n"
            "größe-漢         -   no\n");
}

TEST(Table, WideHasAllColumns) {
  EXPECT_EQ(table_text(sample(), {}, true),
            "NAME           RPS   NOTE     TLS\n"
            "api        12.5rps   a note   √\n"
            "größe-漢         -            no\n");
}

TEST(Table, ColoursOnlyWhereAsked) {
  EXPECT_EQ(table_text(sample(), {.colour = true}),
            "\x1b[1mNAME    \x1b[0m\x1b[1m       RPS\x1b[0m\x1b[1m   TLS\x1b[0m\n"
            "api        12.5rps\x1b[32m   √\x1b[0m\n"
            "größe-漢         -\x1b[31m   no\x1b[0m\n");
  EXPECT_FALSE(look_of(false, nullptr, "xterm", 80, 24).colour);
  EXPECT_FALSE(look_of(true, "1", "xterm", 80, 24).colour);
  EXPECT_FALSE(look_of(true, nullptr, "dumb", 80, 24).colour);
  EXPECT_TRUE(look_of(true, "", "xterm", 80, 24).colour);
  EXPECT_EQ(look_of(false, nullptr, "xterm", 80, 24).width, 0u);
}

TEST(Table, FitsTheTerminal) {
  Table t;
  t.columns = {{"NAME", "name"}, {"IDENTITY", "identity"}, {"RPS", "rps", true}};
  t.rows = {{text_cell("api"), text_cell("api.default.serviceaccount.identity.linkerd.cluster.local"),
             number_cell(1, "1.0rps")}};
  EXPECT_EQ(table_text(t, {.width = 40}),
            "NAME   IDENTITY                      RPS\n"
            "api    api.default.serviceacco…   1.0rps\n");
  for (size_t width = 1; width < 40; ++width) {
    std::string text = table_text(t, {.width = width});
    EXPECT_LE(text_width(text.substr(0, text.find('\n'))), width) << text;
  }
}

TEST(Table, Empty) {
  Table t = sample();
  t.rows.clear();
  EXPECT_EQ(table_text(t, {}), "nothing runs\n");
  EXPECT_EQ(table_json(t), "[]\n");
}

TEST(Table, Json) {
  EXPECT_EQ(show(sample(), Output::kJson, {}),
            "[\n"
            "  {\"name\": \"api\", \"rps\": 12.5, \"note\": \"a note\", \"tls\": true},\n"
            "  {\"name\": \"größe-漢\", \"rps\": null, \"note\": \"\", \"tls\": false}\n"
            "]\n");
}

TEST(Table, Outputs) {
  EXPECT_EQ(parse_output("wide").value(), Output::kWide);
  EXPECT_EQ(parse_output("yaml").error().reason, "output \"yaml\": table, wide or json is accepted");
}

TEST(Redraw, WritesOverWhatWasThere) {
  EXPECT_EQ(redraw("", "a\nb\n", {}), "\x1b[?2026ha\x1b[K\nb\x1b[K\n\x1b[J\x1b[?2026l");
  EXPECT_EQ(redraw("a\nb\n", "c\n", {}), "\x1b[?2026h\x1b[2A\rc\x1b[K\n\x1b[J\x1b[?2026l");
  EXPECT_EQ(redraw("1\n2\n3\n", "a\nb\nc\n", {.height = 3}), "\x1b[?2026h\x1b[2A\ra\x1b[K\nb\x1b[K\n\x1b[J\x1b[?2026l");
}

TEST(Numbers, AsLinkerdWritesThem) {
  EXPECT_EQ(percent_text(1), "100.00%");
  EXPECT_EQ(percent_text(0.999999), "99.99%");
  EXPECT_EQ(percent_text(0.5), "50.00%");
  EXPECT_EQ(percent_text(std::nan("")), "-");
  EXPECT_EQ(rate_text(12.34), "12.3rps");
  EXPECT_EQ(ms_text(3.14), "3.1ms");
  EXPECT_EQ(ms_text(123.4), "123ms");
  EXPECT_EQ(bytes_rate_text(999), "999B/s");
  EXPECT_EQ(bytes_rate_text(1530), "1.5KB/s");
}

}  // namespace
}  // namespace tulle::cli
