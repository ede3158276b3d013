// Whether a response is a success: what metrics, breakers and retries count. Pure, no allocation.
#pragma once

#include <cstdint>
#include <optional>

#include "libs/http/message.h"
#include "libs/wire/destination.h"

namespace tulle::proxy {

struct ResponseClass {
  bool failure = false;
  bool rate_limited = false;       // 429, or gRPC RESOURCE_EXHAUSTED
  std::optional<int> grpc_status;  // of a gRPC response that said
};

// HTTP: 500 and up fails.
constexpr bool is_failed_status(int status) { return status >= 500; }
// gRPC: UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE, DATA_LOSS fail (as in Linkerd).
constexpr bool is_failed_grpc(int code) { return code == 2 || code == 4 || code == 7 || (code >= 13 && code <= 15); }

// The grpc-status in these fields, if it is a number; an unreadable one counts as UNKNOWN (2).
std::optional<int> grpc_status(const http::Headers& fields);

// Classifies one response: first its head, then, unless that settled it, its end.
class Classifier {
 public:
  explicit Classifier(const http::ResponseHead& head);

  // Known from the head alone: everything but gRPC whose status is still to come.
  bool settled() const { return settled_; }
  // The class as far as it is known; before the trailers, a gRPC response counts as a success.
  const ResponseClass& result() const { return class_; }
  // The body ended in order. Trailers without a status: success, as in Linkerd.
  const ResponseClass& end(const http::Headers& trailers);
  // The stream broke before its end: a failure.
  const ResponseClass& broke();

 private:
  ResponseClass class_;
  bool settled_ = false;
};

// The first response class of a profile's route that this status is in: is it a failure? Nothing: none is.
std::optional<bool> profile_class(const std::vector<wire::ResponseClass>& classes, int status);

// How long an endpoint that failed or is overloaded asks to be left alone: Retry-After (seconds or an HTTP date) on
// 429 and 503, grpc-retry-pushback-ms on gRPC. Unreadable or negative: nothing. `now` is for dates.
std::optional<Duration> retry_after(const http::ResponseHead& head, WallTime now);

// Whether the penalty variant of the balancer makes a response expensive: 429 and 5xx, or a gRPC response that ended
// in its head with RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL or DATA_LOSS.
bool is_penalised(const http::ResponseHead& head);

}  // namespace tulle::proxy
