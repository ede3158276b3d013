// Client: sends requests to one place, over a few HTTP/2 connections (one, but where the peer limits its streams) or a
// pool of HTTP/1 connections, which it makes as needed and keeps for reuse. Requests that find no room wait for their
// turn, first come, first served. One reactor.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "libs/base/list.h"
#include "libs/http/h2.h"
#include "libs/http/limits.h"
#include "libs/httpio/exchange.h"
#include "libs/httpio/keep_alive.h"
#include "libs/httpio/server.h"
#include "libs/net/stream.h"
#include "libs/rt/scope.h"

namespace tulle::httpio {

class H1Client;
class H2Client;

struct ClientOptions {
  http::Limits limits;
  http::H2Options h2;
  KeepAliveOptions keep_alive;  // HTTP/2
  size_t max_idle = 10'000;     // HTTP/1 connections kept while unused
  // HTTP/1: after which an unused one is closed; sooner where the peer has announced that it keeps it for less.
  Duration idle_timeout = 3s;
  // HTTP/1: for so long it is remembered that the peer has ended an idle connection without having announced it, and
  // after what time; see start(). Each such end is told to `on_unannounced_end`, if set.
  Duration distrust = 60s;
  std::function<void()> on_unannounced_end;
  size_t max_connections = 10'000;  // HTTP/1: in all, those that are being made included; above, a request waits
  size_t max_waiting = 10'000;      // requests that wait for a connection or, over HTTP/2, for a stream
};

class Client {
 public:
  // Makes one connection; bounds its own time.
  using Connector = std::function<rt::Task<Result<std::unique_ptr<net::Stream>>>()>;

  Client(rt::Reactor& reactor, Protocol protocol, Connector connector, ClientOptions options);
  // Open exchanges end with an error.
  ~Client();

  // Sends a request's head on a connection that has room, made if need be. `end`: it has no body. Waits for its turn
  // without end: who has a deadline cancels. Errors: the connector's; kExhausted (safe to retry elsewhere) where
  // max_waiting requests wait already; kInvalid for a head that cannot be sent.
  // HTTP/1: a request that could not be repeated (its method is not idempotent, or it has a body) gets an idle
  // connection only if it has been idle for at least a second less than the peer is known to keep one (as announced,
  // and as it has done lately), and the system knows of no end of it; otherwise a fresh one takes the place of an idle
  // one. `fresh`: an idle one only where no other may be made.
  rt::Task<Result<std::unique_ptr<ClientExchange>>> start(const http::RequestHead& head, bool end, bool fresh = false);
  // Makes the HTTP/2 connection without a request to send, if there is none.
  rt::Task<Result<>> warm_up();
  // A request could be sent without making a connection first.
  bool connected() const;
  // HTTP/2 only: no new requests; connections end as their streams do. HTTP/1: idle connections close.
  void drain();
  // Connections closed by the other side or ended; notified when that happens.
  rt::Signal& changed() { return changed_; }
  size_t connections() const { return h1_.size() + h2_.size(); }

 private:
  struct Upkeep final : rt::Runnable {
    Client& client;
    explicit Upkeep(Client& c) : client(c) {}
    void run() override { client.clean_up(); }
  };
  struct IdleTimer final : rt::Timer {
    Client& client;
    IdleTimer(rt::Reactor& r, Client& c) : rt::Timer(r), client(c) {}
    void on_timer() override { client.clean_up(); }
  };
  class Turn;
  struct Dialing;
  rt::Task<Result<std::unique_ptr<ClientExchange>>> start_h1(const http::RequestHead& head, bool end, bool fresh);
  rt::Task<Result<std::unique_ptr<ClientExchange>>> start_h2(const http::RequestHead& head, bool end);
  // Waits until this request may look for room; `again`: it did before and found none, so it is the first in the queue.
  rt::Task<Result<>> wait_turn(bool again);
  // Calls the next that waits if there is room for it. Whoever has taken its room calls this again.
  void serve_waiters();
  void connect_more_h2();
  rt::Task<void> connect_h2();
  H1Client* idle_h1() const;
  H1Client* open_h1(const http::RequestHead& head, bool end);
  void note_end(const H1Client& c);
  H2Client* usable_h2() const;
  bool may_dial_h1() const;
  void clean_up();

  rt::Reactor& reactor_;
  Protocol protocol_;
  Connector connector_;
  ClientOptions options_;
  rt::Signal changed_;
  Upkeep upkeep_;
  IdleTimer idle_timer_;
  std::vector<std::unique_ptr<H1Client>> h1_;  // the most recently used idle one is taken first
  std::vector<std::unique_ptr<H2Client>> h2_;
  Duration leaves_after_{};                // HTTP/1: the peer has ended a connection that was idle for so long,
  TimePoint distrust_until_{};             // to be heeded until then
  std::optional<rt::Running> connecting_;  // HTTP/2: one attempt serves all that wait
  TimePoint no_extra_before_{};            // HTTP/2: after a failed attempt to have one more connection
  List<Dialing> dialing_;                  // HTTP/1: attempts in progress
  size_t dials_ = 0;
  List<Turn> waiting_;  // in the order of their coming
  List<Turn> called_;   // at most one: it looks for room later in this turn of the loop
  size_t waiters_ = 0;  // in both
};

}  // namespace tulle::httpio
