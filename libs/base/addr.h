// Addresses: values that compare, hash, parse and print. IPv4-mapped IPv6 addresses are normalised to IPv4.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace tulle {

class IpAddr {
 public:
  IpAddr() = default;  // 0.0.0.0
  static IpAddr v4(uint32_t host_order);
  static IpAddr v6(const std::array<uint8_t, 16>& bytes);  // a mapped IPv4 address becomes IPv4
  // "127.0.0.1", "::1"; no brackets, no zone.
  static std::optional<IpAddr> parse(std::string_view text);
  static IpAddr loopback() { return v4(0x7f000001); }

  bool is_v4() const { return v4_; }
  bool is_loopback() const;     // 127.0.0.0/8, ::1
  bool is_unspecified() const;  // 0.0.0.0, ::
  uint32_t v4_bits() const;     // host order; is_v4() only
  const std::array<uint8_t, 16>& v6_bytes() const { return bytes_; }  // IPv4: as mapped
  std::string to_string() const;

  auto operator<=>(const IpAddr&) const = default;
  template <class H>
  friend H AbslHashValue(H h, const IpAddr& a) { return H::combine(std::move(h), a.bytes_, a.v4_); }

 private:
  bool v4_ = true;
  std::array<uint8_t, 16> bytes_ = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0};
};

struct SocketAddr {
  IpAddr ip;
  uint16_t port = 0;

  SocketAddr() = default;
  SocketAddr(IpAddr i, uint16_t p) : ip(i), port(p) {}
  // "127.0.0.1:80", "[::1]:80".
  static std::optional<SocketAddr> parse(std::string_view text);
  std::string to_string() const;

  // Any family other than IPv4 and IPv6: nothing.
  static std::optional<SocketAddr> from_sockaddr(const sockaddr_storage& s);
  // Gives the length used.
  socklen_t to_sockaddr(sockaddr_storage& s) const;

  auto operator<=>(const SocketAddr&) const = default;
  template <class H>
  friend H AbslHashValue(H h, const SocketAddr& a) { return H::combine(std::move(h), a.ip, a.port); }
};

// A network: "10.0.0.0/8", "fd00::/8"; a bare address is a network of one.
class Cidr {
 public:
  Cidr() = default;
  Cidr(IpAddr ip, uint8_t prefix);  // prefix ≤ 32 or 128; host bits are cleared
  static std::optional<Cidr> parse(std::string_view text);
  bool contains(const IpAddr& ip) const;
  const IpAddr& ip() const { return ip_; }
  uint8_t prefix() const { return prefix_; }
  std::string to_string() const;
  auto operator<=>(const Cidr&) const = default;

 private:
  IpAddr ip_;
  uint8_t prefix_ = 0;
};

}  // namespace tulle
