#include "libs/observe/http_series.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::observe {

// A hostile server can answer with any status: so many outcomes are kept at hand, and the oldest goes for a new one.
static constexpr size_t kMaxMet = 32;

HttpSeries::HttpSeries(Shard& shard, Labels labels, const HttpFamilies& families)
    : shard_(&shard),
      labels_(std::move(labels)),
      families_(families),
      requests_(shard.counter(*families.requests, labels_)) {}

HttpSeries::Met& HttpSeries::meet(const Outcome& outcome) {
  int grpc_status = outcome.grpc_status > 16 ? 2 : std::max(outcome.grpc_status, -1);
  auto matches = [&](const Met& m) {
    return m.status == outcome.status && m.success == outcome.success && m.grpc_status == grpc_status &&
           m.error == outcome.error;
  };
  if (last_ < met_.size() && matches(met_[last_])) return met_[last_];
  auto found = std::ranges::find_if(met_, matches);
  if (found == met_.end()) {
    if (met_.size() >= kMaxMet) met_.erase(met_.begin());
    Labels labels = labels_;
    labels.add("status_code", outcome.status);
    HistogramRef latency;
    if (families_.latency) latency = shard_->histogram(*families_.latency, labels);
    labels.add("classification", outcome.success ? "success" : "failure");
    labels.add("grpc_status", grpc_status < 0 ? "" : cat(grpc_status)).add("error", outcome.error);
    met_.push_back({outcome.status, outcome.success, grpc_status, std::string(outcome.error),
                    shard_->counter(*families_.responses, labels), std::move(latency)});
    found = met_.end() - 1;
  }
  last_ = static_cast<size_t>(found - met_.begin());
  return *found;
}

void HttpSeries::response(const Outcome& outcome, Duration latency) {
  Met& met = meet(outcome);
  met.total->add();
  if (met.latency) met.latency->observe(to_ms(latency));
}

TcpSeries::TcpSeries(Shard& shard, Labels labels)
    : shard_(&shard),
      labels_(std::move(labels)),
      open_total_(shard.counter(kTcpOpenTotal, labels_)),
      open_(shard.gauge(kTcpOpenConnections, labels_)),
      read_(shard.counter(kTcpReadBytesTotal, labels_)),
      written_(shard.counter(kTcpWriteBytesTotal, labels_)) {}

void TcpSeries::closed(std::string_view error) {
  open_->decrement();
  if (error.empty() && closed_clean_) return closed_clean_->add();
  Labels labels = labels_;
  CounterRef closed = shard_->counter(kTcpCloseTotal, labels.add("errno", error));
  closed->add();
  if (error.empty()) closed_clean_ = std::move(closed);
}

}  // namespace tulle::observe
