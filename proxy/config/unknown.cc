#include <set>

#include "proxy/config/env.h"

namespace tulle::proxy {

std::vector<std::string> unknown_variables(const std::vector<std::string>& names) {
  // Read only where another variable is set, or for Linkerd's proxy only.
  constexpr std::string_view kMore[] = {"TULLE_PROXY_POD_DRAINED_FD", "DESTINATION_GET_NETWORKS",
                                        "DESTINATION_GET_SUFFIXES",   "INBOUND_PORTS_REQUIRE_IDENTITY",
                                        "INBOUND_PORTS_REQUIRE_TLS",  "OUTBOUND_ROUTER_CAPACITY",
                                        "OUTBOUND_TRANSPORT_MODE",    "TAP_DISABLED",
                                        "TRACE_ANNOTATIONS_PATH",     "TRACE_PROTOCOL"};
  std::set<std::string, std::less<>> known;
  (void)parse_config([&](std::string_view name) -> std::optional<std::string> {
    known.emplace(name);
    return std::nullopt;
  });
  for (std::string_view name : kMore) known.insert(Env::full_name(name));
  std::vector<std::string> out;
  for (const std::string& name : names)
    if ((name.starts_with("LINKERD2_PROXY_") || name.starts_with("TULLE_PROXY_")) && !known.contains(name))
      out.push_back(name);
  return out;
}

}  // namespace tulle::proxy
