// The answer of io.linkerd.proxy.outbound.OutboundPolicies (reference: control-plane.md §5.4–5.5). Pure.
#pragma once

#include "control/index/index.h"
#include "libs/wire/outbound.h"

namespace tulle::control {

// How a workload's proxy is to treat what is sent to that target.
//   address of a Service          its policy; for a port that it does not define, one that forbids
//   address outside the mesh      straight on
//   any other address             Error kNotFound: the proxy looks for an endpoint profile
//   "NAME.NS.svc[.DOMAIN][:PORT]" the Service's policy, even where there is no such Service
// Error kInvalid: the workload token or the authority cannot be read.
Result<wire::OutboundPolicy> outbound_policy(const Snapshot& snapshot, const wire::TrafficSpec& spec);

}  // namespace tulle::control
