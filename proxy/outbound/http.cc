// One outbound HTTP request, from top to bottom: route → filters → attempt loop { backend → endpoint → send } →
// response.
#include "libs/base/log.h"
#include "libs/http/hop_by_hop.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"
#include "proxy/model/classify.h"
#include "proxy/model/filter.h"
#include "proxy/outbound/outbound.h"

namespace tulle::proxy::outbound {
namespace {

using http::HeaderId;

// One client connection.
struct Session {
  Outbound& outbound;
  std::shared_ptr<Target> target;
  Session(Outbound& o, std::shared_ptr<Target> t) : outbound(o), target(std::move(t)) {}
};

// What happened to one request at one endpoint, counted when it is over, however it ends.
class Record {
 public:
  Record(std::shared_ptr<Endpoint> endpoint, rt::Reactor& reactor, TimePoint start)
      : endpoint_(std::move(endpoint)), reactor_(reactor), start_(start) {
    endpoint_->series().request();
  }
  Record(const Record&) = delete;
  ~Record() {
    if (outcome_.error.empty() && !ended_) outcome_.error = "CANCEL";
    outcome_.success = outcome_.success && ended_;
    endpoint_->series().response(outcome_, reactor_.now() - start_);
  }
  void head(const http::ResponseHead& h) {
    classifier_.emplace(h);
    outcome_.status = static_cast<uint16_t>(h.status);
    take(classifier_->result());
  }
  void end(const http::Headers* trailers) {
    ended_ = true;
    if (!classifier_) return;
    if (!classifier_->settled()) classifier_->end(trailers ? *trailers : http::Headers());
    take(classifier_->result());
  }
  void broke(const Error& e) {
    outcome_.success = false;
    outcome_.error = e.code == Code::kTimeout ? "REQUEST_TIMEOUT" : e.code == Code::kReset ? "RESET" : "IO";
  }

 private:
  void take(const ResponseClass& c) {
    outcome_.success = !c.failure;
    outcome_.grpc_status = c.grpc_status.value_or(-1);
  }
  std::shared_ptr<Endpoint> endpoint_;
  rt::Reactor& reactor_;
  TimePoint start_;
  observe::Outcome outcome_{.success = false};
  std::optional<Classifier> classifier_;
  bool ended_ = false;
};

// An answer of our own.
void answer_error(Session& s, httpio::ServerExchange& client, const ProxyError& e) {
  s.outbound.http_error(reason_name(e.reason))->add();
  bool http2 = client.request.version == http::Version::kHttp2;
  auto head = error_head(e, http2 && http::is_grpc(client.request.headers),
                         !s.outbound.worker.config.hide_informational_headers, !http2);
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

void prepare_response(http::ResponseHead& head, bool upgraded, http::Version client_version) {
  http::strip_hop_by_hop(head.headers, head.status == 101);
  if (upgraded) {
    head.headers.remove(HeaderId::kL5dOrigProto);
    head.version = client_version;
  }
  head.headers.remove(HeaderId::kL5dProxyError);
  head.headers.remove(HeaderId::kL5dProxyConnection);
}

struct Sent {
  std::unique_ptr<httpio::ClientExchange> upstream;
  std::shared_ptr<Endpoint> endpoint;
  Endpoint::InFlight in_flight;
  Sent(std::unique_ptr<httpio::ClientExchange> u, std::shared_ptr<Endpoint> e, Endpoint::InFlight f)
      : upstream(std::move(u)), endpoint(std::move(e)), in_flight(std::move(f)) {}
};

// Finds an endpoint that takes the request's head. An endpoint that cannot be reached has not seen it, so that the next
// one is asked whatever the method.
rt::Task<std::expected<Sent, ProxyError>> send(Session& s, const Resolved& policy, const Choice& choice,
                                               http::RequestHead& head, bool no_body,
                                               std::optional<std::string> require_id, TimePoint deadline) {
  constexpr int kAttempts = 5;
  rt::Reactor& reactor = s.outbound.worker.reactor;
  std::shared_ptr<Endpoint> failed;
  for (int attempt = 1;; ++attempt) {
    size_t i = choose_backend(choice, reactor.rng(), [&](uint32_t b) { return policy.backends[b]->ready(); });
    if (i == kNoBackend && choice.refs.empty())
      co_return std::unexpected(ProxyError(Reason::kNoDispatcher, "the route has no backend"));
    const BackendRef& ref = choice.refs[i == kNoBackend ? 0 : i];
    if (std::holds_alternative<std::monostate>(policy.policy().backends[ref.backend].target))
      co_return std::unexpected(
          ProxyError(Reason::kNoDispatcher,
                     cat("backend for ", policy.policy().backends[ref.backend].describe(), " has no dispatcher")));
    if (!ref.filters.empty())
      if (auto answer = filter_request(ref.filters, RuleMatch(), head, "http", reactor.rng()))
        co_return std::unexpected(std::move(*answer));
    Balancer& balancer = *policy.backends[ref.backend];
    auto endpoint = co_await balancer.pick(failed.get());
    if (!endpoint) co_return std::unexpected(std::move(endpoint).error());
    if (require_id && (*endpoint)->identity() != *require_id)
      co_return std::unexpected(ProxyError(
          Reason::kIdentityMismatch,
          cat("required identity ", quoted(*require_id), ", but ", (*endpoint)->addr().to_string(),
              (*endpoint)->meshed() ? cat(" is ", (*endpoint)->identity()) : std::string(" is not in the mesh"))));
    Endpoint::InFlight in_flight(*endpoint, reactor.now());
    auto exchange = co_await (*endpoint)->send(head, no_body, deadline);
    if (exchange) co_return Sent(std::move(*exchange), std::move(*endpoint), std::move(in_flight));
    const Error& e = exchange.error();
    // A request that cannot be sent, or that had to wait too long for its turn, says nothing about the endpoint.
    bool own = e.code == Code::kInvalid || e.code == Code::kExhausted ||
               (e.code == Code::kTimeout && e.retry == Retry::kNever);
    if (!own) balancer.connect_failed(*endpoint, e);
    if (e.retry != Retry::kSafe || attempt == kAttempts) co_return std::unexpected(proxy_error(e));
    failed = *endpoint;
  }
}

// Uploads the body in the background of the response.
rt::Task<void> upload(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  auto r = co_await httpio::relay(client, upstream);
  if (!r && !upstream.error()) upstream.reset(http::H2Code::kCancel);
  client.changed().notify();
}

rt::Task<Result<http::ResponseHead>> response_head(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  for (;;) {
    auto head = co_await upstream.response();
    if (!head || head->status >= 200 || head->status == 101) co_return head;
    client.interim(*head);
  }
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
  auto match = routing.table.only();
  if (!match) match = routing.table.match(RequestView(request));
  if (!match) co_return answer_error(s, *client, ProxyError(Reason::kNoRoute, "no route for this request"));
  const Rule& rule = routing.rule(*match);

  // 2. What does the route do to it?
  std::optional<std::string> require_id;
  if (auto id = request.headers.get(HeaderId::kL5dRequireId)) require_id.emplace(*id);
  bool is_connect = request.method_kind == http::Method::kConnect;
  // With a body the upgrade is declined, as a server may: what follows the head could be either.
  bool is_upgrade = http::is_upgrade(request) && client->ended();
  prepare_request(request, is_upgrade);
  if (auto answer = filter_request(rule.filters, *match, request, "http", w.reactor.rng()))
    co_return answer_error(s, *client, *answer);
  TimePoint deadline = rule.timeouts.request ? start + *rule.timeouts.request : kNever;

  // 3. To an endpoint that takes it.
  bool no_body = client->ended() && !is_connect && !is_upgrade;
  std::optional<Sent> sent;
  std::optional<Record> counted;
  std::optional<rt::Running> uploading;
  Result<http::ResponseHead> head;
  for (int tries = 1;; ++tries) {
    auto next = co_await send(s, *resolved, rule.choice, request, no_body, require_id, deadline);
    if (!next) co_return answer_error(s, *client, next.error());
    sent.emplace(std::move(*next));
    counted.emplace(sent->endpoint, w.reactor, start);

    // 4. Body up, response down.
    if (!no_body && !is_connect && !is_upgrade) uploading.emplace(w.reactor, upload(*client, *sent->upstream));
    auto response = response_head(*client, *sent->upstream);
    head = deadline == kNever ? co_await std::move(response)
                              : co_await rt::with_deadline(w.reactor, deadline, "request", std::move(response));
    // An endpoint that was going away has not seen the request: another one can have it.
    constexpr int kTries = 3;
    if (head || head.error().retry != Retry::kSafe || !no_body || tries == kTries) break;
    counted->broke(head.error());
    counted.reset();
    sent.reset();
  }
  httpio::ClientExchange& upstream = *sent->upstream;
  Record& record = *counted;
  bool upgraded = sent->endpoint->upgrades(request);
  if (!head) {
    record.broke(head.error());
    uploading.reset();
    // A plain HTTP/2 reset passes with its code; of a request that we upgraded the client has never heard of HTTP/2.
    auto code = upstream.reset_code();
    if (code && request.version == http::Version::kHttp2) co_return client->reset(*code);
    co_return answer_error(s, *client, proxy_error(head.error()));
  }
  sent->in_flight.measured(w.reactor.now());
  record.head(*head);
  prepare_response(*head, upgraded, request.version);
  filter_response(rule.filters, *head);

  bool tunnel = head->status == 101 || (is_connect && head->status / 100 == 2);
  bool done = upstream.ended() && !tunnel;
  if (done && upstream.trailers()) done = false;
  if (auto r = client->respond(*head, done); !r) {
    record.broke(r.error());
    co_return answer_error(s, *client, ProxyError(Reason::kConnectionLost, r.error().reason));
  }
  if (tunnel && !uploading) uploading.emplace(w.reactor, upload(*client, upstream));
  if (!done) {
    auto r = co_await httpio::relay(upstream, *client);
    if (!r) {
      record.broke(r.error());
      client->reset(upstream.reset_code().value_or(http::H2Code::kInternalError));
      co_return;
    }
  }
  record.end(upstream.trailers());
  // A tunnel's other direction goes on until its own end.
  while (tunnel && uploading && !uploading->done() && !client->error()) co_await client->changed().wait();
}

}  // namespace

rt::Task<void> serve_http(Outbound& o, std::shared_ptr<Target> target, httpio::Protocol protocol,
                          std::unique_ptr<net::Stream> client, Buffer initial) {
  Session session(o, std::move(target));
  httpio::Handler handler = [&session](std::unique_ptr<httpio::ServerExchange> x) {
    return handle(session, std::move(x));
  };
  co_await httpio::serve(std::move(client), protocol, std::move(initial), o.serve_options, handler);
}

}  // namespace tulle::proxy::outbound
