// LogThrottle: lines of the log that others can bring about, at will and without end: a client that is refused, a
// server that is down. Of each kind a few are written at once and then one now and then; how many were left out is said
// later. So that whoever makes connections by the million fills neither the disk nor the time of the machine.
//
//   throttle.warn(reactor.now(), "application unreachable", port, {{"port", port}, {"error", e.reason}});
//
// One thread's. What it keeps is bounded.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/log.h"
#include "libs/base/time.h"

namespace tulle {

class LogThrottle {
 public:
  using Write = std::function<void(LogLevel, std::string_view message, LogFields)>;
  static constexpr uint32_t kAtOnce = 5;        // lines of one kind
  static constexpr Duration kEvery = 10s;       // and then one of them in so long
  static constexpr uint32_t kAllAtOnce = 100;   // lines of all kinds together
  static constexpr Duration kAllEvery = 500ms;  // and then one of them in so long
  static constexpr size_t kKinds = 256;         // told apart; the others of a message share one

  explicit LogThrottle(Write write = log_line) : all_(kAllAtOnce), write_(std::move(write)) {}

  // A line at that level, if it may be written. A kind is `message`, which is a literal, and `which`: a port, or the
  // hash of a name. Nothing is counted where the log's filter has no such lines.
  void warn(TimePoint now, std::string_view message, uint64_t which, LogFields fields = {}) {
    line(now, LogLevel::kWarn, message, which, fields);
  }
  void info(TimePoint now, std::string_view message, uint64_t which, LogFields fields = {}) {
    line(now, LogLevel::kInfo, message, which, fields);
  }
  // Says of each message how many lines were left out, at most once in kEvery; to be called each second or so, or the
  // next line of that message has to do it.
  void sweep(TimePoint now);

 private:
  // Lines that may be written.
  struct Stock {
    uint32_t left;
    TimePoint spent{};  // last
    explicit Stock(uint32_t most) : left(most) {}
    bool spend(TimePoint now, uint32_t most, Duration every);
  };
  struct Message {
    std::string_view text;
    LogLevel level;
    uint64_t left_out = 0;
    TimePoint since{};  // the first of them
    Message(std::string_view t, LogLevel l) : text(t), level(l) {}
  };
  void line(TimePoint now, LogLevel level, std::string_view message, uint64_t which, LogFields fields);
  Message& find(std::string_view text, LogLevel level);
  Stock& stock(std::string_view message, uint64_t which);
  void tell_left_out(Message& m, TimePoint now);

  std::vector<Message> messages_;  // as many as there are calls
  absl::flat_hash_map<std::pair<std::string_view, uint64_t>, Stock> kinds_;
  Stock all_;
  Write write_;
};

}  // namespace tulle
