#include "proxy/model/classify.h"

#include <algorithm>
#include <array>

#include "libs/base/strings.h"

namespace tulle::proxy {
namespace {

// The first class a status is in: matches are trees as in Linkerd's ServiceProfile.
bool in_class(const wire::ResponseMatch& m, int status) {
  using Kind = wire::ResponseMatch::Kind;
  auto part = [&](const wire::ResponseMatch& p) { return in_class(p, status); };
  switch (m.kind) {
    case Kind::kAll: return std::all_of(m.parts.begin(), m.parts.end(), part);
    case Kind::kAny: return std::any_of(m.parts.begin(), m.parts.end(), part);
    case Kind::kNot: return !m.parts.empty() && !part(m.parts[0]);
    case Kind::kStatus: return status >= m.min && status <= m.max;
  }
  return false;
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 §5.6.7, the form that senders must use).
std::optional<WallTime> parse_http_date(std::string_view s) {
  constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (s.size() != 29 || s.substr(3, 2) != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || s[19] != ':' ||
      s[22] != ':' || s.substr(25) != " GMT")
    return std::nullopt;
  auto number = [&](size_t at, size_t n) { return parse_number<unsigned>(s.substr(at, n)); };
  auto day = number(5, 2), year = number(12, 4), hour = number(17, 2), minute = number(20, 2), second = number(23, 2);
  size_t month = kMonths.find(s.substr(8, 3));
  if (!day || !year || !hour || !minute || !second || month == kMonths.npos || month % 3 != 0) return std::nullopt;
  std::chrono::year_month_day date(std::chrono::year(static_cast<int>(*year)),
                                   std::chrono::month(static_cast<unsigned>(month / 3 + 1)), std::chrono::day(*day));
  // Years beyond 2200 would overflow nanoseconds.
  if (!date.ok() || *year > 2200 || *year < 1970 || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  return WallTime(std::chrono::sys_days(date) + std::chrono::hours(*hour) + std::chrono::minutes(*minute) +
                  std::chrono::seconds(*second));
}

}  // namespace

std::optional<int> grpc_status(const http::Headers& fields) {
  auto text = fields.get(http::HeaderId::kGrpcStatus);
  if (!text) return std::nullopt;
  return static_cast<int>(std::min(parse_number<uint32_t>(trim(*text)).value_or(2), 1000u));
}

Classifier::Classifier(const http::ResponseHead& head) {
  if (!http::is_grpc(head.headers)) {
    settled_ = true;
    class_ = {is_failed_status(head.status), head.status == 429, std::nullopt};
    return;
  }
  // A response that ended in its head has its status there; so has one whose HTTP status already says it failed.
  end(head.headers);
  settled_ = class_.grpc_status.has_value();
  if (!settled_ && is_failed_status(head.status)) {
    settled_ = true;
    class_.failure = true;
  }
  class_.rate_limited |= head.status == 429;
}

const ResponseClass& Classifier::end(const http::Headers& trailers) {
  if (settled_) return class_;
  class_.grpc_status = grpc_status(trailers);
  if (class_.grpc_status) {
    class_.failure = is_failed_grpc(*class_.grpc_status);
    class_.rate_limited = *class_.grpc_status == 8;
  }
  return class_;
}

const ResponseClass& Classifier::broke() {
  class_.failure = true;
  settled_ = true;
  return class_;
}

std::optional<bool> profile_class(const std::vector<wire::ResponseClass>& classes, int status) {
  for (const auto& c : classes)
    if (in_class(c.condition, status)) return c.is_failure;
  return std::nullopt;
}

std::optional<Duration> retry_after(const http::ResponseHead& head, WallTime now) {
  if (auto ms = head.headers.get(http::HeaderId::kGrpcRetryPushbackMs)) {
    auto n = parse_number<uint32_t>(trim(*ms));
    if (!n) return std::nullopt;
    return std::chrono::milliseconds(*n);
  }
  if (head.status != 429 && head.status != 503) return std::nullopt;
  auto text = head.headers.get(http::HeaderId::kRetryAfter);
  if (!text) return std::nullopt;
  if (auto seconds = parse_number<uint32_t>(trim(*text))) return std::chrono::seconds(*seconds);
  auto date = parse_http_date(trim(*text));
  if (!date) return std::nullopt;
  return std::max<Duration>(*date - now, 0s);
}

bool is_penalised(const http::ResponseHead& head) {
  if (head.status == 429 || is_failed_status(head.status)) return true;
  if (!http::is_grpc(head.headers)) return false;
  int code = grpc_status(head.headers).value_or(0);
  return code == 2 || code == 4 || code == 8 || code == 13 || code == 14 || code == 15;
}

}  // namespace tulle::proxy
