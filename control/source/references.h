// What a route names and nothing declares. Pure.
#pragma once

#include <functional>
#include <vector>

#include "control/source/problem.h"
#include "control/source/resource.h"

namespace tulle::control {

// A Service by its name; null: there is none.
using FindService = std::function<const Service*(const Ref&)>;

// A warning for each Service that a parentRef or a backendRef of `route` names and that is not there, or lacks the port
// named; each name once. Only warnings, since `tulle run --service` makes Services too, and order does not matter.
std::vector<Problem> missing_references(const HttpRoute& route, const FindService& find);

}  // namespace tulle::control
