// Choosing an endpoint and taking note of how it did, by the number of endpoints.
#include <benchmark/benchmark.h>

#include <vector>

#include "proxy/balance/ewma.h"
#include "proxy/balance/p2c.h"

namespace tulle::proxy {
namespace {

void pick_and_learn(benchmark::State& state) {
  TimePoint now(1000s);
  std::vector<PeakEwma> endpoints(static_cast<size_t>(state.range(0)), PeakEwma(30ms, 10s, now));
  Rng rng(1);
  for (auto _ : state) {
    now += 1ms;
    size_t chosen = p2c(endpoints.size(), rng, [&](size_t i) { return endpoints[i].load(1, now); });
    endpoints[chosen].add(1ms, now);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(pick_and_learn)->Arg(1)->Arg(3)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace tulle::proxy
