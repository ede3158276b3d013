// The series of one HTTP endpoint or route, resolved as they are first met: request_total, response_total and
// response_latency_ms, with Linkerd's labels. One per endpoint (or route) and worker.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libs/observe/families.h"
#include "libs/observe/metrics.h"

namespace tulle::observe {

// How an exchange ended, as response_total names it.
struct Outcome {
  uint16_t status = 0;          // HTTP status
  bool success = true;          // the classification
  int grpc_status = -1;         // -1: not gRPC; above 16 counts as 2 (unknown)
  std::string_view error = "";  // "" unless the stream broke
};

// The three families that go together: of endpoints (request_total …), of profiles' routes (route_request_total …) or
// of control clients.
struct HttpFamilies {
  const Family* requests;
  const Family* responses;
  const Family* latency;  // nullptr: not measured
};
inline constexpr HttpFamilies kEndpointFamilies{&kRequestTotal, &kResponseTotal, &kResponseLatencyMs};
inline constexpr HttpFamilies kProfileRouteFamilies{&kRouteRequestTotal, &kRouteResponseTotal,
                                                    &kRouteResponseLatencyMs};
inline constexpr HttpFamilies kProfileRouteActualFamilies{&kRouteActualRequestTotal, &kRouteActualResponseTotal,
                                                          nullptr};
inline constexpr HttpFamilies kControlFamilies{&kControlRequestTotal, &kControlResponseTotal,
                                               &kControlResponseLatencyMs};

class HttpSeries {
 public:
  HttpSeries(Shard& shard, Labels labels, const HttpFamilies& families = kEndpointFamilies);

  // A request was sent on (outbound) or taken (inbound).
  void request() { requests_->add(); }
  // Its response stream ended, or failed. `latency` from the request's headers until then.
  void response(const Outcome& outcome, Duration latency);

 private:
  struct Met {
    uint16_t status;
    bool success;
    int grpc_status;
    std::string error;
    CounterRef total;
    HistogramRef latency;
  };
  Met& meet(const Outcome& outcome);

  Shard* shard_;
  Labels labels_;
  HttpFamilies families_;
  CounterRef requests_;
  std::vector<Met> met_;
  size_t last_ = 0;  // where the last one met is
};

// The tcp_… families of one side of a connection.
class TcpSeries {
 public:
  TcpSeries(Shard& shard, Labels labels);

  void opened() {
    open_total_->add();
    open_->increment();
  }
  void read(uint64_t bytes) { read_->add(bytes); }
  // Where a stream counts what it reads and writes (net::Stream::set_meters); for as long as this lives.
  std::atomic<uint64_t>* read_meter() { return &read_->cell(); }
  std::atomic<uint64_t>* write_meter() { return &written_->cell(); }
  // `error`: the errno's name such as "ECONNRESET", or "" for an orderly end.
  void closed(std::string_view error);

 private:
  Shard* shard_;
  Labels labels_;
  CounterRef open_total_;
  GaugeRef open_;
  CounterRef read_;
  CounterRef written_;
  CounterRef closed_clean_;
};

}  // namespace tulle::observe
