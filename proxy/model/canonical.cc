#include "proxy/model/canonical.h"

#include <algorithm>
#include <array>

#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
// The byte that %XX at the front of s stands for, or −1.
int encoded(std::string_view s) {
  if (s.size() < 3 || s[0] != '%') return -1;
  int high = hex_digit(s[1]), low = hex_digit(s[2]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}
constexpr std::array<bool, 256> make_plain_table() {
  std::array<bool, 256> t{};
  for (char c : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@/;"))
    t[static_cast<uint8_t>(c)] = true;
  return t;
}
// What stands in a canonical path as it is.
constexpr std::array<bool, 256> kPlain = make_plain_table();
bool is_plain(int c) { return kPlain[static_cast<uint8_t>(c)]; }
// Whether %XX of it means the same as itself.
bool is_data(int c) { return c >= 0 && is_plain(c) && c != '/' && c != ';'; }

void append_encoded(std::string& out, int c) {
  append(out, '%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]);
}

// Of a canonical path, the %XX for which `decode` holds as bytes.
template <class F>
std::string decoded(std::string_view s, F decode) {
  std::string out;
  while (!s.empty()) {
    int c = encoded(s);
    bool take = c >= 0 && decode(c);
    out.push_back(take ? static_cast<char>(c) : s[0]);
    s.remove_prefix(take ? 3 : 1);
  }
  return out;
}
bool is_structure(int c) { return c == '/' || c == '\\' || c == ';'; }

// ASCII in two or three bytes, which UTF-8 forbids, as the characters that lax decoders make of it.
std::string without_overlong(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    int a = encoded(s), b = a < 0 ? -1 : encoded(s.substr(3)), c = b < 0 ? -1 : encoded(s.substr(6));
    int ascii = -1;
    size_t size = 1;
    if ((a == 0xc0 || a == 0xc1) && b >= 0x80 && b < 0xc0) {
      ascii = (a & 1) << 6 | (b & 0x3f);
      size = 6;
    } else if (a == 0xe0 && (b == 0x80 || b == 0x81) && c >= 0x80 && c < 0xc0) {
      ascii = (b & 1) << 6 | (c & 0x3f);
      size = 9;
    }
    if (ascii < 0) out.push_back(s[0]);
    else if (is_plain(ascii) || ascii == '\\') out.push_back(static_cast<char>(ascii));
    else append_encoded(out, ascii);
    s.remove_prefix(size);
  }
  return out;
}

// What a second decoding sees.
std::string decoded_again(std::string_view s) {
  std::string once = decoded(s, [](int c) { return c == '%'; });
  std::string storage;
  return without_overlong(decoded(canonical_path(once, storage), is_structure));
}

std::string with_slashes(std::string s) {
  std::replace(s.begin(), s.end(), '\\', '/');
  return s;
}

std::string without_parameters(std::string_view s) {
  std::string out;
  bool parameter = false;
  for (char c : s) {
    if (c == '/') parameter = false;
    else if (c == ';') parameter = true;
    if (!parameter) out.push_back(c);
  }
  return out;
}

std::string without_empty_segments(std::string_view s) {
  std::string out;
  for (char c : s)
    if (c != '/' || !out.ends_with('/')) out.push_back(c);
  return out;
}

// RFC 3986 §5.2.4.
std::string without_dot_segments(std::string_view s) {
  std::string out;
  while (!s.empty()) {
    size_t end = std::min(s.find('/', 1), s.size());
    std::string_view segment = s.substr(0, end);
    s.remove_prefix(end);
    bool up = segment == "/..";
    if (!up && segment != "/.") {
      out += segment;
      continue;
    }
    if (up) out.erase(std::min(out.rfind('/'), out.size()));
    if (s.empty()) out += '/';
  }
  return out;
}

bool has_dot_segment(std::string_view s) {
  for (size_t i = s.find("/."); i != s.npos; i = s.find("/.", i + 1)) {
    std::string_view segment = s.substr(i + 1, s.find('/', i + 1) - i - 1);
    if (segment == "." || segment == "..") return true;
  }
  return false;
}

// The steps that may follow a decoding, in all combinations. False: enough.
bool each_of(const std::string& text, std::string_view known, const std::function<bool(std::string_view)>& see) {
  struct Step {
    bool (*applies)(std::string_view);
    std::string (*apply)(const std::string&);
  };
  static constexpr Step kSteps[] = {
      {[](std::string_view s) { return s.find('\\') != s.npos; }, [](const std::string& s) { return with_slashes(s); }},
      {[](std::string_view s) { return s.find(';') != s.npos; },
       [](const std::string& s) { return without_parameters(s); }},
      {[](std::string_view s) { return s.find("//") != s.npos; },
       [](const std::string& s) { return without_empty_segments(s); }},
      {&has_dot_segment, [](const std::string& s) { return without_dot_segments(s); }},
  };
  for (unsigned choice = 0; choice < 1u << std::size(kSteps); ++choice) {
    std::string reading = text;
    bool makes_sense = true;
    for (size_t i = 0; i < std::size(kSteps) && makes_sense; ++i) {
      if (!(choice >> i & 1)) continue;
      makes_sense = kSteps[i].applies(reading);
      if (makes_sense) reading = kSteps[i].apply(reading);
    }
    if (makes_sense && reading != known && !see(reading)) return false;
  }
  return true;
}

}  // namespace

std::string_view canonical_path(std::string_view path, std::string& storage) {
  if (std::all_of(path.begin(), path.end(), is_plain)) return path;
  storage.clear();
  for (size_t i = 0; i < path.size();) {
    int c = encoded(path.substr(i));
    i += c >= 0 ? 3 : 1;
    if (c >= 0 ? is_data(c) : is_plain(path[i - 1])) storage.push_back(c >= 0 ? static_cast<char>(c) : path[i - 1]);
    else append_encoded(storage, c >= 0 ? c : static_cast<uint8_t>(path[i - 1]));
  }
  return storage;
}

size_t bytes_sent(std::string_view path, size_t n) {
  size_t at = 0;
  for (size_t canonical = 0; canonical < n && at < path.size();) {
    int c = encoded(path.substr(at));
    canonical += c >= 0 ? (is_data(c) ? 1 : 3) : is_plain(path[at]) ? 1 : 3;
    at += c >= 0 ? 3 : 1;
  }
  return at;
}

bool has_encoded_nul(std::string_view target) {
  size_t i = target.find("%00");
  return i != target.npos && i < target.find('?');
}

std::string decoded_host(std::string_view host) {
  return decoded(host, [](int) { return true; });
}

void each_other_reading(std::string_view canonical, const std::function<bool(std::string_view)>& see) {
  if (!canonical.starts_with('/')) return;
  if (canonical.find_first_of("%;") == canonical.npos && canonical.find("//") == canonical.npos &&
      canonical.find("/.") == canonical.npos)
    return;
  std::array<std::string, 5> texts;
  texts[0] = canonical;
  texts[1] = decoded(canonical, [](int c) { return c == '\\' || c == ';'; });
  texts[2] = decoded(canonical, is_structure);
  texts[3] = without_overlong(texts[2]);
  texts[4] = decoded_again(texts[3]);
  for (size_t i = 0; i < texts.size(); ++i)
    if (std::find(texts.begin(), texts.begin() + static_cast<ptrdiff_t>(i), texts[i]) ==
        texts.begin() + static_cast<ptrdiff_t>(i))
      if (!each_of(texts[i], canonical, see)) return;
}

}  // namespace tulle::proxy
