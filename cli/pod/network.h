// The network of a pod: a namespace with nothing but a loopback device, in which every address is local and what the
// application sends to others is turned to its proxy. All run inside the namespace, with CAP_NET_ADMIN over it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/fd.h"
#include "libs/base/result.h"

namespace tulle::cli {

// The port of the proxy's outbound listener in the pod.
inline constexpr uint16_t kOutboundPort = 4140;
inline constexpr uint16_t kDnsPort = 53;

// Brings `lo` up and makes every IPv4 address local to it (`ip route add local 0.0.0.0/0 dev lo`), so that no packet
// can leave and each can be answered here. kHostAddress becomes an address of it, for getaddrinfo's AI_ADDRCONFIG finds
// no IPv4 where there is only 127.0.0.1.
Result<> bring_loopback_up();

// What the name `host` means in a pod: ports of the host's own loopback that the pod was given.
inline constexpr std::string_view kHostAddress = "127.0.0.2";

// A port of the host that the pod may reach at kHostAddress, and the listener in the pod at which it arrives.
struct HostPort {
  uint16_t port = 0;
  uint16_t listener_port = 0;  // chosen by the kernel, so that the application may use `port` itself
  Fd listener;
};
Result<std::vector<HostPort>> listen_for_host(const std::vector<uint16_t>& ports);

// The nftables rules: TCP to 127.64.0.0/10 and to everything outside 127.0.0.0/8 goes to kOutboundPort, but for port
// 53, which the proxy answers; other UDP and pings to the same places are refused instead of looping back.
std::string redirect_rules(const std::vector<HostPort>& host_ports);
// Loads them with the `nft` program. Error kNotFound: there is no such program.
Result<> load_redirect_rules(const std::vector<HostPort>& host_ports);

// Any port may be bound without privilege.
Result<> allow_low_ports();
// Redirected connections free their port numbers 5 s after they end. Not possible on some kernels: harmless but under
// more than some hundred new connections a second.
Result<> shorten_conntrack_time_wait();

}  // namespace tulle::cli
