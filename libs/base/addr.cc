#include "libs/base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "libs/base/strings.h"

namespace tulle {
namespace {

uint64_t load64(const uint8_t* p) {
  uint64_t n = 0;
  for (int i = 0; i < 8; ++i) n = n << 8 | p[i];
  return n;
}
void store64(uint8_t* p, uint64_t n) {
  for (int i = 7; i >= 0; --i, n >>= 8) p[i] = static_cast<uint8_t>(n);
}

}  // namespace

Result<IpAddr> IpAddr::parse(std::string_view text) {
  char z[INET6_ADDRSTRLEN];
  if (!text.empty() && text.size() < sizeof z && text.find('\0') == text.npos) {
    z[text.copy(z, text.size())] = '\0';
    uint8_t raw[16];
    if (inet_pton(AF_INET, z, raw) == 1) return v4(raw[0], raw[1], raw[2], raw[3]);
    if (inet_pton(AF_INET6, z, raw) == 1) return v6(load64(raw), load64(raw + 8));
  }
  return fail(Code::kInvalid, cat(quoted(text), " is not an IP address such as 10.0.0.1 or fd00::1"));
}

IpAddr IpAddr::v6(const std::array<uint8_t, 16>& bytes) { return v6(load64(bytes.data()), load64(bytes.data() + 8)); }

std::array<uint8_t, 16> IpAddr::v6_bytes() const {
  std::array<uint8_t, 16> raw;
  store64(raw.data(), high_);
  store64(raw.data() + 8, low_);
  return raw;
}

std::string IpAddr::to_string() const {
  char z[INET6_ADDRSTRLEN];
  if (is_v4()) {
    uint32_t net = htonl(v4_bits());
    return inet_ntop(AF_INET, &net, z, sizeof z);
  }
  return inet_ntop(AF_INET6, v6_bytes().data(), z, sizeof z);
}

Result<SocketAddr> SocketAddr::parse(std::string_view text) {
  auto bad = [&] {
    return fail(Code::kInvalid, cat(quoted(text), " is not an address and port such as 10.0.0.1:80 or [::1]:80"));
  };
  size_t colon = text.rfind(':');
  if (colon == text.npos) return bad();
  std::string_view host = text.substr(0, colon);
  auto port = parse_number<uint16_t>(text.substr(colon + 1));
  bool brackets = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  if (!port || brackets != (host.find(':') != host.npos)) return bad();
  auto ip = IpAddr::parse(host);
  if (!ip) return bad();
  return SocketAddr(*ip, *port);
}

Result<SocketAddr> SocketAddr::from_sockaddr(const sockaddr* sa, socklen_t size) {
  if (size >= sizeof(sockaddr_in) && sa->sa_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, sa, sizeof in);
    return SocketAddr(IpAddr::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port));
  }
  if (size >= sizeof(sockaddr_in6) && sa->sa_family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, sa, sizeof in);
    return SocketAddr(IpAddr::v6(load64(in.sin6_addr.s6_addr), load64(in.sin6_addr.s6_addr + 8)), ntohs(in.sin6_port));
  }
  return fail(Code::kInvalid, cat("socket address of family ", size >= sizeof(sa_family_t) ? sa->sa_family : 0,
                                  ": only IPv4 and IPv6 are known"));
}

socklen_t SocketAddr::to_sockaddr(sockaddr_storage& out, bool as_v6) const {
  std::memset(&out, 0, sizeof out);
  if (ip.is_v4() && !as_v6) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(ip.v4_bits());
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  store64(in.sin6_addr.s6_addr, ip.high());
  store64(in.sin6_addr.s6_addr + 8, ip.low());
  std::memcpy(&out, &in, sizeof in);
  return sizeof in;
}

std::string SocketAddr::to_string() const {
  return ip.is_v4() ? cat(ip.to_string(), ':', port) : cat('[', ip.to_string(), "]:", port);
}

Result<Cidr> Cidr::make(IpAddr ip, unsigned prefix) {
  unsigned most = ip.is_v4() ? 32 : 128;
  if (prefix > most)
    return fail(Code::kInvalid, cat("network ", ip.to_string(), "/", prefix, ": the prefix is at most ", most));
  Cidr net(ip, static_cast<uint8_t>(ip.is_v4() ? prefix + 96 : prefix));
  // A short prefix of a mapped address can only be given in IPv6 form, which IpAddr does not keep; so `ip` stays of
  // its family when bits are cleared.
  net.ip_ = IpAddr::v6(ip.high() & net.mask_high(), ip.low() & net.mask_low());
  return net;
}

Result<Cidr> Cidr::parse(std::string_view text) {
  size_t slash = text.find('/');
  TULLE_TRY(IpAddr ip, IpAddr::parse(text.substr(0, slash)));
  bool mapped = ip.is_v4() && text.find(':') != text.npos;  // its prefix counts from 128
  unsigned most = ip.is_v4() && !mapped ? 32 : 128;
  unsigned prefix = most;
  if (slash != text.npos) {
    auto n = parse_number<unsigned>(text.substr(slash + 1));
    if (!n || *n > most || (mapped && *n < 96))
      return fail(Code::kInvalid, cat(quoted(text), " is not a network: the prefix is a number from ", mapped ? 96 : 0,
                                      " to ", most, ", as in 10.0.0.0/8"));
    prefix = *n;
  }
  return make(ip, mapped ? prefix - 96 : prefix);
}

std::string Cidr::to_string() const { return cat(ip_.to_string(), '/', prefix()); }

Result<HostPort> split_host_port(std::string_view text) {
  auto bad = [&](std::string_view why) {
    return fail(Code::kInvalid,
                cat(quoted(text), ": ", why, "; expected name:port, such as web.default:80 or [::1]:80"));
  };
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    size_t end = text.find(']');
    if (end == text.npos) return bad("no closing bracket");
    host = text.substr(1, end - 1);
    std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return bad("text after the bracket");
    if (!IpAddr::parse(host)) return bad("no IPv6 address in the brackets");
    has_port = !rest.empty();
    if (has_port) port = rest.substr(1);
  } else if (size_t colon = text.find(':'); colon != text.npos && text.find(':', colon + 1) == text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  } else if (colon != text.npos && !IpAddr::parse(text)) {
    return bad("more than one colon");
  }
  if (host.empty()) return bad("no host");
  HostPort out{host, 0};
  if (has_port) {
    auto n = parse_number<uint16_t>(port);
    if (!n || *n == 0) return bad("the port is not a number from 1 to 65535");
    out.port = *n;
  }
  return out;
}

}  // namespace tulle
