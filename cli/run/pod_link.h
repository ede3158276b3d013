// A pod seen from the reactor of `tulle run`: what happens in it, and its sockets.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "cli/command/http.h"
#include "cli/pod/pod.h"
#include "cli/run/fd_watch.h"
#include "libs/net/socket.h"
#include "libs/rt/scope.h"

namespace tulle::cli {

class PodLink {
 public:
  // All outlive it. `changed` is notified when app() changes.
  PodLink(rt::Reactor& reactor, Pod& pod, rt::Signal& changed);

  enum class App { kNotYet, kRunning, kCannotStart, kEnded };
  App app() const { return app_; }
  bool app_over() const { return app_ == App::kCannotStart || app_ == App::kEnded; }
  // kCannotStart: errno; kEnded: wait status.
  int value() const { return value_; }

  // An unconnected TCP socket of the pod.
  rt::Task<Result<Fd>> socket();
  // Connects to 127.0.0.1:`port` of the pod.
  Connector connector(uint16_t port);

 private:
  struct Wanted {
    bool answered = false;
    Fd socket;
    int error = 0;
  };
  rt::Task<void> watch();
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect(uint16_t port);
  void take(PodEvent event);

  rt::Reactor& reactor_;
  Pod& pod_;
  FdWatch events_;
  rt::Signal& changed_;
  App app_ = App::kNotYet;
  int value_ = 0;
  std::deque<std::shared_ptr<Wanted>> wanted_;  // in the order of asking; one that nobody waits for any more stays
  rt::Running watching_;
};

// Takes connections at `listener` and carries each to what `connector` makes, until it is cancelled.
rt::Task<void> forward(rt::Reactor& reactor, std::unique_ptr<net::Listener> listener, Connector connector);

}  // namespace tulle::cli
