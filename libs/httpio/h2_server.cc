#include "libs/httpio/h2_exchange.h"

namespace tulle::httpio {

using http::H2Code;
using http::H2Session;

class H2ServerExchange final : public H2Exchange<ServerExchange> {
 public:
  H2ServerExchange(H2Server& server, int32_t id) : H2Exchange(server, id), server_(server) {}
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
  void close_connection() override {
    if (!conn_) return;
    conn_->session().drain();
    conn_->flush_later();
  }

 private:
  friend class H2Server;
  H2Server& server_;  // while conn_
};

// The time that a handler has left.
struct H2Server::Grace final : rt::Timer {
  H2Server& server;
  Stream& stream;
  Grace(H2Server& h, Stream& s) : rt::Timer(h.stream_->reactor()), server(h), stream(s) {
    ++server.broken_;
    arm(server.stream_->reactor().now() + server.options_.broken_request_grace);
  }
  ~Grace() { --server.broken_; }
  void on_timer() override { server.retire(&stream); }
};

// One open stream: its handler, and the exchange that the handler owns.
struct H2Server::Stream final : ListNode, rt::Pooled {
  struct Done final : rt::Runnable {
    Stream& stream;
    explicit Done(Stream& s) : stream(s) {}
    void run() override { stream.server.retire(&stream); }
  };
  H2Server& server;
  int32_t id;
  H2ServerExchange* exchange;
  bool closed = false;  // the session has forgotten it
  Done done;
  std::optional<rt::Running> handling;
  std::unique_ptr<Grace> grace;
  Stream(H2Server& s, int32_t i, H2ServerExchange* x) : server(s), id(i), exchange(x), done(*this) {}
};

H2ServerExchange::~H2ServerExchange() {
  if (!conn_) return;
  if (unread() > 0) conn_->session().consume(id_, unread());
  if (auto* s = server_.find(id_)) s->exchange = nullptr;
  // A handler that leaves without answering, or in the middle of its answer, must not leave the client waiting. A
  // complete answer before the end of the request is RFC 9113 §8.1: NO_ERROR tells the client to stop sending.
  if (!sent_end_) conn_->session().reset(id_, H2Code::kInternalError);
  else if (!ended()) conn_->session().reset(id_, H2Code::kNoError);
  conn_->flush_later();
}

namespace {
http::H2Options session_options(const ServeOptions& options) {
  http::H2Options h2 = options.h2;
  h2.explain = options.explain;
  return h2;
}
}  // namespace

H2Server::H2Server(std::unique_ptr<net::Stream> stream, const ServeOptions& options, const Handler& handler)
    : H2Conn(H2Session::Role::kServer, std::move(stream), session_options(options), options.keep_alive),
      options_(options),
      handler_(handler),
      created_(stream_->reactor().now()),
      head_alarm_(*this),
      held_(*this) {
  if (options.holders) options.holders->add(held_);
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

size_t H2Server::Held::held() const {
  size_t bytes = server.stream_->pending() + server.session_.held();
  server.streams_.for_each([&](Stream& s) { bytes += s.exchange ? s.exchange->held_beyond() : 0; });
  return bytes;
}

// With a GOAWAY where the socket takes it at once.
void H2Server::Held::shed() {
  server.session_.terminate(H2Code::kEnhanceYourCalm, "memory");
  if (server.stream_->pending() == 0) server.flush();
  if (server.stream_->pending() > 0) server.give_up(Error(Code::kExhausted, "memory", Side::kSelf));
  else server.stream_->changed().notify();
}

rt::Task<void> H2Server::run(Buffer initial) {
  Error why = co_await read_loop(std::move(initial));
  if (options_.broken_request_grace == 0s || why.code == Code::kExhausted) co_return;
  session_.abandon(H2Code::kCancel);
  while (!streams_.empty()) co_await stream_->changed().wait();
}

void H2Server::on_fed() {
  if (auto why = session_.failure(); why.empty()) {
    if (session_.head_begun() != kNever && !head_alarm_.armed()) check_head();
  } else if (!std::exchange(refused_, true) && options_.on_refused) {
    options_.on_refused(why);
  }
}

void H2Server::check_head() {
  if (session_.head_begun() == kNever || !session_.failure().empty()) return;
  TimePoint until = std::max(session_.head_begun(), created_) + options_.header_timeout;
  if (until > stream_->reactor().now()) return head_alarm_.arm(until);
  session_.terminate(H2Code::kEnhanceYourCalm, "header timeout");
  stream_->changed().notify();
  flush_later();
  on_fed();
}

void H2Server::on_request(int32_t id, http::RequestHead&& head, bool end) {
  auto exchange = std::make_unique<H2ServerExchange>(*this, id);
  exchange->request = std::move(head);
  if (end) exchange->end(nullptr);
  else exchange->end_comes_apart();
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
  bool pass_on = by_peer && s->exchange && !s->exchange->complete() && options_.broken_request_grace > 0s &&
                 broken_ < options_.max_broken_requests;
  if (s->exchange) {
    s->exchange->detach();
    s->exchange->fail(reset_error(code, by_peer, Side::kClient), code);
    s->exchange = nullptr;
  }
  if (pass_on) s->grace = std::make_unique<Grace>(*this, *s);
  else s->handling.reset();  // the client has gone: so does the work for it
}

void H2Server::on_closed(int32_t id, void* context) {
  auto* s = static_cast<Stream*>(context);
  if (!s) return;
  s->closed = true;
  if (s->exchange) {
    s->exchange->detach();
    s->exchange->changed().notify();
    s->exchange = nullptr;
  }
  if (!s->handling || s->handling->done()) delete s;
}

void H2Server::retire(Stream* s) {
  s->handling.reset();
  if (!s->closed) return;
  delete s;
  stream_->changed().notify();
}

void H2Server::on_writable(int32_t id) {
  Stream* s = find(id);
  if (s && s->exchange) s->exchange->changed().notify();
}

void H2Server::on_drain() {
  session_.drain();
  flush_later();
}

}  // namespace tulle::httpio
