// Text: joining, comparing, splitting and strict number parsing.
#pragma once

#include <charconv>
#include <concepts>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tulle {

// A view of bytes or of text: both are the same thing to a proxy.
using Bytes = std::string_view;

namespace detail {
inline void append_piece(std::string& out, std::string_view s) { out.append(s); }
inline void append_piece(std::string& out, char c) { out.push_back(c); }
// A template, so that a literal is not taken for a bool.
template <std::same_as<bool> B>
void append_piece(std::string& out, B b) {
  out.append(b ? "true" : "false");
}
template <class N>
  requires(std::integral<N> && !std::same_as<N, bool> && !std::same_as<N, char>)
void append_piece(std::string& out, N n) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, n).ptr);
}
void append_piece(std::string& out, double d);
}  // namespace detail

// Appends text, characters, whole numbers and doubles to `out`.
template <class... A>
void append(std::string& out, const A&... pieces) {
  (detail::append_piece(out, pieces), ...);
}

// Joins text, characters, whole numbers and doubles into one string.
template <class... A>
std::string cat(const A&... pieces) {
  std::string out;
  append(out, pieces...);
  return out;
}

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

// For absl's hash containers keyed by std::string, so that they can be asked by std::string_view (Debian's abseil has a
// string_view of its own): absl::flat_hash_map<std::string, V, StringHash, std::equal_to<>>.
struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

// ASCII only, as HTTP and DNS want.
bool iequals(std::string_view a, std::string_view b);
std::string to_lower(std::string_view s);
// Takes spaces, tabs and newlines off both ends.
std::string_view trim(std::string_view s);
// "a,b," → {"a","b",""}; an empty text gives one empty item.
std::vector<std::string_view> split(std::string_view s, char separator);
std::string join(const std::vector<std::string>& items, std::string_view separator);

// Decimal digits only, no sign, no space, no overflow; otherwise nothing.
template <std::unsigned_integral N>
std::optional<N> parse_number(std::string_view s) {
  N n{};
  if (s.empty() || !is_digit(s[0])) return std::nullopt;
  auto [end, err] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (err != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return n;
}

// The text in double quotes with control characters, quotes and backslashes escaped; cut after `limit` bytes.
std::string quoted(std::string_view s, size_t limit = 100);

std::string base64(Bytes in);
std::optional<std::string> unbase64(std::string_view in);
std::string hex(Bytes in);

}  // namespace tulle
