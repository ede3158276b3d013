// An outbound connection of raw bytes: one endpoint for as long as it lasts.
#include "proxy/model/filter.h"
#include "proxy/outbound/outbound.h"

namespace tulle::proxy::outbound {
namespace {

Result<size_t> choose(Outbound& o, const Resolved& policy) {
  const StreamRoute& route = policy.policy().opaque;
  if (!policy.policy().invalid.empty()) return fail(Code::kInvalid, policy.policy().invalid);
  if (!route.rule) return fail(Code::kNotFound, "no route for raw bytes");
  if (auto refused = filter_stream(route.rule->filters)) return fail(Code::kDenied, refused->text);
  size_t i = choose_backend(route.rule->choice, o.worker.reactor.rng(),
                            [&](uint32_t b) { return policy.backends[b]->ready(); });
  // None is ready: wait for the first, which fails fast by itself.
  if (i == kNoBackend && route.rule->choice.refs.empty()) return fail(Code::kNotFound, "the route has no backend");
  return route.rule->choice.refs[i == kNoBackend ? 0 : i].backend;
}

}  // namespace

rt::Task<Result<OpaqueUpstream>> dial_opaque(Outbound& o, std::shared_ptr<const Resolved> policy, bool speculative) {
  constexpr int kAttempts = 3;
  auto backend = choose(o, *policy);
  if (!backend) {
    o.tcp_error(code_name(backend.error().code))->add();
    o.worker.log.warn(o.worker.reactor.now(), "outbound connection refused", policy->info->addr.port,
                      {{"target", policy->info->addr.to_string()}, {"why", backend.error().reason}});
    co_return fail(std::move(backend).error());
  }
  Balancer& balancer = *policy->backends[*backend];
  std::shared_ptr<Endpoint> failed;
  for (int attempt = 1;; ++attempt) {
    auto endpoint = co_await balancer.pick(failed.get(), Balancer::For::kRawBytes);
    if (!endpoint) {
      o.tcp_error(reason_name(endpoint.error().reason))->add();
      co_return fail(Code::kUnavailable, endpoint.error().text);
    }
    TimePoint start = o.worker.reactor.now();
    std::optional<Endpoint::InFlight> in_flight;
    if (!speculative) in_flight.emplace(*endpoint, start);
    auto stream = co_await (*endpoint)->open_stream();
    if (stream) co_return OpaqueUpstream(std::move(*endpoint), std::move(*stream), o.worker.reactor.now() - start);
    balancer.connect_failed(*endpoint, stream.error());
    // Nothing has been sent: another endpoint can do it.
    if (attempt == kAttempts || stream.error().retry != Retry::kSafe) {
      o.tcp_error(code_name(stream.error().code))->add();
      co_return fail(std::move(stream).error());
    }
    failed = *endpoint;
  }
}

rt::Task<void> copy_opaque(Outbound& o, std::unique_ptr<net::Stream> client, Buffer initial, OpaqueUpstream upstream) {
  auto& series = upstream.endpoint->tcp_series();
  TimePoint now = o.worker.reactor.now();
  Endpoint::InFlight in_flight(upstream.endpoint, now - upstream.took);
  in_flight.measured(now);
  series.opened();
  upstream.stream->set_meters(series.read_meter(), series.write_meter());
  upstream.stream->write(initial.view());
  initial.clear();
  struct Closed {
    observe::TcpSeries& series;
    std::string_view error = "ECANCELED";
    ~Closed() { series.closed(error); }
  } closed{series};
  auto copied = co_await net::copy_both(*client, *upstream.stream, net::kCopyMark, &o.worker.outbound_holders);
  closed.error = copied.error ? code_name(copied.error->code) : std::string_view();
}

rt::Task<void> serve_opaque(Outbound& o, std::shared_ptr<Target> target, std::unique_ptr<net::Stream> client,
                            Buffer initial) {
  auto upstream = co_await dial_opaque(o, target->resolved, false);
  if (!upstream) {
    client->abort();
    co_return;
  }
  co_await copy_opaque(o, std::move(client), std::move(initial), std::move(*upstream));
}

}  // namespace tulle::proxy::outbound
