// Making connections and taking them. All sockets are non-blocking, close-on-exec, TCP_NODELAY, SO_KEEPALIVE.
#pragma once

#include <coroutine>
#include <functional>
#include <memory>
#include <optional>

#include "libs/base/addr.h"
#include "libs/base/fd.h"
#include "libs/base/log_throttle.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/rt/reactor.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::net {

struct SocketOptions {
  std::optional<Duration> keepalive;     // idle time before probes; none: the system's
  std::optional<Duration> user_timeout;  // TCP_USER_TIMEOUT
};
void apply(int fd, const SocketOptions& options);

struct Accepted {
  Fd fd;
  SocketAddr local, peer;
  Accepted(Fd f, SocketAddr l, SocketAddr p) : fd(std::move(f)), local(l), peer(p) {}
};

// A listening socket. Out of descriptors or memory: it goes on after a pause, and counts.
class Listener final : private rt::FdHandler {
 public:
  // `reuse_port`: several workers share the port. Port 0: the kernel chooses; see local().
  static Result<std::unique_ptr<Listener>> bind(rt::Reactor& reactor, SocketAddr at, bool reuse_port = false,
                                                int backlog = 1024);
  // Takes a socket that already listens.
  static Result<std::unique_ptr<Listener>> adopt(rt::Reactor& reactor, Fd fd);
  ~Listener();

  // The next connection; fails only when the listener itself has failed.
  rt::Task<Result<Accepted>> accept();
  SocketAddr local() const { return local_; }
  // Connections that could not be taken (for the metric tulle_accept_errors_total).
  uint64_t errors() const { return errors_; }

 private:
  Listener(rt::Reactor& reactor, Fd fd, SocketAddr local);
  void on_ready(uint32_t) override;

  rt::Reactor& reactor_;
  Fd fd_;
  SocketAddr local_;
  rt::Signal ready_;
  bool may_accept_ = true;
  uint64_t errors_ = 0;
  LogThrottle log_;
};

// A Unix socket that listens at `path` (mode 0600), replacing a dead one. Accept gives peers without address.
Result<Fd> listen_unix(const std::string& path);
Result<Fd> connect_unix(const std::string& path);  // blocking-free: Unix connects are immediate

// An unconnected TCP socket of that family in this thread's network namespace.
Result<Fd> make_tcp_socket(bool v6);

struct ConnectOptions {
  std::optional<IpAddr> bind_ip;            // local address, any port
  std::function<Result<Fd>()> make_socket;  // instead of make_tcp_socket: a socket of another namespace
  SocketOptions socket;
};
struct Connected {
  Fd fd;
  SocketAddr local;
  Connected(Fd f, SocketAddr l) : fd(std::move(f)), local(l) {}
};
// Error: kConnect/kTimeout with Retry::kSafe, or what the system says.
rt::Task<Result<Connected>> connect(rt::Reactor& reactor, SocketAddr to, const ConnectOptions& options,
                                    TimePoint deadline);

// The address that the client of an intercepted connection asked for: SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST.
// Error: the connection was not redirected.
Result<SocketAddr> original_destination(int fd, bool v6);

}  // namespace tulle::net
