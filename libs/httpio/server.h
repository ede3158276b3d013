// Serving HTTP on a connection.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "libs/http/h2.h"
#include "libs/http/limits.h"
#include "libs/httpio/exchange.h"
#include "libs/httpio/keep_alive.h"
#include "libs/net/holders.h"
#include "libs/net/stream.h"

namespace tulle::httpio {

// Something that ends in order when it is asked to: connections register here, and the one who shuts down calls
// start(). One reactor.
class Drain {
 public:
  class Member : public ListNode {
   public:
    virtual void on_drain() = 0;

   protected:
    ~Member() = default;
  };
  bool started() const { return started_; }
  void add(Member& m) { members_.push_back(m); }
  bool empty() const { return const_cast<List<Member>&>(members_).empty(); }
  // Tells every member once. HTTP/1: the current exchange is the last; idle connections close. HTTP/2: GOAWAY.
  void start() {
    started_ = true;
    members_.for_each([](Member& m) { m.on_drain(); });
  }

 private:
  bool started_ = false;
  List<Member> members_;
};

struct ServeOptions {
  http::Limits limits;
  http::H2Options h2;           // `explain` is that below
  KeepAliveOptions keep_alive;  // HTTP/2
  // From the first byte of a request to the end of its head; then 408 and close. HTTP/2: for the preface, and for each
  // frame but DATA and each header block; then GOAWAY.
  Duration header_timeout = 30s;
  Duration idle_timeout = 0s;  // HTTP/1: between requests; zero: none
  // HTTP/1: a client that ends its side after its request (half-close, or gone: nobody can tell) has this long to be
  // given the head of its response; then 504 and close.
  Duration half_closed_timeout = 5s;
  // The client breaks its request off: the handler has this long to pass on what came before; Exchange::error() says
  // that there is nobody to answer. Over HTTP/2 of so many requests at once. Zero: it is cancelled at once.
  Duration broken_request_grace = 0s;
  size_t max_broken_requests = 32;
  Drain* drain = nullptr;           // outlives the connection
  net::Holders* holders = nullptr;  // the same
  // What the connection itself refuses is answered with the reason: in l5d-proxy-error, over HTTP/2 in the text of the
  // GOAWAY. Not for strangers.
  bool explain = true;
  // Told why, when a connection is ended because of what came on it: "header timeout", a status ("431"), the name of an
  // HTTP/2 code ("PROTOCOL_ERROR") or "flood of …"; one of a few dozen fixed texts.
  std::function<void(std::string_view why)> on_refused;
};

enum class Protocol : uint8_t { kHttp1, kHttp2 };

// Serves until the connection ends, calling `handler` for each request. `initial`: bytes already read. Cancelled by
// destroying it: handlers end with it.
rt::Task<void> serve(std::unique_ptr<net::Stream> stream, Protocol protocol, Buffer initial,
                     const ServeOptions& options, const Handler& handler);

}  // namespace tulle::httpio
