#include "libs/httpio/h1_server.h"

#include <utility>

#include "libs/base/check.h"
#include "libs/rt/combine.h"

namespace tulle::httpio {

using http::BodyFraming;
using http::Framing;
using Event = http::H1Parser::Event;

// ---- The exchange

class H1ServerExchange final : public ServerExchange {
 public:
  explicit H1ServerExchange(H1Server& conn) : ServerExchange(conn.stream_->reactor()), conn_(&conn) {}
  ~H1ServerExchange() override {
    if (!conn_) return;
    if (!responded_) conn_->reject(500, "no response");
    else if (!finished_) break_off();
    conn_->release(false);
  }

  Result<> respond(http::ResponseHead& head, bool end) override;
  void interim(const http::ResponseHead& head) override {
    if (!conn_ || request.version == http::Version::kHttp10) return;
    (void)http::encode_response(head, BodyFraming::none(), conn_->stream_->out());
    conn_->stream_->flush_later();
  }
  void write(Buffer&& bytes) override;
  Result<> finish(const http::Headers* trailers) override;
  void reset(http::H2Code) override {
    if (!conn_) return;
    break_off();
    done(false);
  }
  void close_connection() override {
    if (conn_) conn_->keep_alive_ = false;
  }

 protected:
  void consumed(size_t) override {
    if (conn_) conn_->stream_->changed().notify();
  }
  size_t unsent() const override { return conn_ ? conn_->stream_->pending() : 0; }
  bool flushing() override { return false; }  // the connection sends it, whatever becomes of the exchange

 private:
  friend class H1Server;
  // The client gets what there is of the response and sees by its framing that it is not all; only where nothing but
  // the end of the connection could tell is the connection reset.
  void break_off() {
    if (!responded_ || framing_ == Framing::kUntilClose || framing_ == Framing::kTunnel)
      conn_->aborted_ = conn_->rest_first_ = true;
  }
  void done(bool reusable) { std::exchange(conn_, nullptr)->release(reusable); }
  BodyFraming choose_framing(const http::ResponseHead& head, bool end);

  H1Server* conn_;  // null once it is done or the connection is gone
  Framing framing_ = Framing::kNone;
  uint64_t left_ = 0;      // kLength: bytes still to be written
  bool finished_ = false;  // tunnel: nothing more goes out
};

BodyFraming H1ServerExchange::choose_framing(const http::ResponseHead& head, bool end) {
  if (head.status == 101 || (request.method_kind == http::Method::kConnect && head.status / 100 == 2)) {
    become_tunnel();
    reopen();
    framing_ = Framing::kTunnel;
    return BodyFraming::none();
  }
  if (request.method_kind == http::Method::kHead || head.status < 200 || head.status == 204 || head.status == 304)
    return BodyFraming::none();
  framing_ = Framing::kLength;
  if (end) return BodyFraming::of_length(0);
  if (auto text = head.headers.get(http::HeaderId::kContentLength)) {
    if (auto n = parse_number<uint64_t>(*text)) {
      left_ = *n;
      return BodyFraming::of_length(*n);
    }
  }
  if (request.version == http::Version::kHttp10) {
    framing_ = Framing::kUntilClose;
    conn_->keep_alive_ = false;
    return BodyFraming::until_close();
  }
  framing_ = Framing::kChunked;
  return BodyFraming::chunked();
}

Result<> H1ServerExchange::respond(http::ResponseHead& head, bool end) {
  if (!conn_) return tulle::fail(Code::kReset, "connection ended", Side::kClient);
  if (end && !conn_->request_ended_) conn_->keep_alive_ = false;
  BodyFraming body = choose_framing(head, end);
  if (framing_ != Framing::kTunnel) {
    if (!conn_->keep_alive_ || conn_->closing_) head.headers.set(http::HeaderId::kConnection, "close");
    else if (request.version == http::Version::kHttp10) head.headers.set(http::HeaderId::kConnection, "keep-alive");
  }
  head.version = http::Version::kHttp11;  // our own, whatever the application speaks (RFC 9110 §2.5)
  TULLE_TRY_VOID(http::encode_response(head, body, conn_->stream_->out()));
  responded_ = true;
  conn_->stream_->flush_later();
  if (end) return finish(nullptr);
  conn_->stream_->changed().notify();
  return {};
}

void H1ServerExchange::write(Buffer&& bytes) {
  if (!conn_ || bytes.empty() || finished_) return;
  Buffer& out = conn_->stream_->out();
  size_t n = bytes.size();
  switch (framing_) {
    case Framing::kNone: return;  // the answer to a HEAD: what there is of a body is dropped
    case Framing::kLength:
      if (n > left_) {
        TULLE_BUG("a response body is longer than its content-length");
        return reset(http::H2Code::kInternalError);
      }
      left_ -= n;
      out.append(bytes.view());
      break;
    case Framing::kChunked:
      http::encode_chunk_header(n, out);
      out.append(bytes.view());
      out.append("\r\n");
      break;
    case Framing::kUntilClose:
    case Framing::kTunnel: out.append(bytes.view()); break;
  }
  count_out(n);
  conn_->stream_->flush_later();
}

Result<> H1ServerExchange::finish(const http::Headers* trailers) {
  if (!conn_) return {};
  if (framing_ == Framing::kLength && left_ > 0) {
    break_off();
    done(false);
    return tulle::fail(Code::kProtocol, "the response body is shorter than its content-length", Side::kPeer);
  }
  if (framing_ == Framing::kChunked) {
    TULLE_TRY_VOID(http::encode_last_chunk(trailers, conn_->stream_->out()));
    conn_->stream_->flush_later();
  }
  if (framing_ == Framing::kTunnel) {
    // The other direction may still go on, or wait on its way to the other end: the handler knows when all is done.
    finished_ = true;
    conn_->stream_->shutdown_write();
    return {};
  }
  done(conn_->keep_alive_ && conn_->request_ended_);
  return {};
}

// ---- The connection

H1Server::H1Server(std::unique_ptr<net::Stream> stream, Buffer initial, const ServeOptions& options,
                   const Handler& handler)
    : stream_(std::move(stream)),
      options_(options),
      handler_(handler),
      parser_(http::Role::kRequest, options.limits),
      backlog_(std::move(initial)),
      handled_(*this),
      read_deadline_(*this),
      held_(*this) {
  if (options_.holders) options_.holders->add(held_);
  if (!options_.drain) return;
  options_.drain->add(*this);
  closing_ = options_.drain->started();
}

H1Server::~H1Server() { cancel(Error(Code::kReset, "connection ended", Side::kClient)); }

size_t H1Server::Held::held() const {
  auto* x = server.current_;
  return server.stream_->pending() + server.backlog_.size() + (x ? x->unread() + x->held_beyond() : 0);
}

void H1Server::Held::shed() {
  server.aborted_ = true;
  server.rest_first_ = false;
  server.cancel(Error(Code::kExhausted, "memory", Side::kSelf));
  server.stream_->abort();
  server.stream_->interrupt_read();
  server.stream_->changed().notify();
}

rt::Task<void> H1Server::run() {
  head_started_ = stream_->reactor().now();
  for (bool open = true, held_up = false; open;) {
    Bytes in = backlog_.view();
    // After a pause the parser may have an event to give without any more bytes.
    bool from_backlog = !in.empty() || std::exchange(held_up, false);
    if (!from_backlog) {
      // Also after an answer that did not wait for the end of its request: nothing may follow it.
      if (closing_ && !current_ && (!parser_.in_message() || !request_ended_)) break;
      set_read_deadline();
      auto bytes = co_await stream_->read();
      read_deadline_.disarm();
      if (!bytes) {
        if (bytes.error().code != Code::kCancelled) co_return co_await pass_on(std::move(bytes).error());
        if (!current_ && parser_.in_message() && request_ended_)
          reject(408, "the head of the request did not come in time");
        if (!current_) break;
        continue;
      }
      if (bytes->empty()) {
        if (on_eof() && co_await settle()) continue;
        if (current_)
          co_await pass_on(Error(Code::kReset, "the client closed the connection inside its request", Side::kClient));
        break;
      }
      in = *bytes;
    }
    Step s = step(in);
    if (from_backlog) backlog_.consume(backlog_.size() - in.size());
    else backlog_.append(in);
    if (s == Step::kClose) open = false;
    else if (s == Step::kWait) open = held_up = co_await settle();
  }
  handling_.reset();
  if (!aborted_) co_await close_gently();
  else if (rest_first_) co_await reset_gently();
  else stream_->abort();
}

// Parses until more bytes are needed or the exchange has to come along.
H1Server::Step H1Server::step(Bytes& in) {
  for (;;) {
    switch (parser_.next(in)) {
      case Event::kNeedMore: return Step::kNeedMore;
      case Event::kRequest: start_exchange(); break;
      case Event::kData:
        if (current_) current_->push(parser_.data());
        if (must_wait()) return Step::kWait;
        break;
      case Event::kEnd:
        request_ended_ = true;
        head_started_ = kNever;
        if (current_) current_->end(&parser_.trailers());
        return Step::kWait;
      case Event::kError: {
        bool answered = current_ && current_->responded();
        if (current_) cancel(parser_.error().to_error(Side::kClient));
        if (!answered) reject(parser_.error().status, parser_.error().reason);
        return Step::kClose;
      }
      case Event::kInterim:
      case Event::kResponse: TULLE_BUG("a request parser gave a response"); return Step::kClose;
    }
  }
}

void H1Server::start_exchange() {
  auto exchange = std::make_unique<H1ServerExchange>(*this);
  current_ = exchange.get();
  stream_->set_follower(&exchange->changed());
  request_ended_ = false;
  keep_alive_ = parser_.keep_alive() && !closing_;
  exchange->request = std::move(parser_.request());
  handling_.reset();
  handling_.emplace(stream_->reactor(), handler_(std::move(exchange)), &handled_);
}

bool H1Server::must_wait() {
  if (!current_) return false;
  if (current_->tunnel() && parser_.held()) parser_.become_tunnel(), request_ended_ = false;
  if (request_ended_) return true;
  return current_->unread() > kBodyMark;
}

// Waits until the connection may go on reading; false: it ends.
rt::Task<bool> H1Server::settle() {
  while (must_wait()) {
    // A client that has only ended its side may be reading on: it gets its answer, if that comes soon
    // (docs/life-of-a-request.md).
    if (stream_->hung_up() && !std::exchange(probing_, true)) {
      stream_->probe(15s);
      answer_by_ = stream_->reactor().now() + options_.half_closed_timeout;
    }
    if (stream_->broken()) {
      co_await pass_on(Error(Code::kReset, "the client reset the connection", Side::kClient));
      co_return false;
    }
    if (stream_->write_error()) {
      co_await pass_on(*stream_->write_error());
      co_return false;
    }
    bool answering = current_->responded() || current_->tunnel();
    if (co_await stream_->changed().wait_until(answering ? kNever : answer_by_)) continue;
    if (!current_ || current_->responded()) continue;  // in this very turn
    Error e(Code::kTimeout,
            cat("the client ended its side, and no answer came within ", format_duration(options_.half_closed_timeout)),
            Side::kClient);
    cancel(e);
    reject(504, e.reason);
    co_return false;
  }
  if (aborted_ || (closing_ && !current_)) co_return false;
  if (!current_ && parser_.held()) parser_.resume_http();
  if (!current_) head_started_ = kNever;
  co_return true;
}

// The client has ended its side; false: nothing is left to do.
bool H1Server::on_eof() {
  if (!current_) return false;
  closing_ = true;
  if (current_->tunnel()) {
    request_ended_ = true;
    current_->end(nullptr);
    return true;
  }
  return request_ended_;
}

void H1Server::set_read_deadline() {
  if (current_) return;
  TimePoint now = stream_->reactor().now();
  if (parser_.in_message()) {
    if (head_started_ == kNever) head_started_ = now;
    read_deadline_.arm(head_started_ + options_.header_timeout);
  } else if (options_.idle_timeout > 0s) {
    read_deadline_.arm(now + options_.idle_timeout);
  }
}

void H1Server::cut_off(Error e) {
  closing_ = true;
  if (auto* x = std::exchange(current_, nullptr)) {
    stream_->set_follower(nullptr);
    if (x->responded()) aborted_ = true;
    x->conn_ = nullptr;
    x->fail(std::move(e));
  }
}

void H1Server::cancel(Error e) {
  cut_off(std::move(e));
  handling_.reset();
}

// The client is gone: what came of its request before still goes to where it was going, if it ends inside.
rt::Task<void> H1Server::pass_on(Error e) {
  bool incomplete = current_ && !request_ended_;
  cut_off(std::move(e));
  passing_on_ = true;
  TimePoint end = stream_->reactor().now() + options_.broken_request_grace;
  while (incomplete && handling_ && co_await stream_->changed().wait_until(end)) continue;
  handling_.reset();
}

// The current exchange is over, well or not.
void H1Server::release(bool reusable) {
  current_ = nullptr;
  stream_->set_follower(nullptr);
  if (!reusable) closing_ = true;
  if (closing_) stream_->interrupt_read();
  stream_->changed().notify();
}

// An answer of the connection's own, for what never became an exchange, or got none.
void H1Server::reject(int status, const std::string& reason) {
  closing_ = true;
  if (options_.on_refused && status != 500) options_.on_refused(status == 408 ? "header timeout" : cat(status));
  http::ResponseHead head;
  head.status = status;
  head.headers.add(http::HeaderId::kConnection, "close");
  if (options_.explain) head.headers.add(http::HeaderId::kL5dProxyError, reason);
  (void)http::encode_response(head, BodyFraming::of_length(0), stream_->out());
  stream_->flush_later();
}

// Sends the rest, ends our side, and takes what the client still sends, for a moment: closing with unread bytes resets
// the connection, which can cost the client its answer.
rt::Task<void> H1Server::close_gently() {
  if (stream_->hung_up() && stream_->pending() == 0) co_return;
  stream_->shutdown_write();
  // A client gets all of it, however long it pauses; one that is gone is found by TCP.
  if (!co_await stream_->drained(0)) co_return stream_->abort();
  (void)co_await rt::until(stream_->reactor(), stream_->reactor().now() + 1s, wait_for_close());
}

// A reset takes back what the client's system does not have yet: what came before the break goes first.
rt::Task<void> H1Server::reset_gently() {
  rt::Reactor& reactor = stream_->reactor();
  TimePoint end = reactor.now() + 10s;  // docs/limits.md
  auto sent = co_await rt::until(reactor, end, stream_->drained(0));
  for (Duration wait = 1ms; sent && *sent && !stream_->acknowledged() && !stream_->broken() && reactor.now() < end;
       wait = std::min<Duration>(2 * wait, 50ms))
    co_await rt::sleep_for(reactor, wait);
  stream_->abort();
}

rt::Task<bool> H1Server::wait_for_close() {
  constexpr size_t kMost = 256 * 1024;
  for (size_t dropped = 0; dropped < kMost;) {
    auto bytes = co_await stream_->read();
    if (!bytes || bytes->empty()) co_return true;
    dropped += bytes->size();
  }
  co_return false;
}

void H1Server::on_drain() {
  keep_alive_ = false;
  closing_ = true;
  if (!current_ && !parser_.in_message()) stream_->interrupt_read();
}

}  // namespace tulle::httpio
