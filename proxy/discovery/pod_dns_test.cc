#include "proxy/discovery/pod_dns.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <map>

#include "libs/net/dns_message.h"
#include "libs/net/stream.h"
#include "proxy/discovery/dns_forward.h"
#include "proxy/discovery/test_server.h"

namespace tulle::proxy {
namespace {

namespace dns = net::dns;

Fd udp_at(SocketAddr at) {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int on = 1;
  setsockopt(fd.get(), IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  sockaddr_storage s;
  socklen_t n = at.to_sockaddr(s);
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&s), n), 0);
  return fd;
}
uint16_t port_of(const Fd& fd) {
  sockaddr_storage s;
  socklen_t n = sizeof s;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&s), &n);
  return SocketAddr::from_sockaddr(s)->port;
}
// A UDP and a listening TCP socket on one port that the kernel chose; others may hold the first choice for TCP.
struct Both {
  Fd udp, tcp;
  uint16_t port = 0;
};
Both both_at(IpAddr ip) {
  for (int i = 0; i < 1000; ++i) {
    Both b{udp_at(SocketAddr(ip, 0)), Fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0))};
    b.port = port_of(b.udp);
    sockaddr_storage s;
    socklen_t n = SocketAddr(ip, b.port).to_sockaddr(s);
    if (::bind(b.tcp.get(), reinterpret_cast<sockaddr*>(&s), n) == 0 && ::listen(b.tcp.get(), 16) == 0) return b;
  }
  ADD_FAILURE() << "no port is free for UDP and TCP";
  return {};
}

wire::NameTable table() {
  wire::NameTable t;
  t.version = 1;
  t.names = {{"api.default.svc.cluster.local", {IpAddr::v4(127, 96, 0, 1)}},
             {"empty.default.svc.cluster.local", {}},
             {"host", {IpAddr::v4(127, 96, 0, 9)}}};
  t.search = {"default.svc.cluster.local", "svc.cluster.local", "cluster.local"};
  t.zones = {"cluster.local"};
  return t;
}

// The host's resolver: answers what it is told to, over UDP and TCP.
struct Upstream final : rt::FdHandler {
  rt::Reactor& reactor;
  Both sockets = both_at(IpAddr::loopback());
  Fd udp = std::move(sockets.udp);
  SocketAddr addr{IpAddr::loopback(), sockets.port};
  std::unique_ptr<net::Listener> tcp;
  std::map<std::string, std::vector<IpAddr>> names;
  std::vector<std::string> asked, asked_tcp;
  bool silent = false;
  bool lies = false;  // answers another question first
  rt::Scope scope;

  explicit Upstream(rt::Reactor& r)
      : reactor(r), tcp(std::move(*net::Listener::adopt(r, std::move(sockets.tcp)))), scope(r) {
    EXPECT_TRUE(r.watch(udp.get(), *this));
    scope.spawn(serve(*this));
  }
  ~Upstream() { reactor.forget(udp.get(), *this); }
  std::string answer(const dns::Query& q, size_t limit) {
    auto it = names.find(to_lower(q.question.name));
    bool there = it != names.end();
    return dns::encode_answer(q, there ? dns::Rcode::kNoError : dns::Rcode::kNxDomain,
                              there ? it->second : std::vector<IpAddr>(), 9s, limit);
  }
  void on_ready(uint32_t) override {
    char buf[2048];
    sockaddr_storage from;
    for (;;) {
      socklen_t size = sizeof from;
      ssize_t n = recvfrom(udp.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 0) return;
      auto q = dns::parse_query(Bytes(buf, static_cast<size_t>(n)));
      if (!q) continue;
      asked.push_back(q->question.name);
      if (silent) continue;
      auto send = [&](const std::string& s) {
        sendto(udp.get(), s.data(), s.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
      };
      if (lies) {
        dns::Query other = *q;
        other.question.name = "bank.example";
        send(dns::encode_answer(other, dns::Rcode::kNoError, {IpAddr::v4(6, 6, 6, 6)}, 9s, 512));
        other = *q;
        other.id ^= 1;
        send(dns::encode_answer(other, dns::Rcode::kNoError, {IpAddr::v4(6, 6, 6, 6)}, 9s, 512));
      }
      send(answer(*q, q->udp_limit()));
    }
  }
  static rt::Task<void> serve(Upstream& u) {
    for (;;) {
      auto a = co_await u.tcp->accept();
      if (!a) co_return;
      net::TcpStream s(u.reactor, std::move(a->fd), a->local, a->peer, true);
      Buffer in;
      while (!sized_message(in.view())) {
        auto bytes = co_await s.read();
        if (!bytes || bytes->empty()) break;
        in.append(*bytes);
      }
      auto q = dns::parse_query(*sized_message(in.view()));
      u.asked_tcp.push_back(q->question.name);
      s.write(with_size(u.answer(*q, dns::kMaxMessage)));
      (void)co_await s.drained(0);
    }
  }
};

rt::Task<void> ask_over_tcp(rt::Reactor& r, SocketAddr to, std::string bytes, size_t answers,
                            std::vector<std::string>& out, bool& done) {
  auto s = co_await test_connect(r, to);
  (*s)->write(bytes);
  Buffer in;
  while (out.size() < answers) {
    auto more = co_await (*s)->read();
    if (!more || more->empty()) break;
    in.append(*more);
    while (auto m = sized_message(in.view())) {
      out.emplace_back(*m);
      in.consume(m->size() + 2);
    }
  }
  done = true;
}

struct Fixture {
  rt::Reactor reactor{1};
  observe::Registry registry;
  Upstream upstream{reactor};
  PodDnsOptions options;
  SocketAddr server;
  Fd client = udp_at(SocketAddr(IpAddr::loopback(), 0));
  std::unique_ptr<PodDns> pod;
  uint16_t next_id = 100;

  Fixture() {
    options.upstreams = {upstream.addr};
    options.upstream_timeout = 50ms;
    options.table_wait = 30ms;
  }
  void start(bool with_table = true) {
    Both sockets = both_at(IpAddr::v4(0u));
    server = SocketAddr(IpAddr::loopback(), sockets.port);
    auto made = PodDns::make(reactor, std::move(sockets.udp), std::move(sockets.tcp), options, registry.add_shard());
    ASSERT_TRUE(made) << made.error().reason;
    pod = std::move(*made);
    if (with_table) pod->set_table(table());
  }
  void send(Bytes message, SocketAddr to) {
    sockaddr_storage s;
    socklen_t n = to.to_sockaddr(s);
    ASSERT_GE(sendto(client.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&s), n), 0);
  }
  // The next datagram to the client and who sent it.
  std::optional<std::pair<std::string, SocketAddr>> receive() {
    char buf[8192];
    sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t n = -1;
    run_until(reactor, [&] {
      if (n < 0) n = recvfrom(client.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &size);
      return n >= 0;
    });
    if (n < 0) return std::nullopt;
    return std::pair(std::string(buf, static_cast<size_t>(n)), *SocketAddr::from_sockaddr(from));
  }
  dns::Answer ask(std::string name, uint16_t type = dns::kTypeA) {
    if (!pod) start();
    send(*dns::encode_query(++next_id, dns::Question(name, type)), server);
    auto got = receive();
    EXPECT_TRUE(got) << name;
    if (!got) return {};
    auto a = dns::parse_answer(got->first);
    EXPECT_TRUE(a) << a.error().reason;
    EXPECT_EQ(a->id, next_id);
    EXPECT_EQ(a->questions.at(0).name, name);
    return *a;
  }
};

TEST(PodDns, NamesOfTheMesh) {
  Fixture f;
  for (auto* name :
       {"api.default.svc.cluster.local", "API.Default.svc.cluster.local", "api", "api.default", "api.default.svc"}) {
    auto a = f.ask(name);
    EXPECT_EQ(a.rcode, dns::Rcode::kNoError) << name;
    ASSERT_EQ(a.answers.size(), 1u) << name;
    EXPECT_EQ(a.answers[0].ip, IpAddr::v4(127, 96, 0, 1));
    EXPECT_EQ(a.answers[0].ttl, 5u);
    EXPECT_EQ(a.answers[0].name, name);
  }
  EXPECT_EQ(f.ask("host").answers.at(0).ip, IpAddr::v4(127, 96, 0, 9));
  // Other types, and names without an address: no data, which is not "no such name".
  for (auto [name, type] : {std::pair("api", dns::kTypeAaaa),
                            {"api.default.svc.cluster.local", dns::kTypeAaaa},
                            {"api.default.svc.cluster.local", uint16_t{16}},
                            {"empty.default.svc.cluster.local", dns::kTypeA}}) {
    auto a = f.ask(name, type);
    EXPECT_EQ(a.rcode, dns::Rcode::kNoError) << name;
    EXPECT_TRUE(a.answers.empty());
  }
  EXPECT_EQ(f.ask("nothing.default.svc.cluster.local").rcode, dns::Rcode::kNxDomain);
  EXPECT_EQ(f.ask("nothing.example.com.svc.cluster.local", dns::kTypeAaaa).rcode, dns::Rcode::kNxDomain);
  EXPECT_TRUE(f.upstream.asked.empty());
  EXPECT_TRUE(f.registry.render().contains("tulle_dns_queries_total{result=\"no_such_name\"} 2"));
}

TEST(PodDns, OtherNamesGoToTheHost) {
  Fixture f;
  f.upstream.names["www.example.com"] = {IpAddr::v4(192, 0, 2, 1)};
  f.upstream.lies = true;
  auto a = f.ask("www.example.com");
  EXPECT_EQ(a.answers.at(0).ip, IpAddr::v4(192, 0, 2, 1));
  EXPECT_EQ(a.answers[0].ttl, 9u);
  EXPECT_EQ(f.ask("nowhere.example.com").rcode, dns::Rcode::kNxDomain);
  EXPECT_EQ(f.ask("notcluster.local").rcode, dns::Rcode::kNxDomain);
  EXPECT_EQ(f.upstream.asked, (std::vector<std::string>{"www.example.com", "nowhere.example.com", "notcluster.local"}));
}

TEST(PodDns, TheNextServerIsAskedThenItFails) {
  Fixture f;
  Upstream second(f.reactor);
  second.names["www.example.com"] = {IpAddr::v4(192, 0, 2, 2)};
  SocketAddr nobody;
  {
    Fd gone = udp_at(SocketAddr(IpAddr::loopback(), 0));
    nobody = SocketAddr(IpAddr::loopback(), port_of(gone));
  }
  f.options.upstreams = {nobody, f.upstream.addr, second.addr};
  f.upstream.silent = true;
  EXPECT_EQ(f.ask("www.example.com").answers.at(0).ip, IpAddr::v4(192, 0, 2, 2));
  second.silent = true;
  EXPECT_EQ(f.ask("www.example.com").rcode, dns::Rcode::kServFail);

  Fixture none;
  none.options.upstreams = {};
  EXPECT_EQ(none.ask("www.example.com").rcode, dns::Rcode::kServFail);
  EXPECT_EQ(none.ask("api").answers.size(), 1u);
}

TEST(PodDns, RepliesComeFromTheAddressThatWasAsked) {
  Fixture f;
  f.start();
  SocketAddr elsewhere(IpAddr::v4(127, 5, 6, 7), f.server.port);
  f.send(*dns::encode_query(1, dns::Question("api")), elsewhere);
  auto got = f.receive();
  ASSERT_TRUE(got);
  EXPECT_EQ(got->second, elsewhere);
  f.send(*dns::encode_query(1, dns::Question("www.example.com")), elsewhere);
  EXPECT_EQ(f.receive()->second, elsewhere);
}

TEST(PodDns, OverTcpAndLongAnswers) {
  Fixture f;
  f.start();
  auto t = table();
  t.names.push_back({"many.default.svc.cluster.local", std::vector<IpAddr>(400, IpAddr::v4(127, 64, 0, 1))});
  f.pod->set_table(t);
  f.upstream.names["many.example.com"] = std::vector<IpAddr>(400, IpAddr::v4(192, 0, 2, 1));
  EXPECT_TRUE(f.ask("many").truncated);
  EXPECT_TRUE(f.ask("many.example.com").truncated);

  std::string bytes;
  for (auto* name : {"many", "many.example.com", "nothing.cluster.local"})
    bytes += with_size(*dns::encode_query(7, dns::Question(name)));
  std::vector<std::string> out;
  bool done = false;
  rt::Running running(f.reactor, ask_over_tcp(f.reactor, f.server, bytes, 3, out, done));
  ASSERT_TRUE(run_until(f.reactor, [&] { return done; }));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(dns::parse_answer(out[0])->answers.size(), 400u);
  EXPECT_EQ(dns::parse_answer(out[1])->answers.size(), 400u);
  EXPECT_EQ(dns::parse_answer(out[1])->id, 7);
  EXPECT_EQ(dns::parse_answer(out[2])->rcode, dns::Rcode::kNxDomain);
  EXPECT_EQ(f.upstream.asked_tcp, std::vector<std::string>{"many.example.com"});
}

TEST(PodDns, WhatCannotBeRead) {
  Fixture f;
  f.start();
  f.send("x", f.server);  // not even a header: no answer
  f.send(std::string("\x12\x34\x01\0\0\2\0\0\0\0\0\0", 12), f.server);
  auto got = f.receive();
  ASSERT_TRUE(got);
  EXPECT_EQ(dns::parse_answer(got->first)->rcode, dns::Rcode::kFormErr);
  EXPECT_EQ(dns::parse_answer(got->first)->id, 0x1234);

  std::string notify = *dns::encode_query(5, dns::Question("api"));
  notify[2] |= 4 << 3;
  f.send(notify, f.server);
  EXPECT_EQ(dns::parse_answer(f.receive()->first)->rcode, dns::Rcode::kNotImp);
  f.send(*dns::encode_query(5, dns::Question("version.bind", 16, 3)), f.server);
  EXPECT_EQ(dns::parse_answer(f.receive()->first)->rcode, dns::Rcode::kRefused);

  std::vector<std::string> out;
  bool done = false;
  rt::Running running(f.reactor, ask_over_tcp(f.reactor, f.server, std::string("\0\1x", 3), 1, out, done));
  ASSERT_TRUE(run_until(f.reactor, [&] { return done; }));
  EXPECT_TRUE(out.empty());
}

TEST(PodDns, QuestionsWaitForTheFirstTable) {
  Fixture f;
  f.start(false);
  f.send(*dns::encode_query(1, dns::Question("api")), f.server);
  f.reactor.turn(1s);  // until it has come
  f.pod->set_table(table());
  EXPECT_EQ(dns::parse_answer(f.receive()->first)->answers.size(), 1u);

  Fixture late;
  late.start(false);
  EXPECT_EQ(late.ask("api").rcode, dns::Rcode::kServFail);
  EXPECT_TRUE(late.upstream.asked.empty());
}

TEST(PodDns, FollowsTheTableAndKeepsTheLastGoodOne) {
  struct Names {
    rt::Signal more;
    std::vector<std::string> messages;
    explicit Names(rt::Reactor& r) : more(r) {}
    static rt::Task<grpc::Status> watch(Names& n, grpc::ServerCall& call) {
      (void)co_await call.read_one();
      for (size_t i = 0;; ++i) {
        while (i >= n.messages.size()) co_await n.more.wait();
        auto sent = co_await call.write(n.messages[i]);
        if (!sent) co_return sent.error();
      }
    }
  };
  Fixture f;
  Names names(f.reactor);
  TestGrpcServer control(f.reactor);
  control.grpc.add(std::string(wire::kNamesWatch), [&](grpc::ServerCall& c) { return Names::watch(names, c); });
  auto client = test_client(f.reactor, control.addr());
  names.messages = {wire::encode(table()), "\xff garbage"};
  f.start(false);
  f.pod->watch(*client, "policy", "default:web", {1ms, 5ms, 0});
  EXPECT_EQ(f.ask("api").answers.size(), 1u);

  auto t = table();
  t.version = 2;
  t.names.push_back({"new.default.svc.cluster.local", {IpAddr::v4(127, 96, 0, 2)}});
  names.messages.push_back(wire::encode(t));
  names.more.notify();
  ASSERT_TRUE(run_until(f.reactor, [&] { return f.ask("new").answers.size() == 1; }));
  control.drop_connections();
  ASSERT_TRUE(run_until(f.reactor, [&] { return !client->connected(); }));
  EXPECT_EQ(f.ask("new").answers.size(), 1u);
  t.version = 3;
  t.names.pop_back();
  names.messages = {wire::encode(t)};
  ASSERT_TRUE(
      run_until(f.reactor, [&] { return f.ask("new.default.svc.cluster.local").rcode == dns::Rcode::kNxDomain; }));
}

TEST(PodDns, AControlPlaneWithoutNames) {
  Fixture f;
  f.upstream.names["api"] = {IpAddr::v4(192, 0, 2, 1)};
  TestGrpcServer control(f.reactor);
  auto client = test_client(f.reactor, control.addr());
  f.options.table_wait = 10s;
  f.start(false);
  f.pod->watch(*client, "policy", "default:web", {1ms, 5ms, 0});
  EXPECT_EQ(f.ask("api").answers.at(0).ip, IpAddr::v4(192, 0, 2, 1));
}

TEST(PodDns, BoundedInFlight) {
  Fixture f;
  f.options.max_in_flight = 2;
  f.options.upstream_timeout = 200ms;
  f.upstream.silent = true;
  f.start();
  for (uint16_t i = 0; i < 5; ++i) f.send(*dns::encode_query(i, dns::Question(cat("n", i, ".example.com"))), f.server);
  int answered = 0;
  while (answered < 2 && f.receive()) ++answered;
  EXPECT_EQ(f.upstream.asked.size(), 2u);
  EXPECT_TRUE(f.registry.render().contains("tulle_dns_queries_total{result=\"dropped\"} 3"));
}

TEST(Nameservers, OfResolvConf) {
  auto n = nameservers(
      "# c\nnameserver 127.0.0.53\nnameserver\t::1 # x\nnameservers 1.1.1.1\nnameserver fe80::1%eth0\n"
      "search a b\nnameserver 10.0.0.1\nnameserver 10.0.0.2\n");
  ASSERT_EQ(n.size(), 3u);
  EXPECT_EQ(n[0].to_string(), "127.0.0.53:53");
  EXPECT_EQ(n[1].to_string(), "[::1]:53");
  EXPECT_EQ(n[2].to_string(), "10.0.0.1:53");
  EXPECT_TRUE(nameservers("").empty());
}

}  // namespace
}  // namespace tulle::proxy
