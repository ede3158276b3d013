#include "libs/httpio/h1_client.h"

#include <utility>

#include "libs/base/check.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::httpio {

using http::BodyFraming;
using http::Framing;
using Event = http::H1Parser::Event;

namespace {

// Keep-Alive: timeout=SECONDS, max=…; the longest time for a response that has none.
Duration announced_timeout(const http::Headers& headers) {
  Duration timeout = Duration::max();
  auto value = headers.get(http::HeaderId::kKeepAlive);
  if (!value) return timeout;
  http::for_each_token(*value, [&](std::string_view parameter) {
    constexpr std::string_view kName = "timeout=";
    if (!iequals(parameter.substr(0, kName.size()), kName)) return;
    if (auto n = parse_number<uint32_t>(parameter.substr(kName.size()))) timeout = std::chrono::seconds(*n);
  });
  return timeout;
}

}  // namespace

// ---- The exchange

class H1ClientExchange final : public ClientExchange {
 public:
  H1ClientExchange(H1Client& conn, Framing framing, uint64_t length)
      : ClientExchange(conn.stream_->reactor()), conn_(&conn), framing_(framing), left_(length) {}
  ~H1ClientExchange() override {
    if (!conn_) return;
    // A tunnel whose direction from here has ended and left is complete as far as anybody waits for it.
    if (finished_ && !flushing()) conn_->die(Error(Code::kClosed, "the tunnel has ended"));
    else reset(http::H2Code::kCancel);
  }

  void write(Buffer&& bytes) override {
    if (!conn_ || bytes.empty() || finished_) return;
    Buffer& out = conn_->stream_->out();
    size_t n = bytes.size();
    if (framing_ == Framing::kLength) {
      if (n > left_) {
        TULLE_BUG("a request body is longer than its content-length");
        return reset(http::H2Code::kInternalError);
      }
      left_ -= n;
    }
    if (tunnel() || framing_ == Framing::kLength) {
      out.append(bytes.view());
    } else if (framing_ == Framing::kChunked) {
      http::encode_chunk_header(n, out);
      out.append(bytes.view());
      out.append("\r\n");
    } else {
      return;
    }
    count_out(n);
    conn_->stream_->flush_later();
  }

  Result<> finish(const http::Headers* trailers) override {
    if (!conn_) return {};
    if (tunnel()) {
      finished_ = true;
      conn_->stream_->shutdown_write();
      return {};
    }
    if (framing_ == Framing::kLength && left_ > 0) {
      Error e(Code::kProtocol, "the request body is shorter than its content-length", Side::kClient);
      conn_->die(e);
      return tulle::fail(std::move(e));
    }
    if (framing_ == Framing::kChunked) {
      TULLE_TRY_VOID(http::encode_last_chunk(trailers, conn_->stream_->out()));
      conn_->stream_->flush_later();
    }
    conn_->request_sent_ = true;
    conn_->maybe_idle();
    return {};
  }

  void reset(http::H2Code) override {
    if (!conn_) return;
    // What was sent of a body arrives, and its framing says that it is not all.
    bool incomplete = !conn_->request_sent_ && (framing_ == Framing::kChunked || left_ > 0);
    if (incomplete && unsent() == 0) conn_->stream_->shutdown_write();
    else conn_->stream_->abort();
    conn_->die(Error(Code::kCancelled, "request given up"));
  }

 protected:
  void consumed(size_t) override {
    if (conn_) conn_->stream_->changed().notify();
  }
  size_t unsent() const override { return conn_ ? conn_->stream_->pending() : 0; }
  bool flushing() override { return unsent() > 0; }

 private:
  friend class H1Client;
  H1Client* conn_;  // null once the exchange is complete or the connection is gone
  Framing framing_;
  uint64_t left_;
  bool finished_ = false;  // tunnel: nothing more goes out
};

// ---- The connection

H1Client::H1Client(std::unique_ptr<net::Stream> stream, const http::Limits& limits, rt::Runnable* on_change)
    : stream_(std::move(stream)),
      parser_(http::Role::kResponse, limits),
      on_change_(on_change),
      idle_since_(stream_->reactor().now()),
      reading_(stream_->reactor(), read_loop()) {}

H1Client::~H1Client() {
  on_change_ = nullptr;
  die(Error(Code::kReset, "connection closed"));
}

Result<std::unique_ptr<ClientExchange>> H1Client::start(const http::RequestHead& head, bool end) {
  TULLE_CHECK(!current_ && !dead_);
  BodyFraming body = BodyFraming::none();
  bool upgrade = http::is_upgrade(head);
  if (!end && head.method_kind != http::Method::kConnect && !upgrade) {
    auto length = head.headers.get(http::HeaderId::kContentLength);
    auto n = length ? parse_number<uint64_t>(*length) : std::nullopt;
    body = n ? BodyFraming::of_length(*n) : BodyFraming::chunked();
  } else if (end && head.headers.has(http::HeaderId::kContentLength)) {
    body = BodyFraming::of_length(0);  // an application that sends "content-length: 0" gets it through
  }
  TULLE_TRY_VOID(http::encode_request(head, body, stream_->out()));
  parser_.expect_response_to(head.method_kind, upgrade);
  stream_->flush_later();
  auto exchange = std::make_unique<H1ClientExchange>(*this, body.framing, body.length);
  current_ = exchange.get();
  stream_->set_follower(&exchange->changed());
  request_sent_ = end || head.method_kind == http::Method::kConnect || upgrade;
  response_ended_ = answered_ = false;
  reusable_ = true;
  idle_before_ = stream_->reactor().now() - idle_since_;
  ++exchanges_;
  return exchange;
}

rt::Task<void> H1Client::read_loop() {
  for (bool held_up = false;; held_up = false) {
    while (current_ && current_->unread() > kBodyMark) {
      held_up = true;
      co_await stream_->changed().wait();
    }
    // After a pause the parser may have an event to give without any more bytes.
    if (held_up || !backlog_.empty()) {
      Bytes in = backlog_.view();
      bool open = feed(in);
      backlog_.consume(backlog_.size() - in.size());
      if (!open) co_return;
    } else {
      auto bytes = co_await stream_->read();
      if (!bytes) co_return die(std::move(bytes).error());
      if (bytes->empty()) {
        Event e = parser_.finish_eof();
        reusable_ = false;
        if (e == Event::kEnd) on_end();
        if (current_ && current_->tunnel()) co_return co_await end_of_tunnel();
        co_return die(
            e == Event::kError
                ? Error(Code::kReset,
                        answered_ ? parser_.error().reason : "the peer closed the connection without a response",
                        Side::kPeer, Retry::kIdempotentOnly)
                : Error(Code::kClosed, "the peer closed the connection", Side::kPeer, Retry::kIdempotentOnly));
      }
      answered_ = true;
      Bytes in = *bytes;
      bool small = in.size() < 1024;
      if (!feed(in)) co_return;
      backlog_.append(in);
      if (small && current_ && !response_ended_ && parser_.in_message()) stream_->acknowledge_now();
    }
  }
}

// The peer sends nothing more. What goes to it goes on, until the exchange is destroyed or sending fails.
rt::Task<void> H1Client::end_of_tunnel() {
  stream_->probe(15s);
  while (current_ && !stream_->write_error() && !stream_->broken()) co_await stream_->changed().wait();
  if (!current_) co_return;
  stream_->abort();
  die(stream_->write_error()
          ? *stream_->write_error()
          : Error(Code::kReset, "the peer reset the connection", Side::kPeer, Retry::kIdempotentOnly));
}

bool H1Client::feed(Bytes& in) {
  for (;;) {
    switch (parser_.next(in)) {
      case Event::kNeedMore: return true;
      case Event::kInterim:
        if (current_) current_->push_head(std::move(parser_.response()));
        break;
      case Event::kResponse:
        if (!parser_.keep_alive()) reusable_ = false;
        else announced_ = announced_timeout(parser_.response().headers);
        if (!current_) break;
        if (parser_.framing() == Framing::kTunnel) {
          reusable_ = false;
          current_->become_tunnel();
        }
        current_->push_head(std::move(parser_.response()));
        break;
      case Event::kData:
        if (current_) current_->push(parser_.data());
        if (current_ && current_->unread() > kBodyMark) return true;
        break;
      case Event::kEnd: on_end(); break;
      case Event::kError: {
        Error e = parser_.error().to_error(Side::kPeer);
        die(std::move(e));
        return false;
      }
      case Event::kRequest: TULLE_BUG("a response parser gave a request"); return false;
    }
  }
}

void H1Client::on_end() {
  response_ended_ = true;
  // A response before the end of its request leaves the connection in a state that no other request should inherit.
  if (!request_sent_) reusable_ = false;
  if (current_) current_->end(&parser_.trailers());
  maybe_idle();
}

void H1Client::maybe_idle() {
  if (!response_ended_ || !current_) return;
  if (current_->tunnel() || !request_sent_) return;
  stream_->set_follower(nullptr);
  std::exchange(current_, nullptr)->conn_ = nullptr;
  idle_since_ = stream_->reactor().now();
  if (!reusable_) dead_ = true;
  if (on_change_) stream_->reactor().schedule(*on_change_);
}

bool H1Client::look() {
  if (stream_->quiet()) return true;
  die(Error(Code::kClosed, "the peer closed the connection", Side::kPeer, Retry::kSafe));
  return false;
}

std::optional<Duration> H1Client::left_after() const {
  auto after = left_after_;
  if (!dead_ && !current_ && exchanges_ > 0 && stream_->hung_up()) after = stream_->reactor().now() - idle_since_;
  if (after && *after + kKeepMargin >= announced_) after.reset();
  return after;
}

void H1Client::die(Error e) {
  bool by_peer = e.side == Side::kPeer && !dead_;
  bool unanswered = current_ && !answered_ && exchanges_ > 1;
  if (by_peer && unanswered) left_after_ = idle_before_;
  else if (by_peer && !current_ && exchanges_ > 0) left_after_ = stream_->reactor().now() - idle_since_;
  dead_ = true;
  stream_->set_follower(nullptr);
  if (auto* x = std::exchange(current_, nullptr)) {
    x->conn_ = nullptr;
    if (by_peer && unanswered) x->set_stale();
    if (!response_ended_ || x->tunnel()) x->fail(std::move(e));
    else x->changed().notify();
  }
  if (on_change_) stream_->reactor().schedule(*on_change_);
}

}  // namespace tulle::httpio
