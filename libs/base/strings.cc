#include "libs/base/strings.h"

#include "absl/strings/escaping.h"

namespace tulle {

void detail::append_piece(std::string& out, double d) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, d).ptr);
}

bool iequals(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

std::string to_lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = lower(c);
  return out;
}

std::string_view trim(std::string_view s) {
  constexpr std::string_view kBlank = " \t\r\n";
  size_t first = s.find_first_not_of(kBlank);
  if (first == s.npos) return {};
  return s.substr(first, s.find_last_not_of(kBlank) - first + 1);
}

std::vector<std::string_view> split(std::string_view s, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    size_t end = s.find(separator);
    out.push_back(s.substr(0, end));
    if (end == s.npos) return out;
    s.remove_prefix(end + 1);
  }
}

std::string join(const std::vector<std::string>& items, std::string_view separator) {
  std::string out;
  for (const auto& item : items) {
    if (!out.empty()) out.append(separator);
    out.append(item);
  }
  return out;
}

std::string quoted(std::string_view s, size_t limit) {
  std::string_view shown = s.substr(0, limit);
  std::string out = cat('"', std::string_view(absl::CHexEscape(absl::string_view(shown.data(), shown.size()))), '"');
  if (shown.size() < s.size()) append(out, "… (", s.size(), " bytes)");
  return out;
}

std::string base64(Bytes in) { return absl::Base64Escape(absl::string_view(in.data(), in.size())); }

std::optional<std::string> unbase64(std::string_view in) {
  std::string out;
  if (!absl::Base64Unescape(absl::string_view(in.data(), in.size()), &out)) return std::nullopt;
  return out;
}

std::string hex(Bytes in) { return absl::BytesToHexString(absl::string_view(in.data(), in.size())); }

}  // namespace tulle
