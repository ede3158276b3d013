// Inbound raw bytes: authorised at the start, and again whenever the policy changes.
#include "libs/observe/families.h"
#include "libs/rt/scope.h"
#include "proxy/inbound/inbound.h"

namespace tulle::proxy::inbound {
namespace {

observe::Labels authz_labels(const Peer& peer, const ServerPolicy& policy, const Authorization* by) {
  observe::Labels labels;
  observe::add_target(labels, peer.target.ip.to_string(), peer.target.port);
  observe::add_server(labels, server_resource(policy, peer.target.port));
  if (by) observe::add_resource(labels, "authz", resource(by->metadata()));
  observe::add_tls_client(labels, peer.tls_state());
  return labels;
}

rt::Task<void> copy(Worker& w, net::Stream& client, net::Stream& app, net::CopyResult& result, bool& done,
                    rt::Signal& changed) {
  result = co_await net::copy_both(client, app, net::kCopyMark, &w.inbound_holders);
  done = true;
  changed.notify();
}

rt::Task<void> on_policy_change(PortWatch& watch, rt::Signal& changed) {
  for (;;) {
    co_await watch.changed().wait();
    changed.notify();
  }
}

}  // namespace

rt::Task<void> serve_tcp(Inbound& in, Peer peer, PortWatch& watch, std::unique_ptr<net::Stream> client, Buffer initial,
                         std::unique_ptr<net::Stream> app) {
  Worker& w = in.worker;
  ServerPolicyPtr policy = in.policy(watch, peer.target.port);
  auto decision = authorize({}, policy->authorizations, peer.client());
  auto& family = decision ? observe::kInboundTcpAuthzAllowTotal : observe::kInboundTcpAuthzDenyTotal;
  w.metrics.counter(family, authz_labels(peer, *policy, decision.allowed))->add();
  if (!decision) {
    w.log.info(w.reactor.now(), "connection denied", peer.target.port,
               {{"client", peer.addr.to_string()},
                {"identity", peer.identity},
                {"port", peer.target.port},
                {"why", decision.reason()}});
    client->abort();
    co_return;
  }
  if (!app) {
    auto connected = co_await in.connect_app(peer.target);
    if (!connected) {
      in.tcp_error(peer.target, code_name(connected.error().code))->add();
      w.log.warn(w.reactor.now(), "application unreachable", peer.target.port,
                 {{"port", peer.target.port}, {"error", connected.error().reason}});
      client->abort();
      co_return;
    }
    app = std::move(*connected);
  }
  observe::TcpSeries series(w.metrics,
                            observe::inbound_tcp_source(peer.target.ip.to_string(), peer.target.port, peer.tls_state(),
                                                        server_resource(*policy, peer.target.port)));
  series.opened();
  series.read(initial.size());
  client->set_meters(series.read_meter(), series.write_meter());
  struct Closed {
    observe::TcpSeries& series;
    net::Stream& client;
    std::string_view error = "ECANCELED";
    ~Closed() {
      client.set_meters(nullptr, nullptr);
      series.closed(error);
    }
  } closed{series, *client};
  app->write(initial.view());
  initial.clear();

  net::CopyResult result;
  bool done = false;
  rt::Signal changed(w.reactor);
  rt::Running copying(w.reactor, copy(w, *client, *app, result, done, changed));
  rt::Running watching(w.reactor, on_policy_change(watch, changed));
  while (!done) {
    // Also the first time: it may have changed while the application was being reached.
    if (ServerPolicyPtr now = in.policy(watch, peer.target.port); now != policy) {
      policy = now;
      if (!authorize({}, policy->authorizations, peer.client())) {
        w.metrics.counter(observe::kInboundTcpAuthzTerminateTotal, authz_labels(peer, *policy, nullptr))->add();
        w.log.info(w.reactor.now(), "connection ended: no longer authorized", peer.target.port,
                   {{"client", peer.addr.to_string()}, {"port", peer.target.port}});
        client->abort();
        app->abort();
        co_return;
      }
    }
    co_await changed.wait();
  }
  closed.error = result.error ? code_name(result.error->code) : std::string_view();
}

}  // namespace tulle::proxy::inbound
