// Connections by what they hold in memory: when the process has too much of it, those that hold most are ended first.
// On one worker's thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/list.h"

namespace tulle::net {

// One connection that a client has made, with all that is carried for it. Leaves its list when destroyed.
class Holder : public ListNode {
 public:
  // Bytes, in both directions.
  virtual size_t held() const = 0;
  virtual SocketAddr peer() const = 0;
  // Drops what it holds and ends the connection; called between two turns of whatever runs on it.
  virtual void shed() = 0;

 protected:
  ~Holder() = default;

 private:
  friend class Holders;
  uint64_t serial_ = 0;
};

class Holders {
 public:
  struct Holding {
    uint64_t serial = 0;
    size_t bytes = 0;
    SocketAddr peer;
  };
  void add(Holder& h) {
    h.serial_ = ++serial_;
    list_.push_back(h);
  }
  // Walks over all. Adds what all hold together to `total`, and the `most` that hold most, at least `least` bytes each,
  // to `into`, in no order.
  void largest(size_t most, size_t least, std::vector<Holding>& into, size_t& total) {
    size_t from = into.size();
    auto more = [](const Holding& a, const Holding& b) { return a.bytes > b.bytes; };
    list_.for_each([&](Holder& h) {
      size_t bytes = h.held();
      total += bytes;
      if (bytes >= least) into.push_back({h.serial_, bytes, h.peer()});
    });
    if (into.size() - from <= most) return;
    auto first = into.begin() + static_cast<ptrdiff_t>(from), end = first + static_cast<ptrdiff_t>(most);
    std::nth_element(first, end, into.end(), more);
    into.erase(end, into.end());
  }
  // Bytes that it held; nothing when it is gone.
  std::optional<size_t> shed(uint64_t serial) {
    Holder* found = nullptr;
    list_.for_each([&](Holder& h) {
      if (h.serial_ == serial) found = &h;
    });
    if (!found) return std::nullopt;
    found->unlink();
    size_t bytes = found->held();
    found->shed();
    return bytes;
  }

 private:
  uint64_t serial_ = 0;
  List<Holder> list_;
};

}  // namespace tulle::net
