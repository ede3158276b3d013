// One HTTP/1 connection, the client's end: one exchange at a time. Used through Client in client.h.
#pragma once

#include <memory>
#include <optional>

#include "libs/http/h1.h"
#include "libs/httpio/exchange.h"
#include "libs/net/stream.h"
#include "libs/rt/scope.h"

namespace tulle::httpio {

class H1ClientExchange;

// So long before the peer is expected to end an idle connection nothing that cannot be repeated goes on it any more.
inline constexpr Duration kKeepMargin = 1s;

class H1Client final {
 public:
  // `on_change` is scheduled when the connection becomes idle or dead; it may destroy this object.
  H1Client(std::unique_ptr<net::Stream> stream, const http::Limits& limits, rt::Runnable* on_change);
  ~H1Client();

  // Sends the head; `end`: there is no body. Requires idle(). Error: the head cannot be sent (kInvalid).
  Result<std::unique_ptr<ClientExchange>> start(const http::RequestHead& head, bool end);
  bool idle() const { return !current_ && !dead_ && !stream_->hung_up(); }
  // Asks the socket whether the peer has ended the connection, or said something unasked for, that the loop has not yet
  // seen; then it is dead, and this is false. Requires idle().
  bool look();
  bool dead() const { return dead_ || (!current_ && stream_->hung_up()); }
  TimePoint idle_since() const { return idle_since_; }
  // How long the peer keeps it while it is idle, as it said with its last response (Keep-Alive: timeout=…).
  Duration announced() const { return announced_; }
  // The peer ended it without having announced that, while it was idle or before a byte of the response to the next
  // request: how long it had been idle. It had served before; nothing otherwise.
  std::optional<Duration> left_after() const;
  net::Stream& stream() { return *stream_; }

 private:
  friend class H1ClientExchange;
  rt::Task<void> read_loop();
  rt::Task<void> end_of_tunnel();
  // False: the connection is over.
  bool feed(Bytes& in);
  void on_end();
  void maybe_idle();
  void die(Error e);

  std::unique_ptr<net::Stream> stream_;
  http::H1Parser parser_;
  rt::Runnable* on_change_;
  Buffer backlog_;
  H1ClientExchange* current_ = nullptr;
  bool request_sent_ = false;
  bool response_ended_ = false;
  bool reusable_ = true;
  bool dead_ = false;
  bool answered_ = false;  // a byte of the response to the current request has come
  uint64_t exchanges_ = 0;
  TimePoint idle_since_;
  Duration idle_before_{};  // the current request
  Duration announced_ = Duration::max();
  std::optional<Duration> left_after_;
  rt::Running reading_;
};

}  // namespace tulle::httpio
