#include <benchmark/benchmark.h>

#include "libs/observe/families.h"
#include "libs/observe/http_series.h"
#include "libs/observe/metrics.h"

namespace tulle::observe {
namespace {

void counter_add(benchmark::State& state) {
  Registry registry;
  CounterRef counter = registry.add_shard().counter(kRequestTotal);
  for (auto _ : state) {
    counter->add();
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter_add);

void histogram_observe(benchmark::State& state) {
  Registry registry;
  HistogramRef histogram = registry.add_shard().histogram(kResponseLatencyMs);
  double values[1024];
  uint32_t seed = 1;
  for (double& v : values) v = static_cast<double>((seed = seed * 1664525 + 1013904223) >> 22);
  size_t i = 0;
  for (auto _ : state) {
    histogram->observe(values[i++ & 1023]);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(histogram_observe);

void http_response(benchmark::State& state) {
  Registry registry;
  HttpSeries series(registry.add_shard(), {});
  for (auto _ : state) {
    series.request();
    series.response({.status = 200}, 3ms);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(http_response);

void render_1000_endpoints(benchmark::State& state) {
  Registry registry;
  Shard& shard = registry.add_shard();
  std::vector<HttpSeries> endpoints;
  for (uint16_t port = 1; port <= 1000; ++port) {
    endpoints.emplace_back(shard, outbound_endpoint("api.default.svc.cluster.local:80", "10.0.0.1", port,
                                                    TlsState::mutual("api.default"), {{"deployment", "api"}}));
    endpoints.back().request();
    endpoints.back().response({.status = 200}, 3ms);
  }
  for (auto _ : state) benchmark::DoNotOptimize(registry.render());
}
BENCHMARK(render_1000_endpoints)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace tulle::observe
