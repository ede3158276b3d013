#include "proxy/balance/trust.h"

#include <algorithm>

namespace tulle::proxy {
namespace {

// Whether a connection made for one is still right for the other: labels and weight may differ.
bool same_peer(const wire::Endpoint& a, const wire::Endpoint& b) {
  return a.tls == b.tls && a.hint == b.hint && a.opaque_transport_port == b.opaque_transport_port &&
         a.authority_override == b.authority_override && a.http2 == b.http2;
}

}  // namespace

EndpointSet::Changes EndpointSet::apply(const wire::Update& update, TimePoint now) {
  Changes changes;
  switch (update.kind) {
    case wire::Update::Kind::kAdd: {
      labels_ = update.labels;
      for (const auto& e : update.add) add(e, changes);
      if (replace_on_add_)
        for (EndpointId id = 0; id < entries_.size(); ++id)
          if (entries_[id] && entries_[id]->present && !entries_[id]->seen) make_absent(id, now, changes);
      for (auto& e : entries_)
        if (e) e->seen = false;
      break;
    }
    case wire::Update::Kind::kRemove:
      if (replace_on_add_) return changes;  // about a set that this stream has not sent yet
      for (const auto& addr : update.remove)
        if (auto it = by_addr_.find(addr); it != by_addr_.end() && at(it->second).present)
          make_absent(it->second, now, changes);
      break;
    case wire::Update::Kind::kNoEndpoints:
      for (EndpointId id = 0; id < entries_.size(); ++id)
        if (entries_[id] && entries_[id]->present) make_absent(id, now, changes);
      break;
  }
  replace_on_add_ = false;
  stale_since_.reset();
  resolved_ = true;
  dirty_ = true;
  return changes;
}

void EndpointSet::stream_broken(TimePoint now) {
  replace_on_add_ = true;
  if (!stale_since_) stale_since_ = now;
}

void EndpointSet::add(const wire::Endpoint& e, Changes& changes) {
  auto it = by_addr_.find(e.addr);
  if (it == by_addr_.end()) {
    EndpointId id;
    if (free_.empty()) {
      id = static_cast<EndpointId>(entries_.size());
      entries_.emplace_back();
    } else {
      id = free_.back();
      free_.pop_back();
    }
    entries_[id].emplace();
    at(id).info = std::make_shared<const wire::Endpoint>(e);
    at(id).seen = true;
    by_addr_[e.addr] = id;
    ++present_;
    changes.added.push_back(id);
    return;
  }
  Entry& entry = at(it->second);
  entry.seen = true;
  if (!same_peer(*entry.info, e)) {
    changes.replaced.push_back(it->second);
    entry.ready = false;
  } else if (!entry.present) {
    changes.returned.push_back(it->second);
  }
  if (*entry.info != e) {
    if (changes.replaced.empty() || changes.replaced.back() != it->second) changes.relabelled.push_back(it->second);
    entry.info = std::make_shared<const wire::Endpoint>(e);
  }
  if (!entry.present) {
    entry.present = true;
    ++present_;
  }
}

void EndpointSet::make_absent(EndpointId id, TimePoint now, Changes& changes) {
  at(id).present = false;
  at(id).absent_since = now;
  --present_;
  changes.absent.push_back(id);
}

void EndpointSet::set_ready(EndpointId id, bool ready) {
  if (at(id).ready == ready) return;
  at(id).ready = ready;
  dirty_ = true;
}

void EndpointSet::stream_ends(EndpointId id) {
  if (at(id).streams > 0) --at(id).streams;
}

void EndpointSet::rebuild(TimePoint now) {
  usable_.clear();
  verified_only_ = false;
  valid_until_ = kNever;
  for (EndpointId id = 0; id < entries_.size(); ++id)
    if (entries_[id] && entries_[id]->present && entries_[id]->ready) usable_.push_back(id);
  if (usable_.empty()) {
    for (EndpointId id = 0; id < entries_.size(); ++id) {
      if (!entries_[id] || !entries_[id]->ready || !in_grace(*entries_[id], now)) continue;
      usable_.push_back(id);
      valid_until_ = std::min(valid_until_, entries_[id]->absent_since + grace_);
    }
    verified_only_ = !usable_.empty();
  }
  dirty_ = false;
}

EndpointSet::Usable EndpointSet::usable(TimePoint now) {
  if (dirty_ || now >= valid_until_) rebuild(now);
  return {usable_, verified_only_};
}

bool EndpointSet::any_candidate(TimePoint now) const {
  if (present_ > 0) return true;
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const auto& e) { return e && e->ready && in_grace(*e, now); });
}

std::vector<EndpointId> EndpointSet::collect(TimePoint now) {
  std::vector<EndpointId> dropped;
  bool other_ready =
      std::any_of(entries_.begin(), entries_.end(), [](const auto& e) { return e && e->present && e->ready; });
  for (EndpointId id = 0; id < entries_.size(); ++id) {
    if (!entries_[id]) continue;
    const Entry& e = at(id);
    if (e.present || e.streams > 0 || (in_grace(e, now) && e.ready && !other_ready)) continue;
    by_addr_.erase(e.info->addr);
    entries_[id].reset();
    free_.push_back(id);
    dropped.push_back(id);
    dirty_ = true;
  }
  return dropped;
}

TimePoint EndpointSet::next_deadline(TimePoint now) const {
  TimePoint next = kNever;
  for (const auto& e : entries_)
    if (e && in_grace(*e, now)) next = std::min(next, e->absent_since + grace_);
  return next;
}

}  // namespace tulle::proxy
