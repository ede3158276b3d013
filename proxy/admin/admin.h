// The admin server: /live /ready /metrics /proxy-log-level /env.json /shutdown over HTTP/1 and HTTP/2, plain or over
// the mesh's TLS, on the control thread (docs/admin.md lists paths and answers).
//
// "Local" clients may also change things (log level, shutdown). Local is a loopback address. In a rootless pod, where
// everybody on the machine shares its loopback, only the pod's own address is local, and only if the socket at the
// other end is held by the user that runs the proxy: what the application sends to itself goes through the proxy.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/log_throttle.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/observe/metrics.h"
#include "libs/rt/scope.h"
#include "libs/tls/context.h"

namespace tulle::proxy {

struct AdminClient {
  SocketAddr local, peer;
  const tls::Identity* identity = nullptr;  // when it came over the mesh's TLS with a certificate
  bool tls = false;
};

struct AdminOptions {
  SocketAddr listen;
  std::vector<std::pair<std::string, std::string>> environment;  // for /env.json
  bool shutdown_enabled = false;
  bool log_enabled = true;  // false: /proxy-log-level is 404
  std::optional<IpAddr> pod_ip;
  Duration detect_timeout = 1s;
  size_t max_connections = 256;  // one more, and the one that has been idle for longest ends
  Duration idle_timeout = 10s;   // between requests
  // Brings values up to date that are only read for a scrape. May be empty.
  std::function<void()> before_metrics;
  // The inbound policy for this port: nothing, or the status to refuse with (403, 404, 500). May be empty: all may.
  // Not asked for /live and /ready, which reveal nothing and are for whoever starts the proxy.
  std::function<rt::Task<std::optional<int>>(const AdminClient&)> authorize;
  // Starts the shutdown; false when it cannot. May be empty.
  std::function<bool()> on_shutdown;
};

class Admin {
 public:
  // Listens and serves. `registry` outlives this.
  static Result<std::unique_ptr<Admin>> start(rt::Reactor& reactor, AdminOptions options, observe::Registry& registry);
  ~Admin();

  // From now on /ready is 200, for good.
  void set_ready() { ready_ = true; }
  // With it mesh TLS is taken; before the first one a ClientHello closes the connection.
  void set_context(std::shared_ptr<const tls::Context> context) { context_ = std::move(context); }
  SocketAddr local() const { return listener_->local(); }
  bool is_local(const AdminClient& client) const;

 private:
  Admin(rt::Reactor& reactor, AdminOptions options, observe::Registry& registry,
        std::unique_ptr<net::Listener> listener);
  struct Reply;
  rt::Task<void> accept_forever();
  struct Connection;
  void make_room();
  void retire(Connection* c);
  rt::Task<void> serve(net::Accepted accepted, Connection& self);
  rt::Task<void> handle(const AdminClient& client, Connection& on, std::unique_ptr<httpio::ServerExchange> exchange);
  rt::Task<void> answer_to(const AdminClient& client, std::unique_ptr<httpio::ServerExchange> exchange);
  Reply answer(const AdminClient& client, std::string_view path, const http::RequestHead& request,
               std::string_view body);
  Reply metrics(const http::RequestHead& request);
  Reply log_level(const http::RequestHead& request, std::string_view body);
  Reply environment(const http::RequestHead& request) const;
  Reply shut_down() const;

  rt::Reactor& reactor_;
  AdminOptions options_;
  observe::Registry& registry_;
  std::unique_ptr<net::Listener> listener_;
  bool ready_ = false;
  std::shared_ptr<const tls::Context> context_;
  List<Connection> connections_;  // the one that has been idle for longest first, but for those with requests
  size_t open_ = 0;
  LogThrottle log_;
  rt::Running accepting_;
};

}  // namespace tulle::proxy
