// Balancer: the endpoints of one backend on one worker, and the choice among them: power of two choices by peak-EWMA
// load, over those that can be reached (docs/life-of-a-request.md). One per backend, shared by all its routes.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "proxy/balance/backoff.h"
#include "proxy/balance/p2c.h"
#include "proxy/balance/trust.h"
#include "proxy/model/errors.h"
#include "proxy/model/policy.h"
#include "proxy/outbound/endpoint.h"

namespace tulle::proxy::outbound {

class Balancer {
 public:
  Balancer(Worker& worker, const BackendSpec& spec);
  ~Balancer();
  Balancer(const Balancer&) = delete;

  // An endpoint for a request or stream; waits while none is ready, at most the fail-fast time. Once none has been
  // ready for that long everything fails at once, until one is ready again. `not_this`: do not choose it if another is
  // there (the one that has just failed). A connection of raw bytes has limits of its own (OUTBOUND_TCP_…).
  enum class For : uint8_t { kRequest, kRawBytes };
  rt::Task<std::expected<std::shared_ptr<Endpoint>, ProxyError>> pick(const Endpoint* not_this = nullptr,
                                                                      For what = For::kRequest);
  // Brings the metric of discovery's silence up to date.
  void note_staleness();
  // A request could be given out now.
  bool ready();

  // A connection could not be made: no new requests until a probe succeeds.
  void connect_failed(const std::shared_ptr<Endpoint>& endpoint, const Error& error);

 private:
  struct Slot {
    std::shared_ptr<Endpoint> endpoint;
    std::unique_ptr<rt::Running> probing;
  };
  rt::Task<void> follow();
  rt::Task<void> probe(EndpointId id);
  void apply(const Discovered& d);
  void place(EndpointId id, const std::shared_ptr<const Endpoint::Group>& group, const wire::LoadEstimate& load);
  std::shared_ptr<Endpoint> choose(const Endpoint* not_this);
  Duration peers_estimate() const;
  void note_readiness();
  void collect();

  struct Collector final : rt::Timer {
    Balancer& balancer;
    explicit Collector(Balancer& b) : rt::Timer(b.worker_.reactor), balancer(b) {}
    void on_timer() override { balancer.collect(); }
  };

  Worker& worker_;
  std::string name_;       // for messages: what discovery was asked for, or the one address
  std::string authority_;  // for metrics; "" where discovery was asked for nothing
  wire::LoadEstimate load_;
  struct Queue {
    Duration failfast;
    size_t capacity;
    size_t waiting = 0;
  };
  Queue requests_, raw_;
  bool round_robin_;
  RoundRobin next_;
  EndpointSet set_;
  std::vector<Slot> slots_;  // by EndpointId
  std::vector<EndpointId> candidates_;
  TimePoint not_ready_since_;
  std::string last_failure_;  // why an endpoint could not be connected to, for who has to wait for one
  TimePoint stale_since_ = kNever;
  rt::Signal changed_;
  Collector collector_;
  observe::GaugeRef endpoints_gauge_, stale_gauge_;
  WatchCache<std::string, Discovered>::Handle watch_;
  std::unique_ptr<rt::Running> following_;
};

}  // namespace tulle::proxy::outbound
