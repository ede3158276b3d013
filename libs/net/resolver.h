// Names to addresses by the system's configuration (resolv.conf, hosts), over c-ares on the reactor. One reactor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/rt/reactor.h"
#include "libs/rt/task.h"

namespace tulle::net {

struct Addresses {
  std::vector<IpAddr> ips;  // at least one; IPv4 first, else as the server gave them
  Duration ttl{};           // the smallest of all
};
struct Service {
  std::string target;  // no dot at the end
  uint16_t port = 0;
  uint16_t priority = 0, weight = 0;
};
struct Services {
  std::vector<Service> services;  // at least one; by priority
  Duration ttl{};
};

struct ResolverOptions {
  std::vector<SocketAddr> servers;  // instead of the system's
  Duration timeout = 2s;            // of one try
  int tries = 2;                    // of each server
};

class Resolver {
 public:
  static Result<std::unique_ptr<Resolver>> make(rt::Reactor& reactor, ResolverOptions options = {});
  ~Resolver();

  // An address in text form is itself, "localhost" (and names below it, RFC 6761) is 127.0.0.1, without asking.
  // Errors: kNotFound: there is no such name, or it has no address. kUnavailable: no server answered. kTimeout.
  rt::Task<Result<Addresses>> addresses(std::string name, TimePoint deadline);
  // SRV records of exactly that name. Errors as above.
  rt::Task<Result<Services>> services(std::string name, TimePoint deadline);

 private:
  struct Impl;
  explicit Resolver(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tulle::net
