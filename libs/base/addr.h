// IP addresses, socket addresses and networks as small values: parsing, printing, comparing, hashing.
//
// An IPv4-mapped IPv6 address (::ffff:a.b.c.d) and the IPv4 address are the same value, so that no rule about
// addresses can be sidestepped by writing one as the other. Scope ids ("%eth0") are not accepted.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "libs/base/result.h"

namespace tulle {

class IpAddr {
 public:
  // 0.0.0.0
  constexpr IpAddr() = default;
  // 127.0.0.1 is v4(0x7f000001).
  static constexpr IpAddr v4(uint32_t bits) { return IpAddr(0, kMapped | bits); }
  static constexpr IpAddr v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return v4(static_cast<uint32_t>(a) << 24 | static_cast<uint32_t>(b) << 16 | static_cast<uint32_t>(c) << 8 | d);
  }
  // The halves of the address as numbers, the first bits in `high`; a mapped address becomes IPv4.
  static constexpr IpAddr v6(uint64_t high, uint64_t low) { return IpAddr(high, low); }
  static IpAddr v6(const std::array<uint8_t, 16>& bytes);
  static constexpr IpAddr loopback() { return v4(0x7f000001); }
  // Accepts "10.0.0.1" (no leading zeros) and the text forms of RFC 4291 §2.2; no brackets, no scope.
  static Result<IpAddr> parse(std::string_view text);

  constexpr bool is_v4() const { return high_ == 0 && (low_ >> 32) == (kMapped >> 32); }
  constexpr bool is_v6() const { return !is_v4(); }
  // Of an IPv4 address.
  constexpr uint32_t v4_bits() const { return static_cast<uint32_t>(low_); }
  // Of any; IPv4 in its mapped form.
  constexpr uint64_t high() const { return high_; }
  constexpr uint64_t low() const { return low_; }
  std::array<uint8_t, 16> v6_bytes() const;

  constexpr bool is_loopback() const { return is_v4() ? v4_bits() >> 24 == 127 : high_ == 0 && low_ == 1; }
  constexpr bool is_unspecified() const { return is_v4() ? v4_bits() == 0 : high_ == 0 && low_ == 0; }

  // The canonical form of RFC 5952.
  std::string to_string() const;

  friend constexpr bool operator==(const IpAddr&, const IpAddr&) = default;
  friend constexpr auto operator<=>(const IpAddr&, const IpAddr&) = default;
  template <class H>
  friend H AbslHashValue(H h, const IpAddr& a) {
    return H::combine(std::move(h), a.high_, a.low_);
  }

 private:
  static constexpr uint64_t kMapped = 0x0000'ffff'0000'0000;
  constexpr IpAddr(uint64_t high, uint64_t low) : high_(high), low_(low) {}
  uint64_t high_ = 0;
  uint64_t low_ = kMapped;
};

struct SocketAddr {
  IpAddr ip;
  uint16_t port = 0;

  constexpr SocketAddr() = default;
  constexpr SocketAddr(IpAddr i, uint16_t p) : ip(i), port(p) {}
  // "10.0.0.1:80" or "[::1]:80". The port is 0–65535 and must be there.
  static Result<SocketAddr> parse(std::string_view text);
  // Families AF_INET and AF_INET6 only; the scope id is dropped.
  static Result<SocketAddr> from_sockaddr(const sockaddr* sa, socklen_t size);
  static Result<SocketAddr> from_sockaddr(const sockaddr_storage& sa) {
    return from_sockaddr(reinterpret_cast<const sockaddr*>(&sa), sizeof sa);
  }
  // Fills `out` and returns its size in use: AF_INET for IPv4, AF_INET6 else. `as_v6`: always AF_INET6 (mapped), for
  // a dual-stack socket.
  socklen_t to_sockaddr(sockaddr_storage& out, bool as_v6 = false) const;

  std::string to_string() const;

  friend constexpr bool operator==(const SocketAddr&, const SocketAddr&) = default;
  friend constexpr auto operator<=>(const SocketAddr&, const SocketAddr&) = default;
  template <class H>
  friend H AbslHashValue(H h, const SocketAddr& a) {
    return H::combine(std::move(h), a.ip, a.port);
  }
};

// A network: an address and how many of its first bits count. Holds addresses of its own family only: ::/0 holds no
// IPv4 address.
class Cidr {
 public:
  constexpr Cidr() = default;  // 0.0.0.0/0
  // Bits beyond the prefix are cleared. prefix ≤ 32 for IPv4, ≤ 128 for IPv6.
  static Result<Cidr> make(IpAddr ip, unsigned prefix);
  // "10.0.0.0/8"; an address alone is that address.
  static Result<Cidr> parse(std::string_view text);

  constexpr bool contains(IpAddr ip) const {
    return ip.is_v4() == ip_.is_v4() && ((ip.high() ^ ip_.high()) & mask_high()) == 0 &&
           ((ip.low() ^ ip_.low()) & mask_low()) == 0;
  }
  // True if every address of `o` is in this network.
  constexpr bool contains(const Cidr& o) const { return o.bits_ >= bits_ && contains(o.ip_); }

  constexpr IpAddr ip() const { return ip_; }
  constexpr unsigned prefix() const { return ip_.is_v4() ? bits_ - 96u : bits_; }
  std::string to_string() const;

  friend constexpr bool operator==(const Cidr&, const Cidr&) = default;
  friend constexpr auto operator<=>(const Cidr&, const Cidr&) = default;

 private:
  constexpr Cidr(IpAddr ip, uint8_t bits) : ip_(ip), bits_(bits) {}
  constexpr uint64_t mask_high() const { return bits_ == 0 ? 0 : bits_ >= 64 ? ~0ull : ~0ull << (64 - bits_); }
  constexpr uint64_t mask_low() const { return bits_ <= 64 ? 0 : ~0ull << (128 - bits_); }
  IpAddr ip_;
  uint8_t bits_ = 96;  // of 128, IPv4 counted in its mapped form
};

struct HostPort {
  std::string_view host;  // without brackets; never empty
  uint16_t port = 0;      // 0: none given
};
// Splits "name:80", "name", "10.0.0.1:80", "[::1]:80" or "[::1]"; a view of `text`. A bare IPv6 address has no port.
// Port 0 and empty hosts are errors; the host is not checked further.
Result<HostPort> split_host_port(std::string_view text);

}  // namespace tulle

template <>
struct std::hash<tulle::IpAddr> {
  size_t operator()(const tulle::IpAddr& a) const noexcept {
    uint64_t x = (a.high() ^ (a.low() * 0x9e3779b97f4a7c15)) + 0x632be59bd9b4e019;
    x = (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9;
    return static_cast<size_t>(x ^ (x >> 32));
  }
};
template <>
struct std::hash<tulle::SocketAddr> {
  size_t operator()(const tulle::SocketAddr& a) const noexcept {
    return std::hash<tulle::IpAddr>{}(a.ip) * 31 + a.port;
  }
};
