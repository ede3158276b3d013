#include "proxy/inbound/inbound.h"

#include "libs/observe/families.h"

namespace tulle::proxy::inbound {

Inbound::Inbound(Worker& w)
    : worker(w), serve_options(proxy::serve_options(w.config, w.config.inbound, w.inbound_drain)) {
  const Config& c = w.config;
  auto make = [&](bool opaque) {
    auto server = default_server(policy_name(c.default_policy), c.cluster_networks, c.inbound.detect_timeout, opaque);
    return server ? compile_server(*server, c.pod ? std::optional(c.pod->ip) : std::nullopt)
                  : invalid_server("unknown default policy");
  };
  default_policy_ = make(false);
  default_opaque_ = make(true);
  for (auto [first, last] : c.inbound_ports.ranges())
    for (uint32_t p = first; p <= last && eager_.size() < 1000; ++p)
      eager_.push_back(w.ports.get(static_cast<uint16_t>(p)));
  if (c.pod)
    for (const PodPort& p : c.pod->ports) eager_.push_back(w.ports.get(p.app));
}

ServerPolicyPtr Inbound::policy(const PortWatch& watch, uint16_t port) const {
  if (watch.value() && watch.value()->policy) return watch.value()->policy;
  return worker.config.opaque_ports.contains(port) ? default_opaque_ : default_policy_;
}

std::optional<uint16_t> Inbound::app_port(uint16_t served) const {
  if (served == worker.config.inbound_listen.port) return std::nullopt;
  if (worker.config.pod)
    for (const PodPort& p : worker.config.pod->ports)
      if (p.served == served) return p.app;
  return served;
}

rt::Task<Result<std::unique_ptr<net::Stream>>> Inbound::connect_app(SocketAddr target) {
  rt::Reactor& r = worker.reactor;
  SocketAddr to = worker.pod ? SocketAddr(IpAddr::v4(127, 0, 0, 1), target.port) : target;
  auto options = worker.inbound_connect();
  auto c = co_await net::connect(r, to, options, r.now() + worker.config.inbound.connect_timeout);
  if (!c) co_return fail(std::move(c).error());
  co_return std::make_unique<net::TcpStream>(r, std::move(c->fd), c->local, to, false);
}

httpio::Client& Inbound::app(uint16_t port, httpio::Protocol protocol) {
  App& a = apps_[port];
  auto& client = protocol == httpio::Protocol::kHttp2 ? a.http2 : a.http1;
  if (!client) {
    SocketAddr target(worker.config.pod ? worker.config.pod->ip : IpAddr::v4(127, 0, 0, 1), port);
    client = std::make_unique<httpio::Client>(
        worker.reactor, protocol, [this, target] { return connect_app(target); },
        client_options(worker.config, worker.config.inbound));
  }
  return *client;
}

observe::CounterRef Inbound::http_error(std::string_view reason) {
  return worker.metrics.counter(observe::kInboundHttpErrorsTotal, observe::Labels().add("error", reason));
}
observe::CounterRef Inbound::tcp_error(const SocketAddr& target, std::string_view reason) {
  auto labels = observe::Labels().add("error", reason);
  observe::add_target(labels, target.ip.to_string(), target.port);
  return worker.metrics.counter(observe::kInboundTcpErrorsTotal, labels);
}

observe::ResourceRef resource(const wire::Metadata& m) {
  return observe::ResourceRef{
      .group = m.group, .kind = m.kind, .name_space = m.ns, .name = m.name, .port = m.port, .section_name = m.section};
}

observe::ResourceRef server_resource(const ServerPolicy& policy, uint16_t port) {
  auto r = resource(policy.server);
  r.port = port;
  return r;
}

}  // namespace tulle::proxy::inbound
