// Two Streams that are the ends of one connection in memory, for tests that decide everything: bytes move in pieces of
// any size, either direction blocks now and then, and the connection breaks when the test says so. All of it is drawn
// from one Rng, so that a run can be repeated. One reactor.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "libs/base/check.h"
#include "libs/base/random.h"
#include "libs/net/stream.h"

namespace tulle::net::test {

struct Faults {
  Rng rng;
  bool on;
  Faults(uint64_t seed, bool faults) : rng(seed), on(faults) {}
  bool block() { return on && rng.below(6) == 0; }
  size_t piece(size_t n) {
    if (!on || n < 2) return n;
    switch (rng.below(4)) {
      case 0: return 1 + rng.below(static_cast<uint32_t>(std::min<size_t>(n, 16)));
      case 1: return 1 + rng.below(static_cast<uint32_t>(n));
      default: return n;
    }
  }
};

class MemoryStream;

// What both ends share; the test holds it to break the connection.
struct MemoryLink {
  static constexpr size_t kRoom = 64 * 1024;  // bytes on their way in one direction, as a socket's buffer would hold
  struct Half {
    Buffer bytes;
    bool fin = false;
  };
  Half half[2];                                // [i]: from ends[i] to the other
  MemoryStream* ends[2] = {nullptr, nullptr};  // null: gone
  bool broken = false;
  bool stalled = false;  // nothing moves
  uint64_t sent[2] = {0, 0};
  // As a reset in the middle of whatever there is.
  void break_off();
  void stall(bool yes);
};

class MemoryStream final : public Stream {
 public:
  MemoryStream(rt::Reactor& reactor, std::shared_ptr<MemoryLink> link, int side, Faults& faults)
      : Stream(reactor, {}, {}), link_(std::move(link)), side_(side), faults_(faults), wake_(*this) {
    link_->ends[side_] = this;
  }
  ~MemoryStream() override {
    if (!aborted_) flush();
    link_->ends[side_] = nullptr;
    // As the kernel does: who closes with bytes unread, or was told to, resets.
    if (aborted_ || !link_->half[1 - side_].bytes.empty()) link_->break_off();
    link_->half[side_].fin = true;
    wake_peer();
  }
  void abort() override {
    Stream::abort();
    aborted_ = true;
  }
  bool quiet() const override { return Stream::quiet() && link_->half[1 - side_].bytes.empty(); }
  // Something has changed; acts on it later in this turn, as if epoll had told.
  void wake() { reactor().schedule(wake_); }

 protected:
  ReadNow read_now() override {
    MemoryLink::Half& in = link_->half[1 - side_];
    if (link_->broken) return sys_error("recv", ECONNRESET, Side::kPeer);
    if (link_->stalled) return Now::kWouldBlock;
    if (in.bytes.empty()) return in.fin ? end() : Now::kWouldBlock;
    if (faults_.block()) return wake(), Now::kWouldBlock;
    size_t n = faults_.piece(std::min(in.bytes.size(), read_size()));
    std::memcpy(reactor().scratch(), in.bytes.view().data(), n);
    in.bytes.consume(n);
    wake_peer();
    if (!in.bytes.empty() || in.fin) wake();
    return Bytes(reactor().scratch(), n);
  }
  void flush_now() override {
    MemoryLink::Half& half = link_->half[side_];
    while (!out().empty() && !link_->stalled) {
      if (link_->broken || !link_->ends[1 - side_]) {
        link_->break_off();
        return fail_write(sys_error("send", link_->broken ? ECONNRESET : EPIPE, Side::kPeer));
      }
      size_t room = MemoryLink::kRoom - std::min(MemoryLink::kRoom, half.bytes.size());
      if (room == 0) return;
      if (faults_.block()) return wake();
      size_t n = std::min(room, faults_.piece(out().size()));
      half.bytes.append(out().view().substr(0, n));
      link_->sent[side_] += n;
      count_written(n);
      out().consume(n);
      notify_changed();
      wake_peer();
    }
    if (fin_wanted_ && out().empty() && !fin_sent_) {
      fin_sent_ = half.fin = true;
      wake_peer();
    }
  }

 private:
  struct Wake final : rt::Runnable {
    MemoryStream& stream;
    explicit Wake(MemoryStream& s) : stream(s) {}
    void run() override { stream.on_ready(); }
  };
  void on_ready() {
    if (link_->stalled && !link_->broken) return;
    if (link_->broken || link_->half[1 - side_].fin) set_hung_up(link_->broken);
    if (pending() > 0 || (fin_wanted_ && !fin_sent_)) writable_again();
    wake_reader();  // the last: its reader may destroy this
  }
  ReadNow end() {
    set_hung_up();
    return Now::kEnd;
  }
  void wake_peer() {
    if (MemoryStream* peer = link_->ends[1 - side_]) peer->wake();
  }

  std::shared_ptr<MemoryLink> link_;
  int side_;
  Faults& faults_;
  Wake wake_;
  bool aborted_ = false;
};

inline void MemoryLink::break_off() {
  broken = true;
  for (MemoryStream* end : ends)
    if (end) end->wake();
}
inline void MemoryLink::stall(bool yes) {
  stalled = yes;
  for (MemoryStream* end : ends)
    if (end && !yes) end->wake();
}

}  // namespace tulle::net::test
