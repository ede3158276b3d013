// Requests of the JSON API, read strictly. Inside control/api only. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "control/source/workloads.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"

namespace tulle::control {

struct PathAndQuery {
  std::string_view path, query;
};
PathAndQuery split_query(std::string_view target);
// The value of a parameter, decoded; nothing: it is not there, or is badly encoded.
std::optional<std::string> query_value(std::string_view query, std::string_view name);

struct RegisterBody {
  RegisterRequest value;
  std::vector<IpAddr> refused;
};
// Errors: kInvalid, naming the field.
Result<RegisterBody> parse_register_request(std::string_view body);
Result<bool> parse_ready(std::string_view body);

// "svc/NS/NAME:PORT", "pod/NS/NAME:PORT", "NAME.NS.svc…:PORT" or "IP:PORT". `client_ns`: who asks; "": the target's.
Result<std::variant<wire::TrafficSpec, wire::PortSpec>> parse_policy_target(std::string_view text,
                                                                            std::string_view domain,
                                                                            std::string_view client_ns);

}  // namespace tulle::control
