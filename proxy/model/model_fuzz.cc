// The texts of requests and responses that the model reads, matched against routes of every kind of match.
#include <cstdint>

#include "libs/base/check.h"
#include "libs/wire/samples.h"
#include "proxy/model/canonical.h"
#include "proxy/model/classify.h"
#include "proxy/model/filter.h"
#include "proxy/model/retry.h"
#include "proxy/model/timeouts.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  using namespace tulle::proxy;
  static const RouteTable http =
      std::move(*RouteTable::compile({wire::samples::http_route()}, RouteTable::Kind::kHttp));
  static const RouteTable grpc =
      std::move(*RouteTable::compile({wire::samples::grpc_route()}, RouteTable::Kind::kGrpc));
  std::string_view text(reinterpret_cast<const char*>(data), size);

  // Lines: method, authority, target, then values of the headers that are read as more than text.
  http::RequestHead head;
  http::ResponseHead response;
  response.status = 503;
  constexpr std::string_view kNames[] = {
      "l5d-retry-http", "l5d-retry-grpc", "l5d-retry-limit", "l5d-retry-timeout",      "l5d-timeout",
      "grpc-timeout",   "grpc-status",    "retry-after",     "grpc-retry-pushback-ms", "x-version"};
  size_t n = 0;
  for (std::string_view line : split(text, '\n')) {
    if (n == 0) head.set_method(line);
    else if (n == 1) head.authority = line;
    else if (n == 2) head.path = line;
    else if (n - 3 < std::size(kNames) && line.size() < 60'000) {
      head.headers.add(kNames[n - 3], line);
      response.headers.add(kNames[n - 3], line);
    }
    ++n;
  }
  RequestView view(head);
  std::string once;
  std::string_view canonical = canonical_path(view.path, once);
  TULLE_CHECK(canonical == view.path);  // canonical is canonical
  TULLE_CHECK(bytes_sent(view.path_sent, view.path.size()) == view.path_sent.size());
  for (const RouteTable* table : {&http, &grpc}) {
    auto m = table->match(view);
    bool refused = !route_request(*table, head, false);
    TULLE_CHECK(!refused || !table->only() || has_encoded_nul(head.path));
    TULLE_CHECK(route_request(*table, head, true));
    if (!m) continue;
    TULLE_CHECK(m->prefix <= view.path_sent.size());
    http::RequestHead copy = head;
    Rng rng(1);
    (void)filter_request(wire::samples::http_filters(), *m, copy, "http", rng);
  }
  (void)retry_policy(std::nullopt, true, head.headers);
  (void)request_timeouts({}, true, head.headers);
  (void)grpc_timeout(head.headers);
  (void)retry_after(response, WallTime());
  (void)Classifier(response).result();
  return 0;
}
