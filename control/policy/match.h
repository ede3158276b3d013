// Parts of HTTPRoutes in the wire's form, for both directions. Inside control/policy only. Pure.
#pragma once

#include <vector>

#include "control/source/resource.h"
#include "libs/wire/types.h"

namespace tulle::control {

wire::Metadata route_metadata(const HttpRoute& route);
std::vector<wire::HostMatch> host_matches(const std::vector<std::string>& hostnames);
std::vector<wire::RouteMatch> route_matches(const std::vector<RouteMatch>& matches);
// Filters in their order. One that is not supported becomes a failure, 500 with its name: passing requests on without
// it could open what it guards. `inbound`: response headers are not modified there.
std::vector<wire::Filter> route_filters(const std::vector<RouteFilter>& filters, bool inbound);
// A match for everything.
wire::RouteMatch match_all();
wire::Filter failure(uint16_t status, std::string message);

}  // namespace tulle::control
