// Policies as the request path wants them: compiled once when they arrive from the control plane, immutable, published
// to workers as std::shared_ptr<const …>. Rules refer to backends by index into one table, in which equal backends are
// one entry, so that they share one balancer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "libs/base/random.h"
#include "libs/base/result.h"
#include "libs/wire/destination.h"
#include "libs/wire/outbound.h"
#include "proxy/model/route.h"

namespace tulle::proxy {

// A balancer or a fixed endpoint to be built, and how. Equal values may share one.
struct BackendSpec {
  wire::Metadata metadata;
  // monostate: nowhere; requests fail with kNoDispatcher.
  std::variant<std::monostate, wire::Endpoint, wire::Balancer> target;
  wire::Queue queue;
  std::optional<wire::FailureAccrual> failure_accrual;  // HTTP and gRPC only
  bool operator==(const BackendSpec&) const = default;

  // "service default/web:80" or "endpoint 10.0.0.1:80": for logs.
  std::string describe() const;
};

struct BackendRef {
  uint32_t backend = 0;  // index into OutboundPolicy::backends
  uint32_t weight = 1;
  std::vector<wire::Filter> filters;
  std::optional<Duration> request_timeout;
};

// How the backends of a rule share its requests.
struct Choice {
  enum class Kind : uint8_t { kNone, kFirst, kRandom };
  Kind kind = Kind::kNone;
  std::vector<BackendRef> refs;  // kRandom: those of weight 0 are left out
  uint64_t total_weight = 0;
};
inline constexpr size_t kNoBackend = static_cast<size_t>(-1);
// Which ref of a choice to use, of those for which ready(backend index) holds: the first, or one by weight. kNoBackend
// if none is ready. No allocation.
template <class Ready>
size_t choose_backend(const Choice& choice, Rng& rng, Ready&& ready);

struct Rule {
  std::vector<wire::Filter> filters;
  Choice choice;
  wire::Timeouts timeouts;
  std::optional<wire::Retry> retry;
  bool allow_l5d_request_headers = false;
};

struct Route {
  wire::Metadata metadata;
  std::vector<Rule> rules;
};

// The HTTP or gRPC half of a policy.
struct HttpRouting {
  RouteTable table;
  std::vector<Route> routes;  // as RuleMatch counts them

  const Rule& rule(const RuleMatch& m) const { return routes[m.route].rules[m.rule]; }
};

// What to do with a connection that is not HTTP. No rule: refused.
struct StreamRoute {
  wire::Metadata metadata;
  std::optional<Rule> rule;
};

struct OutboundPolicy {
  using Kind = wire::OutboundPolicy::Kind;
  Kind kind = Kind::kDetect;
  wire::Metadata parent;  // the Service, or whatever else the policy is about
  std::vector<BackendSpec> backends;
  StreamRoute opaque;                  // kDetect, kOpaque
  HttpRouting http1;                   // kDetect, kHttp1
  HttpRouting http2;                   // kDetect, kHttp2; of kGrpc the gRPC routes
  std::vector<wire::Route> tls_names;  // kTls: for match_sni
  std::vector<StreamRoute> tls;        // as tls_names
  Duration detect_timeout = 10s;
  // Set: the control plane sent what cannot be used. HTTP is answered with kInvalidPolicy, others are closed.
  std::string invalid;
};
using OutboundPolicyPtr = std::shared_ptr<const OutboundPolicy>;

// Compiles what the control plane sent. Never fails: what cannot be used gives a policy with `invalid` set.
OutboundPolicyPtr compile_policy(const wire::OutboundPolicy& policy);
// For a message that could not even be decoded.
OutboundPolicyPtr invalid_policy(std::string why);
// Detect, and send everything to one endpoint: a profile's, or the original destination as it is. `name` is the
// default name in the metadata ("endpoint" or "fallback" in Linkerd). opaque: do not detect.
OutboundPolicyPtr forward_policy(const wire::Endpoint& endpoint, std::string name, bool opaque = false);
// The same traffic split over the profile's dst_overrides (weight 0 left out; none left: the profile's own name), as
// the ServiceProfile API wants it. `port` is the target's.
OutboundPolicyPtr split_policy(const wire::DestinationProfile& profile, uint16_t port);

// What the pipelines do of what a policy may ask for.
struct Supported {
  bool retries = false;
  bool timeouts = false;
  bool failure_accrual = false;
  bool min_ready_endpoints = false;       // of failure accrual
  bool respect_retry_after_hint = false;  // of its back-off
  bool penalty = false;                   // the penalty load estimate
  bool profile_routes = false;            // routes, retries and timeouts of ServiceProfiles
  bool tls_routes = false;                // by server name
};
// What this version does. Whoever builds one of the rest sets it here.
inline constexpr Supported kSupported{.timeouts = true};
// What the policy asks for that is not supported, one line each ("HTTPRoute shop/web: retries"), for the log, at most
// 20; empty: nothing.
std::vector<std::string> unsupported(const wire::OutboundPolicy& policy, const Supported& supported);
std::vector<std::string> unsupported(const wire::DestinationProfile& profile, const Supported& supported);

template <class Ready>
size_t choose_backend(const Choice& choice, Rng& rng, Ready&& ready) {
  const auto& refs = choice.refs;
  if (choice.kind == Choice::Kind::kFirst || refs.size() == 1) {
    for (size_t i = 0; i < refs.size(); ++i)
      if (ready(refs[i].backend)) return i;
    return kNoBackend;
  }
  if (choice.kind == Choice::Kind::kNone || refs.empty()) return kNoBackend;
  // Nearly always the first draw is ready; only then it is worth looking at all.
  auto draw = [&](uint64_t total, auto&& counts) {
    uint64_t at = static_cast<uint64_t>(rng.unit() * static_cast<double>(total));
    size_t last = kNoBackend;
    for (size_t i = 0; i < refs.size(); ++i) {
      if (!counts(i)) continue;
      last = i;
      if (at < refs[i].weight) return i;
      at -= refs[i].weight;
    }
    return last;  // rounding only
  };
  size_t i = draw(choice.total_weight, [](size_t) { return true; });
  if (i != kNoBackend && ready(refs[i].backend)) return i;
  uint64_t total = 0;
  for (const auto& r : refs) total += ready(r.backend) ? r.weight : 0;
  return total == 0 ? kNoBackend : draw(total, [&](size_t j) { return ready(refs[j].backend); });
}

}  // namespace tulle::proxy
