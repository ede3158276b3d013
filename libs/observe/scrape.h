// Reading metrics: Prometheus text into samples, and quantiles from the buckets of a histogram. Pure functions.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/result.h"

namespace tulle::observe {

struct Sample {
  std::string name;
  std::vector<std::pair<std::string, std::string>> labels;  // in the order given, unescaped
  double value = 0;

  // The value of a label, or "".
  std::string_view label(std::string_view key) const;
};

// Prometheus text format 0.0.4 and the OpenMetrics text that Linkerd's proxy appends to it. Comments, time stamps and
// exemplars are passed over; reading stops at "# EOF". Error: the line's number and what is wrong in it; also more than
// `max_samples` samples.
Result<std::vector<Sample>> parse_metrics(std::string_view text, size_t max_samples = 1'000'000);

// One bucket of a histogram: how many values were ≤ `bound` (cumulative, as exposed).
struct Bucket {
  double bound = 0;  // +Inf for the last
  double count = 0;
};

// The q-quantile (0 ≤ q ≤ 1) by linear interpolation within its bucket, as Prometheus' histogram_quantile does; the
// last finite bound when it lies above that. NaN without a value. `buckets` ascend and end with +Inf.
double histogram_quantile(double q, std::span<const Bucket> buckets);

}  // namespace tulle::observe
