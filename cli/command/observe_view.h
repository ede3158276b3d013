// The tables of `tulle stat` and `tulle edges`. Pure.
#pragma once

#include <vector>

#include "cli/command/traffic.h"
#include "cli/render/table.h"

namespace tulle::cli {

Table stat_table(const std::vector<StatRow>& rows, Grain grain);
Table edge_table(const std::vector<EdgeRow>& rows);

}  // namespace tulle::cli
