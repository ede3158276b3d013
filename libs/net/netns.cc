#include "libs/net/netns.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace tulle::net {
namespace {

// Capabilities belong to threads; threads started later inherit none.
void drop_capabilities() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  syscall(SYS_capset, &header, none);
}

Fd tcp_socket() {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  int on = 1;
  if (fd) setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

Result<> bind_to(const Fd& fd, uint32_t address, uint16_t port, const char* what) {
  if (!fd) return fail(sys_error(what, errno));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(address);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return fail(sys_error(what, errno));
  return {};
}

Result<Fd> make_listener(uint32_t address, uint16_t port, int backlog, bool reuse_port, const char* what) {
  Fd fd = tcp_socket();
  int on = 1;
  if (fd) setsockopt(fd.get(), SOL_SOCKET, reuse_port ? SO_REUSEPORT : SO_REUSEADDR, &on, sizeof on);
  TULLE_TRY_VOID(bind_to(fd, address, port, what));
  if (::listen(fd.get(), backlog) != 0) return fail(sys_error(what, errno));
  return fd;
}

Result<Fd> make_dns_udp(uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  int on = 1;
  if (fd) setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  TULLE_TRY_VOID(bind_to(fd, INADDR_ANY, port, "UDP socket for DNS in the pod"));
  return fd;
}

}  // namespace

Result<std::unique_ptr<PodNetns>> PodNetns::enter(int netns_fd) {
  std::unique_ptr<PodNetns> self(new PodNetns);
  self->stock_.reserve(kStock);
  // The helper must never run a signal handler, nor take a signal from a thread that waits for it.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  self->helper_ = std::thread([p = self.get(), netns_fd] { p->run(netns_fd); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);

  std::unique_lock lock(self->mutex_);
  self->from_helper_.wait(lock, [&] { return self->state_ != State::kStarting; });
  if (self->state_ == State::kRefused) {
    Error e = sys_error("entering the pod's network namespace", self->errno_);
    if (self->errno_ == EPERM) e.reason += " (needs CAP_SYS_ADMIN in the user namespace that owns it)";
    lock.unlock();
    return fail(std::move(e));
  }
  drop_capabilities();
  lock.unlock();
  return self;
}

PodNetns::~PodNetns() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  to_helper_.notify_one();
  if (helper_.joinable()) helper_.join();
}

void PodNetns::run(int netns_fd) {
  pthread_setname_np(pthread_self(), "pod-netns");
  int err = ::setns(netns_fd, CLONE_NEWNET) == 0 ? 0 : errno;
  drop_capabilities();
  std::unique_lock lock(mutex_);
  state_ = err ? State::kRefused : State::kInside;
  errno_ = err;
  if (err) {
    from_helper_.notify_all();
    return;
  }
  refill(lock);
  while (true) {
    from_helper_.notify_all();
    to_helper_.wait(lock, [this] { return stop_ || wanted_ || (job_ && !job_done_); });
    if (stop_) return;
    if (job_ && !job_done_) {
      auto* job = job_;
      lock.unlock();
      (*job)();
      lock.lock();
      job_done_ = true;
    }
    if (wanted_) refill(lock);
  }
}

void PodNetns::refill(std::unique_lock<std::mutex>& lock) {
  wanted_ = false;
  errno_ = 0;
  while (stock_.size() < kStock && errno_ == 0) {
    lock.unlock();
    Fd fd = tcp_socket();
    int err = fd ? 0 : errno;
    lock.lock();
    if (fd) {
      stock_.push_back(std::move(fd));
      if (stock_.size() == 1) from_helper_.notify_all();
    } else {
      errno_ = err;
    }
  }
  ++rounds_;
}

Result<Fd> PodNetns::take_socket() {
  std::unique_lock lock(mutex_);
  for (uint64_t tries_end = rounds_ + 2; stock_.empty();) {
    if (rounds_ >= tries_end && errno_ != 0) return fail(sys_error("socket in the pod's network namespace", errno_));
    wanted_ = true;
    to_helper_.notify_one();
    uint64_t seen = rounds_;
    from_helper_.wait(lock, [&] { return !stock_.empty() || rounds_ != seen; });
  }
  Fd fd = std::move(stock_.back());
  stock_.pop_back();
  if (stock_.size() <= kStock / 2 && !wanted_) {
    wanted_ = true;
    to_helper_.notify_one();
  }
  return fd;
}

void PodNetns::on_helper(const std::function<void()>& job) {
  std::unique_lock lock(mutex_);
  from_helper_.wait(lock, [this] { return job_ == nullptr; });
  job_ = &job;
  job_done_ = false;
  to_helper_.notify_one();
  from_helper_.wait(lock, [this] { return job_done_; });
  job_ = nullptr;
  from_helper_.notify_all();
}

Result<Fd> PodNetns::outbound_listener(uint16_t port, int backlog) {
  Result<Fd> made;
  on_helper([&] { made = make_listener(INADDR_LOOPBACK, port, backlog, true, "outbound listener in the pod"); });
  return made;
}

Result<PodNetns::DnsSockets> PodNetns::dns_sockets(uint16_t port) {
  Result<Fd> udp, tcp;
  on_helper([&] {
    udp = make_dns_udp(port);
    tcp = make_listener(INADDR_ANY, port, 128, false, "TCP socket for DNS in the pod");
  });
  if (!udp) return fail(std::move(udp).error());
  if (!tcp) return fail(std::move(tcp).error());
  return DnsSockets{std::move(*udp), std::move(*tcp)};
}

}  // namespace tulle::net
