#include "libs/net/resolver.h"

#include <ares.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "libs/base/strings.h"
#include "libs/net/dns_message.h"
#include "libs/rt/signal.h"

namespace tulle::net {
namespace {

Error ares_error(std::string_view name, int status) {
  Code code = Code::kUnavailable;
  if (status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_EBADNAME) code = Code::kNotFound;
  if (status == ARES_ETIMEOUT) code = Code::kTimeout;
  if (status == ARES_ECANCELLED || status == ARES_EDESTRUCTION) code = Code::kCancelled;
  return Error(code, cat("resolving ", quoted(name), ": ", ares_strerror(status)), Side::kPeer, Retry::kSafe);
}

// What a question and the coroutine that asked it share. c-ares cannot cancel one question, so whoever ends last,
// c-ares or the asker, deletes it.
template <class T>
struct Pending {
  rt::Signal done;
  std::string name;
  std::optional<Result<T>> result;
  bool abandoned = false;
  Pending(rt::Reactor& r, std::string n) : done(r), name(std::move(n)) {}
  void finish(Result<T> r) {
    if (abandoned) {
      delete this;
      return;
    }
    result = std::move(r);
    done.notify();
  }
};

// The asker's end.
template <class T>
class Asked {
 public:
  explicit Asked(Pending<T>* p) : pending_(p) {}
  Asked(const Asked&) = delete;
  ~Asked() {
    if (pending_->result) delete pending_;
    else pending_->abandoned = true;
  }
  rt::Task<Result<T>> wait(TimePoint deadline) {
    while (!pending_->result)
      if (!co_await pending_->done.wait_until(deadline))
        co_return fail(Code::kTimeout, cat("resolving ", quoted(pending_->name), ": timed out"), Side::kPeer,
                       Retry::kSafe);
    co_return std::move(*pending_->result);
  }

 private:
  Pending<T>* pending_;
};

Duration seconds(int64_t s) { return std::chrono::seconds(std::max<int64_t>(0, s)); }

void on_addresses(void* arg, int status, int, ares_addrinfo* info) {
  auto* pending = static_cast<Pending<Addresses>*>(arg);
  Addresses out;
  int ttl = -1;
  std::vector<IpAddr> v6;
  for (auto* n = info ? info->nodes : nullptr; n; n = n->ai_next) {
    auto a = SocketAddr::from_sockaddr(n->ai_addr, static_cast<socklen_t>(n->ai_addrlen));
    if (!a) continue;
    (a->ip.is_v4() ? out.ips : v6).push_back(a->ip);
    if (ttl < 0 || n->ai_ttl < ttl) ttl = n->ai_ttl;
  }
  if (info) ares_freeaddrinfo(info);
  out.ips.insert(out.ips.end(), v6.begin(), v6.end());
  out.ttl = seconds(ttl);
  if (status == ARES_SUCCESS && out.ips.empty()) status = ARES_ENODATA;
  if (status != ARES_SUCCESS) pending->finish(fail(ares_error(pending->name, status)));
  else pending->finish(std::move(out));
}

void on_services(void* arg, int status, int, unsigned char* bytes, int size) {
  auto* pending = static_cast<Pending<Services>*>(arg);
  if (status != ARES_SUCCESS) return pending->finish(fail(ares_error(pending->name, status)));
  auto answer = dns::parse_answer(Bytes(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size)));
  if (!answer) return pending->finish(fail(std::move(answer).error().with(pending->name)));
  Services out;
  std::optional<uint32_t> ttl;
  for (auto& r : answer->answers) {
    if (r.type != dns::kTypeSrv || r.target.empty() || r.port == 0) continue;
    out.services.push_back({std::move(r.target), r.port, r.priority, r.weight});
    ttl = std::min(ttl.value_or(r.ttl), r.ttl);
  }
  if (out.services.empty()) return pending->finish(fail(ares_error(pending->name, ARES_ENODATA)));
  std::ranges::sort(out.services, {}, &Service::priority);
  out.ttl = seconds(ttl.value_or(0));
  pending->finish(std::move(out));
}

bool is_localhost(std::string_view name) {
  return iequals(name, "localhost") || (name.size() > 10 && iequals(name.substr(name.size() - 10), ".localhost"));
}

}  // namespace

struct Resolver::Impl final : rt::Timer {
  rt::Reactor& reactor;
  ares_channel channel = nullptr;

  // One socket of c-ares. It reads edge-triggered here while c-ares reads one thing at a time, hence the loop.
  struct Socket final : rt::FdHandler {
    Impl& owner;
    int fd;
    Socket(Impl& o, int f) : owner(o), fd(f) {}
    void on_ready(uint32_t) override { owner.process(fd); }
  };
  std::unordered_map<int, std::unique_ptr<Socket>> sockets;
  std::vector<std::unique_ptr<Socket>> closed;  // not destroyed inside their own callback

  explicit Impl(rt::Reactor& r) : Timer(r), reactor(r) {}
  ~Impl() {
    if (channel) ares_destroy(channel);  // tells every question that it is over
  }

  static void on_socket_state(void* arg, ares_socket_t fd, int readable, int writable) {
    auto* self = static_cast<Impl*>(arg);
    auto it = self->sockets.find(fd);
    if (readable || writable) {
      if (it != self->sockets.end()) return;  // watched for everything already
      auto s = std::make_unique<Socket>(*self, fd);
      if (self->reactor.watch(fd, *s)) self->sockets.emplace(fd, std::move(s));
    } else if (it != self->sockets.end()) {
      self->reactor.forget(fd, *it->second);
      self->closed.push_back(std::move(it->second));
      self->sockets.erase(it);
    }
  }

  void process(int fd) {
    for (int i = 0; i < 64 && sockets.contains(fd); ++i) {
      pollfd p{fd, POLLIN | POLLOUT, 0};
      if (::poll(&p, 1, 0) <= 0) break;
      bool readable = p.revents & (POLLIN | POLLERR | POLLHUP);
      if (!readable && i > 0) break;
      ares_process_fd(channel, readable ? fd : ARES_SOCKET_BAD, p.revents & POLLOUT ? fd : ARES_SOCKET_BAD);
    }
    closed.clear();
    rearm();
  }

  void on_timer() override {
    ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    closed.clear();
    rearm();
  }

  void rearm() {
    timeval tv;
    timeval* next = ares_timeout(channel, nullptr, &tv);
    if (!next) return disarm();
    auto d = std::chrono::seconds(next->tv_sec) + std::chrono::microseconds(next->tv_usec);
    arm(reactor.now() + std::max<Duration>(d, 1ms));
  }
};

Resolver::Resolver(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Resolver::~Resolver() = default;

Result<std::unique_ptr<Resolver>> Resolver::make(rt::Reactor& reactor, ResolverOptions options) {
  auto impl = std::make_unique<Impl>(reactor);
  ares_options o{};
  o.flags = ARES_FLAG_STAYOPEN | ARES_FLAG_EDNS;
  o.timeout = static_cast<int>(std::max<int64_t>(1, options.timeout / 1ms));
  o.tries = std::max(1, options.tries);
  o.sock_state_cb = &Impl::on_socket_state;
  o.sock_state_cb_data = impl.get();
  o.ednspsz = 1232;
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ;
  int status = ares_init_options(&impl->channel, &o, mask);
  if (status == ARES_SUCCESS && !options.servers.empty()) {
    std::vector<std::string> texts;
    for (const SocketAddr& s : options.servers) texts.push_back(s.to_string());
    status = ares_set_servers_ports_csv(impl->channel, join(texts, ",").c_str());
  }
  if (status != ARES_SUCCESS) return fail(Code::kIo, cat("resolver: ", ares_strerror(status)));
  return std::unique_ptr<Resolver>(new Resolver(std::move(impl)));
}

rt::Task<Result<Addresses>> Resolver::addresses(std::string name, TimePoint deadline) {
  constexpr Duration kForever = 24h;
  if (auto ip = IpAddr::parse(name)) co_return Addresses{{*ip}, kForever};
  std::string_view bare = name;
  if (bare.ends_with('.')) bare.remove_suffix(1);
  if (is_localhost(bare)) co_return Addresses{{IpAddr::loopback()}, kForever};
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = ARES_AI_NOSORT;
  auto* pending = new Pending<Addresses>(impl_->reactor, name);
  Asked<Addresses> asked(pending);
  ares_getaddrinfo(impl_->channel, name.c_str(), nullptr, &hints, &on_addresses, pending);
  impl_->rearm();
  co_return co_await asked.wait(deadline);
}

rt::Task<Result<Services>> Resolver::services(std::string name, TimePoint deadline) {
  auto* pending = new Pending<Services>(impl_->reactor, name);
  Asked<Services> asked(pending);
  ares_query(impl_->channel, name.c_str(), dns::kClassIn, dns::kTypeSrv, &on_services, pending);
  impl_->rearm();
  co_return co_await asked.wait(deadline);
}

}  // namespace tulle::net
