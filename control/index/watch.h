// Who must be told of what: watchers by the topics that their answers have read. One thread. Pure but for the calls.
#pragma once

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "control/index/topic.h"

namespace tulle::control {

class WatchHub;

// Someone whose answer may need to be made anew. Leaves its hub when it is destroyed; the hub outlives it.
class Watcher {
 public:
  explicit Watcher(WatchHub& hub) : hub_(hub) {}
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  // Something that it follows has changed. Must not destroy a watcher.
  virtual void on_change() = 0;
  // From now on: these topics and no others.
  void follow(TopicSet topics);

 protected:
  ~Watcher();

 private:
  friend class WatchHub;
  WatchHub& hub_;
  TopicSet topics_;
};

class WatchHub {
 public:
  // Tells each watcher of any of the topics, once. Cost: the topics and those who watch them.
  void changed(const TopicSet& topics);
  size_t topics() const { return watchers_.size(); }

 private:
  friend class Watcher;
  absl::flat_hash_map<Topic, absl::flat_hash_set<Watcher*>> watchers_;
};

}  // namespace tulle::control
