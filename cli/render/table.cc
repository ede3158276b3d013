#include "cli/render/table.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "cli/render/text.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

constexpr size_t kGap = 3;
constexpr size_t kNarrowest = 8;  // below this no column gives way

std::string_view code_of(Style style) {
  switch (style) {
    case Style::kPlain: return "";
    case Style::kBold: return "\x1b[1m";
    case Style::kDim: return "\x1b[2m";
    case Style::kGood: return "\x1b[32m";
    case Style::kWarn: return "\x1b[33m";
    case Style::kBad: return "\x1b[31m";
  }
  return "";
}

std::string decimals(double value, int digits) {
  char text[64];
  auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, digits);
  return end.ec == std::errc{} ? std::string(text, end.ptr) : "-";
}

// Which columns are shown.
std::vector<size_t> shown_columns(const Table& table, bool wide) {
  std::vector<size_t> out;
  for (size_t i = 0; i < table.columns.size(); ++i)
    if (!table.columns[i].title.empty() && (wide || !table.columns[i].wide)) out.push_back(i);
  return out;
}

// The width of each shown column, made to fit where that can be.
std::vector<size_t> widths_of(const Table& table, const std::vector<size_t>& shown, size_t limit) {
  std::vector<size_t> widths;
  size_t total = shown.empty() ? 0 : (shown.size() - 1) * kGap;
  for (size_t i : shown) {
    size_t width = text_width(table.columns[i].title);
    for (const auto& row : table.rows) width = std::max(width, text_width(row[i].text));
    widths.push_back(width);
    total += width;
  }
  while (limit && total > limit) {
    size_t widest = shown.size();
    for (size_t k = 0; k < shown.size(); ++k)
      if (!table.columns[shown[k]].right && widths[k] > kNarrowest &&
          (widest == shown.size() || widths[k] > widths[widest]))
        widest = k;
    if (widest == shown.size()) break;
    --widths[widest];
    --total;
  }
  return widths;
}

// One line from texts and their styles, cut to `limit` columns.
std::string line_of(const std::vector<Cell>& cells, const Table& table, const std::vector<size_t>& shown,
                    const std::vector<size_t>& widths, const Look& look) {
  std::string out;
  size_t used = 0;
  for (size_t k = 0; k < shown.size(); ++k) {
    const Cell& c = cells[shown[k]];
    bool right = table.columns[shown[k]].right;
    std::string text = pad(fit(c.text, widths[k]), widths[k], right);
    if (k > 0) text.insert(0, kGap, ' ');
    if (k + 1 == shown.size() && !right) text.resize(text.find_last_not_of(' ') + 1);
    if (look.width && used + text_width(text) > look.width) text = fit(text, look.width - used);
    used += text_width(text);
    out += paint(text, c.style, look.colour);
  }
  out += '\n';
  return out;
}

}  // namespace

Cell text_cell(std::string_view text) { return {printable(text), json_string(text)}; }
Cell text_cell(std::string_view text, std::string_view json_text) { return {printable(text), json_string(json_text)}; }
Cell number_cell(double value, std::string_view text) {
  return std::isfinite(value) ? Cell{printable(text), json_number(value)} : no_cell();
}
Cell bool_cell(bool value, std::string_view text) { return {printable(text), value ? "true" : "false"}; }
Cell no_cell() { return {"-", "null"}; }

Result<Output> parse_output(std::string_view text) {
  if (text == "table") return Output::kTable;
  if (text == "wide") return Output::kWide;
  if (text == "json") return Output::kJson;
  return fail(Code::kInvalid, cat("output ", quoted(text), ": table, wide or json is accepted"));
}

Look look_of(bool is_terminal, const char* no_color, const char* term, size_t columns, size_t lines) {
  if (!is_terminal) return {};
  bool plain = (no_color && *no_color) || !term || std::string_view(term) == "dumb";
  return {!plain, columns, lines};
}

std::string paint(std::string_view text, Style style, bool colour) {
  std::string_view code = code_of(style);
  if (!colour || code.empty() || text.empty()) return std::string(text);
  return cat(code, text, "\x1b[0m");
}

std::string table_text(const Table& table, const Look& look, bool wide) {
  if (table.rows.empty()) return table.empty.empty() ? "" : cat(table.empty, '\n');
  std::vector<size_t> shown = shown_columns(table, wide);
  std::vector<size_t> widths = widths_of(table, shown, look.width);
  std::vector<Cell> head;
  for (const Column& c : table.columns) head.push_back({c.title, "", Style::kBold});
  std::string out = line_of(head, table, shown, widths, look);
  for (const auto& row : table.rows) out += line_of(row, table, shown, widths, look);
  return out;
}

std::string table_json(const Table& table) {
  std::string out = "[";
  for (size_t r = 0; r < table.rows.size(); ++r) {
    out += r ? ",\n  {" : "\n  {";
    bool first = true;
    for (size_t i = 0; i < table.columns.size(); ++i) {
      if (table.columns[i].key.empty()) continue;
      append(out, first ? "" : ", ", json_string(table.columns[i].key), ": ", table.rows[r][i].json);
      first = false;
    }
    out += '}';
  }
  out += table.rows.empty() ? "]\n" : "\n]\n";
  return out;
}

std::string show(const Table& table, Output output, const Look& look) {
  return output == Output::kJson ? table_json(table) : table_text(table, look, output == Output::kWide);
}

static size_t count_lines(std::string_view text) { return static_cast<size_t>(std::ranges::count(text, '\n')); }

// What of the text is drawn: at most height - 1 lines, for the cursor stands on the line after them.
static std::string_view visible(std::string_view text, size_t height) {
  if (height < 2) return text;
  size_t at = 0;
  for (size_t line = 0; line + 1 < height; ++line) {
    size_t end = text.find('\n', at);
    if (end == text.npos) return text;
    at = end + 1;
  }
  return text.substr(0, at);
}

std::string redraw(std::string_view drawn, std::string_view text, const Look& look) {
  std::string out = "\x1b[?2026h";
  if (size_t up = count_lines(visible(drawn, look.height))) append(out, "\x1b[", up, "A\r");
  for (std::string_view rest = visible(text, look.height); !rest.empty();) {
    size_t end = std::min(rest.find('\n'), rest.size());
    append(out, rest.substr(0, end), "\x1b[K\n");
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out + "\x1b[J\x1b[?2026l";
}

std::string percent_text(double share) {
  if (!std::isfinite(share)) return "-";
  // Less than all never reads as all.
  return cat(decimals(share < 1 ? std::min(share * 100, 99.99) : 100, 2), '%');
}

std::string rate_text(double per_second) {
  return std::isfinite(per_second) ? cat(decimals(per_second, 1), "rps") : "-";
}

std::string ms_text(double ms) {
  if (!std::isfinite(ms)) return "-";
  return cat(decimals(ms, ms < 10 ? 1 : 0), "ms");
}

std::string bytes_rate_text(double rate) {
  if (!std::isfinite(rate)) return "-";
  static constexpr std::string_view kUnits[] = {"B/s", "KB/s", "MB/s", "GB/s", "TB/s"};
  size_t unit = 0;
  while (rate >= 1000 && unit + 1 < std::size(kUnits)) rate /= 1000, ++unit;
  return cat(decimals(rate, unit ? 1 : 0), kUnits[unit]);
}

}  // namespace tulle::cli
