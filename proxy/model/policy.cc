#include "proxy/model/policy.h"

#include <algorithm>
#include <map>

#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

std::string name_of(const wire::Metadata& m) {
  return cat(m.kind.empty() ? "unnamed" : m.kind, ' ', m.ns, m.ns.empty() ? "" : "/", m.name,
             m.port ? cat(':', m.port) : "");
}

// Builds the table of backends, in which equal ones are one.
class Compiler {
 public:
  explicit Compiler(OutboundPolicy& out) : out_(out) {}

  Rule rule(const wire::Rule& in, const std::optional<wire::FailureAccrual>& accrual) {
    Rule r{in.filters, {}, in.timeouts, in.retry, in.allow_l5d_request_headers};
    bool random = in.backends.kind == wire::Distribution::Kind::kRandomAvailable && in.backends.backends.size() > 1;
    for (const auto& b : in.backends.backends) {
      if (random && b.weight == 0) continue;
      r.choice.refs.push_back({backend(b.backend, accrual), random ? b.weight : 1, b.filters, b.request_timeout});
      r.choice.total_weight += r.choice.refs.back().weight;
    }
    if (!r.choice.refs.empty()) r.choice.kind = random ? Choice::Kind::kRandom : Choice::Kind::kFirst;
    return r;
  }

  Result<HttpRouting> http(const wire::HttpRoutes& in, RouteTable::Kind kind) {
    HttpRouting out;
    TULLE_TRY(out.table, RouteTable::compile(in.routes, kind));
    for (const auto& r : in.routes) {
      Route route{r.metadata, {}};
      for (const auto& x : r.rules) route.rules.push_back(rule(x, in.failure_accrual));
      out.routes.push_back(std::move(route));
    }
    return out;
  }

  Result<StreamRoute> stream(const wire::Route& in) {
    if (in.rules.size() != 1)
      return fail(Code::kInvalid,
                  cat(name_of(in.metadata), " has ", in.rules.size(), " rules; a route for streams has one"),
                  Side::kPeer);
    return StreamRoute{in.metadata, rule(in.rules[0], std::nullopt)};
  }

 private:
  uint32_t backend(const wire::Backend& in, const std::optional<wire::FailureAccrual>& accrual) {
    BackendSpec spec{in.metadata, in.kind, in.queue.value_or(wire::Queue()), accrual};
    auto& same_name = by_name_[spec.describe()];
    for (uint32_t i : same_name)
      if (out_.backends[i] == spec) return i;
    auto i = static_cast<uint32_t>(out_.backends.size());
    out_.backends.push_back(std::move(spec));
    same_name.push_back(i);
    return i;
  }

  OutboundPolicy& out_;
  std::map<std::string, std::vector<uint32_t>> by_name_;
};

Result<> compile_into(const wire::OutboundPolicy& in, OutboundPolicy& out) {
  Compiler compiler(out);
  if (in.opaque.size() > 1)
    return fail(Code::kInvalid, cat(in.opaque.size(), " opaque routes; a target has one at most"), Side::kPeer);
  if (!in.opaque.empty()) {
    TULLE_TRY(out.opaque, compiler.stream(in.opaque[0]));
  }
  TULLE_TRY(out.http1, compiler.http(in.http1, RouteTable::Kind::kHttp));
  bool grpc = in.kind == wire::OutboundPolicy::Kind::kGrpc;
  TULLE_TRY(out.http2,
            compiler.http(grpc ? in.grpc : in.http2, grpc ? RouteTable::Kind::kGrpc : RouteTable::Kind::kHttp));
  for (const auto& r : in.tls) {
    TULLE_TRY(StreamRoute route, compiler.stream(r));
    out.tls.push_back(std::move(route));
    out.tls_names.push_back({r.metadata, r.hosts, {}});
  }
  return {};
}

wire::Route route_to(wire::Backend backend, std::string name) {
  wire::Rule rule;
  wire::RouteBackend b;
  b.backend = std::move(backend);
  rule.backends = {wire::Distribution::Kind::kFirstAvailable, {std::move(b)}};
  return {wire::Metadata::default_named(std::move(name)), {}, {std::move(rule)}};
}

constexpr size_t kMostLines = 20;

class Lines {
 public:
  void add(bool wanted, bool supported, const wire::Metadata& who, std::string_view what) {
    if (!wanted || supported || lines_.size() >= kMostLines) return;
    std::string line = cat(name_of(who), ": ", what);
    if (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) lines_.push_back(std::move(line));
  }
  std::vector<std::string> take() { return std::move(lines_); }

 private:
  std::vector<std::string> lines_;
};

}  // namespace

std::string BackendSpec::describe() const {
  if (auto* e = std::get_if<wire::Endpoint>(&target)) return cat("endpoint ", e->addr.to_string());
  if (auto* b = std::get_if<wire::Balancer>(&target)) return cat("service ", b->path);
  return cat("backend ", name_of(metadata));
}

OutboundPolicyPtr compile_policy(const wire::OutboundPolicy& policy) {
  auto out = std::make_shared<OutboundPolicy>();
  out->kind = policy.kind;
  out->parent = policy.metadata;
  out->detect_timeout = policy.detect_timeout;
  if (auto ok = compile_into(policy, *out); !ok) return invalid_policy(std::move(ok).error().reason);
  return out;
}

OutboundPolicyPtr invalid_policy(std::string why) {
  auto out = std::make_shared<OutboundPolicy>();
  out->parent = wire::Metadata::default_named("invalid");
  out->invalid = why.empty() ? "invalid policy" : std::move(why);
  return out;
}

OutboundPolicyPtr forward_policy(const wire::Endpoint& endpoint, std::string name, bool opaque) {
  wire::OutboundPolicy p;
  p.kind = opaque ? wire::OutboundPolicy::Kind::kOpaque : wire::OutboundPolicy::Kind::kDetect;
  p.metadata = wire::Metadata::default_named(name);
  wire::Backend backend{p.metadata, endpoint, std::nullopt};
  p.opaque = {route_to(backend, name)};
  if (!opaque) {
    p.http1.routes = {route_to(backend, name)};
    p.http2.routes = p.http1.routes;
  }
  return compile_policy(p);
}

OutboundPolicyPtr split_policy(const wire::DestinationProfile& profile, uint16_t port) {
  wire::Distribution split{wire::Distribution::Kind::kRandomAvailable, {}};
  auto add = [&](std::string path, uint32_t weight, const wire::Metadata& metadata) {
    wire::RouteBackend b;
    b.backend = {metadata, wire::Balancer{std::move(path), {}}, std::nullopt};
    b.weight = weight;
    split.backends.push_back(std::move(b));
  };
  for (const auto& d : profile.dst_overrides)
    if (d.weight > 0) add(d.authority, d.weight, d.backend);
  if (split.backends.empty()) add(cat(profile.name, ':', port), 1, profile.parent);

  wire::Rule rule;
  rule.backends = split;
  wire::Route route{
      profile.profile != wire::Metadata() ? profile.profile : wire::Metadata::default_named("profile"), {}, {rule}};
  wire::OutboundPolicy p;
  p.kind = profile.opaque ? wire::OutboundPolicy::Kind::kOpaque : wire::OutboundPolicy::Kind::kDetect;
  p.metadata = profile.parent;
  p.opaque = {route};
  if (!profile.opaque) {
    p.http1.routes = {route};
    p.http2.routes = {route};
  }
  return compile_policy(p);
}

std::vector<std::string> unsupported(const wire::OutboundPolicy& policy, const Supported& supported) {
  Lines lines;
  lines.add(policy.kind == wire::OutboundPolicy::Kind::kTls, supported.tls_routes, policy.metadata,
            "routes by TLS server name");
  for (const wire::HttpRoutes* http : {&policy.http1, &policy.http2, &policy.grpc}) {
    if (http->failure_accrual) {
      const auto& a = *http->failure_accrual;
      bool hint = std::visit([](const auto& kind) { return kind.backoff.respect_retry_after_hint; }, a.kind);
      lines.add(true, supported.failure_accrual, policy.metadata, "failure accrual");
      lines.add(a.min_ready_endpoints.has_value(), supported.min_ready_endpoints, policy.metadata,
                "min_ready_endpoints of failure accrual");
      lines.add(hint, supported.respect_retry_after_hint, policy.metadata,
                "respect_retry_after_hint of failure accrual");
    }
    for (const auto& route : http->routes) {
      for (const auto& rule : route.rules) {
        bool timeouts = rule.timeouts != wire::Timeouts();
        bool retries = rule.retry.has_value();
        bool penalty = false;
        for (const auto& b : rule.backends.backends) {
          timeouts |= b.request_timeout.has_value();
          auto* balancer = std::get_if<wire::Balancer>(&b.backend.kind);
          penalty |= balancer && balancer->load.penalty;
        }
        lines.add(retries, supported.retries, route.metadata, "retries");
        lines.add(timeouts, supported.timeouts, route.metadata, "timeouts");
        bool headers = rule.allow_l5d_request_headers;
        lines.add(headers, supported.retries, route.metadata, "l5d-retry-* request headers");
        lines.add(headers, supported.timeouts, route.metadata, "l5d-*-timeout request headers");
        lines.add(penalty, supported.penalty, route.metadata, "the penalty load estimate");
      }
    }
  }
  return lines.take();
}

std::vector<std::string> unsupported(const wire::DestinationProfile& profile, const Supported& supported) {
  Lines lines;
  lines.add(!profile.routes.empty(), supported.profile_routes, profile.profile, "routes of the ServiceProfile");
  return lines.take();
}

}  // namespace tulle::proxy
