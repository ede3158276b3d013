#include "cli/run/session.h"

#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>

#include "cli/pod/process.h"
#include "cli/run/commands.h"
#include "cli/run/listening.h"
#include "libs/base/strings.h"
#include "libs/rt/combine.h"

namespace tulle::cli {
namespace {

constexpr Duration kWithoutMesh = 5s;  // how long to wait for a mesh of which nothing is there
constexpr Duration kControlTimeout = 5s;
constexpr Duration kWithdrawTimeout = 2s;
constexpr Duration kProxyEnd = 10s;
constexpr int kProxyAttempts = 5;  // in a row, none of which became ready
constexpr size_t kMaxRefused = 64;
constexpr size_t kMaxProbeAnswer = 1 << 20;
constexpr int kBadConfiguration = 64;  // the proxy's exit code

void note(std::string_view text) { dprintf(2, "tulle: %.*s\n", static_cast<int>(text.size()), text.data()); }

// Whether this user could listen there now. Anything but "in use" is left for the proxy to say.
bool can_bind(const IpAddr& ip, uint16_t port) {
  sockaddr_storage a{};
  socklen_t size = SocketAddr(ip, port).to_sockaddr(a);
  Fd fd(::socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return ::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size) == 0 || errno != EADDRINUSE;
}

uint16_t port_free_at(const IpAddr& ip) {
  sockaddr_storage a{};
  socklen_t size = SocketAddr(ip, 0).to_sockaddr(a);
  Fd fd(::socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size) != 0) return 0;
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size);
  auto at = SocketAddr::from_sockaddr(reinterpret_cast<sockaddr*>(&a), size);
  return at ? at->port : 0;
}

rt::Task<bool> wait_for(FdWatch& watch) {
  co_await watch.readable();
  co_return true;
}

}  // namespace

std::vector<int> session_signals() { return {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH}; }

Session::Session(rt::Reactor& reactor, Pod& pod, Setting setting)
    : reactor_(reactor),
      pod_(pod),
      options_(*setting.options),
      setting_(std::move(setting)),
      changed_(reactor),
      link_(reactor, pod, changed_),
      began_(reactor.now()),
      scope_(reactor) {}

rt::Task<int> Session::run() {
  scope_.spawn(watch_signals());
  if (auto r = start_forwarding(); !r) give_up(r.error().reason);
  scope_.spawn(keep_registered());
  scope_.spawn(keep_proxy());
  while (!proxy_ready_ && !failure_ && !stop_signal_) co_await changed_.wait();
  if (!failure_ && !stop_signal_) {
    if (auto r = pod_.start_application(); !r) give_up(r.error().reason);
    while (link_.app() == App::kNotYet && !failure_) co_await changed_.wait();
  }
  if (link_.app() == App::kRunning) {
    scope_.spawn(watch_readiness());
    scope_.spawn(keep_published());
    while (!link_.app_over() && !stop_signal_ && !failure_) co_await changed_.wait();
    if (!link_.app_over()) co_await stop_gently();
    else co_await withdraw(reactor_.now() + kWithdrawTimeout);
  }
  co_await end_proxy(reactor_.now() + kProxyEnd);
  co_return exit_code();
}

int Session::exit_code() const {
  if (link_.app() == App::kEnded) return shell_status(link_.value());
  if (link_.app() == App::kCannotStart) {
    note(cat(options_.command[0], ": ", std::strerror(link_.value())));
    return link_.value() == ENOENT ? kExitNoSuchCommand : kExitCannotStart;
  }
  if (failure_) {
    note(*failure_);
    return kExitOwnFailure;
  }
  return 128 + stop_signal_;
}

void Session::give_up(std::string why) {
  if (!failure_) failure_ = std::move(why);
  changed_.notify();
}

// ---- Signals

rt::Task<void> Session::watch_signals() {
  FdWatch watch(reactor_, setting_.signals);
  while (true) {
    co_await watch.readable();
    signalfd_siginfo info;
    while (::read(setting_.signals, &info, sizeof info) == sizeof info)
      take_signal(static_cast<int>(info.ssi_signo), info.ssi_code == SI_KERNEL && setting_.share_terminal);
  }
}

// What the terminal sends, the application got by itself.
void Session::take_signal(int number, bool from_terminal) {
  const bool running = link_.app() == App::kRunning;
  const bool asks_to_end = number == SIGTERM || number == SIGINT || (number == SIGHUP && (from_terminal || !running)) ||
                           (number == SIGQUIT && !running);
  if (running && !stop_signal_ && (!asks_to_end || (from_terminal && number == SIGINT))) {
    if (!from_terminal) (void)pod_.signal_application(number);
    return;
  }
  if (!asks_to_end) return;
  if (stop_signal_ || link_.app_over()) {  // asked again: at once
    stop_now_ = true;
    pod_.kill_application();
    pod_.signal_proxy(SIGKILL);
  }
  if (!stop_signal_) stop_signal_ = number;
  changed_.notify();
}

// ---- Ports of the host and of the pod

Result<> Session::start_forwarding() {
  std::vector<Fd> listeners = pod_.take_host_listeners();
  for (size_t i = 0; i < listeners.size(); ++i) {
    TULLE_TRY(auto listener, net::Listener::adopt(reactor_, std::move(listeners[i])));
    SocketAddr host(IpAddr::loopback(), options_.host_ports[i]);
    scope_.spawn(forward(reactor_, std::move(listener), tcp_connector(reactor_, host, 2s)));
  }
  for (const Expose& e : options_.exposes) {
    auto listener = net::Listener::bind(reactor_, e.at);
    if (!listener) return fail(std::move(listener).error().with(cat("--expose ", e.at.to_string())));
    if (e.at.port == 0)
      note(cat("--expose: ", (*listener)->local().to_string(), " reaches port ", e.pod_port, " of the pod"));
    scope_.spawn(forward(reactor_, std::move(*listener), link_.connector(e.pod_port)));
  }
  return {};
}

// ---- The control plane

rt::Task<Result<HttpAnswer>> Session::control(std::string method, std::string path, std::string body,
                                              Duration timeout) {
  co_return co_await http_call(reactor_, unix_connector(reactor_, setting_.control_socket), std::move(method),
                               std::move(path), std::move(body), reactor_.now() + timeout);
}

rt::Task<Result<Registration>> Session::register_once() {
  asked_ready_ = want_ready_;
  std::string body = registration_request(options_, ::getpid(), registration_ ? &*registration_ : nullptr, want_ready_,
                                          refused_, served_wishes_);
  TULLE_CO_TRY(HttpAnswer answer, co_await control("POST", "/v1/workloads", std::move(body), kControlTimeout));
  if (answer.status / 100 == 2) co_return parse_registration(answer.body);
  Code code = answer.status / 100 == 4 ? Code::kInvalid : Code::kUnavailable;
  co_return fail(code, cat("the control plane refused to register: ", error_of(answer.body)));
}

rt::Task<void> Session::unregister(std::string id) {
  (void)co_await control("DELETE", cat("/v1/workloads/", id), "", kControlTimeout);
}

// The address and its ports are free for the proxy; else says so for the next registration.
bool Session::can_be_served(const Registration& r) {
  if (!can_bind(r.address, 4191) || !can_bind(r.address, 4143)) {
    refused_.push_back(r.address.to_string());
    if (refused_.size() > kMaxRefused)
      give_up(
          "ports 4191 and 4143 are in use on every address that was tried: does a program listen there on 0.0.0.0?");
    return false;
  }
  bool free = true;
  for (const ServedPort& p : r.ports) {
    if (can_bind(r.address, p.served)) continue;
    if (served_wishes_.contains(p.port) && served_wishes_[p.port] != p.served) continue;  // the wish was not heard
    served_wishes_[p.port] = port_free_at(r.address);
    free = false;
  }
  return free;
}

rt::Task<void> Session::keep_registered() {
  while (true) {
    auto r = co_await register_once();
    if (!r) {
      if (!registration_ && (r.error().code == Code::kInvalid || r.error().code == Code::kDenied))
        co_return give_up(r.error().reason);
      say_waiting(r.error());
      if (failure_) co_return;
    } else if (registration_ ? r->address != registration_->address : !can_be_served(*r)) {
      co_await unregister(r->id);
      if (failure_) co_return;
      if (!registration_) continue;
    } else {
      proxy_outdated_ = registration_ && r->control_addresses() != registration_->control_addresses();
      if (!registration_)
        for (const std::string& w : r->warnings) note(w);
      registration_ = std::move(*r);
      changed_.notify();
      if (proxy_outdated_) pod_.signal_proxy(SIGTERM);
      Error end = co_await http_hold(reactor_, unix_connector(reactor_, setting_.control_socket),
                                     cat("/v1/workloads/", registration_->id, "/hold"), [this] {
                                       registered_ = true;
                                       published_ = asked_ready_;
                                       changed_.notify();
                                     });
      registered_ = published_ = false;
      changed_.notify();
    }
    co_await rt::sleep_for(reactor_, 150ms + std::chrono::milliseconds(reactor_.rng().below(100)));
  }
}

void Session::say_waiting(const Error& e) {
  if (registration_) return;  // the pod runs as it is
  const bool nothing_there = ::access(setting_.control_socket.c_str(), F_OK) != 0;
  if (nothing_there && reactor_.now() - began_ > kWithoutMesh)
    return give_up(cat("mesh ", options_.mesh, " is not up (no ", setting_.control_socket,
                       "): start it with `tulle up --mesh ", options_.mesh, "`"));
  if (said_waiting_ || nothing_there) return;
  said_waiting_ = true;
  note(cat("waiting for the control plane of mesh ", options_.mesh, ": ", e.reason));
}

// ---- The proxy

rt::Task<void> Session::keep_proxy() {
  while (!registration_) co_await changed_.wait();
  Duration pause = 100ms;
  for (int failures = 0; proxy_wanted_;) {
    ProxySpec spec{
        setting_.proxy_program, {}, proxy_environment(*registration_, setting_.environment), setting_.proxy_output};
    proxy_outdated_ = false;
    if (auto r = pod_.start_proxy(spec); !r) co_return give_up(cat("the proxy cannot be started: ", r.error().reason));
    proxy_running_ = true;
    TimePoint started = reactor_.now();
    {
      FdWatch ended(reactor_, pod_.proxy_fd());
      rt::Running polling(reactor_, poll_proxy());
      co_await ended.readable();
    }
    const int status = shell_status(pod_.reap_proxy().value_or(0));
    failures = proxy_ready_ ? 0 : failures + 1;
    proxy_running_ = proxy_ready_ = false;
    changed_.notify();
    if (!proxy_wanted_) co_return;
    if (proxy_outdated_) continue;
    if (failures > 0 && (status == kBadConfiguration || failures >= kProxyAttempts))
      co_return give_up(cat("the proxy ended with status ", status, " before it was ready; what it said is above"));
    note(cat("the proxy ended with status ", status, "; starting it again"));
    pause = reactor_.now() - started > 10s ? 100ms : std::min<Duration>(2 * pause, 5s);
    co_await rt::sleep_for(reactor_, pause);
  }
}

rt::Task<void> Session::poll_proxy() {
  const SocketAddr admin(registration_->address, 4191);
  for (Duration pause = 2ms;; pause = std::min<Duration>(2 * pause, 50ms)) {
    auto answer =
        co_await http_call(reactor_, tcp_connector(reactor_, admin, 1s), "GET", "/ready", "", reactor_.now() + 2s);
    if (answer && answer->status == 200) break;
    co_await rt::sleep_for(reactor_, pause);
  }
  proxy_ready_ = true;
  changed_.notify();
}

rt::Task<void> Session::end_proxy(TimePoint deadline) {
  proxy_wanted_ = false;
  pod_.signal_proxy(SIGTERM);
  while (proxy_running_ && reactor_.now() < deadline) co_await changed_.wait_until(deadline);
  pod_.signal_proxy(SIGKILL);
}

// ---- Readiness of the application

rt::Task<bool> Session::probe() {
  if (options_.ready_path.empty()) {
    const std::string net = cat("/proc/", pod_.init_pid(), "/net/");
    std::string tcp = read_small_file(net + "tcp", 4 << 20), tcp6 = read_small_file(net + "tcp6", 4 << 20);
    for (const NamedPort& p : options_.ports)
      if (!listens_on(tcp, tcp6, p.number)) co_return false;
    co_return true;
  }
  auto answer = co_await http_call(reactor_, link_.connector(options_.ports[0].number), "GET", options_.ready_path, "",
                                   reactor_.now() + 1s, kMaxProbeAnswer);
  co_return answer && answer->status >= 200 && answer->status < 400;
}

rt::Task<void> Session::watch_readiness() {
  constexpr int kFailuresToWithdraw = 3;
  const TimePoint late = reactor_.now() + 10s;
  bool said = false;
  Duration pause = 5ms;
  for (int failures = 0; !stop_signal_;) {
    bool ok = co_await probe();
    if (stop_signal_ || link_.app_over()) co_return;
    failures = ok ? 0 : failures + 1;
    if (ok ? !want_ready_ : want_ready_ && failures >= kFailuresToWithdraw) {
      want_ready_ = ok;
      changed_.notify();
    }
    if (ok && options_.ready_path.empty()) co_return;
    if (!ok && !said && reactor_.now() > late) {
      said = true;
      note(options_.ready_path.empty() ? "not ready after 10 s: not every --port is listened on yet"
                                       : cat("not ready after 10 s: no good answer to GET ", options_.ready_path));
    }
    // Looking for listeners costs the application nothing; being asked does.
    pause = want_ready_ ? Duration(1s) : std::min<Duration>(2 * pause, options_.ready_path.empty() ? 200ms : 1s);
    co_await rt::sleep_for(reactor_, pause);
  }
}

rt::Task<void> Session::keep_published() {
  while (true) {
    while (!registered_ || published_ == want_ready_) co_await changed_.wait();
    const bool want = want_ready_;
    const std::string id = registration_->id;
    auto answer =
        co_await control("POST", cat("/v1/workloads/", id, "/ready"), cat("{\"ready\":", want, "}"), kControlTimeout);
    if (answer && answer->status / 100 == 2 && registered_ && registration_->id == id) {
      published_ = want;
      changed_.notify();
    } else {
      co_await rt::sleep_for(reactor_, 100ms);
    }
  }
}

// ---- The end

rt::Task<void> Session::withdraw(TimePoint deadline) {
  want_ready_ = false;
  changed_.notify();
  while (published_ && registered_ && !stop_now_ && reactor_.now() < deadline) co_await changed_.wait_until(deadline);
}

// Waits until nothing comes in any more, or the proxy has ended.
rt::Task<void> Session::drain(TimePoint deadline) {
  if (options_.ports.empty() || !proxy_running_ || stop_now_) co_return;
  FdWatch drained(reactor_, pod_.drained_fd());
  pod_.drain_proxy();
  (void)co_await rt::until(reactor_, deadline, wait_for(drained));
}

rt::Task<void> Session::stop_gently() {
  const TimePoint deadline = reactor_.now() + options_.grace;
  co_await withdraw(std::min(deadline, reactor_.now() + kWithdrawTimeout));
  co_await drain(reactor_.now() + options_.grace / 2);
  if (!link_.app_over()) (void)pod_.signal_application(stop_signal_ ? stop_signal_ : SIGTERM);
  while (!link_.app_over() && reactor_.now() < deadline) co_await changed_.wait_until(deadline);
  if (link_.app_over()) co_return;
  note(cat("the application has not ended in ", format_duration(options_.grace), ": killed"));
  pod_.kill_application();
  while (!link_.app_over()) co_await changed_.wait();
}

}  // namespace tulle::cli
