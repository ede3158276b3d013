#include "proxy/inbound/inbound.h"

#include <algorithm>

#include "libs/observe/families.h"

namespace tulle::proxy::inbound {
namespace {
constexpr observe::Family kNoPolicy =
    observe::om_counter("tulle_no_inbound_policy_total",
                        "Connections to ports about which the control plane said nothing in time, by what was done");
}

Inbound::Inbound(Worker& w)
    : worker(w),
      serving(w, "inbound", w.config.inbound, w.inbound_drain, w.inbound_holders),
      speculative_dials(proxy::speculative_dials(w.metrics, "inbound", "dialled")),
      speculative_used(proxy::speculative_dials(w.metrics, "inbound", "used")),
      unanswered_(unanswered_server()),
      no_policy_defaulted_(w.metrics.counter(kNoPolicy, observe::Labels().add("action", "default"))),
      no_policy_refused_(w.metrics.counter(kNoPolicy, observe::Labels().add("action", "refused"))) {
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
  const auto& info = watch.value();
  if (info && info->policy) return info->policy;
  if (!info && declared(port)) return unanswered_;
  return worker.config.opaque_ports.contains(port) ? default_opaque_ : default_policy_;
}

bool Inbound::declared(uint16_t port) const {
  const Config& c = worker.config;
  return c.inbound_ports.contains(port) ||
         (c.pod && std::ranges::any_of(c.pod->ports, [&](const PodPort& p) { return p.app == port; }));
}

rt::Task<void> Inbound::await_policy(const PortWatch& watch, uint16_t port) {
  if (co_await watch.ready(worker.reactor.now() + worker.config.no_discovery_timeout)) co_return;
  bool refuse = declared(port);
  worker.log.warn(
      worker.reactor.now(),
      refuse ? "no policy of a declared port in time: refused" : "no policy of a port in time: the default applies",
      port, {{"port", port}});
  (refuse ? no_policy_refused_ : no_policy_defaulted_)->add();
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

httpio::Client& Inbound::app(SocketAddr target, httpio::Protocol protocol) {
  App& a = apps_[target];
  auto& client = protocol == httpio::Protocol::kHttp2 ? a.http2 : a.http1;
  if (!client) {
    client = std::make_unique<httpio::Client>(
        worker.reactor, protocol, [this, target] { return connect_app(target); },
        client_options(worker.config, worker.config.inbound, target.port, worker.inbound_unannounced_ends));
  }
  return *client;
}

bool Inbound::speaks_http(SocketAddr target) {
  const App& a = apps_[target];
  return (a.http1 && a.http1->connected()) || (a.http2 && a.http2->connected());
}

std::string Inbound::sni_label(const std::string& sni) {
  constexpr size_t kMost = 256;
  if (snis_.contains(sni)) return sni;
  if (snis_.size() >= kMost) return "tulle_overflow";
  snis_.insert(sni);
  return sni;
}

observe::CounterRef Inbound::http_error(Reason reason) {
  const ErrorRow& row = error_row(reason);
  return worker.metrics.counter(observe::kInboundHttpErrorsTotal,
                                observe::Labels().add("error", row.label).add("reason", row.name));
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
