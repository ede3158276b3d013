// Resources and answers as JSON, for the CLI and for people: Kubernetes' field names where it has them. Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "control/index/index.h"
#include "control/source/problem.h"
#include "libs/wire/destination.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"

namespace tulle::control {

nlohmann::json to_json(const Resource& resource);
// With its address in the mesh.
nlohmann::json to_json(const ServiceEntry& entry);
// The EndpointSlices that Kubernetes would make for the pods of a Service: one for all that serve it on the same ports,
// under the names NAME, NAME-2, … Ports are those that peers connect to.
std::vector<nlohmann::json> slices(const ServiceEntry& entry);
nlohmann::json to_json(const Problem& problem);
nlohmann::json to_json(const wire::Endpoint& endpoint);
nlohmann::json to_json(const wire::OutboundPolicy& policy);
nlohmann::json to_json(const wire::Server& policy);

}  // namespace tulle::control
