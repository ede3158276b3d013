#include "proxy/discovery/control_client.h"

#include <algorithm>

#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/observe/families.h"
#include "libs/observe/labels.h"
#include "libs/tls/tls_stream.h"

namespace tulle::proxy {
namespace {

constexpr Duration kStable = 10s;  // a connection that lasted so long says that all is well again
constexpr Duration kResolveTimeout = 5s;
constexpr Duration kHandshakeTimeout = 5s;
constexpr size_t kMostAddresses = 16;  // tried in one attempt

}  // namespace

ControlClientOptions control_client_options(const Config& config, const ControlAddr& addr) {
  const DirectionConfig& from = addr.loopback() ? config.inbound : config.outbound;
  ControlClientOptions o;
  o.connect_timeout = from.connect_timeout;
  o.backoff = from.connect_backoff;
  if (addr.loopback()) {
    o.backoff.max = std::min<Duration>(o.backoff.max, 1s);
    o.backoff.min = std::min(o.backoff.min, o.backoff.max);
    o.keep_alive = {10s, 3s};  // ours
  }
  o.socket = from.connect_socket;
  o.h2.stream_window = config.client_stream_window;
  o.h2.connection_window = config.client_connection_window;
  return o;
}

std::optional<IpAddr> address_in_name(std::string_view target) {
  std::string label(target.substr(0, target.find('.')));
  std::string v4 = label, v6 = label;
  std::ranges::replace(v4, '-', '.');
  std::ranges::replace(v6, '-', ':');
  if (auto ip = IpAddr::parse(v4)) return *ip;
  if (auto ip = IpAddr::parse(v6)) return *ip;
  return std::nullopt;
}

ControlClient::ControlClient(rt::Reactor& reactor, net::Resolver& resolver, ControlAddr addr,
                             ControlClientOptions options, ContextSource context)
    : reactor_(reactor),
      resolver_(resolver),
      addr_(std::move(addr)),
      options_(std::move(options)),
      context_(std::move(context)),
      backoff_(options_.backoff.min, options_.backoff.max, options_.backoff.jitter) {
  if (options_.metrics) {
    auto labels = observe::Labels().add("addr", addr_.authority);
    observe::add_tls_server(labels, addr_.loopback() ? observe::TlsState::no_identity("loopback")
                                                     : observe::TlsState::mutual(addr_.name->name()));
    series_.emplace(*options_.metrics, std::move(labels), observe::kControlFamilies);
  }
  httpio::ClientOptions o;
  o.h2 = options_.h2;
  o.keep_alive = options_.keep_alive;
  client_ = std::make_unique<httpio::Client>(reactor_, httpio::Protocol::kHttp2, [this] { return dial(); }, o);
}

ControlClient::~ControlClient() = default;

rt::Task<Result<std::unique_ptr<net::Stream>>> ControlClient::dial() {
  if (connected_at_ && reactor_.now() - *connected_at_ >= kStable) {
    backoff_.reset();
    not_before_ = {};
  }
  co_await rt::sleep_until(reactor_, not_before_);
  auto stream = co_await dial_any();
  not_before_ = reactor_.now() + backoff_.next(reactor_.rng());
  connected_at_ = stream ? std::optional(reactor_.now()) : std::nullopt;
  if (!stream) log_debug("control plane not reached", {{"addr", addr_.authority}, {"error", stream.error().reason}});
  co_return stream;
}

rt::Task<Result<std::unique_ptr<net::Stream>>> ControlClient::dial_any() {
  auto addrs = co_await resolve();
  if (!addrs) co_return fail(std::move(addrs).error());
  // Each proxy begins elsewhere, so that the replicas share the load.
  std::ranges::rotate(*addrs, addrs->begin() + reactor_.rng().below(static_cast<uint32_t>(addrs->size())));
  if (addrs->size() > kMostAddresses) addrs->resize(kMostAddresses);
  Error last;
  for (const SocketAddr& to : *addrs) {
    auto stream = co_await dial_one(to);
    if (stream) co_return stream;
    last = std::move(stream).error();
  }
  co_return fail(std::move(last));
}

rt::Task<Result<std::unique_ptr<net::Stream>>> ControlClient::dial_one(SocketAddr to) {
  net::ConnectOptions how;
  how.socket = options_.socket;
  auto c = co_await net::connect(reactor_, to, how, reactor_.now() + options_.connect_timeout);
  if (!c) co_return fail(std::move(c).error());
  if (addr_.loopback()) co_return std::make_unique<net::TcpStream>(reactor_, std::move(c->fd), c->local, to, false);
  auto tls = co_await tls::TlsStream::connect(reactor_, context_(), std::move(c->fd), c->local, to, addr_.name->name(),
                                              *addr_.name, {}, reactor_.now() + kHandshakeTimeout);
  if (!tls) co_return fail(std::move(tls).error().with(to.to_string()));
  co_return std::move(*tls);
}

rt::Task<Result<std::vector<SocketAddr>>> ControlClient::resolve() {
  std::vector<SocketAddr> out;
  if (auto ip = IpAddr::parse(addr_.host)) {
    out.emplace_back(*ip, addr_.port);
    co_return out;
  }
  TimePoint deadline = reactor_.now() + kResolveTimeout;
  if (!addr_.loopback()) {
    auto services = co_await resolver_.services(addr_.host, deadline);
    count_resolution("SRV", services.has_value());
    for (size_t i = 0; services && i < services->services.size() && out.size() < kMostAddresses; ++i) {
      const net::Service& s = services->services[i];
      if (auto ip = address_in_name(s.target)) {
        out.emplace_back(*ip, s.port);
      } else if (auto a = co_await resolver_.addresses(s.target + ".", deadline)) {
        for (const IpAddr& ip : a->ips) out.emplace_back(ip, s.port);
      }
    }
    if (!out.empty()) co_return out;
  }
  auto a = co_await resolver_.addresses(addr_.host, deadline);
  count_resolution("A", a.has_value());
  if (!a) co_return fail(std::move(a).error());
  for (const IpAddr& ip : a->ips) out.emplace_back(ip, addr_.port);
  co_return out;
}

void ControlClient::count_resolution(std::string_view type, bool ok) {
  if (!options_.metrics) return;
  observe::Labels labels;
  labels.add("client", options_.service).add("record_type", type).add("result", ok ? "ok" : "error");
  options_.metrics->counter(observe::kControlDnsResolutionsTotal, labels)->add();
}

}  // namespace tulle::proxy
