#include "proxy/outbound/endpoint.h"

#include "libs/http/hop_by_hop.h"
#include "libs/tls/tls_stream.h"

namespace tulle::proxy::outbound {
namespace {

observe::TlsState tls_state(const wire::Endpoint& e) {
  return e.tls ? observe::TlsState::mutual(e.tls->id)
               : observe::TlsState::no_identity("not_provided_by_service_discovery");
}

std::vector<std::pair<std::string, std::string>> dst_labels(const wire::Labels& set, const wire::Labels& own) {
  wire::Labels all = set;
  for (const auto& [k, v] : own) all[k] = v;
  return {all.begin(), all.end()};
}

}  // namespace

Endpoint::Endpoint(Worker& worker, std::shared_ptr<const wire::Endpoint> info, std::shared_ptr<const Group> group,
                   const wire::LoadEstimate& load)
    : worker_(worker),
      info_(std::move(info)),
      load_(load.default_rtt, load.decay, worker.reactor.now()),
      group_(std::move(group)) {}

observe::HttpSeries& Endpoint::series() {
  if (!series_)
    series_ = std::make_unique<observe::HttpSeries>(
        worker_.metrics, observe::outbound_endpoint(group_->authority, info_->addr.ip.to_string(), info_->addr.port,
                                                    tls_state(*info_), dst_labels(group_->labels, info_->labels)));
  return *series_;
}

observe::TcpSeries& Endpoint::tcp_series() {
  if (!tcp_series_)
    tcp_series_ = std::make_unique<observe::TcpSeries>(
        worker_.metrics,
        observe::outbound_tcp_destination(group_->authority, info_->addr.ip.to_string(), info_->addr.port,
                                          tls_state(*info_), dst_labels(group_->labels, info_->labels)));
  return *tcp_series_;
}

// A TCP connection, with TLS where discovery says who must answer.
rt::Task<Result<std::unique_ptr<net::Stream>>> Endpoint::connect(bool opaque) {
  const wire::Endpoint& e = *info_;
  TimePoint deadline = worker_.reactor.now() + worker_.config.outbound.connect_timeout;
  SocketAddr to = e.addr;
  bool header = opaque && e.tls && e.opaque_transport_port != 0;
  if (header) to.port = e.opaque_transport_port;
  auto options = worker_.outbound_connect(to.ip);
  auto connected = co_await net::connect(worker_.reactor, to, options, deadline);
  if (!connected) co_return fail(std::move(connected).error());
  if (!e.tls)
    co_return std::make_unique<net::TcpStream>(worker_.reactor, std::move(connected->fd), connected->local, to, false);

  if (!worker_.identity)
    co_return fail(Code::kIdentity, "this proxy has no certificate yet", Side::kSelf, Retry::kSafe);
  auto expected = tls::Identity::parse(e.tls->id);
  if (!expected) co_return fail(std::move(expected).error().with("endpoint identity"));
  std::vector<std::string> alpn;
  if (header) alpn.emplace_back(wire::kTransportAlpn);
  // The handshake gets the detect time of the peer's inbound side at most; a dead peer is found by the connect timeout.
  TimePoint tls_deadline = worker_.reactor.now() + std::max<Duration>(worker_.config.outbound.connect_timeout, 3s);
  auto stream =
      co_await tls::TlsStream::connect(worker_.reactor, worker_.identity, std::move(connected->fd), connected->local,
                                       to, e.tls->server_name, std::move(*expected), std::move(alpn), tls_deadline);
  if (!stream) co_return fail(std::move(stream).error());
  worker_.outbound_handshakes.count(**stream);
  if (header && (*stream)->alpn() == wire::kTransportAlpn) {
    wire::TransportHeader h;
    h.port = e.addr.port;
    (*stream)->write(encode(h));
  }
  co_return std::move(*stream);
}

rt::Task<Result<std::unique_ptr<net::Stream>>> Endpoint::open_stream() { return connect(true); }

rt::Task<Result<std::unique_ptr<net::Stream>>> Endpoint::connect_counted() {
  auto stream = co_await connect(false);
  if (!stream) co_return stream;
  tcp_series().opened();
  (*stream)->set_meters(tcp_series().read_meter(), tcp_series().write_meter());
  (*stream)->set_watcher(this);
  co_return stream;
}

void Endpoint::on_closed(const std::optional<Error>& error) {
  tcp_series().closed(error ? code_name(error->code) : std::string_view());
}

httpio::Client& Endpoint::http1() {
  if (!http1_)
    http1_ = std::make_unique<httpio::Client>(
        worker_.reactor, httpio::Protocol::kHttp1, [this] { return connect_counted(); },
        client_options(worker_.config, worker_.config.outbound, info_->addr.port, worker_.outbound_unannounced_ends));
  return *http1_;
}

httpio::Client& Endpoint::http2() {
  if (http2_) return *http2_;
  httpio::ClientOptions options =
      client_options(worker_.config, worker_.config.outbound, info_->addr.port, worker_.outbound_unannounced_ends);
  options.h2.explain = meshed();
  if (info_->http2 && info_->http2->keep_alive) {  // discovery asks for it
    const wire::Http2KeepAlive& k = *info_->http2->keep_alive;
    if (k.interval) options.keep_alive.interval = *k.interval;
    if (k.timeout) options.keep_alive.timeout = *k.timeout;
    options.keep_alive.while_idle = k.while_idle;
  }
  http2_ = std::make_unique<httpio::Client>(
      worker_.reactor, httpio::Protocol::kHttp2, [this] { return connect_counted(); }, options);
  return *http2_;
}

bool Endpoint::upgrades(const http::RequestHead& head) const {
  return head.version != http::Version::kHttp2 && info_->hint == wire::ProtocolHint::kH2 &&
         head.method_kind != http::Method::kConnect && !http::is_upgrade(head);
}

rt::Task<Result<std::unique_ptr<httpio::ClientExchange>>> Endpoint::send(http::RequestHead& head, bool end,
                                                                         bool fresh) {
  if (head.version == http::Version::kHttp2) return http2().start(head, end);
  if (!upgrades(head)) return http1().start(head, end, fresh);
  return send_upgraded(head, end);
}

rt::Task<Result<std::unique_ptr<httpio::ClientExchange>>> Endpoint::send_upgraded(http::RequestHead& head, bool end) {
  std::string value = head.version == http::Version::kHttp10 ? "HTTP/1.0" : "HTTP/1.1";
  if (head.form == http::TargetForm::kAbsolute) value += "; absolute-form";
  std::optional<std::string> coding;
  if (auto c = head.headers.get(http::HeaderId::kTransferEncoding)) coding.emplace(*c);
  bool has_scheme = !head.scheme.empty();
  head.headers.set(http::HeaderId::kL5dOrigProto, value);
  head.headers.remove(http::HeaderId::kTransferEncoding);
  if (!has_scheme) head.scheme = "http";
  auto started = co_await http2().start(head, end);
  head.headers.remove(http::HeaderId::kL5dOrigProto);
  if (coding) head.headers.add(http::HeaderId::kTransferEncoding, *coding);
  if (!has_scheme) head.scheme.clear();
  co_return started;
}

rt::Task<Result<>> Endpoint::probe() {
  if (http2_) co_return co_await http2_->warm_up();  // requests wait for it; raw bytes would leave it idle
  auto stream = co_await connect(info_->hint == wire::ProtocolHint::kOpaque);
  if (!stream) co_return fail(std::move(stream).error());
  co_return Result<>{};
}

bool Endpoint::connected() const { return (http2_ && http2_->connected()) || (http1_ && http1_->connected()); }

void Endpoint::retire() {
  if (http1_) http1_->drain();
  if (http2_) http2_->drain();
}

}  // namespace tulle::proxy::outbound
