// Policies as the control plane sends them, compiled: regular expressions, weights and rules of every kind. A request
// is then matched, for what compiles must also work. The first byte says which message, the second the request.
#include <cstdint>

#include "libs/base/check.h"
#include "libs/wire/destination.h"
#include "libs/wire/inbound.h"
#include "libs/wire/outbound.h"
#include "proxy/model/policy.h"
#include "proxy/model/server.h"

using namespace tulle;
using namespace tulle::proxy;

namespace {

http::RequestHead request(uint8_t which) {
  http::RequestHead head;
  head.set_method(which & 1 ? "POST" : "GET");
  head.scheme = "http";
  head.authority = which & 2 ? "web.shop.svc.cluster.local:80" : "web";
  head.path = which & 4 ? "/shop.Rates/Get" : which & 8 ? "/a//%2F/../b;x" : "/api/v1/x?y=z";
  head.headers.add("x-version", which & 16 ? "2" : "1");
  return head;
}

void match(const RouteTable& table, http::RequestHead& head) {
  if (auto m = table.match(RequestView(head))) TULLE_CHECK(m->prefix <= head.path.size());
}

void outbound(const wire::OutboundPolicy& policy, http::RequestHead& head) {
  auto compiled = compile_policy(policy);
  TULLE_CHECK(compiled != nullptr);
  (void)unsupported(policy, kSupported);
  if (!compiled->invalid.empty()) return;
  match(compiled->http1.table, head);
  match(compiled->http2.table, head);
  Rng rng(1);
  if (!compiled->opaque.rule) return;
  const Choice& choice = compiled->opaque.rule->choice;
  size_t i = choose_backend(choice, rng, [](uint32_t) { return true; });
  TULLE_CHECK(i == kNoBackend || i < choice.refs.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  http::RequestHead head = request(data[1]);
  Bytes in(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 3) {
    case 0:
      if (auto policy = wire::decode_outbound_policy(in)) outbound(*policy, head);
      break;
    case 1:
      if (auto server = wire::decode_server(in)) {
        auto compiled = compile_server(*server, IpAddr::v4(127, 64, 0, 1));
        if (compiled->invalid.empty()) match(compiled->table, head);
      }
      break;
    default:
      if (auto profile = wire::decode_profile(in)) {
        TULLE_CHECK(split_policy(*profile, 80) != nullptr);
        (void)unsupported(*profile, kSupported);
      }
  }
  return 0;
}
