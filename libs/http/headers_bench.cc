// The list of fields of a message: made, asked, edited on its way through a proxy.
#include <benchmark/benchmark.h>

#include "libs/http/hop_by_hop.h"
#include "libs/http/message.h"

namespace tulle::http {
namespace {

void fill(Headers& headers) {
  headers.add(HeaderId::kHost, "api.default.svc.cluster.local:8080");
  headers.add("User-Agent", "python-requests/2.31.0");
  headers.add("Accept-Encoding", "gzip, deflate");
  headers.add("Accept", "*/*");
  headers.add("Connection", "keep-alive");
  headers.add("X-Request-Id", "7f3c1d2e-88aa-4f0e-9d3b-0e6f5a1b2c3d");
  headers.add("Cookie", "session=abcdef0123456789abcdef");
}

void headers_fill(benchmark::State& state) {
  for (auto _ : state) {
    Headers headers;
    fill(headers);
    benchmark::DoNotOptimize(headers);
  }
}
BENCHMARK(headers_fill);

void headers_get(benchmark::State& state) {
  Headers headers;
  fill(headers);
  for (auto _ : state) {
    benchmark::DoNotOptimize(headers.get(HeaderId::kHost));
    benchmark::DoNotOptimize(headers.get(HeaderId::kTe));  // not there
    benchmark::DoNotOptimize(headers.get("x-request-id"));
  }
}
BENCHMARK(headers_get);

void headers_edit(benchmark::State& state) {
  for (auto _ : state) {
    Headers headers;
    fill(headers);
    strip_hop_by_hop(headers);
    headers.set("l5d-client-id", "api.default.serviceaccount.identity.linkerd.cluster.local");
    headers.remove("x-request-id");
    benchmark::DoNotOptimize(headers);
  }
}
BENCHMARK(headers_edit);

}  // namespace
}  // namespace tulle::http
