// Who has which address in local mode (DESIGN §7.6–7.7). Pure; the time is passed in as seconds of Unix time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "control/source/resource.h"
#include "control/source/workloads.h"
#include "libs/base/addr.h"
#include "libs/base/result.h"

namespace tulle::control {

// One address per Service, for as long as it lives and 24 h more: programs resolve once and keep the answer. Its text
// form is kept in the state directory.
class ServiceAddresses {
 public:
  explicit ServiceAddresses(Cidr network) : network_(network) {}
  // The contents of an earlier save(). Entries outside the network, and what breaks the form, are an error.
  Result<> load(std::string_view text);
  std::string save() const;

  // The address of the Service, the one it had before if it had one. Error: none is left.
  Result<IpAddr> assign(const Ref& service, int64_t now);
  // Kept for it for 24 h.
  void release(const Ref& service, int64_t now);
  // Releases what was loaded and not assigned since: the Services that are gone.
  void release_unclaimed(int64_t now);

  // True once after each change that save() would show.
  bool take_dirty() { return std::exchange(dirty_, false); }
  // Not written after all: try again.
  void set_dirty() { dirty_ = true; }

  static constexpr int64_t kKeep = 24 * 3600;

 private:
  struct Entry {
    IpAddr ip;
    int64_t released = 0;  // 0: in use
    bool claimed = false;
  };
  bool free_for_use(IpAddr ip, int64_t now);

  Cidr network_;
  std::map<Ref, Entry> entries_;
  absl::flat_hash_map<IpAddr, Ref> by_ip_;
  uint32_t next_ = 1;
  bool dirty_ = false;
};

// The addresses of pods, each offered to one registration at a time, and again only when all others had their turn.
class PodAddresses final : public AddressSource {
 public:
  // `start`: where to begin, so that meshes side by side seldom try the same.
  PodAddresses(Cidr network, uint32_t start) : network_(network), next_(start) {}
  // Error: none is left.
  Result<IpAddr> take_next() override;
  // Takes this very one; false if it is in use or outside.
  bool take(IpAddr ip) override;
  void release(IpAddr ip) override { used_.erase(ip); }

 private:
  Cidr network_;
  uint32_t next_;
  absl::flat_hash_set<IpAddr> used_;
};

}  // namespace tulle::control
