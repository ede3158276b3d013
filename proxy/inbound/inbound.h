// Inbound: what is sent to the workload. One per worker; outlives its connections.
//
//   accept.cc   a connection: mesh TLS? whose? which port's policy? what does it speak?
//   http.cc     one HTTP request: route → authorization → the application
//   tcp.cc      raw bytes: authorization, again whenever the policy changes
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "libs/httpio/client.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/observe/families.h"
#include "libs/observe/http_series.h"
#include "libs/observe/labels.h"
#include "libs/tls/identity.h"
#include "proxy/model/authorize.h"
#include "proxy/model/errors.h"
#include "proxy/model/server.h"
#include "proxy/worker/worker.h"

namespace tulle::proxy::inbound {

using PortWatch = WatchCache<uint16_t, PortInfo>::Handle;

// Who is on a connection, and where it goes.
struct Peer {
  SocketAddr addr;           // of the client
  SocketAddr target;         // the workload's address and the application's port
  bool tls = false;          // mesh TLS, terminated here
  bool passthrough = false;  // TLS for somebody else, not opened
  std::string sni;           // of a passed-through one, as metrics have it
  std::string identity;      // "" if it showed no certificate
  Client client() const {
    Client c;
    c.ip = addr.ip;
    c.tls = tls ? Client::Tls::kMesh : passthrough ? Client::Tls::kPassthrough : Client::Tls::kNone;
    c.identity = identity;
    return c;
  }
  observe::TlsState tls_state() const {
    if (tls) return observe::TlsState::mutual(identity);
    if (passthrough) return observe::TlsState::opaque(sni);
    return observe::TlsState::no_identity(addr.ip.is_loopback() && addr.ip == target.ip ? "loopback"
                                                                                        : "no_tls_from_remote");
  }
};

struct Inbound {
  explicit Inbound(Worker& w);
  Worker& worker;
  Serving serving;

  // The policy of a port: the control plane's, or the default where it has none. While it has said nothing: the default
  // for a port that nobody declared, as Linkerd has it; for a declared one a policy that allows nothing, since a Server
  // may guard it. Never null.
  ServerPolicyPtr policy(const PortWatch& watch, uint16_t port) const;
  // Waits for the first word about a port, at most the no-discovery time; to be called before policy() for a
  // connection.
  rt::Task<void> await_policy(const PortWatch& watch, uint16_t port);
  // Where a connection on one of our listeners was meant to go: the application's port; nothing: the direct port.
  std::optional<uint16_t> app_port(uint16_t served) const;
  // Connections to the application at the address that the client asked for.
  httpio::Client& app(SocketAddr target, httpio::Protocol protocol);
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect_app(SocketAddr target);
  // Dials of the application because a client was silent.
  SpeculativeDials& speculation(SocketAddr target) { return apps_[target].speculation; }
  // A connection to it is open that speaks HTTP: it does not speak first.
  bool speaks_http(SocketAddr target);
  observe::CounterRef speculative_dials, speculative_used;
  // What metrics call the server that a passed-through client asks for: its name, for as many as a workload may serve;
  // all others have one name, for clients may make up any number.
  std::string sni_label(const std::string& sni);
  observe::CounterRef http_error(Reason reason);
  observe::CounterRef tcp_error(const SocketAddr& target, std::string_view reason);

 private:
  bool declared(uint16_t port) const;
  ServerPolicyPtr default_policy_, default_opaque_, unanswered_;
  observe::CounterRef no_policy_defaulted_, no_policy_refused_;
  std::vector<PortWatch> eager_;
  struct App {
    std::unique_ptr<httpio::Client> http1, http2;
    SpeculativeDials speculation;
  };
  absl::flat_hash_map<SocketAddr, App> apps_;
  absl::flat_hash_set<std::string> snis_;
};

observe::ResourceRef resource(const wire::Metadata& m);
observe::ResourceRef server_resource(const ServerPolicy& policy, uint16_t port);

// Serves one accepted connection until it ends.
rt::Task<void> serve_connection(Inbound& inbound, net::Accepted accepted);

rt::Task<void> serve_http(Inbound& inbound, Peer peer, PortWatch& watch, httpio::Protocol protocol,
                          std::unique_ptr<net::Stream> client, Buffer initial);
// `app`: a connection to the application made already, or null.
rt::Task<void> serve_tcp(Inbound& inbound, Peer peer, PortWatch& watch, std::unique_ptr<net::Stream> client,
                         Buffer initial, std::unique_ptr<net::Stream> app = nullptr);

}  // namespace tulle::proxy::inbound
