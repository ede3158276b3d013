#include "libs/wire/outbound.h"

#include <cmath>

#include "libs/wire/convert.h"
#include "outbound.pb.h"

// requestTimeout is deprecated on the wire; older peers still need it.
#pragma clang diagnostic ignored "-Wdeprecated-declarations"

namespace tulle::wire {
namespace {

using wire::write;

namespace po = pb::outbound;

Backoff read_backoff(const po::ExponentialBackoff& m, const At& at) {
  Backoff out{read_duration(m.min_backoff(), At(at, "min_backoff")),
              read_duration(m.max_backoff(), At(at, "max_backoff")), m.jitter_ratio(), m.respect_retry_after_hint()};
  if (out.max <= 0s) At(at, "max_backoff").bad("must be greater than 0");
  if (out.min > out.max) At(at, "min_backoff").bad("is greater than max_backoff");
  if (!(out.jitter >= 0 && out.jitter <= 100)) At(at, "jitter_ratio").bad("not a number from 0 to 100");
  return out;
}
void write(const Backoff& v, po::ExponentialBackoff& m) {
  write(v.min, *m.mutable_min_backoff());
  write(v.max, *m.mutable_max_backoff());
  m.set_jitter_ratio(v.jitter);
  m.set_respect_retry_after_hint(v.respect_retry_after_hint);
}

UnifiedAccrual read_unified(const po::FailureAccrual::Unified& m, const At& at) {
  UnifiedAccrual out;
  out.success_rate_threshold = m.success_rate_threshold();
  if (m.has_decay()) out.window = read_duration(m.decay(), At(at, "decay"));
  out.min_requests = m.min_requests();
  out.max_consecutive_failures = m.max_consecutive_failures();
  if (!m.has_backoff()) At(at, "backoff").bad("missing");
  out.backoff = read_backoff(m.backoff(), At(at, "backoff"));
  if (!(out.success_rate_threshold >= 0 && out.success_rate_threshold <= 1))
    At(at, "success_rate_threshold").bad("not a number from 0 to 1");
  if (out.success_rate_threshold > 0 && out.window < 10ms) At(at, "decay").bad("shorter than 10 ms");
  if (out.min_requests > 1'000'000) At(at, "min_requests").bad("more than 1000000");
  return out;
}

FailureAccrual read_accrual(const po::FailureAccrual& m, const At& at) {
  FailureAccrual out;
  if (m.has_consecutive_failures()) {
    At here(at, "consecutive_failures");
    const auto& c = m.consecutive_failures();
    if (!c.has_backoff()) At(here, "backoff").bad("missing");
    out.kind = ConsecutiveFailures{c.max_failures(), read_backoff(c.backoff(), At(here, "backoff"))};
  } else if (m.has_unified()) {
    out.kind = read_unified(m.unified(), At(at, "unified"));
  } else {
    at.bad("no kind that is known");
  }
  if (m.has_ejection()) out.min_ready_endpoints = m.ejection().min_ready_endpoints();
  return out;
}
void write(const FailureAccrual& v, po::FailureAccrual& m) {
  if (auto* c = std::get_if<ConsecutiveFailures>(&v.kind)) {
    m.mutable_consecutive_failures()->set_max_failures(c->max_failures);
    write(c->backoff, *m.mutable_consecutive_failures()->mutable_backoff());
  } else {
    const auto& u = std::get<UnifiedAccrual>(v.kind);
    auto& out = *m.mutable_unified();
    out.set_success_rate_threshold(u.success_rate_threshold);
    write(u.window, *out.mutable_decay());
    out.set_min_requests(u.min_requests);
    out.set_max_consecutive_failures(u.max_consecutive_failures);
    write(u.backoff, *out.mutable_backoff());
  }
  if (v.min_ready_endpoints) m.mutable_ejection()->set_min_ready_endpoints(*v.min_ready_endpoints);
}

// A duration that keeps its default when it is absent.
template <class M>
void read_if(bool has, const M& m, Duration& out, const At& at) {
  if (has) out = read_duration(m, at);
}

LoadEstimate read_load(const po::Backend::BalanceP2c& m, const At& at) {
  LoadEstimate out;
  if (m.has_penalty_peak_ewma()) {
    const auto& p = m.penalty_peak_ewma();
    At here(at, "penalty_peak_ewma");
    auto& penalty = out.penalty.emplace();
    read_if(p.has_default_rtt(), p.default_rtt(), out.default_rtt, At(here, "default_rtt"));
    read_if(p.has_decay(), p.decay(), out.decay, At(here, "decay"));
    read_if(p.has_penalty(), p.penalty(), penalty.penalty, At(here, "penalty"));
    read_if(p.has_max_retry_after(), p.max_retry_after(), penalty.max_retry_after, At(here, "max_retry_after"));
    read_if(p.has_penalty_decay(), p.penalty_decay(), penalty.decay, At(here, "penalty_decay"));
  } else if (m.has_peak_ewma()) {
    At here(at, "peak_ewma");
    read_if(m.peak_ewma().has_default_rtt(), m.peak_ewma().default_rtt(), out.default_rtt, At(here, "default_rtt"));
    read_if(m.peak_ewma().has_decay(), m.peak_ewma().decay(), out.decay, At(here, "decay"));
  }
  return out;
}
void write(const LoadEstimate& v, po::Backend::BalanceP2c& m) {
  if (v.penalty) {
    auto& p = *m.mutable_penalty_peak_ewma();
    write(v.default_rtt, *p.mutable_default_rtt());
    write(v.decay, *p.mutable_decay());
    write(v.penalty->penalty, *p.mutable_penalty());
    write(v.penalty->max_retry_after, *p.mutable_max_retry_after());
    write(v.penalty->decay, *p.mutable_penalty_decay());
  } else {
    write(v.default_rtt, *m.mutable_peak_ewma()->mutable_default_rtt());
    write(v.decay, *m.mutable_peak_ewma()->mutable_decay());
  }
}

Backend read_backend(const po::Backend& m, const At& at) {
  Backend out;
  out.metadata = read_metadata(m.metadata(), At(at, "metadata"));
  if (m.has_forward()) {
    out.kind = read_endpoint(m.forward(), At(at, "forward"));
  } else if (m.has_balancer()) {
    At here(at, "balancer");
    std::string path = m.balancer().discovery().dst().path();
    auto target = split_host_port(path);
    if (!target || target->port == 0 || path.size() > 512)
      At(here, "discovery.dst.path").bad(cat(quoted(path), " is not name:port"));
    out.kind = Balancer{std::move(path), read_load(m.balancer(), here)};
  }
  if (m.has_queue()) {
    auto& q = out.queue.emplace();
    q.capacity = m.queue().capacity();
    q.failfast_timeout = read_duration(m.queue().failfast_timeout(), At(at, "queue.failfast_timeout"));
  }
  return out;
}
void write(const Backend& v, po::Backend& m) {
  if (v.metadata != Metadata()) write(v.metadata, *m.mutable_metadata());
  if (auto* e = std::get_if<Endpoint>(&v.kind)) write(*e, *m.mutable_forward());
  if (auto* b = std::get_if<Balancer>(&v.kind)) {
    m.mutable_balancer()->mutable_discovery()->mutable_dst()->set_path(b->path);
    write(b->load, *m.mutable_balancer());
  }
  if (v.queue) {
    m.mutable_queue()->set_capacity(v.queue->capacity);
    write(v.queue->failfast_timeout, *m.mutable_queue()->mutable_failfast_timeout());
  }
}

// RouteBackend, Distribution, Rule and Route exist once for each of HTTP, gRPC, TLS and opaque on the wire, with the
// same numbers; what only some have is read where it exists.
template <class M>
RouteBackend read_route_backend(const M& m, const At& at) {
  RouteBackend out;
  if (!m.has_backend()) At(at, "backend").bad("missing");
  out.backend = read_backend(m.backend(), At(at, "backend"));
  out.filters = read_filters(m.filters(), at);
  if constexpr (requires { m.requesttimeout(); })
    if (m.has_requesttimeout()) out.request_timeout = read_duration(m.requesttimeout(), At(at, "requestTimeout"));
  return out;
}
template <class M>
void write_route_backend(const RouteBackend& v, M& m) {
  write(v.backend, *m.mutable_backend());
  for (const auto& f : v.filters) write_any_filter(f, *m.add_filters());
  if constexpr (requires { m.requesttimeout(); })
    if (v.request_timeout) write(*v.request_timeout, *m.mutable_requesttimeout());
}

template <class M>
Distribution read_distribution(const M& m, const At& at) {
  Distribution out;
  if (m.has_empty()) return out;
  if (m.has_first_available()) {
    out.kind = Distribution::Kind::kFirstAvailable;
    out.backends = read_list(m.first_available().backends(), At(at, "first_available"), "backends",
                             [](const auto& b, const At& a) { return read_route_backend(b, a); });
  } else if (m.has_random_available()) {
    out.kind = Distribution::Kind::kRandomAvailable;
    out.backends = read_list(m.random_available().backends(), At(at, "random_available"), "backends",
                             [](const auto& b, const At& a) {
                               RouteBackend r = read_route_backend(b.backend(), At(a, "backend"));
                               r.weight = b.weight();
                               return r;
                             });
  } else {
    at.bad("no distribution that is known");
  }
  if (out.backends.empty()) at.bad("no backend");
  return out;
}
template <class M>
void write_distribution(const Distribution& v, M& m) {
  switch (v.kind) {
    case Distribution::Kind::kEmpty: m.mutable_empty(); break;
    case Distribution::Kind::kFirstAvailable:
      m.mutable_first_available();
      for (const auto& b : v.backends) write_route_backend(b, *m.mutable_first_available()->add_backends());
      break;
    case Distribution::Kind::kRandomAvailable:
      m.mutable_random_available();
      for (const auto& b : v.backends) {
        auto& w = *m.mutable_random_available()->add_backends();
        write_route_backend(b, *w.mutable_backend());
        w.set_weight(b.weight);
      }
      break;
  }
}

void read_conditions(const po::HttpRoute::Retry::Conditions& m, const At& up, Retry& out) {
  out.statuses = read_list(m.status_ranges(), up, "status_ranges", [](const auto& r, const At& at) {
    StatusRange range{read_status(r.start(), At(at, "start")), read_status(r.end(), At(at, "end"))};
    if (range.start > range.end) at.bad(cat("from ", range.start, " to ", range.end, " is no status"));
    return range;
  });
}
void read_conditions(const po::GrpcRoute::Retry::Conditions& m, const At&, Retry& out) {
  auto bit = [&](bool on, int code) { out.grpc_codes |= on ? 1u << code : 0u; };
  bit(m.cancelled(), 1);
  bit(m.deadine_exceeded(), 4);
  bit(m.resource_exhausted(), 8);
  bit(m.internal(), 13);
  bit(m.unavailable(), 14);
}
void write_conditions(const Retry& v, po::HttpRoute::Retry::Conditions& m) {
  for (const auto& s : v.statuses) {
    auto& r = *m.add_status_ranges();
    r.set_start(s.start);
    r.set_end(s.end);
  }
}
void write_conditions(const Retry& v, po::GrpcRoute::Retry::Conditions& m) {
  auto bit = [&](int code) { return (v.grpc_codes >> code & 1) != 0; };
  m.set_cancelled(bit(1));
  m.set_deadine_exceeded(bit(4));
  m.set_resource_exhausted(bit(8));
  m.set_internal(bit(13));
  m.set_unavailable(bit(14));
}

template <class M>
Retry read_retry(const M& m, const At& at) {
  Retry out;
  out.max_retries = m.max_retries();
  if (out.max_retries > 65535) At(at, "max_retries").bad("more than 65535");
  out.max_request_bytes = m.max_request_bytes();
  read_conditions(m.conditions(), At(at, "conditions"), out);
  if (m.has_timeout()) out.timeout = read_duration(m.timeout(), At(at, "timeout"));
  if (m.has_backoff()) out.backoff = read_backoff(m.backoff(), At(at, "backoff"));
  return out;
}
template <class M>
void write_retry(const Retry& v, M& m) {
  m.set_max_retries(v.max_retries);
  m.set_max_request_bytes(v.max_request_bytes);
  write_conditions(v, *m.mutable_conditions());
  if (v.timeout) write(*v.timeout, *m.mutable_timeout());
  if (v.backoff) write(*v.backoff, *m.mutable_backoff());
}

template <class M>
Rule read_rule(const M& m, const At& at) {
  Rule out;
  out.filters = read_filters(m.filters(), at);
  if (!m.has_backends()) At(at, "backends").bad("missing");
  else out.backends = read_distribution(m.backends(), At(at, "backends"));
  if constexpr (requires { m.matches(); }) {
    out.matches = read_list(m.matches(), at, "matches", [](const auto& r, const At& a) { return read_match(r, a); });
    out.timeouts = read_timeouts(m.timeouts(), At(at, "timeouts"));
    if (m.has_requesttimeout() && !out.timeouts.request)
      out.timeouts.request = read_duration(m.requesttimeout(), At(at, "requestTimeout"));
    if (m.has_retry()) out.retry = read_retry(m.retry(), At(at, "retry"));
    out.allow_l5d_request_headers = m.allow_l5d_request_headers();
  }
  return out;
}
template <class M>
void write_rule(const Rule& v, M& m) {
  for (const auto& f : v.filters) write_any_filter(f, *m.add_filters());
  write_distribution(v.backends, *m.mutable_backends());
  if constexpr (requires { m.matches(); }) {
    for (const auto& r : v.matches) write(r, *m.add_matches());
    if (v.timeouts != Timeouts()) write(v.timeouts, *m.mutable_timeouts());
    if (v.timeouts.request) write(*v.timeouts.request, *m.mutable_requesttimeout());  // for older proxies
    if (v.retry) write_retry(*v.retry, *m.mutable_retry());
    m.set_allow_l5d_request_headers(v.allow_l5d_request_headers);
  }
}

template <class P>
std::vector<Route> read_routes(const P& in, const At& up) {
  return read_list(in, up, "routes", [](const auto& m, const At& at) {
    Route out;
    out.metadata = read_metadata(m.metadata(), At(at, "metadata"));
    auto host = [](const auto& h, const At& a) { return read_host(h, a); };
    if constexpr (requires { m.hosts(); }) out.hosts = read_list(m.hosts(), at, "hosts", host);
    if constexpr (requires { m.snis(); }) out.hosts = read_list(m.snis(), at, "snis", host);
    out.rules = read_list(m.rules(), at, "rules", [](const auto& r, const At& a) { return read_rule(r, a); });
    return out;
  });
}
template <class P>
void write_routes(const std::vector<Route>& in, P* out) {
  for (const auto& v : in) {
    auto& m = *out->Add();
    if (v.metadata != Metadata()) write(v.metadata, *m.mutable_metadata());
    if constexpr (requires { m.hosts(); })
      for (const auto& h : v.hosts) write(h, *m.add_hosts());
    if constexpr (requires { m.snis(); })
      for (const auto& h : v.hosts) write(h, *m.add_snis());
    for (const auto& r : v.rules) write_rule(r, *m.add_rules());
  }
}

template <class M>
HttpRoutes read_http(const M& m, const At& at) {
  HttpRoutes out;
  out.routes = read_routes(m.routes(), at);
  if (m.has_failure_accrual()) out.failure_accrual = read_accrual(m.failure_accrual(), At(at, "failure_accrual"));
  return out;
}
template <class M>
void write_http(const HttpRoutes& v, M& m) {
  write_routes(v.routes, m.mutable_routes());
  if (v.failure_accrual) write(*v.failure_accrual, *m.mutable_failure_accrual());
}

OutboundPolicy read_policy(const po::OutboundPolicy& policy, const At& up) {
  OutboundPolicy out;
  using Kind = OutboundPolicy::Kind;
  out.metadata = read_metadata(policy.metadata(), At(up, "metadata"));
  const auto& m = policy.protocol();
  At at(up, "protocol");
  if (m.has_detect()) {
    const auto& d = m.detect();
    At here(at, "detect");
    if (d.has_timeout()) out.detect_timeout = read_duration(d.timeout(), At(here, "timeout"));
    if (!d.has_opaque() || !d.has_http1() || !d.has_http2()) here.bad("one of opaque, http1 and http2 is missing");
    out.opaque = read_routes(d.opaque().routes(), At(here, "opaque"));
    out.http1 = read_http(d.http1(), At(here, "http1"));
    out.http2 = read_http(d.http2(), At(here, "http2"));
  } else if (m.has_opaque()) {
    out.kind = Kind::kOpaque;
    out.opaque = read_routes(m.opaque().routes(), At(at, "opaque"));
  } else if (m.has_http1()) {
    out.kind = Kind::kHttp1;
    out.http1 = read_http(m.http1(), At(at, "http1"));
  } else if (m.has_http2()) {
    out.kind = Kind::kHttp2;
    out.http2 = read_http(m.http2(), At(at, "http2"));
  } else if (m.has_grpc()) {
    out.kind = Kind::kGrpc;
    out.grpc = read_http(m.grpc(), At(at, "grpc"));
  } else if (m.has_tls()) {
    out.kind = Kind::kTls;
    out.tls = read_routes(m.tls().routes(), At(at, "tls"));
  } else {
    at.bad("no protocol that is known");
  }
  return out;
}

}  // namespace

std::string encode(const TrafficSpec& v) {
  po::TrafficSpec m;
  m.set_source_workload(v.source_workload);
  if (auto* a = std::get_if<SocketAddr>(&v.target)) write(*a, *m.mutable_addr());
  else m.set_authority(std::get<std::string>(v.target));
  return serialize(m);
}

std::string encode(const OutboundPolicy& v) {
  po::OutboundPolicy policy;
  if (v.metadata != Metadata()) write(v.metadata, *policy.mutable_metadata());
  auto& m = *policy.mutable_protocol();
  switch (v.kind) {
    case OutboundPolicy::Kind::kDetect:
      write(v.detect_timeout, *m.mutable_detect()->mutable_timeout());
      write_routes(v.opaque, m.mutable_detect()->mutable_opaque()->mutable_routes());
      write_http(v.http1, *m.mutable_detect()->mutable_http1());
      write_http(v.http2, *m.mutable_detect()->mutable_http2());
      break;
    case OutboundPolicy::Kind::kOpaque: write_routes(v.opaque, m.mutable_opaque()->mutable_routes()); break;
    case OutboundPolicy::Kind::kHttp1: write_http(v.http1, *m.mutable_http1()); break;
    case OutboundPolicy::Kind::kHttp2: write_http(v.http2, *m.mutable_http2()); break;
    case OutboundPolicy::Kind::kGrpc: write_http(v.grpc, *m.mutable_grpc()); break;
    case OutboundPolicy::Kind::kTls: write_routes(v.tls, m.mutable_tls()->mutable_routes()); break;
  }
  return serialize(policy);
}

Result<TrafficSpec> decode_traffic_spec(Bytes bytes) {
  return decode_message<po::TrafficSpec>(bytes, "TrafficSpec", [](const auto& m, const At& at) {
    TrafficSpec out;
    out.source_workload = m.source_workload();
    if (out.source_workload.size() > 64 * 1024) At(at, "source_workload").bad("longer than 64 kB");
    if (m.has_addr()) out.target = read_addr(m.addr(), At(at, "addr"));
    else if (m.has_authority() && !m.authority().empty() && m.authority().size() <= 512) out.target = m.authority();
    else at.bad("neither addr nor an authority of at most 512 bytes");
    return out;
  });
}
Result<OutboundPolicy> decode_outbound_policy(Bytes bytes) {
  return decode_message<po::OutboundPolicy>(bytes, "OutboundPolicy", read_policy);
}

}  // namespace tulle::wire
