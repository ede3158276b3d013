#include "libs/base/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "libs/base/check.h"
#include "libs/base/strings.h"

namespace tulle {

IpAddr IpAddr::v4(uint32_t host_order) {
  IpAddr a;
  for (int i = 0; i < 4; ++i) a.bytes_[12 + i] = static_cast<uint8_t>(host_order >> (24 - 8 * i));
  return a;
}

IpAddr IpAddr::v6(const std::array<uint8_t, 16>& bytes) {
  IpAddr a;
  a.v4_ = std::memcmp(bytes.data(), a.bytes_.data(), 12) == 0;
  a.bytes_ = bytes;
  return a;
}

std::optional<IpAddr> IpAddr::parse(std::string_view text) {
  char z[INET6_ADDRSTRLEN + 1];
  if (text.size() >= sizeof z || text.find('\0') != text.npos) return std::nullopt;
  std::memcpy(z, text.data(), text.size());
  z[text.size()] = 0;
  in_addr four;
  if (inet_pton(AF_INET, z, &four) == 1) return v4(ntohl(four.s_addr));
  std::array<uint8_t, 16> six;
  if (inet_pton(AF_INET6, z, six.data()) == 1) return v6(six);
  return std::nullopt;
}

bool IpAddr::is_loopback() const {
  if (v4_) return bytes_[12] == 127;
  for (int i = 0; i < 15; ++i)
    if (bytes_[i]) return false;
  return bytes_[15] == 1;
}

bool IpAddr::is_unspecified() const {
  for (int i = v4_ ? 12 : 0; i < 16; ++i)
    if (bytes_[i]) return false;
  return true;
}

uint32_t IpAddr::v4_bits() const {
  TULLE_CHECK(v4_);
  uint32_t n = 0;
  for (int i = 12; i < 16; ++i) n = n << 8 | bytes_[i];
  return n;
}

std::string IpAddr::to_string() const {
  char text[INET6_ADDRSTRLEN];
  const char* s = v4_ ? inet_ntop(AF_INET, bytes_.data() + 12, text, sizeof text)
                      : inet_ntop(AF_INET6, bytes_.data(), text, sizeof text);
  return s;
}

std::optional<SocketAddr> SocketAddr::parse(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  auto port = parse_number<uint16_t>(text.substr(colon + 1));
  std::string_view host = text.substr(0, colon);
  bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto ip = IpAddr::parse(host);
  if (!port || !ip || bracketed != (host.find(':') != host.npos)) return std::nullopt;
  return SocketAddr(*ip, *port);
}

std::string SocketAddr::to_string() const {
  return ip.is_v4() ? cat(ip.to_string(), ':', port) : cat('[', ip.to_string(), "]:", port);
}

std::optional<SocketAddr> SocketAddr::from_sockaddr(const sockaddr_storage& s) {
  if (s.ss_family == AF_INET) {
    auto& in = reinterpret_cast<const sockaddr_in&>(s);
    return SocketAddr(IpAddr::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port));
  }
  if (s.ss_family == AF_INET6) {
    auto& in = reinterpret_cast<const sockaddr_in6&>(s);
    std::array<uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &in.sin6_addr, 16);
    return SocketAddr(IpAddr::v6(bytes), ntohs(in.sin6_port));
  }
  return std::nullopt;
}

socklen_t SocketAddr::to_sockaddr(sockaddr_storage& s) const {
  std::memset(&s, 0, sizeof s);
  if (ip.is_v4()) {
    auto& in = reinterpret_cast<sockaddr_in&>(s);
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(ip.v4_bits());
    in.sin_port = htons(port);
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(s);
  in.sin6_family = AF_INET6;
  std::memcpy(&in.sin6_addr, ip.v6_bytes().data(), 16);
  in.sin6_port = htons(port);
  return sizeof in;
}

Cidr::Cidr(IpAddr ip, uint8_t prefix) : prefix_(prefix) {
  TULLE_CHECK(prefix <= (ip.is_v4() ? 32 : 128));
  auto bytes = ip.v6_bytes();
  int keep = prefix + (ip.is_v4() ? 96 : 0);
  for (int i = 0; i < 16; ++i) {
    int bits = std::clamp(keep - i * 8, 0, 8);
    bytes[i] &= static_cast<uint8_t>(0xff00 >> bits);
  }
  ip_ = IpAddr::v6(bytes);
}

std::optional<Cidr> Cidr::parse(std::string_view text) {
  size_t slash = text.find('/');
  auto ip = IpAddr::parse(text.substr(0, slash));
  if (!ip) return std::nullopt;
  uint8_t most = ip->is_v4() ? 32 : 128;
  if (slash == text.npos) return Cidr(*ip, most);
  auto prefix = parse_number<uint8_t>(text.substr(slash + 1));
  if (!prefix || *prefix > most) return std::nullopt;
  return Cidr(*ip, *prefix);
}

bool Cidr::contains(const IpAddr& ip) const {
  return ip.is_v4() == ip_.is_v4() && Cidr(ip, prefix_).ip_ == ip_;
}

std::string Cidr::to_string() const { return cat(ip_.to_string(), '/', prefix_); }

}  // namespace tulle
