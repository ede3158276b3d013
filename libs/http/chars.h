// The character classes of HTTP's grammars (RFC 9110 §5, RFC 3986). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "libs/base/strings.h"

namespace tulle::http {

namespace detail {
constexpr bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr std::array<char, 256> make_token_table() {
  std::array<char, 256> t{};
  for (int c = 0; c < 128; ++c) {
    char ch = static_cast<char>(c);
    if (is_alpha(ch) || is_digit(ch) || std::string_view("!#$%&'*+-.^_`|~").find(ch) != std::string_view::npos)
      t[static_cast<size_t>(c)] = lower(ch);
  }
  return t;
}
// The lower case of a token character; 0 for any other.
inline constexpr std::array<char, 256> kToken = make_token_table();
}  // namespace detail

constexpr char token_lower(char c) { return detail::kToken[static_cast<uint8_t>(c)]; }
inline bool is_token(std::string_view s) {
  for (char c : s)
    if (!token_lower(c)) return false;
  return !s.empty();
}

// No control character but tab: VCHAR, space, tab and bytes above 127.
inline bool is_field_value(std::string_view s) {
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  const char* p = s.data();
  const char* end = p + s.size();
  auto good = [](char c) { return (static_cast<uint8_t>(c) >= 0x20 && c != 0x7f) || c == '\t'; };
  for (; end - p >= 8; p += 8) {
    uint64_t w;
    std::memcpy(&w, p, 8);
    uint64_t del = w ^ (kOnes * 0x7f);
    // A byte below 0x20, or 0x7f; may also flag a good byte above one of those, so look again one by one.
    if ((((w - kOnes * 0x20) & ~w) | ((del - kOnes) & ~del)) & kHigh) [[unlikely]] {
      for (int i = 0; i < 8; ++i)
        if (!good(p[i])) return false;
    }
  }
  for (; p < end; ++p)
    if (!good(*p)) return false;
  return true;
}

// Visible ASCII only: what a request target is made of.
inline bool is_visible(std::string_view s) {
  for (char c : s)
    if (c <= 0x20 || c == 0x7f) return false;  // char is signed here: bytes above 127 are negative
  return true;
}

// A path with query as :path and origin-form have it: '/' first, visible ASCII, no fragment.
inline bool is_path(std::string_view s) {
  return !s.empty() && s[0] == '/' && is_visible(s) && s.find('#') == std::string_view::npos;
}

// host [":" port] of RFC 3986 without userinfo: a name, an IPv4 address or an IP literal in brackets; port up to
// 65535. The host may not be empty.
bool is_authority(std::string_view s, bool port_required = false);
bool is_scheme(std::string_view s);

}  // namespace tulle::http
