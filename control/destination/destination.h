// The answers of io.linkerd.proxy.destination.Destination (reference: control-plane.md §4). Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "control/index/index.h"
#include "control/index/traits.h"
#include "libs/wire/destination.h"

namespace tulle::control {

// What a path asks for. host "" unless one instance of the Service is meant.
struct ServiceTarget {
  Ref service;
  std::string host;
  uint16_t port = 80;
};
using Target = std::variant<ServiceTarget, SocketAddr>;

// "NAME.NS.svc.DOMAIN[:PORT]", "HOST.NAME.NS.svc.DOMAIN[:PORT]" or "IP[:PORT]"; no port: 80. Error: kInvalid.
Result<Target> parse_target(std::string_view path, std::string_view cluster_domain);

// The instances of a target, by address. Immutable, shared by all who watch the same.
struct EndpointSet {
  bool exists = false;                    // the Service does
  std::vector<wire::Endpoint> endpoints;  // ordered by address, no two the same
  wire::Labels labels;                    // of the set
};

// What Get answers for a Service: its ready instances at that port. A Service that is not there is an empty set.
// Error: kInvalid for a Service with an external name.
Result<EndpointSet> endpoints(const Snapshot& snapshot, const ServiceTarget& target);

// The messages that take a client from one set to the next: added and changed first, then removed. From null: all that
// there is, or that there is nothing. No message where nothing changed.
std::vector<wire::Update> diff(const EndpointSet* from, const EndpointSet& to);

// What GetProfile answers. Error: kInvalid (external name), kNotFound.
Result<wire::DestinationProfile> profile(const Snapshot& snapshot, const Target& target);

// One instance, as a client of that port is told of it. `opaque`: its clients treat the port as opaque, whatever the
// instance says.
wire::Endpoint pod_endpoint(const Snapshot& snapshot, const Pod& pod, uint16_t port, uint16_t served, bool opaque);

}  // namespace tulle::control
