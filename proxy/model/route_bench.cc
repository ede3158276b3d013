// Finding the rule of a request, by the number of rules; the last one matches.
#include <benchmark/benchmark.h>

#include "libs/base/check.h"
#include "proxy/model/route.h"

namespace tulle::proxy {
namespace {

void match(benchmark::State& state, wire::PathMatch::Kind kind) {
  wire::Route route;
  for (int64_t n = 0; n < state.range(0); ++n) {
    wire::RouteMatch match;
    match.path = wire::PathMatch{kind, cat("/api/v1/kind", n, kind == wire::PathMatch::Kind::kRegex ? "/[0-9]+" : "")};
    route.rules.emplace_back().matches = {match};
  }
  auto table = RouteTable::compile({route}, RouteTable::Kind::kHttp);
  TULLE_CHECK(table.has_value());
  http::RequestHead head;
  head.authority = "api.default.svc.cluster.local:8080";
  head.path = cat("/api/v1/kind", state.range(0) - 1, "/42?expand=all");
  for (auto _ : state) {
    RequestView view(head);
    TULLE_CHECK(table->match(view).has_value());
  }
}
BENCHMARK_CAPTURE(match, prefix, wire::PathMatch::Kind::kPrefix)->Arg(1)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(match, regex, wire::PathMatch::Kind::kRegex)->Arg(1)->Arg(10)->Arg(1000);

}  // namespace
}  // namespace tulle::proxy
