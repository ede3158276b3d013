// One outbound HTTP request, from top to bottom: route → filters → attempt loop { backend → endpoint → send } →
// response; and beside it the clock, when the route limits its time.
#include "libs/base/log.h"
#include "libs/http/hop_by_hop.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"
#include "proxy/model/filter.h"
#include "proxy/model/retry.h"
#include "proxy/outbound/outbound.h"
#include "proxy/outbound/time_limits.h"
#include "proxy/worker/exchange.h"

namespace tulle::proxy::outbound {
namespace {

using http::HeaderId;

// One client connection.
struct Session {
  Outbound& outbound;
  std::shared_ptr<Target> target;
  Session(Outbound& o, std::shared_ptr<Target> t) : outbound(o), target(std::move(t)) {}
};

// An answer of our own.
void answer_error(Session& s, httpio::ServerExchange& client, const ProxyError& e) {
  if (client.error()) return;  // nobody is there
  s.outbound.http_error(e.reason)->add();
  bool http2 = client.request.version == http::Version::kHttp2;
  auto head = error_head(e, http2 && http::is_grpc(client.request.headers),
                         !s.outbound.worker.config.hide_informational_headers, e.fatal && !http2);
  if (client.responded()) return client.reset(http::H2Code::kInternalError);
  if (e.fatal) client.close_connection();
  (void)client.respond(head, true);
}

// What the application may not say for itself, and what does not travel.
void prepare_request(http::RequestHead& head, bool is_upgrade) {
  http::strip_hop_by_hop(head.headers, is_upgrade);
  head.headers.remove(HeaderId::kL5dOrigProto);
  head.headers.remove(HeaderId::kL5dRequireId);
}

// `meshed`: it comes from a proxy of the mesh, whose identity the handshake has verified. `cause`: the application is
// told why.
void prepare_response(http::ResponseHead& head, bool upgraded, http::Version client_version, bool meshed, bool cause) {
  http::strip_hop_by_hop(head.headers, head.status == 101);
  if (upgraded) head.version = client_version;
  if (!meshed) return strip_l5d_of_response(head.headers);
  head.headers.remove(HeaderId::kL5dOrigProto);
  if (!cause) head.headers.remove(HeaderId::kL5dProxyError);
  head.headers.remove(HeaderId::kL5dProxyConnection);
}

struct Sent {
  std::unique_ptr<httpio::ClientExchange> upstream;
  std::shared_ptr<Endpoint> endpoint;
  Endpoint::InFlight in_flight;
  const BackendRef& ref;
  Sent(std::unique_ptr<httpio::ClientExchange> u, std::shared_ptr<Endpoint> e, Endpoint::InFlight f,
       const BackendRef& r)
      : upstream(std::move(u)), endpoint(std::move(e)), in_flight(std::move(f)), ref(r) {}
};

// One exchange under way. What outlives the script that carries it out, for the clock to end, is here.
struct Exchange {
  Session& session;
  httpio::ServerExchange& client;
  const Resolved& resolved;
  const Rule& rule;
  std::optional<std::string> require_id;
  bool is_connect = false, is_upgrade = false, no_body = false;
  bool fresh = false;  // the next attempt takes no connection that was used before
  TimePoint start;
  std::optional<Sent> sent;      // the current attempt
  std::optional<Record> record;  // of it
  TimeLimits limits;

  Exchange(Session& s, httpio::ServerExchange& c, const Resolved& policy, const Rule& r, TimePoint now)
      : session(s), client(c), resolved(policy), rule(r), start(now), limits(s.outbound.worker.reactor, now) {}
};

// Finds an endpoint that takes the request's head. An endpoint that cannot be reached has not seen it, so that the next
// one is asked whatever the method; each attempt begins with the head as the route's filters left it.
rt::Task<std::expected<Sent, ProxyError>> send(Exchange& x) {
  constexpr int kAttempts = 5;
  rt::Reactor& reactor = x.session.outbound.worker.reactor;
  const Choice& choice = x.rule.choice;
  std::shared_ptr<Endpoint> failed;
  for (int attempt = 1;; ++attempt) {
    size_t i = choose_backend(choice, reactor.rng(), [&](uint32_t b) { return x.resolved.backends[b]->ready(); });
    if (i == kNoBackend && choice.refs.empty())
      co_return std::unexpected(ProxyError(Reason::kNoDispatcher, "the route has no backend"));
    const BackendRef& ref = choice.refs[i == kNoBackend ? 0 : i];
    const BackendSpec& backend = x.resolved.policy().backends[ref.backend];
    if (std::holds_alternative<std::monostate>(backend.target))
      co_return std::unexpected(
          ProxyError(Reason::kNoDispatcher, cat("backend for ", backend.describe(), " has no dispatcher")));
    std::optional<http::RequestHead> changed;
    if (!ref.filters.empty()) {
      changed.emplace(x.client.request);
      if (auto answer = filter_request(ref.filters, RuleMatch(), *changed, "http", reactor.rng()))
        co_return std::unexpected(std::move(*answer));
    }
    x.limits.attempt(reactor.now(), ref.request_timeout);
    Balancer& balancer = *x.resolved.backends[ref.backend];
    auto endpoint = co_await balancer.pick(failed.get());
    if (!endpoint) co_return std::unexpected(std::move(endpoint).error());
    if (x.require_id && (*endpoint)->identity() != *x.require_id)
      co_return std::unexpected(ProxyError(
          Reason::kIdentityMismatch,
          cat("required identity ", quoted(*x.require_id), ", but ", (*endpoint)->addr().to_string(),
              (*endpoint)->meshed() ? cat(" is ", (*endpoint)->identity()) : std::string(" is not in the mesh"))));
    Endpoint::InFlight in_flight(*endpoint, reactor.now());
    auto exchange = co_await (*endpoint)->send(changed ? *changed : x.client.request, x.no_body, x.fresh);
    if (exchange) co_return Sent(std::move(*exchange), std::move(*endpoint), std::move(in_flight), ref);
    const Error& e = exchange.error();
    // A request that cannot be sent, or whose turn would not come, says nothing about the endpoint.
    if (e.code != Code::kInvalid && e.code != Code::kExhausted) balancer.connect_failed(*endpoint, e);
    if (e.retry != Retry::kSafe || attempt == kAttempts) co_return std::unexpected(proxy_error(e));
    failed = *endpoint;
  }
}

// A proxy of the mesh asks that the application's connection ends with this answer: something is wrong that a fresh one
// may escape, where it leads to one endpoint. A service has others.
bool is_to_close(const Exchange& x, const http::ResponseHead& head) {
  auto value = head.headers.get(HeaderId::kL5dProxyConnection);
  return value && iequals(*value, "close") && x.sent->endpoint->meshed() &&
         std::holds_alternative<wire::Endpoint>(x.resolved.policy().backends[x.sent->ref.backend].target);
}

// The response's body, and the other direction of a tunnel until its own end.
rt::Task<void> relay_response(Exchange& x, httpio::ClientExchange& upstream, http::ResponseHead& head,
                              std::optional<rt::Running>& uploading) {
  httpio::ServerExchange& client = x.client;
  bool tunnel = head.status == 101 || (x.is_connect && head.status / 100 == 2);
  bool done = upstream.ended() && !tunnel && !upstream.trailers();
  if (auto r = client.respond(head, done); !r) {
    if (client.error()) co_return;
    x.record->broke(r.error());
    co_return answer_error(x.session, client, ProxyError(Reason::kConnectionLost, r.error().reason));
  }
  if (tunnel) x.limits.tunnel();
  if (tunnel && !uploading) uploading.emplace(x.session.outbound.worker.reactor, upload(client, upstream));
  if (!done) {
    auto r = co_await httpio::relay(upstream, client);
    if (!r) {
      if (client.error()) co_return;
      x.record->broke(r.error());
      ProxyError e = proxy_error(r.error());
      if (!upstream.reset_code() && end_with_status(client, e, true))
        co_return x.session.outbound.http_error(e.reason)->add();
      co_return co_await break_off(client, upstream.reset_code().value_or(http::H2Code::kInternalError));
    }
  }
  x.record->end(upstream.trailers());
  while (tunnel && uploading && !uploading->done() && !client.error()) co_await client.changed().wait();
}

// To an endpoint that takes it, and back.
rt::Task<void> exchange(Exchange& x) {
  rt::Reactor& reactor = x.session.outbound.worker.reactor;
  httpio::ServerExchange& client = x.client;
  std::optional<Sent>& sent = x.sent;
  std::optional<rt::Running> uploading;
  Result<http::ResponseHead> head;
  for (int tries = 1;; ++tries) {
    auto next = co_await send(x);
    if (!next) co_return answer_error(x.session, client, next.error());
    sent.emplace(std::move(*next));
    auto& endpoint = sent->endpoint;
    x.record.emplace(std::shared_ptr<observe::HttpSeries>(endpoint, &endpoint->series()), reactor, x.start);
    x.limits.sent_to(*sent->upstream);
    if (!x.no_body && !x.is_connect && !x.is_upgrade) uploading.emplace(reactor, upload(client, *sent->upstream));
    head = co_await response_head(client, *sent->upstream);
    // An endpoint that was going away has not seen the request: another one can have it.
    constexpr int kTries = 3;
    if (head || !x.no_body || tries == kTries) break;
    bool stale = !x.fresh && try_fresh(*sent->upstream, client.request, x.no_body);
    if (head.error().retry != Retry::kSafe && !stale) break;
    x.fresh |= stale;
    x.record->broke(head.error());
    x.record.reset();
    x.limits.sent_to_nobody();
    sent.reset();
  }
  httpio::ClientExchange& upstream = *sent->upstream;
  if (!head) {
    if (client.error()) co_return;  // the client has broken its request off
    x.record->broke(head.error());
    uploading.reset();
    // A plain HTTP/2 reset passes with its code; of a request that we upgraded the client has never heard of HTTP/2.
    auto code = upstream.reset_code();
    if (code && client.request.version == http::Version::kHttp2) co_return client.reset(*code);
    co_return answer_error(x.session, client, proxy_error(head.error()));
  }
  sent->in_flight.measured(reactor.now());
  x.record->head(*head);
  if (is_to_close(x, *head)) client.close_connection();
  prepare_response(*head, sent->endpoint->upgrades(client.request), client.request.version, sent->endpoint->meshed(),
                   !x.session.outbound.worker.config.hide_informational_headers);
  filter_response(sent->ref.filters, *head);
  filter_response(x.rule.filters, *head);
  co_await relay_response(x, upstream, *head, uploading);
}

// A timeout of the route has passed. Before the response has begun there is an answer to give; after it, the response
// is broken off behind what was forwarded already, which a gRPC client is told in trailers.
rt::Task<void> out_of_time(Exchange& x, const TimeLimits::Passed& passed) {
  if (x.record) x.record->broke(passed.name);
  // It had the whole request and gave no sign in all that time: the endpoint is at least so slow.
  if (x.sent && !x.client.responded() && x.limits.request_sent())
    x.sent->in_flight.measured(x.session.outbound.worker.reactor.now());
  x.sent.reset();
  ProxyError e(Reason::kTimeout, cat(passed.what, " of ", format_duration(passed.limit), " passed"));
  if (!x.client.responded() || x.client.error()) co_return answer_error(x.session, x.client, e);
  x.session.outbound.http_error(e.reason)->add();
  if (!end_with_status(x.client, e, true)) co_await break_off(x.client, http::H2Code::kInternalError);
}

// Carries the exchange out, for as long as it may take.
rt::Task<void> exchange_in_time(Exchange& x) {
  std::optional<TimeLimits::Passed> passed;
  {
    rt::Running running(x.session.outbound.worker.reactor, exchange(x), &x.limits);
    passed = co_await x.limits.passed(x.client, running);
  }
  if (passed) co_await out_of_time(x, *passed);
}

rt::Task<void> handle(Session& s, std::unique_ptr<httpio::ServerExchange> client) {
  Worker& w = s.outbound.worker;
  TimePoint start = w.reactor.now();
  http::RequestHead& request = client->request;
  s.target->last_used = start;
  auto place = w.outbound_requests.take();
  if (!place) co_return answer_error(s, *client, ProxyError(Reason::kLoadShed, "too many requests in flight"));

  // 1. Which rule? The request keeps the policy it began with.
  std::shared_ptr<const Resolved> resolved = s.outbound.resolve(*s.target);
  if (!resolved) resolved = s.target->resolved;
  const OutboundPolicy& policy = resolved->policy();
  if (!policy.invalid.empty()) co_return answer_error(s, *client, ProxyError(Reason::kInvalidPolicy, policy.invalid));
  const HttpRouting& routing = request.version == http::Version::kHttp2 ? policy.http2 : policy.http1;
  auto routed = route_request(routing.table, request, w.config.ambiguous_path_ports.contains(s.target->addr.port));
  if (!routed) co_return answer_error(s, *client, routed.error());
  const std::optional<RuleMatch>& match = *routed;
  if (!match) co_return answer_error(s, *client, ProxyError(Reason::kNoRoute, "no route for this request"));
  const Rule& rule = routing.rule(*match);

  // 2. What does the route do to it?
  Exchange x(s, *client, *resolved, rule, start);
  if (auto id = request.headers.get(HeaderId::kL5dRequireId)) x.require_id.emplace(*id);
  x.is_connect = request.method_kind == http::Method::kConnect;
  // With a body the upgrade is declined, as a server may: what follows the head could be either.
  x.is_upgrade = http::is_upgrade(request) && client->ended();
  x.no_body = client->head_only() && !x.is_connect && !x.is_upgrade;
  x.limits.set(request_timeouts(rule.timeouts, rule.allow_l5d_request_headers, request.headers));
  if (rule.allow_l5d_request_headers) strip_l5d_request_headers(request.headers);
  prepare_request(request, x.is_upgrade);
  if (auto answer = filter_request(rule.filters, *match, request, "http", w.reactor.rng()))
    co_return answer_error(s, *client, *answer);

  // 3. To an endpoint that takes it: body up, response down.
  for (const BackendRef& ref : rule.choice.refs) x.limits.set_attempt(ref.request_timeout);
  if (x.limits.none()) co_await exchange(x);
  else co_await exchange_in_time(x);
}

}  // namespace

rt::Task<void> serve_http(Outbound& o, std::shared_ptr<Target> target, httpio::Protocol protocol,
                          std::unique_ptr<net::Stream> client, Buffer initial) {
  using Client = Serving::Client;
  const auto& options = o.serving.options(
      target->addr.port, o.worker.config.hide_informational_headers ? Client::kStranger : Client::kOwn);
  Session session(o, std::move(target));
  httpio::Handler handler = [&session](std::unique_ptr<httpio::ServerExchange> x) {
    return handle(session, std::move(x));
  };
  co_await httpio::serve(std::move(client), protocol, std::move(initial), options, handler);
}

}  // namespace tulle::proxy::outbound
