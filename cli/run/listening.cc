#include "cli/run/listening.h"

#include <string>
#include <vector>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

// A line is "sl: ADDRESS:PORT REMOTE STATE …", in hexadecimal; an address is a row of 32-bit words in host order.
bool has_listener(std::string_view table, std::initializer_list<std::string_view> addresses, uint16_t port) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  const char wanted[] = {kDigits[port >> 12], kDigits[port >> 8 & 15], kDigits[port >> 4 & 15], kDigits[port & 15]};
  for (std::string_view line : split(table, '\n')) {
    std::vector<std::string_view> words;
    for (std::string_view word : split(line, ' '))
      if (!word.empty() && words.size() < 4) words.push_back(word);
    if (words.size() < 4 || words[3] != "0A") continue;  // 0A: LISTEN
    for (std::string_view address : addresses)
      if (words[1] == cat(address, ":", std::string_view(wanted, 4))) return true;
  }
  return false;
}

}  // namespace

bool listens_on(std::string_view tcp, std::string_view tcp6, uint16_t port) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
  return has_listener(tcp, {"00000000", "0100007F"}, port) ||
         has_listener(tcp6, {"00000000000000000000000000000000", "0000000000000000FFFF00000100007F"}, port);
}

}  // namespace tulle::cli
