// Tables: one value, shown as text for people or as JSON for programs. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"

namespace tulle::cli {

enum class Style : uint8_t { kPlain, kBold, kDim, kGood, kWarn, kBad };

struct Column {
  std::string title;   // "LATENCY_P50", as Linkerd's tables have it
  std::string key;     // of the JSON object: "latency_p50_ms"; "": not in JSON
  bool right = false;  // numbers
  bool wide = false;   // shown only by -o wide (in JSON always)
};

// What stands in one place of a table: as text and as JSON.
struct Cell {
  std::string text;
  std::string json;
  Style style = Style::kPlain;

  Cell styled(Style s) && {
    style = s;
    return std::move(*this);
  }
};
// The text of each passes through printable().
Cell text_cell(std::string_view text);
Cell text_cell(std::string_view text, std::string_view json_text);
// A number and its text, such as 12.5 and "12.5rps". Not finite: "-" and null.
Cell number_cell(double value, std::string_view text);
Cell bool_cell(bool value, std::string_view text);
Cell no_cell();  // "-" and null

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;  // each as long as columns
  std::string empty;                    // said instead of a table without rows
};

enum class Output : uint8_t { kTable, kWide, kJson };
// "table", "wide" or "json".
Result<Output> parse_output(std::string_view text);

// What the terminal can do.
struct Look {
  bool colour = false;
  size_t width = 0;   // columns; 0: no limit
  size_t height = 0;  // lines; 0: no limit
};
// From the environment: colours only on a terminal, without NO_COLOR (https://no-color.org) and with TERM other than
// "dumb". `columns`, `lines`: of the terminal.
Look look_of(bool is_terminal, const char* no_color, const char* term, size_t columns, size_t lines);

// The text with the escape codes of a style, or without colours as it is.
std::string paint(std::string_view text, Style style, bool colour);

// The table as text, each line ended. Where it is wider than the terminal, the widest column of text gives way, then
// lines are cut.
std::string table_text(const Table& table, const Look& look, bool wide = false);
// A JSON array of one object a row.
std::string table_json(const Table& table);
// Either, as asked for.
std::string show(const Table& table, Output output, const Look& look);

// Draws `text` over what was drawn last, without a flicker: nothing is erased before it is written over, and terminals
// that know synchronised updates show it at once. `drawn` is the text drawn before ("" at first); lines beyond the
// terminal's height are left out, so that the cursor can come back.
std::string redraw(std::string_view drawn, std::string_view text, const Look& look);

// Numbers as Linkerd's CLI writes them: "100.00%", "12.3rps", "7ms", "1.5KB/s"; "-" for what is not finite.
std::string percent_text(double share);
std::string rate_text(double per_second);
std::string ms_text(double ms);
std::string bytes_rate_text(double bytes_per_second);

}  // namespace tulle::cli
