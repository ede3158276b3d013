// Worker: what one worker thread has and everything on it may use. Constructed for that thread's reactor by
// app/main.cc; outlives all connections of the thread.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "libs/base/log_throttle.h"
#include "libs/httpio/server.h"
#include "libs/net/holders.h"
#include "libs/net/netns.h"
#include "libs/net/socket.h"
#include "libs/observe/metrics.h"
#include "libs/rt/reactor.h"
#include "libs/tls/tls_stream.h"
#include "proxy/config/config.h"
#include "proxy/discovery/streams.h"

namespace tulle::proxy {

// Counts what is open at once against a limit (docs/configuration.md), in a metric.
class Limit {
 public:
  Limit(observe::GaugeRef open, observe::CounterRef refused, size_t most)
      : open_(std::move(open)), refused_(std::move(refused)), most_(most) {}

  // One place, given back when destroyed. False when there was none.
  class Place {
   public:
    Place() = default;
    Place(Place&& o) noexcept : limit_(std::exchange(o.limit_, nullptr)) {}
    Place& operator=(Place&& o) noexcept {
      std::swap(limit_, o.limit_);
      return *this;
    }
    ~Place() {
      if (limit_) limit_->give();
    }
    explicit operator bool() const { return limit_ != nullptr; }

   private:
    friend class Limit;
    explicit Place(Limit* l) : limit_(l) {}
    Limit* limit_ = nullptr;
  };
  Place take() {
    if (used_ >= most_) {
      refused_->add();
      return Place();
    }
    open_->set(static_cast<double>(++used_));
    return Place(this);
  }
  size_t used() const { return used_; }

 private:
  void give() { open_->set(static_cast<double>(--used_)); }
  observe::GaugeRef open_;
  observe::CounterRef refused_;
  size_t most_;
  size_t used_ = 0;
};

// Dials of one target that were made because its client was silent: at most ten in a second.
class SpeculativeDials {
 public:
  bool may_dial(TimePoint now) {
    if (now - second_ >= 1s) {
      second_ = now;
      dials_ = 0;
    }
    return dials_ < kInSecond;
  }
  void dialled() { ++dials_; }
  // One of them was right: the server spoke first. It counts no more.
  void used() { dials_ -= dials_ > 0; }
  // Who may not dial now looks again after this.
  static constexpr Duration kTurn = 100ms;

 private:
  static constexpr uint32_t kInSecond = 10;
  uint32_t dials_ = 0;
  TimePoint second_{};
};
// Their counter, by direction and result: "dialled", and of these "used".
observe::CounterRef speculative_dials(observe::Shard& metrics, std::string_view direction, std::string_view result);

// Of a cache: what was forgotten because it was full.
observe::CounterRef evictions(observe::Shard& metrics, std::string_view cache);

// Counts TLS handshakes of the mesh, full and resumed.
class Handshakes {
 public:
  Handshakes(observe::Shard& metrics, std::string_view direction);
  void count(const tls::TlsStream& stream) { (stream.resumed() ? resumed_ : full_)->add(); }

 private:
  observe::CounterRef full_, resumed_;
};

struct Worker {
  // `pod`: null outside of a rootless pod.
  Worker(rt::Reactor& r, const Config& c, observe::Shard& m, net::PodNetns* pod, TargetHub& targets,
         EndpointHub& endpoints, PortHub& ports);

  rt::Reactor& reactor;
  const Config& config;
  observe::Shard& metrics;
  net::PodNetns* pod;
  LogThrottle log;  // of what clients and servers bring about
  WatchCache<SocketAddr, TargetInfo> targets;
  WatchCache<std::string, Discovered> endpoints;
  WatchCache<uint16_t, PortInfo> ports;
  observe::GaugeRef remembered_targets;
  observe::CounterRef evicted_targets;
  observe::CounterRef inbound_unannounced_ends, outbound_unannounced_ends;
  Handshakes inbound_handshakes, outbound_handshakes;
  Limit inbound_connections;
  Limit outbound_connections;
  Limit inbound_requests;
  Limit outbound_requests;
  net::Holders inbound_holders, outbound_holders;  // connections, and what they hold in memory
  observe::CounterRef inbound_shed, outbound_shed;
  httpio::Drain drain;                           // of HTTP connections of the application
  httpio::Drain inbound_drain;                   // of those to it, which end first
  std::shared_ptr<const tls::Context> identity;  // replaced at renewal; null before the first certificate

  // How connections to others leave: from the pod's own address, so that peers see who calls. One on the loopback
  // network goes nowhere else.
  net::ConnectOptions outbound_connect(IpAddr to) const;
  // How connections to the application leave: inside the pod's network namespace.
  net::ConnectOptions inbound_connect() const;
};

// Settings of HTTP connections that a proxy accepts.
class Serving {
 public:
  // `name`: "inbound" or "outbound", for metrics. All outlive this.
  Serving(Worker& worker, std::string_view name, const DirectionConfig& direction, httpio::Drain& drain,
          net::Holders& holders);
  // Who is at the other end: somebody unknown, who is told nothing beyond a status; the pod's own application; a proxy
  // of the mesh, whose one connection carries the requests of many, so that what one of them does costs the others
  // little.
  enum class Client : uint8_t { kStranger, kOwn, kPeer };
  // Of connections to that port. They live as long as this.
  const httpio::ServeOptions& options(uint16_t port, Client client) const;

 private:
  struct Of {
    const PortSet* ports;  // null: all
    httpio::ServeOptions stranger, own, peer;
  };
  std::vector<Of> by_port_;
};
// And of those that it makes. `port`: the one that names limits; `unannounced_ends` outlives the client.
httpio::ClientOptions client_options(const Config& config, const DirectionConfig& direction, uint16_t port,
                                     observe::CounterRef& unannounced_ends);

}  // namespace tulle::proxy
