#include "libs/net/resolver.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <map>

#include "libs/base/fd.h"
#include "libs/net/dns_message.h"
#include "libs/rt/scope.h"

namespace tulle::net {
namespace {

template <class F>
bool run_until(rt::Reactor& r, F done) {
  TimePoint end = Clock::now() + 20s;
  while (!done() && Clock::now() < end) r.turn(10ms);
  return done();
}

// A name server on loopback that answers from a table.
struct NameServer final : rt::FdHandler {
  rt::Reactor& reactor;
  Fd fd{::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  SocketAddr addr;
  std::map<std::string, std::vector<IpAddr>> names;
  std::map<std::string, std::string> raw;  // name → rest of the answer after the question
  bool silent = false;
  int asked = 0;

  explicit NameServer(rt::Reactor& r) : reactor(r) {
    sockaddr_storage s;
    socklen_t n = SocketAddr(IpAddr::loopback(), 0).to_sockaddr(s);
    EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&s), n), 0);
    n = sizeof s;
    getsockname(fd.get(), reinterpret_cast<sockaddr*>(&s), &n);
    addr = *SocketAddr::from_sockaddr(s);
    EXPECT_TRUE(r.watch(fd.get(), *this));
  }
  ~NameServer() { reactor.forget(fd.get(), *this); }
  void on_ready(uint32_t) override {
    char buf[2048];
    sockaddr_storage from;
    for (;;) {
      socklen_t size = sizeof from;
      ssize_t n = recvfrom(fd.get(), buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (n < 0) return;
      ++asked;
      auto q = dns::parse_query(Bytes(buf, static_cast<size_t>(n)));
      if (!q || silent) continue;
      std::string name = to_lower(q->question.name);
      std::string answer;
      if (auto it = raw.find(name); it != raw.end()) {
        answer = dns::encode_answer(*q, dns::Rcode::kNoError, {}, 0s, 512);
        answer.resize(answer.size() - (q->edns_udp_size ? 11 : 0));
        answer[7] = 1;
        answer[11] = 0;
        answer += it->second;
      } else {
        auto found = names.find(name);
        answer = dns::encode_answer(*q, found == names.end() ? dns::Rcode::kNxDomain : dns::Rcode::kNoError,
                                    found == names.end() ? std::vector<IpAddr>() : found->second, 7s, 512);
      }
      sendto(fd.get(), answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
};

rt::Task<void> ask(Resolver& r, std::string name, TimePoint deadline, std::optional<Result<Addresses>>& out) {
  out = co_await r.addresses(std::move(name), deadline);
}
rt::Task<void> ask_services(Resolver& r, std::string name, TimePoint deadline, std::optional<Result<Services>>& out) {
  out = co_await r.services(std::move(name), deadline);
}

struct Fixture {
  rt::Reactor reactor{1};
  NameServer server{reactor};
  std::unique_ptr<Resolver> resolver = *Resolver::make(reactor, ResolverOptions{{server.addr}, 50ms, 2});
  Result<Addresses> addresses(std::string name, Duration within = 10s) {
    std::optional<Result<Addresses>> out;
    rt::Running running(reactor, ask(*resolver, std::move(name), reactor.now() + within, out));
    EXPECT_TRUE(run_until(reactor, [&] { return out.has_value(); }));
    return std::move(*out);
  }
};

TEST(Resolver, AddressesWithTheirTtl) {
  Fixture f;
  f.server.names["api.example.test"] = {IpAddr::v6(0x20010db8ull << 32, 1), IpAddr::v4(10, 0, 0, 2)};
  auto a = f.addresses("api.example.test.");
  ASSERT_TRUE(a) << a.error().reason;
  ASSERT_EQ(a->ips.size(), 2u);
  EXPECT_EQ(a->ips[0], IpAddr::v4(10, 0, 0, 2));
  EXPECT_EQ(a->ttl, 7s);
}

TEST(Resolver, WhatNeedsNoServer) {
  Fixture f;
  EXPECT_EQ(f.addresses("10.1.2.3")->ips[0], IpAddr::v4(10, 1, 2, 3));
  EXPECT_EQ(f.addresses("::1")->ips[0], *IpAddr::parse("::1"));
  EXPECT_EQ(f.addresses("localhost")->ips, std::vector{IpAddr::loopback()});
  EXPECT_EQ(f.addresses("a.LOCALHOST.")->ips, std::vector{IpAddr::loopback()});
  EXPECT_EQ(f.server.asked, 0);
}

TEST(Resolver, MissingNamesAndSilentServers) {
  Fixture f;
  auto a = f.addresses("nowhere.example.test.");
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kNotFound);
  f.server.names["empty.example.test"] = {};
  a = f.addresses("empty.example.test.");
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kNotFound);
  f.server.silent = true;
  a = f.addresses("api.example.test.");
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kTimeout);
  a = f.addresses("api2.example.test.", 5ms);  // the asker's own deadline
  ASSERT_FALSE(a);
  EXPECT_EQ(a.error().code, Code::kTimeout);
  a = f.addresses("not a name");
  EXPECT_FALSE(a);
}

TEST(Resolver, Services) {
  Fixture f;
  using namespace std::string_literals;
  f.server.raw["_x._tcp.example.test"] =
      "\xc0\x0c\0\x21\0\1\0\0\0\x1e\0\x11\0\2\0\3\x1f\x90\1a\x07"s
      "example\0"s;
  std::optional<Result<Services>> out;
  rt::Running running(f.reactor, ask_services(*f.resolver, "_x._tcp.example.test.", f.reactor.now() + 10s, out));
  ASSERT_TRUE(run_until(f.reactor, [&] { return out.has_value(); }));
  ASSERT_TRUE(*out) << out->error().reason;
  ASSERT_EQ((*out)->services.size(), 1u);
  EXPECT_EQ((*out)->services[0].target, "a.example");
  EXPECT_EQ((*out)->services[0].port, 8080);
  EXPECT_EQ((*out)->ttl, 30s);
}

TEST(Resolver, AnAskerMayGoAwayAndSoMayTheResolver) {
  Fixture f;
  f.server.silent = true;
  std::optional<Result<Addresses>> gone, left;
  {
    rt::Running running(f.reactor, ask(*f.resolver, "a.example.test.", kNever, gone));
    f.reactor.turn(0ms);
  }
  rt::Running running(f.reactor, ask(*f.resolver, "b.example.test.", kNever, left));
  f.reactor.turn(0ms);
  f.resolver.reset();
  ASSERT_TRUE(run_until(f.reactor, [&] { return left.has_value(); }));
  EXPECT_EQ(left->error().code, Code::kCancelled);
  EXPECT_FALSE(gone);
}

}  // namespace
}  // namespace tulle::net
