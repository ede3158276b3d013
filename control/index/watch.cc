#include "control/index/watch.h"

namespace tulle::control {

void Watcher::follow(TopicSet topics) {
  for (const Topic& t : topics_) {
    if (topics.contains(t)) continue;
    auto it = hub_.watchers_.find(t);
    it->second.erase(this);
    if (it->second.empty()) hub_.watchers_.erase(it);
  }
  for (const Topic& t : topics)
    if (!topics_.contains(t)) hub_.watchers_[t].insert(this);
  topics_ = std::move(topics);
}

Watcher::~Watcher() { follow({}); }

void WatchHub::changed(const TopicSet& topics) {
  absl::flat_hash_set<Watcher*> told;
  for (const Topic& t : topics) {
    auto it = watchers_.find(t);
    if (it != watchers_.end()) told.insert(it->second.begin(), it->second.end());
  }
  for (Watcher* w : told) w->on_change();
}

}  // namespace tulle::control
