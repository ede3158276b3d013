#include "cli/render/text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>

#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle::cli {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";
constexpr std::string_view kEllipsis = "…";

struct Range {
  char32_t first, last;
};
// Blocks whose characters take no column of their own, and those that take two; coarse, for names seldom have them.
constexpr Range kZero[] = {{0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},    {0x610, 0x61a},   {0x64b, 0x65f},
                           {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200f},  {0x20d0, 0x20ff}, {0xfe00, 0xfe0f},
                           {0xfe20, 0xfe2f}, {0xfeff, 0xfeff}, {0xe0100, 0xe01ef}};
constexpr Range kWide[] = {{0x1100, 0x115f},   {0x231a, 0x231b},   {0x2e80, 0x303e},   {0x3041, 0x33ff},
                           {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xac00, 0xd7a3},
                           {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
                           {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

template <size_t N>
bool in(const Range (&ranges)[N], char32_t c) {
  return std::ranges::any_of(ranges, [c](const Range& r) { return c >= r.first && c <= r.last; });
}

char32_t decode(std::string_view valid) {
  auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(valid[i])); };
  switch (valid.size()) {
    case 1: return byte(0);
    case 2: return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3: return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default: return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

// One character at the front: its bytes and its columns. `shown`: it may reach a terminal as it is.
struct Glyph {
  size_t size;
  size_t width;
  bool shown;
};
Glyph next_glyph(std::string_view text) {
  size_t size = utf8_size(text);
  if (size == 0) return {1, 1, false};
  char32_t c = decode(text.substr(0, size));
  // C0, DEL, C1, and the marks that turn the direction of writing.
  if (c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
    return {size, 1, false};
  return {size, in(kZero, c) ? size_t{0} : in(kWide, c) ? size_t{2} : size_t{1}, true};
}

}  // namespace

size_t text_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    Glyph glyph = next_glyph(text);
    width += glyph.width;
    text.remove_prefix(glyph.size);
  }
  return width;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    Glyph glyph = next_glyph(text);
    out += glyph.shown ? text.substr(0, glyph.size) : kReplacement;
    text.remove_prefix(glyph.size);
  }
  return out;
}

std::string fit(std::string_view text, size_t width) {
  if (text_width(text) <= width) return std::string(text);
  if (width == 0) return "";
  size_t used = 0, taken = 0;
  for (;;) {
    Glyph glyph = next_glyph(text.substr(taken));
    if (used + glyph.width > width - 1) break;
    used += glyph.width;
    taken += glyph.size;
  }
  return cat(text.substr(0, taken), kEllipsis);
}

std::string pad(std::string_view text, size_t width, bool right) {
  size_t used = text_width(text);
  std::string spaces(used < width ? width - used : 0, ' ');
  return right ? cat(spaces, text) : cat(text, spaces);
}

// Letters to add, leave out, change or swap with the next to make one of the other (Damerau–Levenshtein).
static size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i)
    for (size_t k = 0; k <= b.size(); ++k) {
      if (i == 0 || k == 0) {
        d[i][k] = i + k;
        continue;
      }
      d[i][k] = std::min({d[i - 1][k] + 1, d[i][k - 1] + 1, d[i - 1][k - 1] + (a[i - 1] == b[k - 1] ? 0 : 1)});
      if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
        d[i][k] = std::min(d[i][k], d[i - 2][k - 2] + 1);
    }
  return d[a.size()][b.size()];
}

std::string nearest_word(std::string_view typed, const std::vector<std::string>& words) {
  constexpr size_t kLongest = 40;
  std::string best;
  size_t nearest = typed.size() <= 3 ? 2 : 3;  // to be nearer than this
  if (typed.size() > kLongest) return best;
  for (const std::string& word : words) {
    size_t d = typed.size() >= 2 && word.starts_with(typed) ? 1 : distance(typed, word);
    if (d >= nearest || d >= word.size()) continue;
    nearest = d;
    best = word;
  }
  return best;
}

std::string json_string(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  while (!text.empty()) {
    size_t size = utf8_size(text);
    auto c = static_cast<unsigned char>(text[0]);
    if (size == 0) out += kReplacement;
    else if (c == '"' || c == '\\') append(out, '\\', text[0]);
    else if (c == '\n') out += "\\n";
    else if (c < 0x20) append(out, "\\u00", kHex[c >> 4], kHex[c & 15]);
    else out += text.substr(0, size);
    text.remove_prefix(size == 0 ? 1 : size);
  }
  out += '"';
  return out;
}

std::string json_number(double value) { return std::isfinite(value) ? cat(value) : "null"; }

}  // namespace tulle::cli
