#include "libs/net/netns.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

namespace tulle::net {
namespace {

constexpr int kSkipped = 77;

// Runs `body` in a process of its own, with power over a network namespace of its own, for entering takes the caller's
// capabilities away. `body` gives 0, or the line that failed.
template <class F>
void in_new_namespace(F body) {
  pid_t pid = ::fork();
  if (pid == 0) {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) _exit(kSkipped);
    Fd ns(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    _exit(body(ns.get()) ? 1 : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "no user namespaces here";
  EXPECT_EQ(status, 0);
}

#define NEED(condition)                                                                   \
  do {                                                                                    \
    if (!(condition)) return dprintf(2, "line %d: %s\n", __LINE__, #condition), __LINE__; \
  } while (0)

uint16_t port_of(int fd) {
  sockaddr_in a{};
  socklen_t size = sizeof a;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&a), &size);
  return ntohs(a.sin_port);
}

TEST(PodNetns, WhatIsNotANamespaceIsRefused) {
  auto r = PodNetns::enter(-1);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().sys, EBADF);
}

TEST(PodNetns, ManyThreadsTakeSockets) {
  in_new_namespace([](int ns) -> int {
    auto pod = PodNetns::enter(ns);
    NEED(pod);
    std::vector<int> failures(4);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < 2000; ++i) {
          auto s = (*pod)->take_socket();
          int on = 0;
          socklen_t size = sizeof on;
          bool good = s && (::fcntl(s->get(), F_GETFL) & O_NONBLOCK) && (::fcntl(s->get(), F_GETFD) & FD_CLOEXEC) &&
                      ::getsockopt(s->get(), IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0 && on;
          failures[static_cast<size_t>(t)] += good ? 0 : 1;
        }
      });
    }
    for (auto& t : threads) t.join();
    for (int f : failures) NEED(f == 0);
    return 0;
  });
}

TEST(PodNetns, RunningOutOfDescriptorsIsAnErrorAndNotForever) {
  in_new_namespace([](int ns) -> int {
    auto pod = PodNetns::enter(ns);
    NEED(pod);
    rlimit few{100, 100};
    NEED(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    std::vector<Fd> taken;
    while (true) {
      auto s = (*pod)->take_socket();
      if (!s) {
        NEED(s.error().sys == EMFILE);
        break;
      }
      taken.push_back(std::move(*s));
      NEED(taken.size() < 100);
    }
    taken.resize(taken.size() / 2);
    NEED((*pod)->take_socket());
    return 0;
  });
}

TEST(PodNetns, ListenersAreInTheNamespace) {
  in_new_namespace([](int ns) -> int {
    auto pod = PodNetns::enter(ns);
    NEED(pod);
    auto first = (*pod)->outbound_listener(0, 16);
    NEED(first);
    auto second = (*pod)->outbound_listener(port_of(first->get()), 16);  // another worker's
    NEED(second);
    auto dns = (*pod)->dns_sockets(port_of(first->get()) == 5353 ? 5354 : 5353);
    NEED(dns && dns->udp && dns->tcp);
    auto again = (*pod)->dns_sockets(port_of(dns->udp.get()));
    NEED(!again && again.error().sys == EADDRINUSE);
    return 0;
  });
}

}  // namespace
}  // namespace tulle::net
