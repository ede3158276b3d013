// The character classes of HTTP's grammars (RFC 9110 §5, RFC 3986). Pure.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

namespace detail {
// The index of the first byte for which `bad` (for one byte) holds, or s.size(). `bad16` says the same of 16 at once,
// as a bit mask; that is what makes scanning cheap, for most bytes of a head are scanned for nothing else.
template <class Bad16, class Bad>
size_t find_bad(std::string_view s, Bad16 bad16, Bad bad) {
  size_t i = 0;
#ifdef __SSE2__
  for (; i + 16 <= s.size(); i += 16) {
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(s.data() + i));
    if (unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(bad16(v))))
      return i + static_cast<size_t>(std::countr_zero(mask));
  }
  if (i > 0 && i < s.size()) {  // the rest, together with bytes that are known to be good
    size_t at = s.size() - 16;
    __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(s.data() + at));
    unsigned mask = static_cast<unsigned>(_mm_movemask_epi8(bad16(v)));
    return mask ? at + static_cast<size_t>(std::countr_zero(mask)) : s.size();
  }
#endif
  for (; i < s.size(); ++i)
    if (bad(s[i])) return i;
  return i;
}
}  // namespace detail

// The index of the first control character but tab, or s.size().
inline size_t find_control(std::string_view s) {
  return detail::find_bad(
      s,
      [](auto v) {
#ifdef __SSE2__
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
        return _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('\t')), control),
                            _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
#endif
      },
      [](char c) { return (static_cast<uint8_t>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

// No control character but tab: VCHAR, space, tab and bytes above 127.
inline bool is_field_value(std::string_view s) { return find_control(s) == s.size(); }

// Visible ASCII without '#': what a request target is made of (a fragment is not sent).
inline bool is_target(std::string_view s) {
  return detail::find_bad(
             s,
             [](auto v) {
#ifdef __SSE2__
               // Signed: bytes above 127 are negative.
               __m128i good =
                   _mm_andnot_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)), _mm_cmpgt_epi8(v, _mm_set1_epi8(0x20)));
               return _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('#')), _mm_cmpeq_epi8(good, _mm_setzero_si128()));
#endif
             },
             [](char c) { return static_cast<signed char>(c) <= 0x20 || c == 0x7f || c == '#'; }) == s.size();
}

// A path with query as :path and origin-form have it.
inline bool is_path(std::string_view s) { return !s.empty() && s[0] == '/' && is_target(s); }

// host [":" port] of RFC 3986 without userinfo: a name, an IPv4 address or an IP literal in brackets; port up to
// 65535. The host may not be empty.
bool is_authority(std::string_view s, bool port_required = false);
bool is_scheme(std::string_view s);

}  // namespace tulle::http
