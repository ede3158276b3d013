// PodDns: the resolver of a pod (docs/ARCHITECTURE.md, "The pod"). On the control thread.
//
// Answers the mesh's names from the last good table that the control plane sent, and passes everything else on to the
// host's resolvers. A name of the table has A records only (AAAA: no data, never "no such name"); a name below one of
// the table's zones that is not in it does not exist.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/addr.h"
#include "libs/base/fd.h"
#include "libs/httpio/client.h"
#include "libs/observe/metrics.h"
#include "libs/rt/reactor.h"
#include "libs/wire/tulle.h"
#include "proxy/config/config.h"

namespace tulle::proxy {

// The table, ready for look-ups.
class NameIndex {
 public:
  explicit NameIndex(wire::NameTable table);

  // Nothing: not a name of the mesh; ask the host.
  struct Answer {
    bool exists = false;
    const std::vector<IpAddr>* addresses = nullptr;  // when it exists
  };
  // `name`: lower case, no dot at the end.
  std::optional<Answer> find(std::string_view name) const;
  uint64_t version() const { return table_.version; }
  Duration ttl() const { return table_.ttl; }

 private:
  wire::NameTable table_;
  absl::flat_hash_map<std::string_view, const std::vector<IpAddr>*> names_;  // views of table_
};

// "nameserver" lines of a resolv.conf, at most three, port 53; those that are not addresses are left out.
std::vector<SocketAddr> nameservers(std::string_view resolv_conf);

struct PodDnsOptions {
  std::vector<SocketAddr> upstreams;  // none: names outside the mesh are answered with SERVFAIL
  Duration upstream_timeout = 2s;     // for one server, then the next
  Duration table_wait = 2s;           // how long a question waits for the first table
  size_t max_in_flight = 512;         // questions over UDP being worked on; above, they are dropped
  size_t max_tcp = 64;                // connections, with one question each being worked on
  Duration tcp_idle = 10s;
};

class PodDns {
 public:
  // `udp` with IP_PKTINFO on, `tcp` listening: net::PodNetns::dns_sockets().
  static Result<std::unique_ptr<PodDns>> make(rt::Reactor& reactor, Fd udp, Fd tcp, PodDnsOptions options,
                                              observe::Shard& shard);
  ~PodDns();

  // Replaces the table.
  void set_table(wire::NameTable table);
  // Keeps the table up to date by Names/Watch; while that fails, the last good one stays. A control plane that has no
  // such method: everything is passed on to the host. `client` outlives this.
  void watch(httpio::Client& client, std::string authority, std::string workload, BackoffConfig backoff);

 private:
  struct Impl;
  explicit PodDns(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tulle::proxy
