#include "cli/pod/network.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/pod/process.h"
#include "libs/base/fd.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

// Sends one rtnetlink request and waits for the kernel's acknowledgement.
Result<> rtnetlink(void* request, size_t size, const char* what) {
  Fd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail(sys_error("netlink", errno));
  if (::send(fd.get(), request, size, 0) < 0) return fail(sys_error(what, errno));
  alignas(nlmsghdr) char answer[1024];
  ssize_t n = ::recv(fd.get(), answer, sizeof answer, 0);
  if (n < 0) return fail(sys_error(what, errno));
  auto* header = reinterpret_cast<nlmsghdr*>(answer);
  if (static_cast<size_t>(n) < NLMSG_LENGTH(sizeof(nlmsgerr)) || header->nlmsg_type != NLMSG_ERROR)
    return fail(Code::kProtocol, cat(what, ": unexpected answer from netlink"));
  int err = -reinterpret_cast<nlmsgerr*>(NLMSG_DATA(header))->error;
  if (err != 0 && err != EEXIST) return fail(sys_error(what, err));
  return {};
}

nlmsghdr header_of(size_t size, uint16_t type) {
  nlmsghdr h{};
  h.nlmsg_len = static_cast<uint32_t>(size);
  h.nlmsg_type = type;
  h.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
  return h;
}

}  // namespace

Result<> bring_loopback_up() {
  Fd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fail(sys_error("socket", errno));
  ifreq lo{};
  std::strcpy(lo.ifr_name, "lo");
  if (::ioctl(fd.get(), SIOCGIFFLAGS, &lo) != 0) return fail(sys_error("loopback device", errno));
  lo.ifr_flags |= IFF_UP;
  if (::ioctl(fd.get(), SIOCSIFFLAGS, &lo) != 0) return fail(sys_error("loopback device", errno));
  if (::ioctl(fd.get(), SIOCGIFINDEX, &lo) != 0) return fail(sys_error("loopback device", errno));

  struct {
    nlmsghdr header;
    ifaddrmsg address;
    rtattr local;
    in_addr ip;
  } second{};
  second.header = header_of(sizeof second, RTM_NEWADDR);
  second.address.ifa_family = AF_INET;
  second.address.ifa_prefixlen = 32;
  second.address.ifa_scope = RT_SCOPE_HOST;
  second.address.ifa_index = static_cast<unsigned>(lo.ifr_ifindex);
  second.local.rta_type = IFA_LOCAL;
  second.local.rta_len = RTA_LENGTH(sizeof second.ip);
  ::inet_pton(AF_INET, kHostAddress.data(), &second.ip);
  TULLE_TRY_VOID(rtnetlink(&second, sizeof second, "second loopback address"));

  struct {
    nlmsghdr header;
    rtmsg route;
    rtattr device;
    int32_t index;
  } all{};
  all.header = header_of(sizeof all, RTM_NEWROUTE);
  all.route.rtm_family = AF_INET;
  all.route.rtm_dst_len = 0;  // 0.0.0.0/0
  all.route.rtm_table = RT_TABLE_LOCAL;
  all.route.rtm_protocol = RTPROT_BOOT;
  all.route.rtm_scope = RT_SCOPE_HOST;
  all.route.rtm_type = RTN_LOCAL;
  all.device.rta_type = RTA_OIF;
  all.device.rta_len = RTA_LENGTH(sizeof all.index);
  all.index = lo.ifr_ifindex;
  return rtnetlink(&all, sizeof all, "local route");
}

Result<std::vector<HostPort>> listen_for_host(const std::vector<uint16_t>& ports) {
  std::vector<HostPort> out;
  for (uint16_t port : ports) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in at{};
    at.sin_family = AF_INET;
    ::inet_pton(AF_INET, kHostAddress.data(), &at.sin_addr);
    socklen_t size = sizeof at;
    auto* address = reinterpret_cast<sockaddr*>(&at);
    if (!fd || ::bind(fd.get(), address, size) != 0 || ::listen(fd.get(), 128) != 0 ||
        ::getsockname(fd.get(), address, &size) != 0)
      return fail(sys_error(cat("listening for port ", port, " of the host"), errno));
    out.push_back({port, ntohs(at.sin_port), std::move(fd)});
  }
  return out;
}

std::string redirect_rules(const std::vector<HostPort>& host_ports) {
  std::string hosts;
  for (const HostPort& h : host_ports)
    append(hosts, "    ip daddr ", kHostAddress, " tcp dport ", h.port, " dnat to ", kHostAddress, ":", h.listener_port,
           "\n");
  // What others said to the application goes back by the conntrack entry of its connection; only first packets pass
  // the nat chain. Refusing where packets come in (all do, at once) gives the sender ECONNREFUSED; where they go out it
  // would be EPERM. ICMP errors must pass: they are how a refusal is told.
  return cat(R"(
table ip tulle {
  chain outbound {
    type nat hook output priority -100; policy accept;
)",
             hosts, R"(    tcp dport 53 return
    ip daddr 127.64.0.0/10 meta l4proto tcp redirect to :)",
             kOutboundPort, R"(
    ip daddr != 127.0.0.0/8 meta l4proto tcp redirect to :)",
             kOutboundPort, R"(
  }
  chain refuse {
    type filter hook input priority 0; policy accept;
    udp dport 53 return
    udp sport 53 return
    ip daddr != 127.64.0.0/10 ip daddr 127.0.0.0/8 return
    meta l4proto udp reject with icmp type port-unreachable
    icmp type echo-request reject with icmp type net-unreachable
  }
}
)");
}

Result<> load_redirect_rules(const std::vector<HostPort>& host_ports) {
  std::string nft = find_program("nft");
  if (nft.empty()) return fail(Code::kNotFound, "there is no program nft");
  return run_program({nft, "-f", "-"}, redirect_rules(host_ports), cap(CAP_NET_ADMIN));
}

Result<> allow_low_ports() { return write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"); }

Result<> shorten_conntrack_time_wait() {
  return write_file("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", "5");
}

}  // namespace tulle::cli
