// An inbound connection, from accept to the script for what it speaks.
#include "libs/http/detect.h"
#include "libs/net/socket_user.h"
#include "libs/rt/combine.h"
#include "libs/tls/tls_stream.h"
#include "libs/wire/transport.h"
#include "proxy/inbound/inbound.h"
#include "proxy/worker/first_bytes.h"

namespace tulle::proxy::inbound {
namespace {

enum class First : uint8_t { kTls, kPlain, kSilent, kGone };

// Reads until it is clear whether the connection starts with a TLS ClientHello; `initial` keeps what was read.
rt::Task<First> detect_tls(rt::Reactor& reactor, net::Stream& client, Buffer& initial, http::ClientHello& hello,
                           TimePoint deadline) {
  for (;;) {
    if (!initial.empty()) {
      auto r = http::parse_client_hello(initial.view());
      if (r.kind == http::HelloResult::Kind::kFound) {
        hello = std::move(r.hello);
        co_return First::kTls;
      }
      if (r.kind == http::HelloResult::Kind::kNotTls) co_return First::kPlain;
    }
    auto more = co_await rt::until(reactor, deadline, read_more(client, initial));
    if (!more) co_return initial.empty() ? First::kSilent : First::kPlain;
    if (!*more) co_return initial.empty() ? First::kGone : First::kPlain;
  }
}

// What became of a client that was given time to speak.
struct FirstWord {
  bool gone = false;                 // it has left
  std::unique_ptr<net::Stream> app;  // the session is one of raw bytes: the application has it, its greeting is sent
  FirstWord() = default;
  explicit FirstWord(bool g) : gone(g) {}
  explicit FirstWord(std::unique_ptr<net::Stream> a) : app(std::move(a)) {}
};

// The application is asked, and whoever speaks first decides, be it after hours: what a client says is no more trusted
// for being late. `initial` gets what it says. An application that greets in HTTP/2 is one of requests: its client is
// waited for.
rt::Task<FirstWord> ask_app(Inbound& in, const Peer& peer, const PortWatch& watch, net::Stream& client,
                            Buffer& initial) {
  rt::Reactor& reactor = in.worker.reactor;
  rt::Signal changed(reactor);
  bool client_ended = false, app_ended = false;
  Buffer greeting;
  std::unique_ptr<net::Stream> app;
  {
    rt::Running client_reads(reactor, read_first(client, initial, client_ended, changed));
    auto dialled = co_await in.connect_app(peer.target);
    if (!dialled) co_return FirstWord(client_ended);
    app = std::move(*dialled);
    rt::Running app_reads(reactor, read_first(*app, greeting, app_ended, changed));
    while (initial.empty() && greeting.empty() && !client_ended && !app_ended) co_await changed.wait();
  }
  const bool http2 = http::greets_in_http2(greeting.view());
  if (http2 && !client_ended && initial.empty()) {
    app.reset();
    client_ended = !co_await read_more(client, initial);
  }
  if (client_ended) co_return FirstWord(true);
  if (http2) co_return FirstWord();
  if (greeting.empty() && !initial.empty()) co_return FirstWord();
  // It may have been long since the client was let in.
  if (!authorize({}, in.policy(watch, peer.target.port)->authorizations, peer.client())) co_return FirstWord();
  client.write(greeting.view());
  co_return FirstWord(std::move(app));
}

// A client that says nothing for `wait` may be one of an application that speaks first. That is asked then, if it would
// be let in as what it is so far.
rt::Task<FirstWord> first_word(Inbound& in, const Peer& peer, const PortWatch& watch, net::Stream& client,
                               Buffer& initial, Duration wait, TimePoint deadline) {
  rt::Reactor& reactor = in.worker.reactor;
  if (!initial.empty() || in.worker.config.server_first_wait == 0s ||
      !authorize({}, in.policy(watch, peer.target.port)->authorizations, peer.client()))
    co_return FirstWord();
  for (;;) {
    if (in.speaks_http(peer.target)) co_return FirstWord();
    auto spoke = co_await rt::until(reactor, std::min(reactor.now() + wait, deadline), read_more(client, initial));
    if (spoke) co_return FirstWord(!*spoke);
    if (reactor.now() >= deadline) co_return FirstWord();
    wait = SpeculativeDials::kTurn;
    if (!in.speculation(peer.target).may_dial(reactor.now())) continue;
    in.speculation(peer.target).dialled();
    in.speculative_dials->add();
    auto word = co_await ask_app(in, peer, watch, client, initial);
    if (word.app) {
      in.speculation(peer.target).used();
      in.speculative_used->add();
    }
    if (word.app || word.gone || !initial.empty()) co_return word;
    wait = 1s;  // the dial has failed
  }
}

// `opaque`: the client's proxy has found no HTTP in it; it may have been deceived.
rt::Task<void> serve_detect(Inbound& in, Peer peer, PortWatch& watch, const ServerPolicy& policy,
                            std::unique_ptr<net::Stream> client, Buffer initial, bool opaque) {
  Worker& w = in.worker;
  FirstWord word;
  Speaks speaks = Speaks::kSilent;
  // Where something is decided about requests nobody but the client speaks first, and nothing doubtful passes.
  const bool guarded = policy.has_routes();
  if (guarded && initial.empty() && !co_await read_more(*client, initial)) co_return;
  TimePoint deadline = w.reactor.now() + policy.detect_timeout;
  if (!opaque || !initial.empty()) {
    word = co_await first_word(in, peer, watch, *client, initial, w.config.server_first_wait, deadline);
    if (!word.app && !word.gone) speaks = co_await detect_http(w.reactor, *client, initial, deadline, guarded);
  }
  if (!word.app && !word.gone && speaks == Speaks::kSilent &&
      authorize({}, in.policy(watch, peer.target.port)->authorizations, peer.client())) {
    word = co_await ask_app(in, peer, watch, *client, initial);
    if (!word.app && !word.gone && !initial.empty())
      speaks = co_await detect_http(w.reactor, *client, initial, w.reactor.now() + policy.detect_timeout);
  }
  if (word.gone || speaks == Speaks::kGone) co_return;
  if (speaks == Speaks::kHttp1 || speaks == Speaks::kHttp2)
    co_return co_await serve_http(in, std::move(peer), watch,
                                  speaks == Speaks::kHttp1 ? httpio::Protocol::kHttp1 : httpio::Protocol::kHttp2,
                                  std::move(client), std::move(initial));
  co_await serve_tcp(in, std::move(peer), watch, std::move(client), std::move(initial), std::move(word.app));
}

// A connection whose port is known: by its policy's protocol.
rt::Task<void> serve_port(Inbound& in, Peer peer, std::unique_ptr<net::Stream> client, Buffer initial,
                          bool opaque = false) {
  PortWatch watch = in.worker.ports.get(peer.target.port);
  ServerPolicyPtr policy = in.policy(watch, peer.target.port);
  using Kind = ServerPolicy::Kind;
  Kind kind = peer.passthrough ? Kind::kTls : policy->kind;
  switch (kind) {
    case Kind::kDetect:
      // Where nothing is decided about requests, raw bytes may be what they are said to be, as in Linkerd.
      if (opaque && !policy->has_routes())
        co_return co_await serve_tcp(in, std::move(peer), watch, std::move(client), std::move(initial));
      co_await serve_detect(in, std::move(peer), watch, *policy, std::move(client), std::move(initial), opaque);
      break;
    case Kind::kHttp1: {
      // A peer proxy may have made HTTP/2 of it.
      auto protocol = httpio::Protocol::kHttp1;
      if (peer.tls &&
          co_await detect_http(in.worker.reactor, *client, initial,
                               in.worker.reactor.now() + in.worker.config.inbound.detect_timeout) == Speaks::kHttp2)
        protocol = httpio::Protocol::kHttp2;
      co_await serve_http(in, std::move(peer), watch, protocol, std::move(client), std::move(initial));
      break;
    }
    case Kind::kHttp2:
    case Kind::kGrpc:
      co_await serve_http(in, std::move(peer), watch, httpio::Protocol::kHttp2, std::move(client), std::move(initial));
      break;
    case Kind::kOpaque:
    case Kind::kTls: co_await serve_tcp(in, std::move(peer), watch, std::move(client), std::move(initial)); break;
  }
}

// The direct port: mesh TLS with the transport's ALPN, then a header that names the port.
rt::Task<void> serve_direct(Inbound& in, Peer peer, std::unique_ptr<tls::TlsStream> client) {
  Worker& w = in.worker;
  TimePoint deadline = w.reactor.now() + w.config.inbound.detect_timeout;
  if (client->alpn() != wire::kTransportAlpn || peer.identity.empty()) {
    in.tcp_error(peer.target, "no transport header")->add();
    co_return;
  }
  Buffer initial;
  for (;;) {
    auto parsed = wire::parse_transport_header(initial.view());
    if (!parsed) {
      w.log.warn(w.reactor.now(), "bad transport header", 0,
                 {{"client", peer.identity}, {"error", parsed.error().reason}});
      in.tcp_error(peer.target, "bad transport header")->add();
      co_return;
    }
    if (*parsed) {
      const auto& header = (*parsed)->header;
      if (!header.name.empty()) {
        w.log.warn(w.reactor.now(), "gateway requests are not served", 0,
                   {{"client", peer.identity}, {"name", header.name}});
        in.tcp_error(peer.target, "gateway domain invalid")->add();
        co_return;
      }
      auto port = in.app_port(header.port);
      if (!port || *port == 0 || w.config.is_own_port(*port)) {
        w.log.warn(w.reactor.now(), "transport header with a port of this proxy's own", header.port,
                   {{"client", peer.identity}, {"port", header.port}});
        in.tcp_error(peer.target, "own port")->add();
        co_return client->abort();
      }
      peer.target.port = *port;
      initial.consume((*parsed)->size);
      PortWatch watch = w.ports.get(peer.target.port);
      co_await in.await_policy(watch, peer.target.port);
      using Session = wire::TransportHeader::Session;
      // Raw bytes are so only if the port's policy says the same: routes and headers are not got round by what is no
      // HTTP to the sender's proxy, and is to the application.
      if (header.session == Session::kOpaque)
        co_return co_await serve_port(in, std::move(peer), std::move(client), std::move(initial), true);
      auto protocol = header.session == Session::kHttp2 ? httpio::Protocol::kHttp2 : httpio::Protocol::kHttp1;
      co_return co_await serve_http(in, std::move(peer), watch, protocol, std::move(client), std::move(initial));
    }
    auto more = co_await rt::until(w.reactor, deadline, read_more(*client, initial));
    if (!more || !*more) {
      in.tcp_error(peer.target, "transport header timeout")->add();
      co_return;
    }
  }
}

// From the pod's own address comes what the workload sends to itself, through this process, and it counts as localhost;
// but any user of the machine can bind that address. Who shows an identity is known by that.
bool claims_falsely(const Inbound& in, const Peer& peer, const SocketAddr& local) {
  const auto& pod = in.worker.config.pod;
  return pod && peer.addr.ip == pod->ip && peer.identity.empty() && !net::peer_is_same_user(local, peer.addr);
}
bool is_impostor(Inbound& in, const Peer& peer, const SocketAddr& local) {
  if (!claims_falsely(in, peer, local)) return false;
  in.worker.log.warn(in.worker.reactor.now(),
                     "connection from the pod's own address, not by the user that runs the proxy: closed",
                     peer.target.port, {{"port", peer.target.port}});
  in.tcp_error(peer.target, "address not its own")->add();
  return true;
}

// Before a byte has come: a client without TLS to an application that speaks first. A greeting in plaintext would be
// the end of a peer proxy's connection whose ClientHello is only late, so it gets more time than once TLS is done.
rt::Task<FirstWord> first_plain_word(Inbound& in, const Peer& peer, const SocketAddr& local, const PortWatch& watch,
                                     net::Stream& client, Buffer& initial, TimePoint deadline) {
  constexpr Duration kLateHello = 250ms;
  ServerPolicyPtr policy = in.policy(watch, peer.target.port);
  using Kind = ServerPolicy::Kind;
  if ((policy->kind != Kind::kDetect && policy->kind != Kind::kOpaque) || policy->has_routes() ||
      claims_falsely(in, peer, local))
    co_return FirstWord();
  co_return co_await first_word(in, peer, watch, client, initial,
                                std::max(in.worker.config.server_first_wait, kLateHello), deadline);
}

}  // namespace

rt::Task<void> serve_connection(Inbound& in, net::Accepted accepted) {
  Worker& w = in.worker;
  auto place = w.inbound_connections.take();
  if (!place) co_return;
  net::apply(accepted.fd.get(), w.config.inbound.accept_socket);
  SocketAddr local = accepted.local;
  if (!w.config.pod)
    if (auto dst = net::original_destination(accepted.fd.get(), !accepted.peer.ip.is_v4())) local = *dst;
  if (!w.config.inbound_ips.empty() && std::ranges::find(w.config.inbound_ips, local.ip) == w.config.inbound_ips.end())
    co_return;
  auto port = in.app_port(local.port);
  Peer peer;
  peer.addr = accepted.peer;
  peer.target = SocketAddr(local.ip, port.value_or(local.port));
  if (port && w.config.is_own_port(*port)) {
    w.log.warn(w.reactor.now(), "connection to a port of this proxy's own: closed", *port,
               {{"client", peer.addr.to_string()}, {"port", *port}});
    in.tcp_error(peer.target, "own port")->add();
    co_return;
  }

  auto plain = std::make_unique<net::TcpStream>(w.reactor, std::move(accepted.fd), accepted.local, accepted.peer, true);
  Buffer initial;
  PortWatch watch;
  if (port) {
    watch = w.ports.get(*port);
    co_await in.await_policy(watch, *port);
    if (in.policy(watch, *port)->kind == ServerPolicy::Kind::kOpaque && !w.config.pod)
      co_return co_await serve_tcp(in, std::move(peer), watch, std::move(plain), std::move(initial));
  }
  TimePoint deadline = w.reactor.now() + w.config.inbound.detect_timeout;
  if (port) {
    auto word = co_await first_plain_word(in, peer, accepted.local, watch, *plain, initial, deadline);
    if (word.gone) co_return;
    if (word.app)
      co_return co_await serve_tcp(in, std::move(peer), watch, std::move(plain), std::move(initial),
                                   std::move(word.app));
  }
  http::ClientHello hello;
  First first = co_await detect_tls(w.reactor, *plain, initial, hello, deadline);
  if (first == First::kGone) co_return;
  bool ours = first == First::kTls && w.identity && hello.sni == w.config.identity.server_name;
  if (ours) {
    std::vector<std::string> alpn;
    if (!port) alpn.emplace_back(wire::kTransportAlpn);
    auto stream = co_await tls::TlsStream::accept(w.reactor, w.identity, plain->take_fd(), accepted.local,
                                                  accepted.peer, std::move(initial), std::move(alpn), deadline);
    if (!stream) {
      w.log.info(w.reactor.now(), "TLS handshake failed", peer.target.port,
                 {{"client", peer.addr.to_string()}, {"error", stream.error().reason}});
      in.tcp_error(peer.target, "tls")->add();
      co_return;
    }
    w.inbound_handshakes.count(**stream);
    peer.tls = true;
    if (auto* id = (*stream)->peer_identity()) peer.identity = id->name();
    if (is_impostor(in, peer, accepted.local)) co_return;
    if (!port) co_return co_await serve_direct(in, std::move(peer), std::move(*stream));
    co_return co_await serve_port(in, std::move(peer), std::move(*stream), Buffer());
  }
  if (!port) {  // the direct port takes nothing else
    in.tcp_error(peer.target, "not meshed")->add();
    plain->abort();
    co_return;
  }
  if (is_impostor(in, peer, accepted.local)) co_return plain->abort();
  peer.passthrough = first == First::kTls;
  if (peer.passthrough) peer.sni = in.sni_label(hello.sni);
  co_await serve_port(in, std::move(peer), std::move(plain), std::move(initial));
}

}  // namespace tulle::proxy::inbound
