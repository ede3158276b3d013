// Requests of the JSON API, read strictly. Inside control/api only. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "control/index/index.h"
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

// What the questions take, for messages.
inline constexpr std::string_view kEndpointTargets = "NAME[.NAMESPACE[.svc.DOMAIN]][:PORT] of a Service";
inline constexpr std::string_view kPolicyTargets =
    "NAME[.NAMESPACE][:PORT] of a Service, svc/NAMESPACE/NAME:PORT, pod/NAMESPACE/NAME:PORT, an authority or an "
    "address";

// What a target means that people wrote for short: NAME[.NAMESPACE[.svc[.DOMAIN]]][:PORT] becomes the whole authority,
// in the namespace default where it names none and with the Service's port where there is one. Anything else, a name
// with no Service too, is given back as it is. Error: kInvalid where the Service has several ports and none is named.
Result<std::string> whole_target(const Snapshot& snapshot, std::string_view text);

// "svc/NS/NAME:PORT", "pod/NS/NAME:PORT", "NAME.NS.svc…:PORT" or "IP:PORT". `client_ns`: who asks; "": the target's.
Result<std::variant<wire::TrafficSpec, wire::PortSpec>> parse_policy_target(std::string_view text,
                                                                            std::string_view domain,
                                                                            std::string_view client_ns);

// The same question as a proxy asks it that an application's connection reaches: by the address of the Service, where
// it has one. An authority is answered for any port.
wire::TrafficSpec as_a_proxy_asks(const Snapshot& snapshot, wire::TrafficSpec question);

}  // namespace tulle::control
