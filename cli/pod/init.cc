#include "cli/pod/init.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/pod/caps.h"
#include "cli/pod/mounts.h"
#include "cli/pod/network.h"
#include "cli/pod/process.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

constexpr size_t kMaxMessage = 4096;
constexpr size_t kMaxFds = kMaxHostPorts + 2;

// What real root's programs need to serve, switch user and own files; nothing that reaches the pod's network rules,
// mounts or other processes.
constexpr CapMask kRootApplication = cap(CAP_CHOWN) | cap(CAP_DAC_OVERRIDE) | cap(CAP_FOWNER) | cap(CAP_FSETID) |
                                     cap(CAP_KILL) | cap(CAP_SETGID) | cap(CAP_SETUID) | cap(CAP_SETPCAP) |
                                     cap(CAP_NET_BIND_SERVICE) | cap(CAP_NET_RAW) | cap(CAP_SYS_CHROOT) |
                                     cap(CAP_MKNOD) | cap(CAP_AUDIT_WRITE) | cap(CAP_SETFCAP);

std::string with_int(int32_t value) { return std::string(reinterpret_cast<char*>(&value), sizeof value); }

// Closes what belongs to `tulle run` and would have been closed by an exec.
void close_inherited(int keep) {
  for (int fd = 3; fd < 1024; ++fd) {
    int flags = ::fcntl(fd, F_GETFD);
    if (fd != keep && flags >= 0 && (flags & FD_CLOEXEC)) ::close(fd);
  }
}

class Init {
 public:
  Init(const InitSpec& spec, int socket) : spec_(spec), socket_(socket) {}

  [[noreturn]] void run() {
    wait_for(Order::kMapped);
    set_up();
    wait_for(Order::kStart);
    start();
    loop();
  }

 private:
  void report(Event event, std::string_view payload, const std::vector<int>& fds = {}) {
    if (!send_message(socket_, static_cast<uint8_t>(event), payload, fds)) _exit(1);
  }
  void report(Event event, Step step, const Error& e) {
    report(event, cat(static_cast<char>(step), static_cast<char>(e.code), with_int(e.sys),
                      std::string_view(e.reason).substr(0, kMaxMessage - 64)));
  }
  void need(Step step, Result<> r) {
    if (r) return;
    report(Event::kFailed, step, r.error());
    _exit(1);
  }
  void like(Step step, Result<> r) {
    if (!r) report(Event::kWarning, step, r.error());
  }

  // Blocks; `tulle run` going away ends the pod. Signals for an application that does not run yet are dropped.
  void wait_for(Order order) {
    while (true) {
      auto message = receive_message(socket_);
      if (!message) _exit(1);
      if (message->type == static_cast<uint8_t>(order)) return;
    }
  }

  void set_up() {
    need(Step::kUserNamespace, detach_mounts());
    need(Step::kFiles, mount_name_resolution(spec_.resolv_conf, resolv_by_environment_));
    like(Step::kProc, mount_proc());
    need(Step::kNetwork, bring_loopback_up());
    auto hosts = listen_for_host(spec_.host_ports);
    if (!hosts) need(Step::kNetwork, fail(std::move(hosts).error()));
    need(Step::kRules, load_redirect_rules(*hosts));
    need(Step::kPorts, allow_low_ports());
    like(Step::kPorts, shorten_conntrack_time_wait());
    Fd user(::open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC)), net(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!user || !net) need(Step::kNetwork, fail(sys_error("opening the pod's namespaces", errno)));
    std::vector<int> fds{user.get(), net.get()};
    for (const HostPort& h : *hosts) fds.push_back(h.listener.get());
    report(Event::kReady, "", fds);
  }

  void start() {
    // The application runs as the same user: it must not be able to trace its init.
    prctl(PR_SET_DUMPABLE, 0);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, nullptr);
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    signals_ = Fd(::signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK));

    int pipe[2];
    if (!signals_ || ::pipe2(pipe, O_CLOEXEC) != 0) _exit(1);
    Fd failed_read(pipe[0]), failed_write(pipe[1]);
    app_ = ::fork();
    if (app_ < 0) report(Event::kNotStarted, with_int(errno)), _exit(1);
    if (app_ == 0) exec_application(failed_write.get());
    failed_write.reset();
    // Init needs nothing more but to signal a process that has switched user.
    if (!keep_caps(spec_.as_root ? cap(CAP_KILL) : 0)) _exit(1);
    int err = 0;
    if (::read(failed_read.get(), &err, sizeof err) == sizeof err) report(Event::kNotStarted, with_int(err)), _exit(1);
    report(Event::kStarted, "");
  }

  [[noreturn]] void exec_application(int failed) {
    if (!spec_.share_terminal) ::setpgid(0, 0);
    std::vector<std::string> environment = spec_.environment;
    if (resolv_by_environment_) add_resolver_environment(environment);
    bool ok;
    if (spec_.as_root) {
      ok = limit_caps(kRootApplication).has_value();
    } else {
      ok = limit_caps(0) && keep_caps(0) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    }
    if (ok && !spec_.directory.empty()) ok = ::chdir(spec_.directory.c_str()) == 0;
    if (ok) {
      ::signal(SIGPIPE, SIG_DFL);
      sigset_t none;
      sigemptyset(&none);
      sigprocmask(SIG_SETMASK, &none, nullptr);
      auto argv = exec_array(spec_.command);
      auto envp = exec_array(environment);
      environ = envp.data();  // PATH is looked up in the application's environment
      ::execvp(argv[0], argv.data());
    }
    int err = errno;
    (void)!::write(failed, &err, sizeof err);
    _exit(127);
  }

  // What resolv.conf would have said, for the C library.
  void add_resolver_environment(std::vector<std::string>& environment) const {
    for (std::string_view line : split(spec_.resolv_conf, '\n')) {
      if (line.starts_with("search ")) environment.push_back(cat("LOCALDOMAIN=", line.substr(7)));
      if (line.starts_with("options ")) environment.push_back(cat("RES_OPTIONS=", line.substr(8)));
    }
  }

  [[noreturn]] void loop() {
    pollfd wait[2] = {{socket_, POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    while (true) {
      if (::poll(wait, 2, -1) < 0 && errno != EINTR) _exit(1);
      if (wait[1].revents) reap();
      if (wait[0].revents) obey();
    }
  }

  void reap() {
    signalfd_siginfo ignored;
    while (::read(signals_.get(), &ignored, sizeof ignored) > 0) {
    }
    int status;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != app_) continue;
      report(Event::kExited, with_int(status));
      _exit(0);
    }
  }

  void obey() {
    auto message = receive_message(socket_);
    if (!message) _exit(1);
    switch (static_cast<Order>(message->type)) {
      case Order::kSignal:
        if (message->payload.size() == 1) ::kill(app_, static_cast<unsigned char>(message->payload[0]));
        break;
      case Order::kSocket: {
        Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (fd) report(Event::kSocket, "", {fd.get()});
        else report(Event::kSocket, with_int(errno));
        break;
      }
      default: break;
    }
  }

  const InitSpec& spec_;
  int socket_;
  bool resolv_by_environment_ = false;
  Fd signals_;
  pid_t app_ = -1;
};

}  // namespace

Result<> send_message(int socket, uint8_t type, std::string_view payload, const std::vector<int>& fds) {
  iovec parts[2] = {{&type, 1}, {const_cast<char*>(payload.data()), payload.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = parts;
  m.msg_iovlen = 2;
  if (!fds.empty() && fds.size() <= kMaxFds) {
    const size_t size = fds.size() * sizeof(int);
    m.msg_control = control;
    m.msg_controllen = CMSG_SPACE(size);
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(c), fds.data(), size);
  }
  while (::sendmsg(socket, &m, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return fail(sys_error("message to or from the pod's init", errno));
  }
  return {};
}

Result<InitMessage> receive_message(int socket, bool wait) {
  char bytes[kMaxMessage];
  iovec part{bytes, sizeof bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))];
  msghdr m{};
  m.msg_iov = &part;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  ssize_t n;
  while ((n = ::recvmsg(socket, &m, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT))) < 0 && errno == EINTR) {
  }
  if (n < 0 && errno == EAGAIN) return fail(Code::kUnavailable, "no message from the pod's init");
  if (n < 0 && errno != ECONNRESET) return fail(sys_error("message to or from the pod's init", errno));
  if (n <= 0) return fail(Code::kClosed, "the pod's init is gone");
  InitMessage message;
  message.type = static_cast<uint8_t>(bytes[0]);
  message.payload.assign(bytes + 1, static_cast<size_t>(n - 1));
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c && c->cmsg_type == SCM_RIGHTS) {
    int fds[kMaxFds];
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    std::memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    for (size_t i = 0; i < count; ++i) message.fds.emplace_back(fds[i]);
  }
  return message;
}

void run_init(const InitSpec& spec, int socket) {
  prctl(PR_SET_NAME, "tulle-init");
  // `tulle run` may have ended before this took effect; then reading from the socket says so.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close_inherited(socket);
  Init(spec, socket).run();
}

}  // namespace tulle::cli
