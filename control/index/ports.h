// Sets of ports as annotations write them: "3306,9000-9010,db".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/result.h"

namespace tulle::control {

struct PortSet {
  std::vector<std::pair<uint16_t, uint16_t>> ranges;  // both ends included
  std::vector<std::string> names;

  bool contains(uint16_t port, std::string_view name = {}) const;
  bool operator==(const PortSet&) const = default;
};

// Numbers, ranges and names between commas; blanks and empty items are left out. Error: the item that is none of it.
Result<PortSet> parse_port_set(std::string_view text);

}  // namespace tulle::control
