#include "control/index/ports.h"

#include <algorithm>

#include "control/source/fields.h"
#include "libs/base/strings.h"

namespace tulle::control {

bool PortSet::contains(uint16_t port, std::string_view name) const {
  for (auto [from, to] : ranges)
    if (from <= port && port <= to) return true;
  return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
}

Result<PortSet> parse_port_set(std::string_view text) {
  PortSet out;
  for (std::string_view item : split(text, ',')) {
    item = trim(item);
    if (item.empty()) continue;
    size_t dash = item.find('-');
    auto from = parse_number<uint16_t>(trim(item.substr(0, dash)));
    auto to = dash == item.npos ? from : parse_number<uint16_t>(trim(item.substr(dash + 1)));
    if (from && to && *from > 0 && *from <= *to) out.ranges.emplace_back(*from, *to);
    else if (!from && is_port_name(item)) out.names.emplace_back(item);
    else
      return fail(Code::kInvalid,
                  cat("found ", quoted(item), "; accepted: ports, ranges such as 9000-9010, names of ports"));
  }
  return out;
}

}  // namespace tulle::control
