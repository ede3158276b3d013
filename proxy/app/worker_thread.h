// WorkerThread: one thread of the data plane, with all that lives on it. Constructed, started and joined by main.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "libs/net/socket.h"
#include "libs/rt/scope.h"
#include "proxy/inbound/inbound.h"
#include "proxy/outbound/outbound.h"
#include "proxy/worker/worker.h"

namespace tulle::proxy {

class WorkerThread {
 public:
  WorkerThread(const Config& config, observe::Registry& registry, net::PodNetns* pod, TargetHub& targets,
               EndpointHub& endpoints, PortHub& ports);

  // Binds every listener of this worker. Error: names the address.
  Result<> bind();
  void start();
  // Ends at once, whatever is open.
  void join();

  // Any thread. The first certificate opens the listeners; later ones are for new connections.
  void set_identity(std::shared_ptr<const tls::Context> context);
  // Any thread. The longest time that one turn has held this worker's loop since the last call.
  Duration take_longest_turn() { return reactor_.take_longest_turn(); }
  // Connections by what they hold.
  struct Holding {
    net::Holders::Holding of;
    bool inbound = false;
    size_t worker = 0;  // for the one who collects them
  };
  // Any thread. `told` is called, on this worker's thread, with those that hold most, and with what all hold.
  void largest(std::function<void(std::vector<Holding> some, size_t total)> told);
  // Any thread. Ends that one, counts it and says so. `why`: for the log.
  void shed(const Holding& one, std::string why);

  // Any thread. No new connections; HTTP ends in order; `drained` is called, on this worker's thread, when nothing is
  // open any more.
  void drain(std::function<void()> drained);
  // The same for what comes in only, and connections are still taken: while `tulle run` takes its endpoint back, the
  // application finishes what it was asked, and may ask others meanwhile.
  void drain_inbound(std::function<void()> drained);

 private:
  rt::Task<void> accept_outbound(net::Listener& listener);
  rt::Task<void> accept_inbound(net::Listener& listener);
  rt::Task<void> sweep_forever();
  rt::Task<void> wait_drained(std::function<void()> drained);
  rt::Task<void> wait_inbound_drained(std::function<void()> drained);

  const Config& config_;
  rt::Reactor reactor_;
  Worker worker_;
  outbound::Outbound outbound_;
  inbound::Inbound inbound_;
  std::vector<std::unique_ptr<net::Listener>> outbound_listeners_, inbound_listeners_;
  rt::Scope connections_, inbound_connections_;
  std::unique_ptr<rt::Scope> accepting_;
  std::unique_ptr<rt::Running> sweeping_, draining_, inbound_draining_;
  std::thread thread_;
};

}  // namespace tulle::proxy
