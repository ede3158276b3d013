// The process_… families, from /proc/self, and tulle_bugs_total.
#pragma once

#include "libs/base/time.h"
#include "libs/observe/metrics.h"

namespace tulle::observe {

// Made once; refresh() before each rendering. Used on the shard's thread. What /proc does not tell stays as it was.
class ProcessMetrics {
 public:
  ProcessMetrics(Shard& shard, WallTime started);
  void refresh(WallTime now);

 private:
  WallTime started_;
  GaugeRef start_time_, clock_time_, virtual_bytes_, resident_bytes_, open_fds_, max_fds_, threads_;
  GaugeRef uptime_, cpu_;  // counters that are not whole
  CounterRef received_, transmitted_, bugs_;
};

}  // namespace tulle::observe
