// A rootless pod (docs/ARCHITECTURE.md, "The pod"): an application in namespaces of its own and its proxy beside it,
// as the caller's user, with nothing left behind whatever ends first.
//
//   user namespace U   the caller's ids map to themselves (real root: all ids); owns the rest
//   ├─ proxy           host's network; enters N with one helper thread (libs/net/netns.h)
//   └─ init ── application     network N, mounts, PIDs of the pod
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "cli/pod/init.h"
#include "libs/base/fd.h"
#include "libs/base/result.h"

namespace tulle::cli {

struct PodSpec {
  std::vector<std::string> command;      // at least one
  std::vector<std::string> environment;  // of the application: "NAME=value"
  std::string directory;                 // of the application; empty: the caller's
  // For the names of a mesh; see default_resolv_conf().
  std::string resolv_conf;
  std::vector<uint16_t> host_ports;  // at most kMaxHostPorts; see Pod::take_host_listeners()
  bool share_terminal = false;       // see InitSpec
};

struct ProxySpec {
  std::string program;                 // full path
  std::vector<std::string> arguments;  // without the program's name
  // Complete: "NAME=value"; TULLE_PROXY_POD_NETNS_FD and TULLE_PROXY_POD_DRAINED_FD are added.
  std::vector<std::string> environment;
  int output = 2;  // descriptor for its standard output and error
};

// "nameserver 127.0.0.1", the search domains of Kubernetes for `ns`, ndots:5.
std::string default_resolv_conf(std::string_view ns);

// What happened in the pod's namespaces.
struct PodEvent {
  enum Kind {
    kStarted,
    kNotStarted,  // value: errno of exec
    kExited,      // value: wait status
    kSocket,      // answer to ask_socket(); value: errno where there is none
    kGone,        // init died without a word
  } kind = kGone;
  int value = 0;
  Fd socket;
};

// Why a pod could not be made.
struct SetupError {
  Step step = Step::kUserNamespace;
  Error error;
  std::string remedy;  // a command or a sentence; may be empty
  // "STEP: REASON; REMEDY", one line.
  std::string to_string() const;
};

// Owned by the thread that made it, which must live as long (the kernel ends the pod with that thread). Destroying it
// kills all that is left.
class Pod {
 public:
  // Makes the namespaces and sets them up; blocks for some 20 ms. Must be called while the process has one thread
  // that matters: init is a copy of it.
  static std::expected<Pod, SetupError> create(const PodSpec& spec);
  Pod(Pod&&) noexcept;
  Pod& operator=(Pod&&) noexcept;
  ~Pod();

  // What did not work but can be done without ("/proc: …").
  const std::vector<SetupError>& warnings() const { return warnings_; }

  // Starts the proxy: in U, with the host's network, with CAP_SYS_ADMIN over U until its helper has entered N. It gets
  // SIGKILL when the calling thread ends. May be called again when a proxy has ended.
  Result<> start_proxy(const ProxySpec& spec);
  // Starts the application; event kStarted or kNotStarted follows. Once.
  Result<> start_application();
  // Sends a signal to the application's first process.
  Result<> signal_application(int signal);
  // Sends a signal to the proxy; nothing happens when it has ended.
  void signal_proxy(int signal);
  // Ends everything in the pod's PID namespace at once.
  void kill_application();

  // Readable when next_event() has something.
  int event_fd() const { return init_socket_.get(); }
  // Blocks until there is one. After kNotStarted, kExited and kGone no other follows.
  PodEvent next_event();
  // The same without waiting.
  std::optional<PodEvent> poll_event();
  // Asks for an unconnected TCP socket of the pod; event kSocket follows, in order. Only once the application was
  // started.
  Result<> ask_socket();
  // For each of PodSpec::host_ports, in order: a listener in the pod at which connections to `host` arrive.
  std::vector<Fd> take_host_listeners() { return std::move(host_listeners_); }
  // Readable when the proxy has ended; -1 when none was started.
  int proxy_fd() const { return proxy_fd_.get(); }
  // Asks the proxy to finish what comes in; what goes out is served on. drained_fd() is readable when it has.
  void drain_proxy() { signal_proxy(SIGUSR1); }
  int drained_fd() const { return drained_.get(); }
  // The proxy's wait status when it has ended.
  std::optional<int> reap_proxy();

  // As the host sees them.
  pid_t init_pid() const { return init_pid_; }
  pid_t proxy_pid() const { return proxy_pid_; }
  int network_namespace() const { return net_ns_.get(); }
  int user_namespace() const { return user_ns_.get(); }

 private:
  Pod() = default;
  void swap(Pod& o) noexcept;
  std::optional<SetupError> set_up();

  pid_t init_pid_ = -1;
  pid_t proxy_pid_ = -1;
  Fd init_socket_;
  Fd user_ns_;
  Fd net_ns_;
  Fd proxy_fd_;
  Fd drained_;
  std::vector<Fd> host_listeners_;
  std::vector<SetupError> warnings_;
};

// What a person can do about a step that failed with `err`.
std::string remedy_for(Step step, const Error& e);
std::string_view step_name(Step step);

}  // namespace tulle::cli
