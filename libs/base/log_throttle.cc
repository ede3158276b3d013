#include "libs/base/log_throttle.h"

#include <algorithm>

namespace tulle {
namespace {
constexpr uint64_t kOthers = UINT64_MAX;
}

bool LogThrottle::Stock::spend(TimePoint now, uint32_t most, Duration every) {
  if (left == 0) {
    auto earned = (now - spent) / every;
    if (earned < 1) return false;
    left = static_cast<uint32_t>(std::min<int64_t>(earned, most));
  }
  --left;
  spent = now;
  return true;
}

LogThrottle::Message& LogThrottle::find(std::string_view text, LogLevel level) {
  auto it = std::ranges::find(messages_, text, &Message::text);
  return it == messages_.end() ? messages_.emplace_back(text, level) : *it;
}

LogThrottle::Stock& LogThrottle::stock(std::string_view message, uint64_t which) {
  auto it = kinds_.find({message, which});
  if (it != kinds_.end()) return it->second;
  if (kinds_.size() >= kKinds) which = kOthers;
  return kinds_.try_emplace({message, which}, Stock(kAtOnce)).first->second;
}

void LogThrottle::line(TimePoint now, LogLevel level, std::string_view message, uint64_t which, LogFields fields) {
  if (!log_enabled(level)) return;
  Message& m = find(message, level);
  if (stock(message, which).spend(now, kAtOnce, kEvery) && all_.spend(now, kAllAtOnce, kAllEvery)) {
    tell_left_out(m, now);
    write_(level, message, fields);
  } else if (m.left_out++ == 0) {
    m.since = now;
  }
}

void LogThrottle::tell_left_out(Message& m, TimePoint now) {
  if (m.left_out == 0 || now - m.since < kEvery) return;
  write_(m.level, "and more like it", {{"message", m.text}, {"lines", std::exchange(m.left_out, 0)}});
}

void LogThrottle::sweep(TimePoint now) {
  for (Message& m : messages_) tell_left_out(m, now);
  // What would start afresh needs not be remembered.
  absl::erase_if(kinds_, [&](const auto& k) { return now - k.second.spent >= kAtOnce * kEvery; });
}

}  // namespace tulle
