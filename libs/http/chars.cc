#include "libs/http/chars.h"

namespace tulle::http {
namespace {

bool is_hex(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f'); }

constexpr std::array<bool, 256> make_host_table() {
  std::array<bool, 256> t{};
  for (int c = 0; c < 128; ++c) {
    char ch = static_cast<char>(c);
    t[static_cast<size_t>(c)] =
        detail::is_alpha(ch) || is_digit(ch) || std::string_view("-._~!$&'()*+,;=").find(ch) != std::string_view::npos;
  }
  return t;
}
constexpr std::array<bool, 256> kHostChar = make_host_table();

// reg-name and IPv4address at the front of s: unreserved, sub-delims and %XX. Its length.
size_t host_name_size(std::string_view s) {
  size_t i = 0;
  for (; i < s.size(); ++i) {
    if (kHostChar[static_cast<uint8_t>(s[i])]) continue;
    if (s[i] != '%' || i + 2 >= s.size() || !is_hex(s[i + 1]) || !is_hex(s[i + 2])) break;
    i += 2;
  }
  return i;
}

// What stands between the brackets: IPv6 (perhaps with a zone as %25…) or IPvFuture, by characters only.
bool is_ip_literal(std::string_view s) {
  for (char c : s)
    if (!detail::is_alpha(c) && !is_digit(c) && std::string_view(":.-_~%").find(c) == std::string_view::npos)
      return false;
  return !s.empty();
}

}  // namespace

bool is_authority(std::string_view s, bool port_required) {
  std::string_view rest;
  if (!s.empty() && s[0] == '[') {
    size_t end = s.find(']');
    if (end == std::string_view::npos || !is_ip_literal(s.substr(1, end - 1))) return false;
    rest = s.substr(end + 1);
  } else {
    size_t n = host_name_size(s);
    if (n == 0) return false;
    rest = s.substr(n);
  }
  if (rest.empty()) return !port_required;
  if (rest[0] != ':') return false;
  rest.remove_prefix(1);
  if (rest.empty()) return !port_required;
  return rest.size() <= 8 && parse_number<uint16_t>(rest).has_value();
}

bool is_scheme(std::string_view s) {
  if (s.empty() || !detail::is_alpha(s[0])) return false;
  for (char c : s)
    if (!detail::is_alpha(c) && !is_digit(c) && c != '+' && c != '-' && c != '.') return false;
  return true;
}

}  // namespace tulle::http
