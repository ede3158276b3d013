// Watches: what the control thread learns from the control plane, as immutable snapshots for the workers.
//
//   worker: WatchCache::get(key) ──subscribe──▶ control thread: WatchHub runs one stream per key
//   worker: Handle::value()      ◀──publish───  (a shared_ptr<const T>, posted to each subscribed worker)
//
// A worker never waits for the control thread but for a first value, and then with a deadline. The last good value is
// kept for as long as anybody uses the key and `idle` after that.
#pragma once

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/list.h"
#include "libs/base/time.h"
#include "libs/observe/metrics.h"
#include "libs/rt/reactor.h"
#include "libs/rt/scope.h"
#include "libs/rt/signal.h"

namespace tulle::proxy {

template <class Key, class T>
class WatchHub;

// One worker's view. Lives on the worker's thread; outlives its Handles.
template <class Key, class T>
class WatchCache {
  struct Entry : ListNode {  // in idle_ while nobody uses it
    Key key;
    std::shared_ptr<const T> value;
    rt::Signal changed;
    size_t users = 0;
    TimePoint idle_since = kNever;
    Entry(rt::Reactor& r, Key k) : key(std::move(k)), changed(r) {}
  };

 public:
  // Keeps the key watched. Not thread-safe.
  class Handle {
   public:
    Handle() = default;
    Handle(Handle&& o) noexcept : cache_(o.cache_), entry_(std::exchange(o.entry_, nullptr)) {}
    Handle& operator=(Handle&& o) noexcept {
      std::swap(cache_, o.cache_);
      std::swap(entry_, o.entry_);
      return *this;
    }
    ~Handle() {
      if (entry_) cache_->release(*entry_);
    }
    explicit operator bool() const { return entry_ != nullptr; }
    // The latest snapshot; null before the first.
    const std::shared_ptr<const T>& value() const { return entry_->value; }
    rt::Signal& changed() const { return entry_->changed; }
    // Waits for the first snapshot; false when `deadline` came first.
    rt::Task<bool> ready(TimePoint deadline) const {
      while (!entry_->value)
        if (!co_await entry_->changed.wait_until(deadline)) co_return entry_->value != nullptr;
      co_return true;
    }

   private:
    friend class WatchCache;
    Handle(WatchCache& c, Entry& e) : cache_(&c), entry_(&e) {}
    WatchCache* cache_ = nullptr;
    Entry* entry_ = nullptr;
  };

  // `idle`: how long an unused key stays watched. `most`: keys held; a further one takes the place of the one unused
  // for longest, which is counted in `evicted` (may be null). Keys in use are held whatever their number.
  WatchCache(rt::Reactor& worker, WatchHub<Key, T>& hub, Duration idle, size_t most = 10'000,
             observe::CounterRef evicted = {})
      : reactor_(worker), hub_(hub), idle_(idle), most_(most), evicted_(std::move(evicted)) {}

  Handle get(const Key& key) {
    auto found = entries_.find(key);
    if (found == entries_.end()) {
      if (entries_.size() >= most_ && !idle_entries_.empty()) {
        if (evicted_) evicted_->add();
        drop(idle_entries_.front());
      }
      found = entries_.emplace(key, std::make_unique<Entry>(reactor_, key)).first;
      hub_.subscribe(*this, key);
    }
    auto& entry = found->second;
    entry->unlink();
    ++entry->users;
    return Handle(*this, *entry);
  }
  // Drops keys that were unused for the idle time; to be called now and then by the owner.
  void sweep(TimePoint now) {
    while (!idle_entries_.empty() && now - idle_entries_.front().idle_since >= idle_) drop(idle_entries_.front());
  }
  size_t size() const { return entries_.size(); }
  rt::Reactor& reactor() { return reactor_; }

 private:
  friend class WatchHub<Key, T>;
  void release(Entry& e) {
    if (--e.users > 0) return;
    e.idle_since = reactor_.now();
    idle_entries_.push_back(e);
  }
  void drop(Entry& e) {
    Key key = e.key;
    hub_.unsubscribe(*this, key);
    entries_.erase(key);
  }
  void update(const Key& key, std::shared_ptr<const T> value) {
    auto it = entries_.find(key);
    if (it == entries_.end()) return;
    it->second->value = std::move(value);
    it->second->changed.notify();
  }

  rt::Reactor& reactor_;
  WatchHub<Key, T>& hub_;
  Duration idle_;
  size_t most_;
  observe::CounterRef evicted_;
  absl::flat_hash_map<Key, std::unique_ptr<Entry>> entries_;
  List<Entry> idle_entries_;  // unused for longest first
};

// The control thread's side: one stream per key, whoever asks for it. Constructed before the workers run, destroyed
// after they have ended.
template <class Key, class T>
class WatchHub {
 public:
  using Publish = std::function<void(std::shared_ptr<const T>)>;
  // Follows one key for as long as it is not destroyed, publishing what it learns.
  using Source = std::function<rt::Task<void>(Key, Publish)>;

  WatchHub(rt::Reactor& control, Source source) : reactor_(control), source_(std::move(source)), published_(control) {}

  // Any thread.
  void subscribe(WatchCache<Key, T>& cache, Key key) {
    reactor_.post([this, &cache, key = std::move(key)] { add(cache, key); });
  }
  void unsubscribe(WatchCache<Key, T>& cache, Key key) {
    reactor_.post([this, &cache, key = std::move(key)] { remove(cache, key); });
  }
  // Control thread. The latest value of a key, if it is watched.
  std::shared_ptr<const T> value(const Key& key) const {
    auto it = watched_.find(key);
    return it == watched_.end() ? nullptr : it->second->value;
  }
  // Control thread. Waits for it; false when `deadline` came first.
  rt::Task<bool> ready(Key key, TimePoint deadline) {
    while (!value(key))
      if (!co_await published_.wait_until(deadline)) co_return value(key) != nullptr;
    co_return true;
  }
  size_t size() const { return watched_.size(); }

 private:
  struct Watched {
    std::shared_ptr<const T> value;
    std::vector<WatchCache<Key, T>*> caches;
    std::unique_ptr<rt::Running> stream;
  };
  void add(WatchCache<Key, T>& cache, const Key& key) {
    auto& w = watched_[key];
    if (!w) {
      w = std::make_unique<Watched>();
      w->stream = std::make_unique<rt::Running>(
          reactor_, source_(key, [this, key](std::shared_ptr<const T> v) { publish(key, std::move(v)); }));
    }
    w->caches.push_back(&cache);
    if (w->value) send(cache, key, w->value);
  }
  void remove(WatchCache<Key, T>& cache, const Key& key) {
    auto it = watched_.find(key);
    if (it == watched_.end()) return;
    std::erase(it->second->caches, &cache);
    if (it->second->caches.empty()) watched_.erase(it);
  }
  void publish(const Key& key, std::shared_ptr<const T> value) {
    auto it = watched_.find(key);
    if (it == watched_.end()) return;
    it->second->value = value;
    published_.notify();
    for (auto* cache : it->second->caches) send(*cache, key, value);
  }
  void send(WatchCache<Key, T>& cache, const Key& key, std::shared_ptr<const T> value) {
    cache.reactor().post([&cache, key, value = std::move(value)] { cache.update(key, value); });
  }

  rt::Reactor& reactor_;
  Source source_;
  rt::Signal published_;
  absl::flat_hash_map<Key, std::unique_ptr<Watched>> watched_;
};

}  // namespace tulle::proxy
