// What both directions do with one HTTP exchange: record how it went, stream the body up, wait for the response's head.
// On a worker's thread.
#pragma once

#include <memory>
#include <optional>

#include "libs/httpio/exchange.h"
#include "libs/observe/http_series.h"
#include "proxy/model/classify.h"
#include "proxy/model/errors.h"

namespace tulle::proxy {

// What happened to one request, counted when it is over, however it ends.
class Record {
 public:
  // `series` outlives nothing else: it is shared, for a change of policy or endpoints must not take it away under the
  // request. `start`: from when the latency counts.
  Record(std::shared_ptr<observe::HttpSeries> series, rt::Reactor& reactor, TimePoint start)
      : series_(std::move(series)), reactor_(reactor), start_(start) {
    series_->request();
  }
  Record(const Record&) = delete;
  ~Record() {
    if (!ended_ && outcome_.error.empty()) outcome_.error = "CANCEL";
    outcome_.success = outcome_.success && ended_;
    series_->response(outcome_, reactor_.now() - start_);
  }
  // The response's head has come.
  void head(const http::ResponseHead& h) {
    classifier_.emplace(h);
    outcome_.status = static_cast<uint16_t>(h.status);
    take(classifier_->result());
  }
  // The response has ended in order.
  void end(const http::Headers* trailers) {
    ended_ = true;
    if (!classifier_) return;
    if (!classifier_->settled()) classifier_->end(trailers ? *trailers : http::Headers());
    take(classifier_->result());
  }
  // It broke off; `error` as Linkerd names it: "RESET", "REQUEST_TIMEOUT", …
  void broke(std::string_view error) {
    outcome_.success = false;
    outcome_.error = error;
  }
  void broke(const Error& e) {
    broke(e.code == Code::kTimeout ? "REQUEST_TIMEOUT" : e.code == Code::kReset ? "RESET" : "IO");
  }
  // An answer of our own: its status counts, and it has ended.
  void answered(const ProxyError& e) {
    outcome_.status = static_cast<uint16_t>(e.http_status);
    outcome_.success = e.http_status < 500;
    ended_ = true;
  }

 private:
  void take(const ResponseClass& c) {
    outcome_.success = !c.failure;
    outcome_.grpc_status = c.grpc_status.value_or(-1);
  }
  std::shared_ptr<observe::HttpSeries> series_;
  rt::Reactor& reactor_;
  TimePoint start_;
  observe::Outcome outcome_{.success = false};
  std::optional<Classifier> classifier_;
  bool ended_ = false;
};

// An HTTP/1 connection from the pool ended as the request went out on it, and the request (`no_body`: nothing of it
// has been used up) may be repeated: once more, on a fresh connection.
bool try_fresh(const httpio::ClientExchange& upstream, const http::RequestHead& request, bool no_body);

// Takes out what proxies say to each other, of messages of those who are none: nobody speaks in a proxy's name. Of a
// request all that could be such, of an application's response the fields that proxies know.
void strip_l5d_of_request(http::Headers& headers);
void strip_l5d_of_response(http::Headers& headers);

// Breaks off what goes to `to` because the other side did: what came before that is sent first, if the peer takes it
// in time.
rt::Task<void> break_off(httpio::Exchange& to, http::H2Code code);

// Sends the request's body on, in the background of the response. Both exchanges outlive it. `client` is notified when
// it ends.
rt::Task<void> upload(httpio::ServerExchange& client, httpio::ClientExchange& upstream);

// A response that has begun and cannot go on: a gRPC client over HTTP/2 is told its status in trailers, for to it a
// reset is INTERNAL, which nobody tries again. `emit`: with the message. False: not such a client, or it cannot be
// told.
bool end_with_status(httpio::ServerExchange& client, const ProxyError& e, bool emit);

// The response's head; interim heads before it are passed on.
rt::Task<Result<http::ResponseHead>> response_head(httpio::ServerExchange& client, httpio::ClientExchange& upstream);

}  // namespace tulle::proxy
