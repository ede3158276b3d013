#include "cli/run/pod_link.h"

#include <csignal>

#include "libs/base/strings.h"

namespace tulle::cli {

PodLink::PodLink(rt::Reactor& reactor, Pod& pod, rt::Signal& changed)
    : reactor_(reactor), pod_(pod), events_(reactor, pod.event_fd()), changed_(changed), watching_(reactor, watch()) {}

rt::Task<void> PodLink::watch() {
  while (true) {
    co_await events_.readable();
    while (auto event = pod_.poll_event()) {
      bool gone = event->kind == PodEvent::kGone;
      take(std::move(*event));
      changed_.notify();
      if (gone) co_return;
    }
  }
}

void PodLink::take(PodEvent event) {
  switch (event.kind) {
    case PodEvent::kStarted: app_ = App::kRunning; break;
    case PodEvent::kNotStarted:
      app_ = App::kCannotStart;
      value_ = event.value;
      break;
    case PodEvent::kExited:
      app_ = App::kEnded;
      value_ = event.value;
      break;
    case PodEvent::kGone:
      if (app_over()) break;
      app_ = App::kEnded;
      value_ = SIGKILL;  // nothing else ends init without a word
      break;
    case PodEvent::kSocket:
      if (wanted_.empty()) break;
      wanted_.front()->answered = true;
      wanted_.front()->socket = std::move(event.socket);
      wanted_.front()->error = event.value;
      wanted_.pop_front();
      break;
  }
}

rt::Task<Result<Fd>> PodLink::socket() {
  if (app_ != App::kRunning) co_return fail(Code::kUnavailable, "the application does not run");
  TULLE_CO_TRY_VOID(pod_.ask_socket());
  auto wanted = std::make_shared<Wanted>();
  wanted_.push_back(wanted);
  while (!wanted->answered && app_ == App::kRunning) co_await changed_.wait();
  if (!wanted->answered) co_return fail(Code::kUnavailable, "the application has ended");
  if (!wanted->socket) co_return fail(sys_error("socket in the pod", wanted->error));
  co_return std::move(wanted->socket);
}

rt::Task<Result<std::unique_ptr<net::Stream>>> PodLink::connect(uint16_t port) {
  TULLE_CO_TRY(Fd fd, co_await socket());
  auto shared = std::make_shared<Fd>(std::move(fd));
  net::ConnectOptions options;
  options.make_socket = [shared]() -> Result<Fd> { return std::move(*shared); };
  SocketAddr to(IpAddr::loopback(), port);
  TULLE_CO_TRY(net::Connected c, co_await net::connect(reactor_, to, options, reactor_.now() + 2s));
  co_return std::make_unique<net::TcpStream>(reactor_, std::move(c.fd), c.local, to, false);
}

Connector PodLink::connector(uint16_t port) {
  return [this, port] { return connect(port); };
}

namespace {

rt::Task<void> carry(rt::Reactor& reactor, net::Accepted accepted, const Connector& connector) {
  net::TcpStream client(reactor, std::move(accepted.fd), accepted.local, accepted.peer, true);
  auto server = co_await connector();
  if (!server) {
    client.abort();
    co_return;
  }
  co_await net::copy_both(client, **server);
}

}  // namespace

rt::Task<void> forward(rt::Reactor& reactor, std::unique_ptr<net::Listener> listener, Connector connector) {
  rt::Scope connections(reactor);
  while (true) {
    auto accepted = co_await listener->accept();
    if (!accepted) co_return;
    connections.spawn(carry(reactor, std::move(*accepted), connector));
  }
}

}  // namespace tulle::cli
