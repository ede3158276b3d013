// What answers depend on: each answer notes the topics it has read, each change names the topics it touches.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace tulle::control {

struct Topic {
  enum class Kind : uint8_t {
    kService,    // "ns/name": whether it exists, its ports, annotations, address, routes
    kEndpoints,  // "ns/name": its instances
    kPod,        // "ns/name"
    kNamespace,  // "ns": its annotations
    kServers,    // "ns": the Servers in it, and the routes on them
    kAddress,    // "127.64.0.1": whose it is
    kNames,      // "": the table of names
  };
  Kind kind = Kind::kService;
  std::string key;

  bool operator==(const Topic&) const = default;
  template <class H>
  friend H AbslHashValue(H h, const Topic& t) {
    return H::combine(std::move(h), t.kind, t.key);
  }
};

using TopicSet = absl::flat_hash_set<Topic>;

}  // namespace tulle::control
