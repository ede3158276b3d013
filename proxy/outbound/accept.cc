// An outbound connection, from accept to the script for what it speaks.
#include <algorithm>

#include "libs/http/detect.h"
#include "libs/rt/combine.h"
#include "libs/tls/tls_stream.h"
#include "proxy/outbound/outbound.h"
#include "proxy/worker/first_bytes.h"

namespace tulle::proxy::outbound {
namespace {

// Waits for what the control plane says about the target. Nothing within the time: outside of the cluster the
// connection goes where it was meant to, as it is; inside it is refused, for sending it in plaintext would silently
// turn encryption off.
rt::Task<std::shared_ptr<const Resolved>> discover(Outbound& o, Target& target, SocketAddr dst) {
  Worker& w = o.worker;
  if (co_await target.watch.ready(w.reactor.now() + w.config.no_discovery_timeout)) co_return o.resolve(target);
  bool inside = in_networks(dst.ip, w.config.cluster_networks);
  bool refuse = inside && w.config.on_no_discovery == OnNoDiscovery::kRefuse;
  w.log.warn(w.reactor.now(), refuse ? "no discovery in time: refused" : "no discovery in time: forwarded as it is",
             dst.port, {{"target", dst.to_string()}});
  (refuse ? o.no_discovery_refused : o.no_discovery_forwarded)->add();
  if (refuse) co_return nullptr;
  auto info = std::make_shared<TargetInfo>();
  wire::Endpoint as_it_is;
  as_it_is.addr = dst;
  info->addr = dst;
  info->policy = forward_policy(as_it_is, "no-discovery");
  auto resolved = std::make_shared<Resolved>();
  BackendSpec spec;
  spec.target = as_it_is;
  resolved->info = info;
  for (const BackendSpec& b : info->policy->backends) resolved->backends.push_back(std::make_shared<Balancer>(w, b));
  co_return resolved;
}

// A target of which nothing is configured about HTTP may be a server that speaks first; then its client is silent.
bool may_be_server_first(Outbound& o, Target& t, const OutboundPolicy& policy) {
  if (o.worker.config.server_first_wait == 0s || t.client_first) return false;
  for (const auto& r : policy.http1.routes)
    if (!r.metadata.is_default()) return false;
  return true;
}

// The client has been silent: an opaque connection is made, and whoever speaks first decides, be it after hours. True:
// it was the server, and all is done. False: go on and detect. `speculative`: it is done early, and counts.
rt::Task<bool> try_server_first(Outbound& o, Target& t, std::shared_ptr<const Resolved> policy,
                                std::unique_ptr<net::Stream>& client, Buffer& initial, bool speculative) {
  if (speculative) {
    t.speculation.dialled();
    o.speculative_dials->add();
  }
  rt::Reactor& reactor = o.worker.reactor;
  rt::Signal changed(reactor);
  bool client_ended = false, server_ended = false;
  Buffer greeting;
  OpaqueUpstream upstream;
  {
    rt::Running client_reads(reactor, read_first(*client, initial, client_ended, changed));
    auto dialled = co_await dial_opaque(o, policy, true);
    if (!dialled) co_return false;
    upstream = std::move(*dialled);
    rt::Running server_reads(reactor, read_first(*upstream.stream, greeting, server_ended, changed));
    while (initial.empty() && greeting.empty() && !client_ended && !server_ended) co_await changed.wait();
  }
  const bool http2 = http::greets_in_http2(greeting.view());  // a server of requests: its client is waited for
  if (http2 && !client_ended && initial.empty()) {
    t.client_first = true;
    upstream = OpaqueUpstream();
    client_ended = !co_await read_more(*client, initial);
  }
  if (client_ended) {
    client.reset();
    co_return true;
  }
  if (!initial.empty()) t.client_first = http2 || greeting.empty();
  // The dial counts as nothing where the client has spoken first, or where raw bytes alone were refused: linkerd2-proxy
  // breaks such a connection off where it would answer a request with 403.
  const auto* tls = dynamic_cast<const tls::TlsStream*>(upstream.stream.get());
  const bool broken_off = server_ended && tls && !tls->ended_cleanly();
  if (http2 || (greeting.empty() && (!initial.empty() || (speculative && broken_off)))) co_return false;
  if (speculative) {
    t.speculation.used();
    o.speculative_used->add();
  }
  upstream.endpoint->tcp_series().read(greeting.size());
  client->write(greeting.view());
  co_await copy_opaque(o, std::move(client), std::move(initial), std::move(upstream));
  co_return true;
}

rt::Task<void> serve_detect(Outbound& o, std::shared_ptr<Target> t, std::shared_ptr<const Resolved> policy,
                            std::unique_ptr<net::Stream> client) {
  rt::Reactor& reactor = o.worker.reactor;
  Buffer initial;
  TimePoint deadline =
      reactor.now() + std::min(o.worker.config.outbound.detect_timeout, policy->policy().detect_timeout);
  Duration wait = o.worker.config.server_first_wait;
  while (initial.empty() && may_be_server_first(o, *t, policy->policy()) && reactor.now() < deadline) {
    auto spoke = co_await rt::until(reactor, std::min(reactor.now() + wait, deadline), read_more(*client, initial));
    if (spoke && !*spoke) co_return;
    if (spoke) t->client_first = true;
    if (spoke || reactor.now() >= deadline) break;
    wait = SpeculativeDials::kTurn;
    if (!t->speculation.may_dial(reactor.now())) continue;
    if (co_await try_server_first(o, *t, policy, client, initial, true)) co_return;
    wait = 1s;  // if nobody has spoken, the dial has failed
  }
  Speaks speaks = co_await detect_http(reactor, *client, initial, deadline);
  if (speaks == Speaks::kSilent) {
    if (co_await try_server_first(o, *t, policy, client, initial, false)) co_return;
    if (!initial.empty())
      speaks = co_await detect_http(reactor, *client, initial, reactor.now() + policy->policy().detect_timeout);
  }
  switch (speaks) {
    case Speaks::kHttp1:
      co_return co_await serve_http(o, t, httpio::Protocol::kHttp1, std::move(client), std::move(initial));
    case Speaks::kHttp2:
      co_return co_await serve_http(o, t, httpio::Protocol::kHttp2, std::move(client), std::move(initial));
    case Speaks::kSilent:
    case Speaks::kOpaque: co_return co_await serve_opaque(o, t, std::move(client), std::move(initial));
    case Speaks::kGone: co_return;
  }
}

}  // namespace

rt::Task<void> serve_connection(Outbound& o, net::Accepted accepted) {
  Worker& w = o.worker;
  auto place = w.outbound_connections.take();
  if (!place) co_return;
  net::apply(accepted.fd.get(), w.config.outbound.accept_socket);
  auto dst = net::original_destination(accepted.fd.get(), !accepted.peer.ip.is_v4());
  if (!dst || *dst == accepted.local) {
    w.log.warn(w.reactor.now(), "outbound connection that was not redirected: closed", 0,
               {{"client", accepted.peer.to_string()}});
    co_return;
  }
  auto target = o.target(*dst);
  observe::TcpSeries series(w.metrics, observe::outbound_tcp_source(dst->ip.to_string(), dst->port));
  series.opened();
  struct Closed {
    observe::TcpSeries& series;
    ~Closed() { series.closed(""); }
  } closed{series};
  std::unique_ptr<net::Stream> client =
      std::make_unique<net::TcpStream>(w.reactor, std::move(accepted.fd), accepted.local, accepted.peer, true);
  client->set_meters(series.read_meter(), series.write_meter());

  auto policy = co_await discover(o, *target, *dst);
  if (!policy || !policy->info->refused.empty()) {
    if (policy)
      w.log.warn(w.reactor.now(), "target refused by the control plane", dst->port,
                 {{"target", dst->to_string()}, {"why", policy->info->refused}});
    client->abort();
    co_return;
  }
  if (!target->resolved) target->resolved = policy;
  using Kind = OutboundPolicy::Kind;
  Kind kind = policy->info->opaque ? Kind::kOpaque : policy->policy().kind;
  switch (kind) {
    case Kind::kDetect: co_await serve_detect(o, target, policy, std::move(client)); break;
    case Kind::kHttp1: co_await serve_http(o, target, httpio::Protocol::kHttp1, std::move(client), Buffer()); break;
    case Kind::kHttp2:
    case Kind::kGrpc: co_await serve_http(o, target, httpio::Protocol::kHttp2, std::move(client), Buffer()); break;
    case Kind::kOpaque:
    case Kind::kTls: co_await serve_opaque(o, target, std::move(client), Buffer()); break;
  }
  o.touch(*target);
}

}  // namespace tulle::proxy::outbound
