// What `tulle run` says to the control plane and what that answers: JSON, both ways. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "cli/run/options.h"
#include "libs/base/addr.h"
#include "libs/base/result.h"

namespace tulle::cli {

struct ServedPort {
  uint16_t port = 0;    // of the application
  uint16_t served = 0;  // of the proxy on the pod's address
};

// A workload as the control plane knows it.
struct Registration {
  std::string id;
  std::string name;
  std::string ns;
  IpAddr address;
  std::vector<ServedPort> ports;
  std::map<std::string, std::string> environment;  // of the proxy
  std::vector<std::string> warnings;               // for the user

  // Where the proxy finds the control plane: what it cannot learn anew while it runs.
  std::string control_addresses() const;
};

// The body of POST /v1/workloads. `known`: registered before, to be registered again as the same; `refused`: addresses
// that somebody else on this machine already uses; `ready`: it is published at once; `served`: port → served port,
// where the usual one is taken.
std::string registration_request(const RunOptions& options, int pid, const Registration* known, bool ready,
                                 const std::vector<std::string>& refused, const std::map<uint16_t, uint16_t>& served);
// Its answer. Error: names the field that is missing or wrong.
Result<Registration> parse_registration(std::string_view body);

// The proxy's environment: what the control plane says, what the pod needs, and the user's own LINKERD2_PROXY_* and
// TULLE_PROXY_* (of `own`, "NAME=value"), which win but for what makes the pod a pod.
std::vector<std::string> proxy_environment(const Registration& registration, const std::vector<std::string>& own);

// The message of an answer that is an error: {"error": "…"}, or the body's first line.
std::string error_of(std::string_view body);

}  // namespace tulle::cli
