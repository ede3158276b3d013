#include "proxy/worker/worker.h"

#include "libs/observe/families.h"

namespace tulle::proxy {
namespace {

constexpr size_t kMostKeys = 10'000;  // backends, and ports of the workload, that are watched at once
constexpr observe::Family kOpen =
    observe::om_gauge("tulle_open", "What is open, by direction and kind, against its limit");
constexpr observe::Family kRefused =
    observe::om_counter("tulle_limit_refused_total", "What was refused because a limit was reached");

constexpr observe::Family kConnectionsRefused =
    observe::om_counter("tulle_http_connections_refused_total",
                        "HTTP connections that were ended because of what the client sent, by reason");

constexpr observe::Family kSpeculative = observe::om_counter(
    "tulle_speculative_dials_total", "Connections made because the client was silent, by direction and result");
constexpr observe::Family kUnannouncedEnds =
    observe::om_counter("tulle_http_unannounced_ends_total",
                        "Pooled HTTP/1 connections that the other side ended without having announced it");
constexpr observe::Family kHandshakes = observe::om_counter(
    "tulle_tls_handshakes_total", "TLS handshakes between proxies that succeeded, full and resumed");
constexpr observe::Family kEvicted =
    observe::om_counter("tulle_cache_evictions_total", "What was forgotten because a cache was full");

Limit make_limit(observe::Shard& m, std::string_view direction, std::string_view kind, size_t most) {
  auto labels = observe::Labels().add("direction", direction).add("kind", kind);
  return Limit(m.gauge(kOpen, labels), m.counter(kRefused, labels), most);
}

observe::CounterRef shed_counter(observe::Shard& m, std::string_view direction) {
  return m.counter(kRefused, observe::Labels().add("direction", direction).add("kind", "memory"));
}

constexpr uint32_t kListSlack = 8 * 1024;  // HTTP/2 counts more of a field, and proxies add some

http::H2Options h2_options(const Http2ServerConfig& c) {
  http::H2Options o;
  o.stream_window = c.stream_window;
  o.connection_window = c.connection_window;
  if (c.max_concurrent_streams) o.max_concurrent_streams = *c.max_concurrent_streams;
  if (c.max_frame_size) o.max_frame_size = *c.max_frame_size;
  if (c.max_header_list_size) o.max_header_list = *c.max_header_list_size;
  return o;
}

// A peer proxy's connection (docs/limits.md). Ours sends within what strangers may; others pass on what their clients
// do.
void be_generous(http::H2Options& o) {
  o.max_open_heads = 8 * 1024 * 1024;
  o.reset_burst = 50'000;
  o.resets_per_second = 20'000;
  o.glitch_burst = 20'000;
  o.glitches_per_second = 5'000;
}

}  // namespace

observe::CounterRef evictions(observe::Shard& m, std::string_view cache) {
  return m.counter(kEvicted, observe::Labels().add("cache", cache));
}

observe::CounterRef speculative_dials(observe::Shard& m, std::string_view direction, std::string_view result) {
  return m.counter(kSpeculative, observe::Labels().add("direction", direction).add("result", result));
}

Handshakes::Handshakes(observe::Shard& m, std::string_view direction)
    : full_(m.counter(kHandshakes, observe::Labels().add("direction", direction).add("kind", "full"))),
      resumed_(m.counter(kHandshakes, observe::Labels().add("direction", direction).add("kind", "resumed"))) {}

Worker::Worker(rt::Reactor& r, const Config& c, observe::Shard& m, net::PodNetns* p, TargetHub& t, EndpointHub& e,
               PortHub& i)
    : reactor(r),
      config(c),
      metrics(m),
      pod(p),
      targets(r, t, c.outbound.discovery_idle_timeout, c.max_targets),
      endpoints(r, e, c.outbound.discovery_idle_timeout, kMostKeys, evictions(m, "endpoints")),
      ports(r, i, c.inbound.discovery_idle_timeout, kMostKeys, evictions(m, "ports")),
      remembered_targets(m.gauge(kOpen, observe::Labels().add("direction", "outbound").add("kind", "targets"))),
      evicted_targets(evictions(m, "targets")),
      inbound_unannounced_ends(m.counter(kUnannouncedEnds, observe::Labels().add("direction", "inbound"))),
      outbound_unannounced_ends(m.counter(kUnannouncedEnds, observe::Labels().add("direction", "outbound"))),
      inbound_handshakes(m, "inbound"),
      outbound_handshakes(m, "outbound"),
      inbound_connections(make_limit(m, "inbound", "connections", c.max_connections)),
      outbound_connections(make_limit(m, "outbound", "connections", c.max_connections)),
      inbound_requests(make_limit(m, "inbound", "requests", c.inbound.max_in_flight)),
      outbound_requests(make_limit(m, "outbound", "requests", c.outbound.max_in_flight)),
      inbound_shed(shed_counter(m, "inbound")),
      outbound_shed(shed_counter(m, "outbound")) {}

net::ConnectOptions Worker::outbound_connect(IpAddr to) const {
  net::ConnectOptions o;
  if (config.pod && (to.is_loopback() || !config.pod->ip.is_loopback())) o.bind_ip = config.pod->ip;
  o.socket = config.outbound.connect_socket;
  return o;
}

net::ConnectOptions Worker::inbound_connect() const {
  net::ConnectOptions o;
  if (pod) o.make_socket = [this] { return pod->take_socket(); };
  o.socket = config.inbound.connect_socket;
  return o;
}

Serving::Serving(Worker& worker, std::string_view name, const DirectionConfig& direction, httpio::Drain& drain,
                 net::Holders& holders) {
  const Config& config = worker.config;
  httpio::ServeOptions o;
  o.h2 = h2_options(direction.http2);
  if (auto& k = direction.http2.keep_alive) o.keep_alive = httpio::KeepAliveOptions{k->interval, k->timeout};
  o.header_timeout = config.http_header_timeout;
  o.idle_timeout = config.http_idle_timeout;
  o.broken_request_grace = 2s;
  o.drain = &drain;
  o.holders = &holders;
  o.on_refused = [&worker, name](std::string_view why) {
    worker.metrics.counter(kConnectionsRefused, observe::Labels().add("direction", name).add("reason", why))->add();
  };
  auto add = [&](const PortSet* ports, httpio::ServeOptions of) {
    by_port_.push_back({ports, of, of, of});
    by_port_.back().stranger.explain = false;
    be_generous(by_port_.back().peer.h2);
  };
  for (const HeaderLimit& l : config.http_header_limits) {
    httpio::ServeOptions of = o;
    of.limits.header_block = l.bytes;
    of.h2.max_header_list = l.bytes + kListSlack;
    add(&l.ports, std::move(of));
  }
  add(nullptr, std::move(o));
}

const httpio::ServeOptions& Serving::options(uint16_t port, Client client) const {
  size_t i = 0;
  while (by_port_[i].ports && !by_port_[i].ports->contains(port)) ++i;
  const Of& of = by_port_[i];
  return client == Client::kPeer ? of.peer : client == Client::kOwn ? of.own : of.stranger;
}

httpio::ClientOptions client_options(const Config& config, const DirectionConfig& direction, uint16_t port,
                                     observe::CounterRef& unannounced_ends) {
  httpio::ClientOptions o;
  o.on_unannounced_end = [&unannounced_ends] { unannounced_ends->add(); };
  o.h2.stream_window = config.client_stream_window;
  o.h2.connection_window = config.client_connection_window;
  if (auto limit = config.header_limit(port)) {
    o.limits.header_block = *limit;
    o.h2.max_header_list = *limit + kListSlack;
  }
  o.max_idle = direction.max_idle_per_endpoint;
  o.idle_timeout = direction.http1_idle_timeout;
  o.max_waiting = direction.http_queue_capacity;
  return o;
}

}  // namespace tulle::proxy
