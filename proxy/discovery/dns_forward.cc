#include "proxy/discovery/dns_forward.h"

#include <sys/socket.h>

#include <cerrno>

#include "libs/base/buffer.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"
#include "libs/net/socket.h"
#include "libs/net/stream.h"
#include "libs/rt/combine.h"
#include "libs/rt/signal.h"

namespace tulle::proxy {
namespace {

namespace dns = net::dns;

void set_id(std::string& message, uint16_t id) {
  message[0] = static_cast<char>(id >> 8);
  message[1] = static_cast<char>(id);
}

bool answers(Bytes bytes, uint16_t id, const dns::Question& question) {
  auto a = dns::parse_answer(bytes);
  if (!a || a->id != id) return false;
  if (a->questions.empty())
    return a->rcode == dns::Rcode::kFormErr || a->rcode == dns::Rcode::kNotImp;  // could not read it
  const dns::Question& q = a->questions[0];
  return iequals(q.name, question.name) && q.type == question.type && q.klass == question.klass;
}

// A UDP socket that talks to one address.
class Datagrams final : private rt::FdHandler {
 public:
  explicit Datagrams(rt::Reactor& r) : reactor_(r), ready_(r) {}
  ~Datagrams() {
    if (fd_) reactor_.forget(fd_.get(), *this);
  }
  Result<> open(SocketAddr to) {
    Fd fd(::socket(to.ip.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return fail(sys_error("socket", errno));
    sockaddr_storage s;
    socklen_t n = to.to_sockaddr(s);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&s), n) != 0)
      return fail(sys_error(to.to_string(), errno, Side::kPeer));
    TULLE_TRY_VOID(reactor_.watch(fd.get(), *this));
    fd_ = std::move(fd);
    return {};
  }
  Result<> send(Bytes message) {
    if (::send(fd_.get(), message.data(), message.size(), MSG_NOSIGNAL) < 0)
      return fail(sys_error("send", errno, Side::kPeer));
    return {};
  }
  // The next datagram; valid until the caller suspends.
  rt::Task<Result<Bytes>> receive(TimePoint deadline) {
    for (;;) {
      ssize_t n = ::recv(fd_.get(), reactor_.scratch(), rt::Reactor::kScratch, 0);
      if (n >= 0) co_return Bytes(reactor_.scratch(), static_cast<size_t>(n));
      if (errno == EINTR) continue;
      if (errno != EAGAIN) co_return fail(sys_error("receive", errno, Side::kPeer));
      if (!co_await ready_.wait_until(deadline)) co_return fail(Code::kTimeout, "no answer in time", Side::kPeer);
    }
  }

 private:
  void on_ready(uint32_t) override { ready_.notify(); }
  rt::Reactor& reactor_;
  rt::Signal ready_;
  Fd fd_;
};

rt::Task<Result<std::string>> ask_udp(rt::Reactor& reactor, SocketAddr server, const dns::Query& query, Bytes message,
                                      uint16_t id, TimePoint deadline) {
  Datagrams socket(reactor);
  TULLE_CO_TRY_VOID(socket.open(server));
  TULLE_CO_TRY_VOID(socket.send(message));
  for (;;) {
    auto bytes = co_await socket.receive(deadline);
    if (!bytes) co_return fail(std::move(bytes).error());
    if (answers(*bytes, id, query.question)) co_return std::string(*bytes);
  }
}

rt::Task<Result<std::string>> ask_tcp(rt::Reactor& reactor, SocketAddr server, const dns::Query& query, Bytes message,
                                      uint16_t id, TimePoint deadline) {
  net::ConnectOptions options;
  auto c = co_await net::connect(reactor, server, options, deadline);
  if (!c) co_return fail(std::move(c).error());
  net::TcpStream stream(reactor, std::move(c->fd), c->local, server, false);
  stream.write(with_size(message));
  Buffer in;
  for (;;) {
    auto bytes = co_await stream.read();
    if (!bytes) co_return fail(std::move(bytes).error());
    if (bytes->empty()) co_return fail(Code::kClosed, "closed without an answer", Side::kPeer);
    in.append(*bytes);
    if (auto answer = sized_message(in.view())) {
      if (answers(*answer, id, query.question)) co_return std::string(*answer);
      co_return fail(Code::kProtocol, "answered something else", Side::kPeer);
    }
  }
}

}  // namespace

std::string with_size(Bytes message) {
  std::string out;
  out.push_back(static_cast<char>(message.size() >> 8));
  out.push_back(static_cast<char>(message.size()));
  out.append(message);
  return out;
}

std::optional<Bytes> sized_message(Bytes bytes) {
  if (bytes.size() < 2) return std::nullopt;
  size_t size = static_cast<size_t>(static_cast<uint8_t>(bytes[0])) << 8 | static_cast<uint8_t>(bytes[1]);
  if (bytes.size() < 2 + size) return std::nullopt;
  return bytes.substr(2, size);
}

rt::Task<Result<std::string>> forward_dns(rt::Reactor& reactor, const std::vector<SocketAddr>& servers,
                                          Duration timeout, const dns::Query& query, std::string message, bool tcp) {
  Error last(Code::kUnavailable, "there is no resolver to ask");
  for (const SocketAddr& server : servers) {
    auto id = static_cast<uint16_t>(reactor.rng().below(65536));
    set_id(message, id);
    TimePoint deadline = reactor.now() + timeout;
    auto ask = tcp ? ask_tcp(reactor, server, query, message, id, deadline)
                   : ask_udp(reactor, server, query, message, id, deadline);
    auto answer = co_await rt::with_deadline(reactor, deadline, server.to_string(), std::move(ask));
    if (answer) {
      set_id(*answer, query.id);
      co_return answer;
    }
    last = std::move(answer).error();
  }
  co_return fail(std::move(last));
}

}  // namespace tulle::proxy
