// One inbound HTTP request, from top to bottom: route → authorization → filters → the application → response.
#include "libs/http/hop_by_hop.h"
#include "libs/observe/families.h"
#include "libs/rt/scope.h"
#include "proxy/inbound/inbound.h"
#include "proxy/model/filter.h"
#include "proxy/worker/exchange.h"

namespace tulle::proxy::inbound {
namespace {

using http::HeaderId;

// The series of one client connection for one route and authorization.
struct Series {
  const void* route;
  const void* authz;
  observe::HttpSeries http;
  observe::CounterRef allowed;
};

struct Session {
  Inbound& inbound;
  Peer peer;
  PortWatch& watch;
  ServerPolicyPtr policy;                       // of `series`
  std::vector<std::shared_ptr<Series>> series;  // shared with the requests that count in them
  Session(Inbound& i, Peer p, PortWatch& w) : inbound(i), peer(std::move(p)), watch(w) {}
};

std::shared_ptr<Series> series_for(Session& s, const ServerPolicyPtr& policy, const InboundRoute& route,
                                   const Authorization& authz) {
  if (s.policy != policy) {
    s.series.clear();
    s.policy = policy;
  }
  for (auto& known : s.series)
    if (known->route == &route && known->authz == &authz) return known;
  auto& m = s.inbound.worker.metrics;
  std::string ip = s.peer.target.ip.to_string();
  auto server = server_resource(*policy, s.peer.target.port);
  observe::Labels labels;
  observe::add_target(labels, ip, s.peer.target.port);
  observe::add_server(labels, server);
  observe::add_resource(labels, "route", resource(route.metadata));
  observe::add_resource(labels, "authz", resource(authz.metadata()));
  observe::add_tls_client(labels, s.peer.tls_state());
  s.series.push_back(std::make_shared<Series>(
      Series{&route, &authz,
             observe::HttpSeries(m, observe::inbound_endpoint("", ip, s.peer.target.port, s.peer.tls_state(), server,
                                                              resource(route.metadata), resource(authz.metadata()))),
             m.counter(observe::kInboundHttpAuthzAllowTotal, labels)}));
  return s.series.back();
}

// `upgraded`: it came over HTTP/2 from a peer proxy, whose connection is not for it alone.
void answer_error(Session& s, httpio::ServerExchange& client, const ProxyError& e, bool upgraded) {
  if (client.error()) return;  // nobody is there
  s.inbound.http_error(e.reason)->add();
  bool http2 = client.request.version == http::Version::kHttp2;
  bool emit = s.peer.tls && !s.peer.identity.empty();
  auto head = error_head(e, http2 && http::is_grpc(client.request.headers), emit, e.fatal && !http2 && !upgraded);
  if (client.responded()) return client.reset(http::H2Code::kInternalError);
  if (e.fatal && !upgraded) client.close_connection();
  (void)client.respond(head, true);
}

void count_denied(Session& s, const ServerPolicy& policy, const InboundRoute* route) {
  observe::Labels labels;
  observe::add_target(labels, s.peer.target.ip.to_string(), s.peer.target.port);
  observe::add_server(labels, server_resource(policy, s.peer.target.port));
  if (route) observe::add_resource(labels, "route", resource(route->metadata));
  observe::add_tls_client(labels, s.peer.tls_state());
  s.inbound.worker.metrics
      .counter(route ? observe::kInboundHttpAuthzDenyTotal : observe::kInboundHttpRouteNotFoundTotal, labels)
      ->add();
}

// Makes of a request that a peer proxy carried over HTTP/2 what it was. True if it was one.
bool downgrade(http::RequestHead& head) {
  auto proto = head.headers.get(HeaderId::kL5dOrigProto);
  if (!proto) return false;
  head.version = proto->starts_with("HTTP/1.0") ? http::Version::kHttp10 : http::Version::kHttp11;
  head.form = proto->ends_with("; absolute-form") ? http::TargetForm::kAbsolute : head.form;
  head.headers.remove(HeaderId::kL5dOrigProto);
  return true;
}

// To the application and back.
rt::Task<void> forward(Session& s, httpio::ServerExchange& client, Record& record,
                       std::span<const wire::Filter> filters) {
  Worker& w = s.inbound.worker;
  http::RequestHead& request = client.request;
  bool over_h2 = request.version == http::Version::kHttp2;
  bool upgraded = downgrade(request);
  bool is_connect = request.method_kind == http::Method::kConnect;
  bool is_upgrade = http::is_upgrade(request) && client.ended();  // as in outbound
  http::strip_hop_by_hop(request.headers, is_upgrade);
  if (s.peer.identity.empty()) request.headers.remove(HeaderId::kL5dClientId);
  else request.headers.set(HeaderId::kL5dClientId, s.peer.identity);

  bool no_body = client.head_only() && !is_connect && !is_upgrade;
  auto protocol = request.version == http::Version::kHttp2 ? httpio::Protocol::kHttp2 : httpio::Protocol::kHttp1;
  httpio::Client& pool = s.inbound.app(s.peer.target, protocol);
  auto app = co_await pool.start(request, no_body);
  Result<http::ResponseHead> head;
  std::optional<rt::Running> uploading;
  if (app && no_body) {
    head = co_await response_head(client, **app);
    if (!head && try_fresh(**app, request, no_body)) {
      app = co_await pool.start(request, no_body, true);
      if (app) head = co_await response_head(client, **app);
    }
  }
  if (!app) {
    w.log.warn(w.reactor.now(), "application unreachable", s.peer.target.port,
               {{"port", s.peer.target.port}, {"error", app.error().reason}});
    auto e = proxy_error(app.error());
    record.answered(e);
    co_return answer_error(s, client, e, upgraded);
  }
  if (!no_body) {
    if (!is_connect && !is_upgrade) uploading.emplace(w.reactor, upload(client, **app));
    head = co_await response_head(client, **app);
  }
  if (!head) {
    uploading.reset();
    if (client.error()) co_return;
    record.broke(head.error());
    auto code = (*app)->reset_code();
    if (code && over_h2 && !upgraded) co_return client.reset(*code);
    co_return answer_error(s, client, proxy_error(head.error()), upgraded);
  }
  record.head(*head);
  http::strip_hop_by_hop(head->headers, head->status == 101);
  strip_l5d_of_response(head->headers);  // the application is no proxy, and clients' proxies believe us
  if (upgraded) {
    head->headers.set(HeaderId::kL5dOrigProto, head->version == http::Version::kHttp10 ? "HTTP/1.0" : "HTTP/1.1");
    head->headers.remove(HeaderId::kTransferEncoding);
  }
  filter_response(filters, *head);

  bool tunnel = head->status == 101 || (is_connect && head->status / 100 == 2);
  bool done = (*app)->ended() && !tunnel && !(*app)->trailers();
  if (auto r = client.respond(*head, done); !r) {
    if (client.error()) co_return;
    record.broke(r.error());
    co_return answer_error(s, client, ProxyError(Reason::kConnectionLost, r.error().reason), upgraded);
  }
  if (tunnel && !uploading) uploading.emplace(w.reactor, upload(client, **app));
  if (!done) {
    auto r = co_await httpio::relay(**app, client);
    if (!r) {
      if (client.error()) co_return;
      record.broke(r.error());
      ProxyError e = proxy_error(r.error());
      if (!(*app)->reset_code() && end_with_status(client, e, s.peer.tls && !s.peer.identity.empty()))
        co_return s.inbound.http_error(e.reason)->add();
      co_return co_await break_off(client, (*app)->reset_code().value_or(http::H2Code::kInternalError));
    }
  }
  record.end((*app)->trailers());
  while (tunnel && uploading && !uploading->done() && !client.error()) co_await client.changed().wait();
}

rt::Task<void> handle(Session& s, std::unique_ptr<httpio::ServerExchange> client) {
  Worker& w = s.inbound.worker;
  http::RequestHead& request = client->request;
  // Only another proxy may say who asks, whom, for how long, and what the request was before.
  if (s.peer.identity.empty()) strip_l5d_of_request(request.headers);
  else if (request.version != http::Version::kHttp2) request.headers.remove(HeaderId::kL5dOrigProto);
  const bool upgraded = request.headers.has(HeaderId::kL5dOrigProto);
  auto refuse = [&](const ProxyError& e) { answer_error(s, *client, e, upgraded); };
  auto place = w.inbound_requests.take();
  if (!place) co_return refuse(ProxyError(Reason::kLoadShed, "too many requests in flight"));

  ServerPolicyPtr policy = s.inbound.policy(s.watch, s.peer.target.port);
  if (!policy->invalid.empty()) co_return refuse(ProxyError(policy->invalid_reason, policy->invalid));
  auto routed = route_request(policy->table, request, w.config.ambiguous_path_ports.contains(s.peer.target.port));
  if (!routed) co_return refuse(routed.error());
  const std::optional<RuleMatch>& match = *routed;
  if (!match) {
    count_denied(s, *policy, nullptr);
    co_return refuse(ProxyError(Reason::kNoRoute, "no route found for request"));
  }
  const InboundRoute& route = policy->routes[match->route];
  auto decision = authorize(route.authorizations, policy->authorizations, s.peer.client());
  if (!decision) {
    count_denied(s, *policy, &route);
    w.log.info(w.reactor.now(), "request denied", s.peer.target.port,
               {{"client", s.peer.addr.to_string()},
                {"identity", s.peer.identity},
                {"port", s.peer.target.port},
                {"why", decision.reason()}});
    co_return refuse(ProxyError(Reason::kDenied, cat("unauthorized request on route: ", decision.reason())));
  }
  auto series = series_for(s, policy, route, *decision.allowed);
  series->allowed->add();
  Record record(std::shared_ptr<observe::HttpSeries>(series, &series->http), w.reactor, w.reactor.now());
  const auto& filters = route.rules[match->rule].filters;
  if (auto answer = filter_request(filters, *match, request, "http", w.reactor.rng())) {
    record.answered(*answer);
    co_return refuse(*answer);
  }
  co_await forward(s, *client, record, filters);
}

}  // namespace

rt::Task<void> serve_http(Inbound& in, Peer peer, PortWatch& watch, httpio::Protocol protocol,
                          std::unique_ptr<net::Stream> client, Buffer initial) {
  Session session(in, std::move(peer), watch);
  observe::TcpSeries tcp(in.worker.metrics,
                         observe::inbound_tcp_source(
                             session.peer.target.ip.to_string(), session.peer.target.port, session.peer.tls_state(),
                             server_resource(*in.policy(watch, session.peer.target.port), session.peer.target.port)));
  tcp.opened();
  tcp.read(initial.size());
  client->set_meters(tcp.read_meter(), tcp.write_meter());
  struct Closed {
    observe::TcpSeries& series;
    ~Closed() { series.closed(""); }
  } closed{tcp};
  httpio::Handler handler = [&session](std::unique_ptr<httpio::ServerExchange> x) {
    return handle(session, std::move(x));
  };
  using Client = Serving::Client;
  const auto& options =
      in.serving.options(session.peer.target.port, session.peer.identity.empty() ? Client::kStranger : Client::kPeer);
  co_await httpio::serve(std::move(client), protocol, std::move(initial), options, handler);
}

}  // namespace tulle::proxy::inbound
