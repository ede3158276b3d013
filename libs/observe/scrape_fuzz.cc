// Any bytes either parse or give an error; what parses has names, and labels that can be asked for.
#include <cstdint>
#include <cstdlib>

#include "libs/observe/scrape.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto samples = tulle::observe::parse_metrics({reinterpret_cast<const char*>(data), size}, 1000);
  if (!samples) return 0;
  if (samples->size() > 1000) std::abort();
  std::vector<tulle::observe::Bucket> buckets;
  for (const auto& sample : *samples) {
    if (sample.name.empty()) std::abort();
    for (const auto& [name, value] : sample.labels)
      if (name.empty()) std::abort();
    (void)sample.label("le");
    buckets.push_back({sample.value, sample.value});
  }
  (void)tulle::observe::histogram_quantile(0.5, buckets);
  return 0;
}
