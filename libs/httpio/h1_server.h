// One HTTP/1 connection, the server's end: requests one after the other. Used through serve() in server.h.
#pragma once

#include <memory>
#include <optional>

#include "libs/http/h1.h"
#include "libs/httpio/server.h"
#include "libs/net/stream.h"
#include "libs/rt/scope.h"

namespace tulle::httpio {

class H1ServerExchange;

class H1Server final : private Drain::Member {
 public:
  H1Server(std::unique_ptr<net::Stream> stream, Buffer initial, const ServeOptions& options, const Handler& handler);
  ~H1Server();
  rt::Task<void> run();

 private:
  friend class H1ServerExchange;
  enum class Step { kNeedMore, kWait, kClose };

  Step step(Bytes& in);
  void start_exchange();
  bool must_wait();
  rt::Task<bool> settle();
  bool on_eof();
  void set_read_deadline();
  void cut_off(Error e);
  void cancel(Error e);
  rt::Task<void> pass_on(Error e);
  void release(bool reusable);
  void reject(int status, const std::string& reason);
  rt::Task<void> close_gently();
  rt::Task<void> reset_gently();
  rt::Task<bool> wait_for_close();
  void on_drain() override;

  struct ReadDeadline final : rt::Timer {
    H1Server& server;
    explicit ReadDeadline(H1Server& s) : rt::Timer(s.stream_->reactor()), server(s) {}
    void on_timer() override { server.stream_->interrupt_read(); }
  };

  struct Held final : net::Holder {
    H1Server& server;
    explicit Held(H1Server& s) : server(s) {}
    size_t held() const override;
    SocketAddr peer() const override { return server.stream_->peer(); }
    void shed() override;
  };

  // The exchange is a parameter of the handler, which lives until the handler's frame is gone.
  struct Handled final : rt::Runnable {
    H1Server& server;
    explicit Handled(H1Server& s) : server(s) {}
    void run() override {
      if (server.handling_ && server.handling_->done()) server.handling_.reset();
      if (server.passing_on_) server.stream_->changed().notify();
    }
  };

  std::unique_ptr<net::Stream> stream_;
  const ServeOptions& options_;
  const Handler& handler_;
  http::H1Parser parser_;
  Buffer backlog_;                       // read, not yet parsed: pipelined, or held up
  H1ServerExchange* current_ = nullptr;  // from the head of the request to the end of the response
  std::optional<rt::Running> handling_;
  Handled handled_;
  ReadDeadline read_deadline_;
  Held held_;
  TimePoint head_started_ = kNever;
  TimePoint answer_by_ = kNever;  // the head of the response: the client has ended its side
  bool request_ended_ = true;     // of current_
  bool keep_alive_ = true;
  bool closing_ = false;  // no further request
  bool probing_ = false;  // the client has ended its side; is it still there?
  bool passing_on_ = false;
  bool rest_first_ = false;  // of a response that broke off: what was written of it goes before the reset
  bool aborted_ = false;     // the response broke off: reset, so that nobody takes it for complete
};

}  // namespace tulle::httpio
