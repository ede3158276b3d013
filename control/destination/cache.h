// What several watchers of one target share: the set of its endpoints, and the messages from one set to the next, made
// once for all of them. Single-threaded.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "control/destination/destination.h"

namespace tulle::control {

class EndpointCache {
 public:
  using SetPtr = std::shared_ptr<const EndpointSet>;
  using Messages = std::shared_ptr<const std::vector<std::string>>;  // encoded wire::Updates

  // The set of `target` now. The same pointer as before while its contents are the same. `generation`: changes
  // whenever the index does. `read`: the topics that the set depends on are added.
  Result<SetPtr> get(const Index& index, uint64_t generation, const ServiceTarget& target, TopicSet& read);
  // The messages of diff(), at most 1,000 endpoints each: gRPC's messages are limited to 4 MiB by most clients.
  // `from` may be null.
  Messages messages(const ServiceTarget& target, const SetPtr& from, const SetPtr& to);
  // Forgets the targets that nobody holds a set of. To be called now and then.
  void sweep();
  size_t size() const { return entries_.size(); }

 private:
  using Key = std::tuple<std::string, std::string, std::string, uint16_t>;
  struct Entry {
    uint64_t generation = 0;
    std::weak_ptr<const EndpointSet> set;
    TopicSet read;
    // The latest step.
    std::weak_ptr<const EndpointSet> from, to;
    bool from_nothing = false;
    std::weak_ptr<const std::vector<std::string>> messages;
    // Keep what was made in this generation alive until the next, for the watchers that come after the first.
    SetPtr keep_set;
    Messages keep_messages;
  };
  static Key key_of(const ServiceTarget& t) { return {t.service.ns, t.service.name, t.host, t.port}; }

  std::map<Key, Entry> entries_;
};

}  // namespace tulle::control
