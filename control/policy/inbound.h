// The answer of io.linkerd.proxy.inbound.InboundServerPolicies (reference: control-plane.md §5.1–5.3). Pure.
#pragma once

#include "control/index/index.h"
#include "libs/wire/inbound.h"

namespace tulle::control {

// Who may send what to one port of a workload: by the Server that has the port, else by the default policy (of the
// workload's annotation, its namespace's, the mesh's). The proxy's own admin port is for this machine unless a Server
// has it. Error: kInvalid (the token cannot be read), kNotFound (no such workload).
Result<wire::Server> inbound_policy(const Snapshot& snapshot, const wire::PortSpec& spec);

}  // namespace tulle::control
