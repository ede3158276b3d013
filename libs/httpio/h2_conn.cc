#include "libs/httpio/h2_conn.h"

#include <utility>

#include "libs/base/check.h"
#include "libs/rt/combine.h"

namespace tulle::httpio {

using http::H2Code;
using http::H2Session;

namespace {
Error reset_error(H2Code code, bool by_peer, Side side) {
  Retry retry = code == H2Code::kRefusedStream ? Retry::kSafe : Retry::kIdempotentOnly;
  return Error(Code::kReset, cat("stream reset", by_peer ? " by the peer: " : ": ", http::h2_code_name(code)), side,
               retry);
}
}  // namespace

// ---- Both ends

H2Conn::H2Conn(H2Session::Role role, std::unique_ptr<net::Stream> stream, const http::H2Options& options)
    : stream_(std::move(stream)), session_(role, options, *this), flusher_(*this) {
  stream_->set_flusher(&flusher_);
  stream_->flush_later();
}

H2Conn::~H2Conn() { stream_->set_flusher(nullptr); }

// The one place where a turn's frames are made and sent.
void H2Conn::flush() {
  constexpr size_t kAtOnce = 256 * 1024;
  while (session_.want_write() && stream_->pending() < kAtOnce && !stream_->write_error()) {
    session_.produce(stream_->out(), kAtOnce);
    stream_->flush();
  }
  stream_->flush();
  if (session_.finished()) stream_->interrupt_read();
}

rt::Task<Error> H2Conn::read_loop(Buffer initial) {
  Result<> fed;
  if (!initial.empty()) fed = session_.feed(initial.view(), stream_->reactor().now());
  initial.clear();
  while (fed && !session_.finished()) {
    stream_->flush_later();
    auto bytes = co_await stream_->read();
    if (!bytes) {
      if (bytes.error().code == Code::kCancelled) continue;
      co_return std::move(bytes).error();
    }
    if (bytes->empty())
      co_return Error(Code::kClosed, "the peer closed the connection", Side::kPeer, Retry::kIdempotentOnly);
    fed = session_.feed(*bytes, stream_->reactor().now());
  }
  stream_->flush_later();
  co_await send_rest();
  co_return fed ? Error(Code::kClosed, "the connection ended in order", Side::kPeer, Retry::kSafe)
                : std::move(fed).error();
}

rt::Task<void> H2Conn::send_rest() {
  stream_->shutdown_write();
  constexpr Duration kSlowest = 30s;
  auto sent = co_await rt::until(stream_->reactor(), stream_->reactor().now() + kSlowest, stream_->drained(0));
  if (!sent || !*sent) co_return stream_->abort();
  (void)co_await rt::until(stream_->reactor(), stream_->reactor().now() + 1s, wait_sent());
}

rt::Task<bool> H2Conn::wait_sent() {
  // The peer closes in answer; reading on keeps its last bytes from turning into a reset.
  for (int i = 0; i < 64; ++i) {
    auto bytes = co_await stream_->read();
    if (!bytes || bytes->empty()) break;
  }
  co_return true;
}

// ---- The server's end

class H2ServerExchange final : public ServerExchange {
 public:
  H2ServerExchange(H2Server& conn, int32_t id) : ServerExchange(conn.stream().reactor()), conn_(&conn), id_(id) {}
  ~H2ServerExchange() override;

  Result<> respond(http::ResponseHead& head, bool end) override {
    if (!conn_) return tulle::fail(Code::kReset, "connection ended", Side::kClient);
    TULLE_TRY_VOID(conn_->session().submit_response(id_, head, end));
    responded_ = true;
    if (request.method_kind == http::Method::kConnect && head.status / 100 == 2) become_tunnel();
    sent_end_ = end;
    conn_->flush_later();
    return {};
  }
  void interim(const http::ResponseHead& head) override {
    if (!conn_ || head.status == 101) return;
    (void)conn_->session().submit_interim(id_, head);
    conn_->flush_later();
  }
  void write(Buffer&& bytes) override {
    if (!conn_ || sent_end_) return;
    count_out(bytes.size());
    conn_->session().write_data(id_, std::move(bytes));
    conn_->flush_later();
  }
  Result<> finish(const http::Headers* trailers) override {
    if (!conn_ || sent_end_) return {};
    TULLE_TRY_VOID(conn_->session().end_data(id_, trailers));
    sent_end_ = true;
    conn_->flush_later();
    return {};
  }
  void reset(H2Code code) override {
    if (!conn_) return;
    conn_->session().reset(id_, code);
    sent_end_ = true;
    conn_->flush_later();
  }
  void close_connection() override {
    if (!conn_) return;
    conn_->session().drain();
    conn_->flush_later();
  }

 protected:
  void consumed(size_t n) override {
    if (!conn_) return;
    conn_->session().consume(id_, n);
    conn_->flush_later();
  }
  size_t unsent() const override { return conn_ ? conn_->session().pending(id_) : 0; }

 private:
  friend class H2Server;
  H2Server* conn_;  // null once the connection or the stream is gone
  int32_t id_;
  bool sent_end_ = false;
};

// One open stream: its handler, and the exchange that the handler owns.
struct H2Server::Stream final : ListNode {
  struct Done final : rt::Runnable {
    Stream& stream;
    explicit Done(Stream& s) : stream(s) {}
    void run() override { stream.server.retire(&stream); }
  };
  H2Server& server;
  int32_t id;
  H2ServerExchange* exchange;
  bool closed = false;  // nghttp2 has forgotten it
  Done done;
  std::optional<rt::Running> handling;
  Stream(H2Server& s, int32_t i, H2ServerExchange* x) : server(s), id(i), exchange(x), done(*this) {}
};

H2ServerExchange::~H2ServerExchange() {
  if (!conn_) return;
  if (unread() > 0) conn_->session().consume(id_, unread());
  if (auto* s = conn_->find(id_)) s->exchange = nullptr;
  // A handler that leaves without answering, or in the middle of its answer, must not leave the client waiting. A
  // complete answer before the end of the request is RFC 9113 §8.1: NO_ERROR tells the client to stop sending.
  if (!sent_end_) conn_->session().reset(id_, H2Code::kInternalError);
  else if (!ended()) conn_->session().reset(id_, H2Code::kNoError);
  conn_->flush_later();
}

H2Server::H2Server(std::unique_ptr<net::Stream> stream, const ServeOptions& options, const Handler& handler)
    : H2Conn(H2Session::Role::kServer, std::move(stream), options.h2), handler_(handler) {
  if (!options.drain) return;
  options.drain->add(*this);
  if (options.drain->started()) session_.drain();
}

H2Server::~H2Server() {
  while (Stream* s = streams_.pop_front()) {
    if (s->exchange) {
      s->exchange->conn_ = nullptr;
      s->exchange->fail(Error(Code::kReset, "connection ended", Side::kClient));
    }
    delete s;
  }
}

rt::Task<void> H2Server::run(Buffer initial) { (void)co_await read_loop(std::move(initial)); }

void H2Server::on_request(int32_t id, http::RequestHead&& head, bool end) {
  auto exchange = std::make_unique<H2ServerExchange>(*this, id);
  exchange->request = std::move(head);
  if (end) exchange->end(nullptr);
  auto* s = new Stream(*this, id, exchange.get());
  streams_.push_back(*s);
  session_.set_context(id, s);
  s->handling.emplace(stream_->reactor(), handler_(std::move(exchange)), &s->done);
}

void H2Server::on_data(int32_t id, Bytes data) {
  Stream* s = find(id);
  if (s && s->exchange) s->exchange->push(data);
  else session_.consume(id, data.size());
}

void H2Server::on_end(int32_t id, http::Headers* trailers) {
  Stream* s = find(id);
  if (s && s->exchange) s->exchange->end(trailers);
}

void H2Server::on_reset(int32_t id, H2Code code, bool by_peer) {
  Stream* s = find(id);
  if (!s) return;
  if (s->exchange) {
    // Unread bytes would otherwise be lost to the connection's window.
    session_.consume(id, s->exchange->unread());
    s->exchange->conn_ = nullptr;
    s->exchange->fail(reset_error(code, by_peer, Side::kClient), code);
    s->exchange = nullptr;
  }
  s->handling.reset();  // the client has gone: so does the work for it
}

void H2Server::on_closed(int32_t id, void* context) {
  auto* s = static_cast<Stream*>(context);
  if (!s) return;
  s->closed = true;
  if (s->exchange) {
    session_.consume(id, s->exchange->unread());
    s->exchange->conn_ = nullptr;
    s->exchange->changed().notify();
    s->exchange = nullptr;
  }
  if (!s->handling || s->handling->done()) delete s;
}

void H2Server::retire(Stream* s) {
  s->handling.reset();
  if (s->closed) delete s;
}

void H2Server::on_writable(int32_t id) {
  Stream* s = find(id);
  if (s && s->exchange) s->exchange->changed().notify();
}

void H2Server::on_drain() {
  session_.drain();
  flush_later();
}

// ---- The client's end

class H2ClientExchange final : public ClientExchange, public ListNode {
 public:
  H2ClientExchange(H2Client& conn, bool connect)
      : ClientExchange(conn.stream().reactor()), conn_(&conn), connect_(connect) {}
  ~H2ClientExchange() override {
    if (!conn_) return;
    conn_->session().set_context(id_, nullptr);
    if (unread() > 0) conn_->session().consume(id_, unread());
    if (!ended() || !sent_end_) conn_->session().reset(id_, H2Code::kCancel);
    conn_->flush_later();
  }
  void write(Buffer&& bytes) override {
    if (!conn_ || sent_end_) return;
    count_out(bytes.size());
    conn_->session().write_data(id_, std::move(bytes));
    conn_->flush_later();
  }
  Result<> finish(const http::Headers* trailers) override {
    if (!conn_ || sent_end_) return {};
    TULLE_TRY_VOID(conn_->session().end_data(id_, trailers));
    sent_end_ = true;
    conn_->flush_later();
    return {};
  }
  void reset(H2Code code) override {
    if (!conn_) return;
    conn_->session().reset(id_, code);
    sent_end_ = true;
    conn_->flush_later();
  }

 protected:
  void consumed(size_t n) override {
    if (!conn_) return;
    conn_->session().consume(id_, n);
    conn_->flush_later();
  }
  size_t unsent() const override { return conn_ ? conn_->session().pending(id_) : 0; }

 private:
  friend class H2Client;
  H2Client* conn_;  // null once the connection or the stream is gone
  bool connect_;
  int32_t id_ = 0;
  bool sent_end_ = false;
};

H2Client::H2Client(std::unique_ptr<net::Stream> stream, const http::H2Options& options, rt::Runnable* on_change)
    : H2Conn(H2Session::Role::kClient, std::move(stream), options),
      on_change_(on_change),
      running_(stream_->reactor(), run()) {}

H2Client::~H2Client() {
  exchanges_.for_each([](H2ClientExchange& x) {
    x.unlink();
    x.conn_ = nullptr;
    x.fail(Error(Code::kReset, "connection closed", Side::kSelf, Retry::kIdempotentOnly));
  });
}

Result<std::unique_ptr<ClientExchange>> H2Client::start(const http::RequestHead& head, bool end) {
  auto exchange = std::make_unique<H2ClientExchange>(*this, head.method_kind == http::Method::kConnect);
  auto id = session_.submit_request(head, end, exchange.get());
  if (!id) {
    exchange->conn_ = nullptr;
    return fail(std::move(id).error());
  }
  exchange->id_ = *id;
  exchange->sent_end_ = end;
  exchanges_.push_back(*exchange);
  flush_later();
  return exchange;
}

void H2Client::drain() {
  session_.drain();
  flush_later();
}

rt::Task<void> H2Client::run() {
  Error why = co_await read_loop(Buffer());
  dead_ = true;
  exchanges_.for_each([&](H2ClientExchange& x) {
    x.unlink();
    x.conn_ = nullptr;
    x.fail(why);
  });
  changed();
}

void H2Client::on_response(int32_t id, http::ResponseHead&& head, bool end) {
  auto* x = find(id);
  if (!x) return;
  if (x->connect_ && head.status / 100 == 2) x->become_tunnel();
  x->push_head(std::move(head));
  if (end) x->end(nullptr);
}

void H2Client::on_interim(int32_t id, http::ResponseHead&& head) {
  if (auto* x = find(id)) x->push_head(std::move(head));
}

void H2Client::on_data(int32_t id, Bytes data) {
  if (auto* x = find(id)) x->push(data);
  else session_.consume(id, data.size());
}

void H2Client::on_end(int32_t id, http::Headers* trailers) {
  if (auto* x = find(id)) x->end(trailers);
}

void H2Client::on_reset(int32_t id, H2Code code, bool by_peer) {
  auto* x = find(id);
  if (!x) return;
  // RFC 9113 §8.1: NO_ERROR after a complete response only tells us to stop sending; in a tunnel that is a loss.
  if (code == H2Code::kNoError && x->ended() && !x->tunnel()) return;
  x->fail(reset_error(code, by_peer, Side::kPeer), code);
}

void H2Client::on_closed(int32_t id, void* context) {
  auto* x = static_cast<H2ClientExchange*>(context);
  if (x) {
    if (x->unread() > 0) session_.consume(id, x->unread());
    x->unlink();
    x->conn_ = nullptr;
    x->changed().notify();
  }
  changed();
}

void H2Client::on_writable(int32_t id) {
  if (auto* x = find(id)) x->changed().notify();
}

void H2Client::on_goaway(int32_t, H2Code) {
  goaway_ = true;
  changed();
}

void H2Client::on_settings(uint32_t) { changed(); }

}  // namespace tulle::httpio
