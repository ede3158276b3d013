// A limit on how often something may happen: a stock that is spent and earned, and refills with time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "libs/base/time.h"

namespace tulle::http {

// At most `burst` at once and `per_second` in the long run. Time is looked at only when the stock is used up.
class Budget {
 public:
  Budget(uint32_t burst, uint32_t per_second) : left_(burst), burst_(burst), per_second_(per_second) {}
  bool spend(TimePoint now) {
    if (left_ == 0) {
      double earned = to_seconds(now - refilled_) * per_second_;
      if (earned < 1 || burst_ == 0) return false;  // whoever asks often still gets it
      left_ = static_cast<uint32_t>(std::min<double>(earned, burst_));
      refilled_ = now;
    }
    --left_;
    return true;
  }
  void earn(uint32_t n) { left_ = std::min(burst_, left_ + n); }
  void start(TimePoint now) { refilled_ = now; }

 private:
  uint32_t left_, burst_, per_second_;
  TimePoint refilled_{};
};

}  // namespace tulle::http
