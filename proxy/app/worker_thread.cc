#include "proxy/app/worker_thread.h"

#include "libs/base/log.h"

namespace tulle::proxy {

WorkerThread::WorkerThread(const Config& config, observe::Registry& registry, net::PodNetns* pod, TargetHub& targets,
                           EndpointHub& endpoints, PortHub& ports)
    : config_(config),
      worker_(reactor_, config, registry.add_shard(), pod, targets, endpoints, ports),
      outbound_(worker_),
      inbound_(worker_),
      connections_(reactor_),
      inbound_connections_(reactor_) {}

Result<> WorkerThread::bind() {
  constexpr int kBacklog = 1024;
  auto listen = [&](std::vector<std::unique_ptr<net::Listener>>& into, SocketAddr at, int backlog) -> Result<> {
    TULLE_TRY(auto listener, net::Listener::bind(reactor_, at, true, backlog));
    into.push_back(std::move(listener));
    return {};
  };
  int out_backlog = config_.outbound.listen_backlog.value_or(kBacklog);
  if (worker_.pod) {
    TULLE_TRY(Fd fd, worker_.pod->outbound_listener(config_.outbound_listen.front().port, out_backlog));
    TULLE_TRY(auto listener, net::Listener::adopt(reactor_, std::move(fd)));
    outbound_listeners_.push_back(std::move(listener));
  } else {
    for (SocketAddr at : config_.outbound_listen) TULLE_TRY_VOID(listen(outbound_listeners_, at, out_backlog));
  }
  int in_backlog = config_.inbound.listen_backlog.value_or(kBacklog);
  if (config_.pod) {
    for (const PodPort& p : config_.pod->ports)
      TULLE_TRY_VOID(listen(inbound_listeners_, SocketAddr(config_.pod->ip, p.served), in_backlog));
    TULLE_TRY_VOID(listen(inbound_listeners_, SocketAddr(config_.pod->ip, config_.inbound_listen.port), in_backlog));
  } else {
    TULLE_TRY_VOID(listen(inbound_listeners_, config_.inbound_listen, in_backlog));
  }
  return {};
}

void WorkerThread::start() {
  sweeping_ = std::make_unique<rt::Running>(reactor_, sweep_forever());
  thread_ = std::thread([this] { reactor_.run(); });
}

void WorkerThread::join() {
  reactor_.stop();
  if (thread_.joinable()) thread_.join();
  draining_.reset();
  inbound_draining_.reset();
  accepting_.reset();
  sweeping_.reset();
  connections_.cancel();
  inbound_connections_.cancel();
}

void WorkerThread::set_identity(std::shared_ptr<const tls::Context> context) {
  reactor_.post([this, context = std::move(context)] {
    bool first = !worker_.identity;
    worker_.identity = context;
    if (!first) return;
    accepting_ = std::make_unique<rt::Scope>(reactor_);
    for (auto& l : outbound_listeners_) accepting_->spawn(accept_outbound(*l));
    for (auto& l : inbound_listeners_) accepting_->spawn(accept_inbound(*l));
  });
}

rt::Task<void> WorkerThread::accept_outbound(net::Listener& listener) {
  for (;;) {
    auto accepted = co_await listener.accept();
    if (!accepted) co_return log_error("outbound listener failed", {{"error", accepted.error().reason}});
    connections_.spawn(outbound::serve_connection(outbound_, std::move(*accepted)));
  }
}

rt::Task<void> WorkerThread::accept_inbound(net::Listener& listener) {
  for (;;) {
    auto accepted = co_await listener.accept();
    if (!accepted) co_return log_error("inbound listener failed", {{"error", accepted.error().reason}});
    inbound_connections_.spawn(inbound::serve_connection(inbound_, std::move(*accepted)));
  }
}

rt::Task<void> WorkerThread::sweep_forever() {
  for (int second = 1;; ++second) {
    co_await rt::sleep_for(reactor_, 1s);
    TimePoint now = reactor_.now();
    outbound_.sweep();
    worker_.log.sweep(now);
    worker_.targets.sweep(now);
    worker_.endpoints.sweep(now);
    worker_.ports.sweep(now);
    if (second % 30 == 0) worker_.metrics.sweep(now);
  }
}

void WorkerThread::largest(std::function<void(std::vector<Holding>, size_t)> told) {
  reactor_.post([this, told = std::move(told)] {
    constexpr size_t kMost = 64, kLeast = 4096;
    std::vector<Holding> all;
    size_t total = 0;
    for (bool inbound : {true, false}) {
      std::vector<net::Holders::Holding> some;
      (inbound ? worker_.inbound_holders : worker_.outbound_holders).largest(kMost, kLeast, some, total);
      for (auto& h : some) all.push_back({h, inbound});
    }
    told(std::move(all), total);
  });
}

void WorkerThread::shed(const Holding& one, std::string why) {
  reactor_.post([this, one, why = std::move(why)] {
    auto bytes = (one.inbound ? worker_.inbound_holders : worker_.outbound_holders).shed(one.of.serial);
    if (!bytes) return;
    (one.inbound ? worker_.inbound_shed : worker_.outbound_shed)->add();
    worker_.log.warn(reactor_.now(), "connection ended for what it held in memory", one.inbound,
                     {{"direction", one.inbound ? "inbound" : "outbound"},
                      {"client", one.of.peer.to_string()},
                      {"bytes", *bytes},
                      {"why", why}});
  });
}

void WorkerThread::drain(std::function<void()> drained) {
  reactor_.post([this, drained = std::move(drained)] {
    accepting_.reset();
    outbound_listeners_.clear();
    inbound_listeners_.clear();
    worker_.drain.start();
    if (!worker_.inbound_drain.started()) worker_.inbound_drain.start();
    draining_ = std::make_unique<rt::Running>(reactor_, wait_drained(drained));
  });
}

rt::Task<void> WorkerThread::wait_drained(std::function<void()> drained) {
  co_await inbound_connections_.join();
  co_await connections_.join();
  drained();
}

void WorkerThread::drain_inbound(std::function<void()> drained) {
  reactor_.post([this, drained = std::move(drained)] {
    if (worker_.inbound_drain.started()) return;
    worker_.inbound_drain.start();
    inbound_draining_ = std::make_unique<rt::Running>(reactor_, wait_inbound_drained(drained));
  });
}

rt::Task<void> WorkerThread::wait_inbound_drained(std::function<void()> drained) {
  co_await inbound_connections_.join();
  drained();
}

}  // namespace tulle::proxy
