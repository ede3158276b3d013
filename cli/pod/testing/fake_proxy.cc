// Stands in for tulle-proxy in the tests of the pod: opens what the proxy opens in the pod, says "ready" on a FIFO or
// file named by READY, answers each redirected connection with "to ADDRESS:PORT\n", and each connection to the host
// address FORWARD_LISTEN with what 127.0.0.1:FORWARD_PORT of the pod says (one socket of the stock per connection).
#include <arpa/inet.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "libs/base/strings.h"
#include "libs/net/netns.h"

using namespace tulle;

namespace {

std::string text_of(const sockaddr_in& a) {
  char ip[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &a.sin_addr, ip, sizeof ip);
  return cat(ip, ":", ntohs(a.sin_port));
}

void answer_redirected(int listener) {
  Fd c(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!c) return;
  sockaddr_in original{};
  socklen_t size = sizeof original;
  std::string said = ::getsockopt(c.get(), SOL_IP, SO_ORIGINAL_DST, &original, &size) == 0
                         ? cat("to ", text_of(original), "\n")
                         : cat("no original destination, errno ", errno, "\n");
  (void)!::write(c.get(), said.data(), said.size());
}

void forward(net::PodNetns& pod, int listener, uint16_t port) {
  Fd c(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  auto s = pod.take_socket();
  if (!c || !s) return;
  sockaddr_in app{};
  app.sin_family = AF_INET;
  app.sin_port = htons(port);
  app.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)!::connect(s->get(), reinterpret_cast<sockaddr*>(&app), sizeof app);
  pollfd wait{s->get(), POLLOUT, 0};
  ::poll(&wait, 1, 2000);
  (void)!::write(s->get(), "GET / HTTP/1.0\r\n\r\n", 18);
  char bytes[4096];
  while (true) {
    wait.events = POLLIN;
    if (::poll(&wait, 1, 5000) <= 0) return;
    ssize_t n = ::read(s->get(), bytes, sizeof bytes);
    if (n <= 0) return;
    (void)!::write(c.get(), bytes, static_cast<size_t>(n));
  }
}

// A question is answered with the address it was sent to, which a client sees only if the answer also comes from there.
void answer_dns(int udp) {
  char bytes[512], control[256];
  sockaddr_in client{};
  iovec part{bytes, sizeof bytes};
  msghdr m{&client, sizeof client, &part, 1, control, sizeof control, 0};
  if (::recvmsg(udp, &m, 0) < 0) return;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_type != IP_PKTINFO) continue;
    auto* info = reinterpret_cast<in_pktinfo*>(CMSG_DATA(c));
    char ip[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &info->ipi_addr, ip, sizeof ip);
    info->ipi_spec_dst = info->ipi_addr;
    info->ipi_ifindex = 0;
    std::string said = cat("asked ", ip);
    part = {said.data(), said.size()};
    ::sendmsg(udp, &m, 0);
    return;
  }
}

}  // namespace

int main() {
  auto pod = net::PodNetns::enter(std::atoi(::getenv("TULLE_PROXY_POD_NETNS_FD")));
  if (!pod) return dprintf(2, "%s\n", pod.error().reason.c_str()), 1;
  auto outbound = (*pod)->outbound_listener(4140, 128);
  auto dns = (*pod)->dns_sockets();
  if (!outbound || !dns) return dprintf(2, "%s\n", (outbound ? dns.error() : outbound.error()).reason.c_str()), 1;

  Fd inbound(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  if (::bind(inbound.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(inbound.get(), 16) != 0)
    return 1;
  ::getsockname(inbound.get(), reinterpret_cast<sockaddr*>(&a), &size);
  const char* port = ::getenv("FORWARD_PORT");

  std::string ready = ::getenv("READY");
  std::ofstream(ready + ".tmp") << ntohs(a.sin_port) << " " << ::getpid() << "\n";
  std::rename((ready + ".tmp").c_str(), ready.c_str());

  pollfd wait[] = {{outbound->get(), POLLIN, 0}, {inbound.get(), POLLIN, 0}, {dns->udp.get(), POLLIN, 0}};
  while (true) {
    ::poll(wait, 3, -1);
    if (wait[0].revents) answer_redirected(wait[0].fd);
    if (wait[1].revents) forward(**pod, wait[1].fd, static_cast<uint16_t>(std::atoi(port ? port : "8080")));
    if (wait[2].revents) answer_dns(wait[2].fd);
  }
}
