// When a connection on which nothing comes in is asked whether it lives, and when it is given up. Values only: time is
// passed in.
#pragma once

#include "libs/base/time.h"

namespace tulle::httpio {

struct KeepAliveOptions {
  Duration interval{};     // of silence, after which a PING is sent; zero: never
  Duration timeout = 20s;  // without any byte after a PING, after which the connection fails; > 0
  bool while_idle = true;  // also with no stream open
};

class KeepAlive {
 public:
  enum class Do : uint8_t { kWait, kPing, kGiveUp };

  KeepAlive(const KeepAliveOptions& options, TimePoint now) : options_(options), heard_(now) {}
  bool on() const { return options_.interval > 0s; }
  const KeepAliveOptions& options() const { return options_; }
  // Bytes have come in.
  void heard(TimePoint now) { heard_ = now; }
  // What to do at next(), or later. Giving up takes two looks, for what has come in while this process was held up is
  // read only after the first.
  Do look(TimePoint now) {
    if (asked_ != kNever && heard_ < asked_) {
      if (now < asked_ + options_.timeout) return Do::kWait;
      if (overdue_ != kNever && now > overdue_) return Do::kGiveUp;
      overdue_ = now;
      return Do::kWait;
    }
    asked_ = overdue_ = kNever;
    if (now < heard_ + options_.interval) return Do::kWait;
    asked_ = now;
    return Do::kPing;
  }
  TimePoint next() const {
    constexpr Duration kSecondLook = 5ms;
    if (overdue_ != kNever) return overdue_ + kSecondLook;
    return asked_ != kNever ? asked_ + options_.timeout : heard_ + options_.interval;
  }

 private:
  KeepAliveOptions options_;
  TimePoint heard_;
  TimePoint asked_ = kNever;    // when the last PING left
  TimePoint overdue_ = kNever;  // when its answer was first found missing
};

}  // namespace tulle::httpio
