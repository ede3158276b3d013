// `tulle run` once its pod stands: registers it, starts the proxy and then the application, publishes it when it is
// ready, and takes it down in the order that loses nothing.
//
//   start   register → proxy → proxy ready → application → application ready → endpoint published
//   stop    endpoint withdrawn → proxy drains what comes in → application → proxy → registration ended
//
// The control plane may go away at any time: the pod lives on, and is registered again under the same name and address
// when it is back. The proxy may end at any time: it is started again.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/pod/pod.h"
#include "cli/run/options.h"
#include "cli/run/pod_link.h"
#include "cli/run/registration.h"
#include "libs/rt/scope.h"

namespace tulle::cli {

// The signals that `tulle run` takes; block them before the pod is created.
std::vector<int> session_signals();

class Session {
 public:
  struct Setting {
    const RunOptions* options;  // outlives the session
    std::string control_socket;
    std::string proxy_program;             // full path
    std::vector<std::string> environment;  // of `tulle run`: "NAME=value"
    int proxy_output;                      // descriptor
    int signals;                           // signalfd of session_signals()
    bool share_terminal;                   // the application gets the terminal's signals by itself
    Setting() = default;
  };
  Session(rt::Reactor& reactor, Pod& pod, Setting setting);

  // Runs it all and gives the exit code.
  rt::Task<int> run();

 private:
  using App = PodLink::App;

  rt::Task<void> watch_signals();
  void take_signal(int number, bool from_terminal);

  Result<> start_forwarding();
  rt::Task<void> keep_registered();
  rt::Task<Result<Registration>> register_once();
  bool can_be_served(const Registration& r);
  rt::Task<void> unregister(std::string id);
  void say_waiting(const Error& e);

  rt::Task<void> keep_proxy();
  rt::Task<void> poll_proxy();

  rt::Task<void> watch_readiness();
  rt::Task<bool> probe();
  rt::Task<void> keep_published();

  rt::Task<void> stop_gently();
  rt::Task<void> withdraw(TimePoint deadline);
  rt::Task<void> drain(TimePoint deadline);
  rt::Task<void> end_proxy(TimePoint deadline);
  rt::Task<Result<HttpAnswer>> control(std::string method, std::string path, std::string body, Duration timeout);

  int exit_code() const;
  void give_up(std::string why);

  rt::Reactor& reactor_;
  Pod& pod_;
  const RunOptions& options_;
  Setting setting_;
  rt::Signal changed_;  // anything below
  PodLink link_;

  std::optional<Registration> registration_;  // the latest
  bool registered_ = false;                   // the control plane holds it now
  bool want_ready_ = false;
  bool published_ = false;
  bool asked_ready_ = false;  // in the latest registration
  bool proxy_running_ = false;
  bool proxy_ready_ = false;
  bool proxy_wanted_ = true;
  std::vector<std::string> refused_;            // addresses taken by others
  std::map<uint16_t, uint16_t> served_wishes_;  // port → served port, where the usual one is taken
  bool proxy_outdated_ = false;                 // its settings have changed
  std::optional<std::string> failure_;
  int stop_signal_ = 0;  // asked to stop by this signal
  bool stop_now_ = false;
  bool said_waiting_ = false;
  TimePoint began_;

  rt::Scope scope_;
};

}  // namespace tulle::cli
