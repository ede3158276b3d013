#include "proxy/discovery/pod_dns.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/grpc/client.h"
#include "libs/net/dns_message.h"
#include "libs/net/socket.h"
#include "libs/net/stream.h"
#include "libs/observe/families.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"
#include "libs/rt/signal.h"
#include "proxy/balance/backoff.h"
#include "proxy/discovery/dns_forward.h"

namespace tulle::proxy {
namespace {

namespace dns = net::dns;

constexpr observe::Family kQueries =
    observe::om_counter("tulle_dns_queries_total", "Questions to the pod's resolver, by what became of them");
constexpr size_t kNameservers = 3;     // as resolv.conf(5)
constexpr size_t kPerReadiness = 256;  // datagrams read before others have their turn

bool in_zone(std::string_view name, std::string_view zone) {
  if (!name.ends_with(zone)) return false;
  return name.size() == zone.size() || name[name.size() - zone.size() - 1] == '.';
}

// Where a datagram came from and which address it was sent to.
struct Envelope {
  sockaddr_in peer{};
  in_addr asked{};
  Envelope() = default;
};

}  // namespace

NameIndex::NameIndex(wire::NameTable table) : table_(std::move(table)) {
  names_.reserve(table_.names.size());
  for (const wire::Name& n : table_.names) names_.emplace(n.name, &n.addresses);
}

std::optional<NameIndex::Answer> NameIndex::find(std::string_view name) const {
  if (auto it = names_.find(name); it != names_.end()) return Answer{true, it->second};
  if (std::ranges::any_of(table_.zones, [&](const std::string& z) { return in_zone(name, z); })) return Answer{};
  for (const std::string& suffix : table_.search)
    if (auto it = names_.find(cat(name, ".", suffix)); it != names_.end()) return Answer{true, it->second};
  return std::nullopt;
}

std::vector<SocketAddr> nameservers(std::string_view resolv_conf) {
  std::vector<SocketAddr> out;
  for (std::string_view line : split(resolv_conf, '\n')) {
    line = trim(line.substr(0, line.find_first_of("#;")));
    constexpr std::string_view kWord = "nameserver";
    if (!line.starts_with(kWord) || line.size() == kWord.size() || !std::strchr(" \t", line[kWord.size()])) continue;
    auto ip = IpAddr::parse(trim(line.substr(kWord.size())));
    if (ip && out.size() < kNameservers) out.emplace_back(*ip, 53);
  }
  return out;
}

struct PodDns::Impl final : rt::FdHandler {
  rt::Reactor& reactor;
  Fd udp;
  std::unique_ptr<net::Listener> tcp;
  PodDnsOptions options;
  std::shared_ptr<const NameIndex> index;  // null: none has come yet
  rt::Signal index_changed;
  observe::CounterRef answered, missing, forwarded, failed, malformed, dropped;
  struct More final : rt::Runnable {
    Impl& self;
    explicit More(Impl& s) : self(s) {}
    void run() override { self.on_ready(0); }
  } more{*this};
  rt::Scope questions;  // over UDP, being worked on
  rt::Scope tasks;

  Impl(rt::Reactor& r, Fd u, std::unique_ptr<net::Listener> t, PodDnsOptions o, observe::Shard& shard)
      : reactor(r),
        udp(std::move(u)),
        tcp(std::move(t)),
        options(std::move(o)),
        index_changed(r),
        questions(r),
        tasks(r) {
    auto counter = [&](std::string_view result) {
      return shard.counter(kQueries, observe::Labels().add("result", result));
    };
    answered = counter("answered");
    missing = counter("no_such_name");
    forwarded = counter("forwarded");
    failed = counter("failed");
    malformed = counter("malformed");
    dropped = counter("dropped");
  }
  ~Impl() { reactor.forget(udp.get(), *this); }

  // ---- What to answer

  void set_index(std::shared_ptr<const NameIndex> i) {
    index = std::move(i);
    index_changed.notify();
  }

  // From the table; nothing when the host has to be asked.
  std::optional<std::string> own_answer(const dns::Query& q, size_t limit) {
    auto refuse = [&](dns::Rcode code) { return dns::encode_answer(q, code, {}, Duration::zero(), limit); };
    if (q.opcode != 0) return refuse(dns::Rcode::kNotImp);
    if (q.question.klass != dns::kClassIn) return refuse(dns::Rcode::kRefused);
    auto found = index->find(to_lower(q.question.name));
    if (!found) return std::nullopt;
    if (!found->exists) {
      missing->add();
      return refuse(dns::Rcode::kNxDomain);
    }
    answered->add();
    std::vector<IpAddr> addresses = *found->addresses;
    if (addresses.size() > 1)
      std::ranges::rotate(addresses, addresses.begin() + reactor.rng().below(static_cast<uint32_t>(addresses.size())));
    return dns::encode_answer(q, dns::Rcode::kNoError, addresses, index->ttl(), limit);
  }

  // Waits for the first table, asks the host: all that may take time.
  rt::Task<std::string> answer_later(dns::Query q, std::string message, bool over_tcp) {
    size_t limit = over_tcp ? dns::kMaxMessage : q.udp_limit();
    TimePoint wait_until = reactor.now() + options.table_wait;
    while (!index && co_await index_changed.wait_until(wait_until)) {
    }
    std::optional<std::string> out;
    if (index) {
      out = own_answer(q, limit);
      if (!out) {
        auto answer =
            co_await forward_dns(reactor, options.upstreams, options.upstream_timeout, q, std::move(message), over_tcp);
        if (answer) {
          forwarded->add();
          out = std::move(*answer);
        } else {
          log_debug("name not resolved", {{"name", q.question.name}, {"error", answer.error().reason}});
        }
      }
    }
    if (!out) {
      failed->add();
      out = dns::encode_answer(q, dns::Rcode::kServFail, {}, Duration::zero(), limit);
    }
    co_return std::move(*out);
  }

  // ---- UDP

  void on_ready(uint32_t) override {
    for (size_t i = 0; i < kPerReadiness; ++i) {
      Envelope e;
      char control[CMSG_SPACE(sizeof(in_pktinfo))];
      iovec io{reactor.scratch(), rt::Reactor::kScratch};
      msghdr m{};
      m.msg_name = &e.peer;
      m.msg_namelen = sizeof e.peer;
      m.msg_iov = &io;
      m.msg_iovlen = 1;
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      ssize_t n = ::recvmsg(udp.get(), &m, 0);
      if (n < 0) {
        if (errno == EINTR) continue;
        return;
      }
      for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO) continue;
        in_pktinfo info;
        std::memcpy(&info, CMSG_DATA(c), sizeof info);
        e.asked = info.ipi_addr;
      }
      take(Bytes(reactor.scratch(), static_cast<size_t>(n)), e);
    }
    reactor.schedule(more);
  }

  void take(Bytes message, const Envelope& e) {
    auto q = dns::parse_query(message);
    if (!q) {
      malformed->add();
      if (auto id = dns::query_id(message)) send(dns::encode_format_error(*id), e);
      return;
    }
    if (index)
      if (auto now = own_answer(*q, q->udp_limit())) return send(*now, e);
    if (questions.size() >= options.max_in_flight) {
      dropped->add();  // the asker tries again
      return;
    }
    questions.spawn(answer_udp(std::move(*q), std::string(message), e));
  }

  rt::Task<void> answer_udp(dns::Query q, std::string message, Envelope e) {
    send(co_await answer_later(std::move(q), std::move(message), false), e);
  }

  // From the address that was asked, else the asker would not take it.
  void send(Bytes answer, Envelope e) {
    char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
    iovec io{const_cast<char*>(answer.data()), answer.size()};
    msghdr m{};
    m.msg_name = &e.peer;
    m.msg_namelen = sizeof e.peer;
    m.msg_iov = &io;
    m.msg_iovlen = 1;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = IPPROTO_IP;
    c->cmsg_type = IP_PKTINFO;
    c->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
    in_pktinfo info{};
    info.ipi_spec_dst = e.asked;
    std::memcpy(CMSG_DATA(c), &info, sizeof info);
    if (::sendmsg(udp.get(), &m, MSG_NOSIGNAL) < 0)
      log_debug("DNS answer not sent", {{"error", sys_error("send", errno).reason}});
  }

  // ---- TCP

  rt::Task<void> accept_tcp() {
    rt::Scope connections(reactor);
    for (;;) {
      auto a = co_await tcp->accept();
      if (!a) {
        log_error("DNS over TCP has stopped in this pod", {{"error", a.error().reason}});
        co_return;
      }
      if (connections.size() < options.max_tcp) connections.spawn(serve_tcp(std::move(*a)));
      else dropped->add();
    }
  }

  rt::Task<void> serve_tcp(net::Accepted a) {
    net::TcpStream stream(reactor, std::move(a.fd), a.local, a.peer, true);
    Buffer in;
    for (;;) {
      auto message = sized_message(in.view());
      if (!message) {
        auto more = co_await rt::until(reactor, reactor.now() + options.tcp_idle, read_more(stream, in));
        if (!more || !*more) co_return;
        continue;
      }
      std::string bytes(*message);
      in.consume(bytes.size() + 2);
      auto q = dns::parse_query(bytes);
      if (!q) {
        malformed->add();
        auto id = dns::query_id(bytes);
        if (!id) co_return;
        stream.write(with_size(dns::encode_format_error(*id)));
        continue;
      }
      stream.write(with_size(co_await answer_later(std::move(*q), std::move(bytes), true)));
      auto sent = co_await rt::until(reactor, reactor.now() + options.tcp_idle, stream.drained(0));
      if (!sent || !*sent) co_return;
    }
  }

  static rt::Task<bool> read_more(net::Stream& stream, Buffer& into) {
    auto bytes = co_await stream.read();
    if (!bytes || bytes->empty()) co_return false;
    into.append(*bytes);
    co_return true;
  }

  // ---- The table

  rt::Task<void> watch(httpio::Client& client, std::string authority, std::string workload, BackoffConfig config) {
    constexpr Duration kUnimplementedRetry = 5min;  // the control plane may be another one by then
    Backoff backoff(config.min, config.max, config.jitter);
    std::string request = wire::encode(wire::WatchNamesRequest{std::move(workload)});
    for (;;) {
      grpc::Status status(grpc::StatusCode::kUnavailable, "the stream ended");
      auto call = co_await grpc::call(client, authority, std::string(wire::kNamesWatch), request);
      if (!call) status = std::move(call).error();
      while (call) {
        auto message = co_await call->read();
        if (!message) status = std::move(message).error();
        if (!message || !*message) break;
        backoff.reset();
        take_table(**message);
      }
      bool lacking = status.code == grpc::StatusCode::kUnimplemented;
      if (lacking && !index) {
        log_info("the control plane has no names for us: all are resolved by the host");
        set_index(std::make_shared<const NameIndex>(wire::NameTable{}));
      }
      log_debug("watch of names ended", {{"status", status.to_string()}});
      co_await rt::sleep_for(reactor, lacking ? kUnimplementedRetry : backoff.next(reactor.rng()));
    }
  }

  void take_table(Bytes message) {
    auto table = wire::decode_name_table(message);
    if (!table) {
      log_warn("table of names cannot be used", {{"error", table.error().reason}});
      return;
    }
    if (index && index->version() == table->version && table->version != 0) return;
    set_index(std::make_shared<const NameIndex>(std::move(*table)));
  }
};

Result<std::unique_ptr<PodDns>> PodDns::make(rt::Reactor& reactor, Fd udp, Fd tcp, PodDnsOptions options,
                                             observe::Shard& shard) {
  TULLE_TRY(auto listener, net::Listener::adopt(reactor, std::move(tcp)));
  auto impl = std::make_unique<Impl>(reactor, std::move(udp), std::move(listener), std::move(options), shard);
  TULLE_TRY_VOID(reactor.watch(impl->udp.get(), *impl));
  impl->tasks.spawn(impl->accept_tcp());
  return std::unique_ptr<PodDns>(new PodDns(std::move(impl)));
}

PodDns::PodDns(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PodDns::~PodDns() = default;

void PodDns::set_table(wire::NameTable table) { impl_->set_index(std::make_shared<const NameIndex>(std::move(table))); }

void PodDns::watch(httpio::Client& client, std::string authority, std::string workload, BackoffConfig backoff) {
  impl_->tasks.spawn(impl_->watch(client, std::move(authority), std::move(workload), backoff));
}

}  // namespace tulle::proxy
