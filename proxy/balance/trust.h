// Whom to trust about an endpoint, discovery or the data path: the table of the design, as a pure state machine. One
// per backend, owned by its balancer on one worker; the clock is passed in.
//
//   discovery says                    data path says   →
//   present                           ready            used
//   present                           not ready        not used (connecting, or its breaker is open)
//   absent                            ready            no new requests while a present one is ready; drains
//   absent, no present one is ready   ready            used for a grace time, with `verified_only`; then not
//   stream broken                     –                the last good set; the first Add after it replaces the set
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/addr.h"
#include "libs/base/time.h"
#include "libs/wire/destination.h"

namespace tulle::proxy {

// Numbers an endpoint for as long as the set knows it; numbers of dropped endpoints are used again.
using EndpointId = uint32_t;

class EndpointSet {
 public:
  explicit EndpointSet(Duration grace = 10s) : grace_(grace) {}
  EndpointSet(EndpointSet&&) = default;
  EndpointSet& operator=(EndpointSet&&) = default;

  // What an update did. The owner builds what was added, rebuilds what was replaced (its protocol or identity is
  // another: old connections must not get new requests), updates labels of what was changed, and drains the absent.
  struct Changes {
    std::vector<EndpointId> added;
    std::vector<EndpointId> replaced;
    std::vector<EndpointId> relabelled;
    std::vector<EndpointId> absent;    // no longer in discovery
    std::vector<EndpointId> returned;  // absent, and back as it was
  };

  // Discovery. An Add after stream_broken() replaces the set; a Remove before that Add is ignored.
  Changes apply(const wire::Update& update, TimePoint now);
  void stream_broken(TimePoint now);
  // Since when the set may be out of date; nothing while the stream is up and has sent something since it came up.
  std::optional<TimePoint> stale_since() const { return stale_since_; }

  // The data path. A new endpoint begins as not ready.
  void set_ready(EndpointId id, bool ready);
  // A request or stream begins and ends there; an absent endpoint stays until its last one has ended.
  void stream_begins(EndpointId id) { ++at(id).streams; }
  void stream_ends(EndpointId id);

  struct Usable {
    std::span<const EndpointId> ids;  // valid until the next change; empty: fail fast or wait
    // Discovery no longer lists these: only over a connection that is open, or once TLS has proved the identity.
    bool verified_only = false;
  };
  // Whom a request may be given to now. No allocation once the set has settled.
  Usable usable(TimePoint now);
  // Whether a request that cannot be given out now may hope: an endpoint is present, or in its grace time.
  bool any_candidate(TimePoint now) const;

  // Takes out the absent endpoints that are no longer needed (no streams, and grace over or another one ready); the
  // owner closes their connections. Call when a stream ends and at next_deadline().
  std::vector<EndpointId> collect(TimePoint now);
  // When collect() or usable() may answer differently by time alone; kNever: not by time.
  TimePoint next_deadline(TimePoint now) const;

  const wire::Endpoint& info(EndpointId id) const { return *entries_[id]->info; }
  bool present(EndpointId id) const { return entries_[id]->present; }
  bool contains(EndpointId id) const { return id < entries_.size() && entries_[id].has_value(); }
  // Labels of the whole set (service, namespace).
  const wire::Labels& labels() const { return labels_; }
  size_t present_count() const { return present_; }
  // The set has had an answer, be it an empty one.
  bool resolved() const { return resolved_; }

 private:
  struct Entry {
    std::shared_ptr<const wire::Endpoint> info;
    bool present = true;
    bool ready = false;
    bool seen = false;  // while a replacing Add is applied
    uint32_t streams = 0;
    TimePoint absent_since{};
  };

  Entry& at(EndpointId id) { return *entries_[id]; }
  void add(const wire::Endpoint& e, Changes& changes);
  void make_absent(EndpointId id, TimePoint now, Changes& changes);
  bool in_grace(const Entry& e, TimePoint now) const { return !e.present && now < e.absent_since + grace_; }
  void rebuild(TimePoint now);

  Duration grace_;
  absl::flat_hash_map<SocketAddr, EndpointId> by_addr_;
  std::vector<std::optional<Entry>> entries_;
  std::vector<EndpointId> free_;
  wire::Labels labels_;
  size_t present_ = 0;
  bool resolved_ = false;
  bool replace_on_add_ = false;
  std::optional<TimePoint> stale_since_;

  std::vector<EndpointId> usable_;
  bool verified_only_ = false;
  bool dirty_ = true;
  TimePoint valid_until_ = kNever;
};

}  // namespace tulle::proxy
