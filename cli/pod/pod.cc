#include "cli/pod/pod.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "cli/pod/caps.h"
#include "cli/pod/idmap.h"
#include "cli/pod/process.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

int32_t int_of(std::string_view bytes) {
  int32_t value = 0;
  if (bytes.size() >= sizeof value) std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

SetupError setup_error(Step step, Error e) {
  std::string remedy = remedy_for(step, e);
  return SetupError{step, std::move(e), std::move(remedy)};
}

SetupError setup_error(std::string_view payload) {
  if (payload.size() < 2 + sizeof(int32_t))
    return setup_error(Step::kUserNamespace, Error(Code::kInternal, "no reason given"));
  Error e(static_cast<Code>(payload[1]), std::string(payload.substr(2 + sizeof(int32_t))));
  e.sys = int_of(payload.substr(2));
  return setup_error(static_cast<Step>(payload[0]), std::move(e));
}

// Nothing for a message that is no event.
std::optional<PodEvent> event_of(Result<InitMessage> message) {
  if (!message) return PodEvent{PodEvent::kGone, 0, Fd()};
  const int value = int_of(message->payload);
  switch (static_cast<Event>(message->type)) {
    case Event::kStarted: return PodEvent{PodEvent::kStarted, 0, Fd()};
    case Event::kNotStarted: return PodEvent{PodEvent::kNotStarted, value, Fd()};
    case Event::kExited: return PodEvent{PodEvent::kExited, value, Fd()};
    case Event::kSocket:
      if (message->fds.empty()) return PodEvent{PodEvent::kSocket, value ? value : EMFILE, Fd()};
      return PodEvent{PodEvent::kSocket, 0, std::move(message->fds[0])};
    default: return std::nullopt;
  }
}

// Runs in the proxy's new process.
[[noreturn]] void exec_proxy(const ProxySpec& spec, int user_ns, int net_ns, int drained, pid_t parent) {
  auto die = [&](const char* what) {
    dprintf(spec.output, "tulle: proxy: %s: %s\n", what, std::strerror(errno));
    _exit(126);
  };
  ::setpgid(0, 0);  // a terminal's Ctrl-C is for the application; the proxy drains after it
  if (::setns(user_ns, CLONE_NEWUSER) != 0) die("user namespace");
  if (!keep_caps_over_exec(cap(CAP_SYS_ADMIN))) die("capabilities");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) _exit(126);

  rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  // Descriptors: 0 nothing, 1 and 2 the output, 3 the network namespace, 4 to say that it is drained; no other.
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  int high = ::fcntl(net_ns, F_DUPFD_CLOEXEC, 10);
  int output = ::fcntl(spec.output, F_DUPFD_CLOEXEC, 10);
  int high_drained = ::fcntl(drained, F_DUPFD_CLOEXEC, 10);
  if (null < 0 || high < 0 || output < 0 || high_drained < 0) die("descriptors");
  ::dup2(null, 0);
  ::dup2(output, 1);
  ::dup2(output, 2);
  ::dup2(high, 3);
  ::dup2(high_drained, 4);
  ::close_range(5, ~0u, 0);

  std::vector<std::string> arguments{spec.program};
  arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
  std::vector<std::string> environment = spec.environment;
  environment.push_back("TULLE_PROXY_POD_NETNS_FD=3");
  environment.push_back("TULLE_PROXY_POD_DRAINED_FD=4");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  auto argv = exec_array(arguments);
  auto envp = exec_array(environment);
  ::execve(argv[0], argv.data(), envp.data());
  dprintf(2, "tulle: proxy: %s: %s\n", argv[0], std::strerror(errno));
  _exit(127);
}

}  // namespace

std::string default_resolv_conf(std::string_view ns) {
  return cat("nameserver 127.0.0.1\nsearch ", ns,
             ".svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n");
}

std::string SetupError::to_string() const {
  return cat(step_name(step), ": ", error.reason, remedy.empty() ? "" : "; ", remedy);
}

std::expected<Pod, SetupError> Pod::create(const PodSpec& spec) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return std::unexpected(setup_error(Step::kUserNamespace, sys_error("socketpair", errno)));
  Pod pod;
  pod.init_socket_ = Fd(pair[0]);
  Fd theirs(pair[1]);
  InitSpec init{spec.command,    spec.environment,    spec.directory,  spec.resolv_conf,
                spec.host_ports, spec.share_terminal, ::geteuid() == 0};

  // The plain system call: all the namespaces at once, the others owned by the new user namespace.
  constexpr unsigned long kFlags = CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | SIGCHLD;
  pid_t pid = static_cast<pid_t>(syscall(SYS_clone, kFlags, nullptr, nullptr, nullptr, 0));
  if (pid < 0) return std::unexpected(setup_error(Step::kUserNamespace, sys_error("new namespaces", errno)));
  if (pid == 0) {
    ::close(pair[0]);
    run_init(init, theirs.get());
  }
  pod.init_pid_ = pid;
  theirs.reset();
  if (auto r = write_id_maps(pid); !r) return std::unexpected(setup_error(Step::kUserNamespace, std::move(r).error()));
  if (auto e = pod.set_up()) return std::unexpected(std::move(*e));
  return pod;
}

std::optional<SetupError> Pod::set_up() {
  auto sent = send_message(init_socket_.get(), static_cast<uint8_t>(Order::kMapped), "");
  if (!sent) return setup_error(Step::kUserNamespace, std::move(sent).error());
  while (true) {
    auto message = receive_message(init_socket_.get());
    if (!message) return setup_error(Step::kUserNamespace, std::move(message).error());
    switch (static_cast<Event>(message->type)) {
      case Event::kWarning: warnings_.push_back(setup_error(message->payload)); break;
      case Event::kFailed: return setup_error(message->payload);
      case Event::kReady:
        if (message->fds.size() < 2)
          return setup_error(Step::kNetwork, Error(Code::kExhausted, "no descriptors left (see ulimit -n)"));
        user_ns_ = std::move(message->fds[0]);
        net_ns_ = std::move(message->fds[1]);
        for (size_t i = 2; i < message->fds.size(); ++i) host_listeners_.push_back(std::move(message->fds[i]));
        return std::nullopt;
      default: break;
    }
  }
}

void Pod::swap(Pod& o) noexcept {
  std::swap(init_pid_, o.init_pid_);
  std::swap(proxy_pid_, o.proxy_pid_);
  std::swap(init_socket_, o.init_socket_);
  std::swap(user_ns_, o.user_ns_);
  std::swap(net_ns_, o.net_ns_);
  std::swap(proxy_fd_, o.proxy_fd_);
  std::swap(drained_, o.drained_);
  std::swap(host_listeners_, o.host_listeners_);
  std::swap(warnings_, o.warnings_);
}

Pod::Pod(Pod&& o) noexcept { swap(o); }
Pod& Pod::operator=(Pod&& o) noexcept {
  swap(o);
  return *this;
}

Pod::~Pod() {
  kill_application();
  if (proxy_pid_ > 0) {
    ::kill(proxy_pid_, SIGKILL);
    while (::waitpid(proxy_pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

Result<> Pod::start_proxy(const ProxySpec& spec) {
  if (proxy_pid_ > 0 && !reap_proxy()) return fail(Code::kInvalid, "the pod's proxy runs already");
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return fail(sys_error("pipe", errno));
  drained_ = Fd(pipe[0]);
  Fd theirs(pipe[1]);
  pid_t parent = ::getpid();
  pid_t pid = ::fork();
  if (pid < 0) return fail(sys_error("fork", errno));
  if (pid == 0) exec_proxy(spec, user_ns_.get(), net_ns_.get(), theirs.get(), parent);
  proxy_pid_ = pid;
  proxy_fd_ = Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by nature
  if (!proxy_fd_) return fail(sys_error("pidfd_open", errno));
  return {};
}

Result<> Pod::start_application() { return send_message(init_socket_.get(), static_cast<uint8_t>(Order::kStart), ""); }

Result<> Pod::signal_application(int signal) {
  return send_message(init_socket_.get(), static_cast<uint8_t>(Order::kSignal),
                      std::string(1, static_cast<char>(signal)));
}

void Pod::signal_proxy(int signal) {
  if (proxy_pid_ > 0) ::kill(proxy_pid_, signal);
}

void Pod::kill_application() {
  if (init_pid_ <= 0) return;
  ::kill(init_pid_, SIGKILL);
  while (::waitpid(init_pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  init_pid_ = -1;
}

Result<> Pod::ask_socket() { return send_message(init_socket_.get(), static_cast<uint8_t>(Order::kSocket), ""); }

PodEvent Pod::next_event() {
  while (true) {
    if (auto e = event_of(receive_message(init_socket_.get(), true))) return std::move(*e);
  }
}

std::optional<PodEvent> Pod::poll_event() {
  while (true) {
    auto message = receive_message(init_socket_.get(), false);
    if (!message && message.error().code == Code::kUnavailable) return std::nullopt;
    if (auto e = event_of(std::move(message))) return e;
  }
}

std::optional<int> Pod::reap_proxy() {
  int status;
  if (proxy_pid_ <= 0 || ::waitpid(proxy_pid_, &status, WNOHANG) != proxy_pid_) return std::nullopt;
  proxy_pid_ = -1;
  return status;
}

std::string_view step_name(Step step) {
  switch (step) {
    case Step::kUserNamespace: return "user namespaces";
    case Step::kFiles: return "mounts";
    case Step::kProc: return "/proc";
    case Step::kNetwork: return "pod network";
    case Step::kRules: return "nftables";
    case Step::kPorts: return "network settings";
    case Step::kDone: return "pod";
  }
  return "pod";
}

std::string remedy_for(Step step, const Error& e) {
  auto is = [](const char* path, std::string_view value) { return trim(read_small_file(path)) == value; };
  switch (step) {
    case Step::kUserNamespace:
    case Step::kFiles:
    case Step::kNetwork:
      if (is("/proc/sys/kernel/unprivileged_userns_clone", "0"))
        return "allow user namespaces with: sudo sysctl -w kernel.unprivileged_userns_clone=1, or run as root";
      if (is("/proc/sys/user/max_user_namespaces", "0") || e.sys == ENOSPC)
        return "raise the limit with: sudo sysctl -w user.max_user_namespaces=10000";
      if (is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"))
        return "AppArmor forbids it: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or run as root";
      if (e.sys == EPERM || e.sys == EACCES)
        return "a container or a security policy forbids it: allow user namespaces there (docker: --privileged, or "
               "--security-opt seccomp=unconfined with --cap-add SYS_ADMIN)";
      if (e.sys == EINVAL) return "the kernel is built without user namespaces (CONFIG_USER_NS)";
      return {};
    case Step::kProc:
      return "the application sees the host's /proc; in a container, start it with an uncovered /proc (docker: "
             "--security-opt systempaths=unconfined)";
    case Step::kRules:
      if (e.code == Code::kNotFound) return "install it: sudo apt install nftables";
      return "load the kernel's parts: sudo modprobe -a nf_tables nft_chain_nat nft_redir nft_reject_ipv4 nf_conntrack";
    case Step::kPorts: return "mount /proc/sys writable (containers: --security-opt systempaths=unconfined)";
    case Step::kDone: return {};
  }
  return {};
}

}  // namespace tulle::cli
