#include "control/destination/cache.h"

#include <algorithm>

namespace tulle::control {
namespace {

constexpr size_t kPerMessage = 1000;

bool same(const EndpointSet& a, const EndpointSet& b) {
  return a.exists == b.exists && a.labels == b.labels && a.endpoints == b.endpoints;
}

std::vector<std::string> encode_in_parts(std::vector<wire::Update> updates) {
  std::vector<std::string> out;
  for (wire::Update& u : updates) {
    if (u.add.size() <= kPerMessage) {
      out.push_back(wire::encode(u));
      continue;
    }
    for (size_t at = 0; at < u.add.size(); at += kPerMessage) {
      wire::Update part;
      part.labels = u.labels;
      size_t end = std::min(at + kPerMessage, u.add.size());
      part.add.assign(std::make_move_iterator(u.add.begin() + static_cast<ptrdiff_t>(at)),
                      std::make_move_iterator(u.add.begin() + static_cast<ptrdiff_t>(end)));
      out.push_back(wire::encode(part));
    }
  }
  return out;
}

}  // namespace

Result<EndpointCache::SetPtr> EndpointCache::get(const Index& index, uint64_t generation, const ServiceTarget& target,
                                                 TopicSet& read) {
  Entry& entry = entries_[key_of(target)];
  SetPtr before = entry.set.lock();
  if (!before || entry.generation != generation) {
    entry.read.clear();
    auto now = endpoints(index.snapshot(&entry.read), target);
    if (!now) {
      read.insert(entry.read.begin(), entry.read.end());
      entry = {};
      return fail(std::move(now).error());
    }
    if (!before || !same(*before, *now)) before = std::make_shared<const EndpointSet>(std::move(*now));
    entry.set = before;
    entry.keep_set = before;
    entry.generation = generation;
  }
  read.insert(entry.read.begin(), entry.read.end());
  return before;
}

EndpointCache::Messages EndpointCache::messages(const ServiceTarget& target, const SetPtr& from, const SetPtr& to) {
  Entry& entry = entries_[key_of(target)];
  if (auto known = entry.messages.lock();
      known && entry.to.lock() == to && entry.from_nothing == !from && entry.from.lock() == from)
    return known;
  auto made = std::make_shared<const std::vector<std::string>>(encode_in_parts(diff(from.get(), *to)));
  entry.from = from;
  entry.from_nothing = !from;
  entry.to = to;
  entry.messages = made;
  entry.keep_messages = made;
  return made;
}

void EndpointCache::sweep() {
  for (auto it = entries_.begin(); it != entries_.end();) {
    it->second.keep_set.reset();
    it->second.keep_messages.reset();
    if (it->second.set.expired()) it = entries_.erase(it);
    else ++it;
  }
}

}  // namespace tulle::control
