#include "libs/http/chars.h"

namespace tulle::http {
namespace {

bool is_hex(char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f'); }

// reg-name and IPv4address: unreserved, sub-delims and %XX.
bool is_host_name(std::string_view s) {
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (detail::is_alpha(c) || is_digit(c)) continue;
    if (c == '%') {
      if (i + 2 >= s.size() || !is_hex(s[i + 1]) || !is_hex(s[i + 2])) return false;
      i += 2;
    } else if (std::string_view("-._~!$&'()*+,;=").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return !s.empty();
}

// What stands between the brackets: IPv6 (perhaps with a zone as %25…) or IPvFuture, by characters only.
bool is_ip_literal(std::string_view s) {
  for (char c : s)
    if (!detail::is_alpha(c) && !is_digit(c) && std::string_view(":.-_~%").find(c) == std::string_view::npos) return false;
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
    size_t colon = s.find(':');
    if (!is_host_name(s.substr(0, colon))) return false;
    if (colon != std::string_view::npos) rest = s.substr(colon);
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
