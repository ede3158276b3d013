#include "libs/net/socket_user.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "libs/base/fd.h"

namespace tulle::net {
namespace {

void put(__be32 (&into)[4], IpAddr ip, bool v4) {
  if (v4) {
    into[0] = htonl(ip.v4_bits());
    return;
  }
  auto bytes = ip.v6_bytes();
  std::memcpy(into, bytes.data(), bytes.size());
}

}  // namespace

std::optional<uint32_t> socket_user(const SocketAddr& local, const SocketAddr& remote) {
  Fd fd(socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd) return std::nullopt;
  struct {
    nlmsghdr header;
    inet_diag_req_v2 request;
  } ask{};
  bool v4 = local.ip.is_v4();
  ask.header = {sizeof ask, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0};
  ask.request.sdiag_family = v4 ? AF_INET : AF_INET6;
  ask.request.sdiag_protocol = IPPROTO_TCP;
  ask.request.idiag_states = ~0u;
  ask.request.id.idiag_sport = htons(local.port);
  ask.request.id.idiag_dport = htons(remote.port);
  put(ask.request.id.idiag_src, local.ip, v4);
  put(ask.request.id.idiag_dst, remote.ip, v4);
  ask.request.id.idiag_cookie[0] = ask.request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (send(fd.get(), &ask, sizeof ask, 0) != sizeof ask) return std::nullopt;
  // The kernel answers before send() returns.
  struct {
    nlmsghdr header;
    inet_diag_msg found;
    char attributes[4096];
  } answer{};
  ssize_t n = recv(fd.get(), &answer, sizeof answer, MSG_DONTWAIT);
  if (n < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(inet_diag_msg)) ||
      answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY || answer.found.idiag_inode == 0)
    return std::nullopt;
  return answer.found.idiag_uid;
}

bool peer_is_same_user(const SocketAddr& accepted_local, const SocketAddr& accepted_peer) {
  return socket_user(accepted_peer, accepted_local) == geteuid();
}

bool can_tell_socket_user() {
  Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage own{};
  socklen_t size = SocketAddr(IpAddr::v4(127, 0, 0, 1), 0).to_sockaddr(own);
  auto* address = reinterpret_cast<sockaddr*>(&own);
  if (!listener || bind(listener.get(), address, size) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), address, &size) != 0)
    return false;
  auto local = SocketAddr::from_sockaddr(own);
  return local && socket_user(*local, SocketAddr(IpAddr::v4(127, 0, 0, 1), 9)) == geteuid();
}

}  // namespace tulle::net
