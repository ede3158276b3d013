#include "libs/net/socket.h"

#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "libs/base/strings.h"
#include "libs/rt/signal.h"

namespace tulle::net {
namespace {

void set_int(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

SocketAddr local_of(int fd) {
  sockaddr_storage s;
  socklen_t n = sizeof s;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&s), &n) != 0) return {};
  return SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&s), n).value_or(SocketAddr{});
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.size() >= sizeof a.sun_path)
    return fail(Code::kInvalid,
                cat("socket path ", quoted(path), " is too long: at most ", sizeof a.sun_path - 1, " bytes"));
  std::memcpy(a.sun_path, path.data(), path.size());
  return a;
}

}  // namespace

void apply(int fd, const SocketOptions& options) {
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  if (options.keepalive)
    set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, std::max<int>(1, static_cast<int>(*options.keepalive / 1s)));
  if (options.user_timeout) set_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(*options.user_timeout / 1ms));
}

Result<Fd> make_tcp_socket(bool v6) {
  Fd fd(socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return fail(sys_error("socket", errno));
  return fd;
}

// --- Listener

Result<std::unique_ptr<Listener>> Listener::bind(rt::Reactor& reactor, SocketAddr at, bool reuse_port, int backlog) {
  TULLE_TRY(Fd fd, make_tcp_socket(!at.ip.is_v4()));
  set_int(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (reuse_port) set_int(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (!at.ip.is_v4()) set_int(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, 1);
  sockaddr_storage s;
  socklen_t n = at.to_sockaddr(s);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&s), n) != 0)
    return fail(sys_error(cat("bind ", at.to_string()), errno));
  if (::listen(fd.get(), backlog) != 0) return fail(sys_error(cat("listen ", at.to_string()), errno));
  return adopt(reactor, std::move(fd));
}

Result<std::unique_ptr<Listener>> Listener::adopt(rt::Reactor& reactor, Fd fd) {
  SocketAddr local = local_of(fd.get());
  std::unique_ptr<Listener> listener(new Listener(reactor, std::move(fd), local));
  TULLE_TRY_VOID(reactor.watch(listener->fd_.get(), *listener));
  return listener;
}

Listener::Listener(rt::Reactor& reactor, Fd fd, SocketAddr local)
    : reactor_(reactor), fd_(std::move(fd)), local_(local), ready_(reactor) {}

Listener::~Listener() { reactor_.forget(fd_.get(), *this); }

void Listener::on_ready(uint32_t) {
  may_accept_ = true;
  ready_.notify();
}

rt::Task<Result<Accepted>> Listener::accept() {
  for (;;) {
    while (!may_accept_) co_await ready_.wait();
    sockaddr_storage s;
    socklen_t n = sizeof s;
    Fd fd(accept4(fd_.get(), reinterpret_cast<sockaddr*>(&s), &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd) {
      SocketAddr local = local_of(fd.get());
      co_return Accepted(std::move(fd), local,
                         SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&s), n).value_or(SocketAddr{}));
    }
    int err = errno;
    if (err == EAGAIN) {
      may_accept_ = false;
    } else if (err == EBADF || err == EINVAL || err == ENOTSOCK) {
      co_return fail(sys_error("accept", err));
    } else if (err == EMFILE || err == ENFILE || err == ENOBUFS || err == ENOMEM) {
      // The connection stays in the backlog; pausing keeps us from spinning on it.
      ++errors_;
      log_.warn(reactor_.now(), "cannot accept", 0,
                {{"listener", local_.to_string()}, {"error", sys_error("accept", err).reason}});
      co_await rt::sleep_for(reactor_, 10ms);
    }  // else: that one connection is gone (ECONNABORTED and the like); take the next
  }
}

// --- connecting

namespace {

// Waits until a connect has ended, well or not.
class Connecting final : private rt::FdHandler {
 public:
  Connecting(rt::Reactor& reactor, int fd) : reactor_(reactor), fd_(fd), done_(reactor) {}
  ~Connecting() { reactor_.forget(fd_, *this); }
  Result<> watch() { return reactor_.watch(fd_, *this); }
  rt::Task<bool> ended(TimePoint deadline) {
    while (!ready_)
      if (!co_await done_.wait_until(deadline)) co_return false;
    co_return true;
  }

 private:
  void on_ready(uint32_t events) override {
    if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) return;
    ready_ = true;
    done_.notify();
  }
  rt::Reactor& reactor_;
  int fd_;
  rt::Signal done_;
  bool ready_ = false;
};

Error connect_error(SocketAddr to, int err) {
  Error e = sys_error(cat("connect ", to.to_string()), err, Side::kPeer);
  if (e.code == Code::kReset || e.code == Code::kIo) e.code = Code::kConnect;
  e.retry = Retry::kSafe;
  return e;
}

}  // namespace

rt::Task<Result<Connected>> connect(rt::Reactor& reactor, SocketAddr to, const ConnectOptions& options,
                                    TimePoint deadline) {
  auto made = options.make_socket ? options.make_socket() : make_tcp_socket(!to.ip.is_v4());
  if (!made) co_return fail(std::move(made).error());
  Fd fd = std::move(*made);
  apply(fd.get(), options.socket);
  if (options.bind_ip) {
    // The port is chosen at connect time, so that local ports are not used up by idle binds.
    set_int(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    sockaddr_storage s;
    socklen_t n = SocketAddr(*options.bind_ip, 0).to_sockaddr(s);
    if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&s), n) != 0)
      co_return fail(sys_error(cat("bind ", options.bind_ip->to_string()), errno));
  }
  sockaddr_storage s;
  socklen_t n = to.to_sockaddr(s);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&s), n) != 0) {
    if (errno != EINPROGRESS) co_return fail(connect_error(to, errno));
    Connecting connecting(reactor, fd.get());
    if (auto w = connecting.watch(); !w) co_return fail(std::move(w).error());
    if (!co_await connecting.ended(deadline))
      co_return fail(Code::kTimeout, cat("connect ", to.to_string(), ": timed out"), Side::kPeer, Retry::kSafe);
    int err = 0;
    socklen_t size = sizeof err;
    getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &err, &size);
    if (err) co_return fail(connect_error(to, err));
  }
  SocketAddr local = local_of(fd.get());
  co_return Connected(std::move(fd), local);
}

// --- Unix sockets

Result<Fd> connect_unix(const std::string& path) {
  TULLE_TRY(sockaddr_un a, unix_address(path));
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(sys_error("socket", errno));
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) {
    Error e = sys_error(cat("connect ", path), errno, Side::kPeer);
    if (e.sys == ENOENT) e.code = Code::kConnect;
    return fail(std::move(e));
  }
  return fd;
}

Result<Fd> listen_unix(const std::string& path) {
  TULLE_TRY(sockaddr_un a, unix_address(path));
  if (auto alive = connect_unix(path); alive)
    return fail(Code::kInvalid, cat(path, ": another process already serves this socket"));
  ::unlink(path.c_str());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return fail(sys_error("socket", errno));
  mode_t before = umask(0177);
  int bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a);
  int err = errno;
  umask(before);
  if (bound != 0) return fail(sys_error(cat("bind ", path), err));
  if (::listen(fd.get(), 128) != 0) return fail(sys_error(cat("listen ", path), errno));
  return fd;
}

Result<SocketAddr> original_destination(int fd, bool v6) {
  sockaddr_storage s{};
  socklen_t n = sizeof s;
  int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
  constexpr int kIp6tSoOriginalDst = 80;  // linux/netfilter_ipv6/ip6_tables.h, which clashes with netinet/in.h
  if (getsockopt(fd, level, v6 ? kIp6tSoOriginalDst : SO_ORIGINAL_DST, &s, &n) != 0)
    return fail(sys_error("original destination", errno));
  return SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&s), n);
}

}  // namespace tulle::net
