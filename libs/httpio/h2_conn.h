// One HTTP/2 connection, either end. Used through serve() and Client. What both ends share is in h2_conn.cc and
// h2_exchange.h, the rest in h2_server.cc and h2_client.cc.
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "libs/http/budget.h"
#include "libs/http/h2.h"
#include "libs/httpio/exchange.h"
#include "libs/httpio/keep_alive.h"
#include "libs/httpio/server.h"
#include "libs/net/stream.h"
#include "libs/rt/scope.h"

namespace tulle::httpio {

// What both ends share: bytes in and out, once a turn.
class H2Conn : public http::H2Handler {
 public:
  http::H2Session& session() { return session_; }
  net::Stream& stream() { return *stream_; }
  void flush_later() { stream_->flush_later(); }
  // In this turn.
  void flush_soon() { stream_->reactor().schedule(soon_); }

 protected:
  H2Conn(http::H2Session::Role role, std::unique_ptr<net::Stream> stream, const http::H2Options& options,
         const KeepAliveOptions& keep_alive);
  ~H2Conn();
  // Reads until the connection ends, feeding `initial` first. Gives why it ended.
  rt::Task<Error> read_loop(Buffer initial);
  // Waits until the peer takes what is queued for it, when that is more than anybody would wait with.
  rt::Task<void> wait_queue();
  // Waits until what is queued has been sent, for a moment.
  rt::Task<void> send_rest();

  void flush();
  // Ends the connection now, with what waits in it.
  void give_up(Error why);
  // Something was fed to the session.
  virtual void on_fed() {}

  std::unique_ptr<net::Stream> stream_;
  http::H2Session session_;

 private:
  struct Flusher final : rt::Runnable {
    H2Conn& conn;
    explicit Flusher(H2Conn& c) : conn(c) {}
    void run() override { conn.flush(); }
  };
  struct Alarm final : rt::Timer {
    H2Conn& conn;
    explicit Alarm(H2Conn& c) : rt::Timer(c.stream_->reactor()), conn(c) {}
    void on_timer() override { conn.check_alive(); }
  };
  void check_alive();
  rt::Task<bool> wait_sent();

  Flusher flusher_, soon_;
  KeepAlive keep_alive_;
  Alarm alarm_;
  std::optional<Error> given_up_;
};

class H2ServerExchange;

class H2Server final : public H2Conn, private Drain::Member {
 public:
  H2Server(std::unique_ptr<net::Stream> stream, const ServeOptions& options, const Handler& handler);
  ~H2Server();
  rt::Task<void> run(Buffer initial);

 private:
  // A head that does not come to its end. Armed while one has begun, at most once in header_timeout.
  struct HeadAlarm final : rt::Timer {
    H2Server& server;
    explicit HeadAlarm(H2Server& s) : rt::Timer(s.stream_->reactor()), server(s) {}
    void on_timer() override { server.check_head(); }
  };
  struct Held final : net::Holder {
    H2Server& server;
    explicit Held(H2Server& s) : server(s) {}
    size_t held() const override;
    SocketAddr peer() const override { return server.stream_->peer(); }
    void shed() override;
  };
  void check_head();
  void on_fed() override;
  friend class H2ServerExchange;
  struct Stream;
  struct Grace;
  void on_request(int32_t id, http::RequestHead&& head, bool end) override;
  void on_data(int32_t id, Bytes data) override;
  void on_end(int32_t id, http::Headers* trailers) override;
  void on_reset(int32_t id, http::H2Code code, bool by_peer) override;
  void on_closed(int32_t id, void* context) override;
  void on_writable(int32_t id) override;
  void on_drain() override;
  Stream* find(int32_t id) { return static_cast<Stream*>(session_.context(id)); }
  void retire(Stream* s);

  const ServeOptions& options_;
  const Handler& handler_;
  TimePoint created_;
  HeadAlarm head_alarm_;
  bool refused_ = false;  // and told
  Held held_;
  List<Stream> streams_;
  size_t broken_ = 0;  // requests that are passed on for a moment more
};

class H2ClientExchange;

class H2Client final : public H2Conn {
 public:
  // `on_change` is scheduled when the connection dies or takes new streams again; it may destroy this object.
  H2Client(std::unique_ptr<net::Stream> stream, const http::H2Options& options, const KeepAliveOptions& keep_alive,
           rt::Runnable* on_change);
  ~H2Client();

  // Errors as H2Session::submit_request.
  Result<std::unique_ptr<ClientExchange>> start(const http::RequestHead& head, bool end);
  bool can_start() const { return !dead_ && session_.can_open() && !session_.draining(); }
  // It takes no new streams and will not again.
  bool ending() const { return dead_ || goaway_ || session_.draining(); }
  bool dead() const { return dead_; }
  size_t open_streams() const { return session_.open_streams(); }
  // No new streams; it ends when the last one has.
  void drain();

 private:
  friend class H2ClientExchange;
  struct Later final : rt::Timer {
    H2Client& client;
    explicit Later(H2Client& c) : rt::Timer(c.stream_->reactor()), client(c) {}
    void on_timer() override { client.reset_withheld(); }
  };
  rt::Task<void> run();
  // Resets the stream of an exchange, or lets go of it and does so later (H2Options::sent_reset_burst).
  void give_up(H2ClientExchange& x, http::H2Code code);
  void reset_withheld();
  void on_response(int32_t id, http::ResponseHead&& head, bool end) override;
  void on_interim(int32_t id, http::ResponseHead&& head) override;
  void on_data(int32_t id, Bytes data) override;
  void on_end(int32_t id, http::Headers* trailers) override;
  void on_reset(int32_t id, http::H2Code code, bool by_peer) override;
  void on_closed(int32_t id, void* context) override;
  void on_writable(int32_t id) override;
  void on_goaway(int32_t last_id, http::H2Code code) override;
  void on_settings(uint32_t max_concurrent) override;
  H2ClientExchange* find(int32_t id) { return static_cast<H2ClientExchange*>(session_.context(id)); }
  void changed() {
    if (on_change_) stream_->reactor().schedule(*on_change_);
  }

  rt::Runnable* on_change_;
  bool dead_ = false;
  bool goaway_ = false;
  List<H2ClientExchange> exchanges_;
  http::Budget resets_;
  std::vector<std::pair<int32_t, http::H2Code>> withheld_;  // streams to reset when that may be
  Later later_;
  rt::Running running_;
};

}  // namespace tulle::httpio
