// Text as a terminal shows it: widths of UTF-8, cutting, padding, JSON strings. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace tulle::cli {

// Columns that valid UTF-8 takes on a terminal: 0 for combining characters, 2 for wide ones (UAX #11). A byte that is
// not UTF-8 and a control character count as one, as printable() shows them.
size_t text_width(std::string_view text);

// The text without what could move the cursor or change colours: control characters and bytes that are not UTF-8
// become U+FFFD. Whatever comes from outside passes here before it reaches a terminal.
std::string printable(std::string_view text);

// The text, if it fits `width` columns, else its start and "…".
std::string fit(std::string_view text, size_t width);

// Spaces up to `width` columns, after the text or (right) before it.
std::string pad(std::string_view text, size_t width, bool right = false);

// The word that was probably meant by `typed`: the nearest by letters added, left out, changed or swapped, if it is
// near enough; "" else.
std::string nearest_word(std::string_view typed, const std::vector<std::string>& words);

// A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);
// A JSON number; null where JSON has none (infinite, not a number).
std::string json_number(double value);

}  // namespace tulle::cli
