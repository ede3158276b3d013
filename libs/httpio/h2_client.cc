#include "libs/httpio/h2_exchange.h"

namespace tulle::httpio {

using http::H2Code;
using http::H2Session;

namespace {
constexpr Duration kWithheld = 10ms;  // between two looks whether more streams may be reset
}

class H2ClientExchange final : public H2Exchange<ClientExchange>, public ListNode {
 public:
  H2ClientExchange(H2Client& conn, bool connect) : H2Exchange(conn, 0), client_(conn), connect_(connect) {}
  ~H2ClientExchange() override {
    if (!conn_) return;
    if (!ended() || !sent_end_) {
      client_.give_up(*this, H2Code::kCancel);
    } else {
      conn_->session().set_context(id_, nullptr);
      if (unread() > 0) conn_->session().consume(id_, unread());
      conn_->flush_later();
    }
  }

  void reset(H2Code code) override {
    if (!conn_) return;
    sent_end_ = true;
    client_.give_up(*this, code);
    fail(Error(Code::kCancelled, "request given up"));
  }

 private:
  friend class H2Client;
  H2Client& client_;  // while conn_
  bool connect_;
};

H2Client::H2Client(std::unique_ptr<net::Stream> stream, const http::H2Options& options,
                   const KeepAliveOptions& keep_alive, rt::Runnable* on_change)
    : H2Conn(H2Session::Role::kClient, std::move(stream), options, keep_alive),
      on_change_(on_change),
      resets_(options.sent_reset_burst, options.sent_resets_per_second),
      later_(*this),
      running_(stream_->reactor(), run()) {
  resets_.start(stream_->reactor().now());
}

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

void H2Client::give_up(H2ClientExchange& x, H2Code code) {
  TimePoint now = stream_->reactor().now();
  session_.set_context(x.id_, nullptr);
  x.unlink();
  x.detach();
  x.changed().notify();
  flush_later();
  if (withheld_.empty() && resets_.spend(now)) return session_.reset(x.id_, code);
  withheld_.emplace_back(x.id_, code);
  if (!later_.armed()) later_.arm(now + kWithheld);
}

void H2Client::reset_withheld() {
  TimePoint now = stream_->reactor().now();
  size_t done = 0;
  for (; done < withheld_.size(); ++done) {
    auto [id, code] = withheld_[done];
    if (!session_.is_open(id)) continue;
    if (!resets_.spend(now)) break;
    session_.reset(id, code);
  }
  withheld_.erase(withheld_.begin(), withheld_.begin() + static_cast<ptrdiff_t>(done));
  if (withheld_.empty()) withheld_.shrink_to_fit();
  else later_.arm(now + kWithheld);
  flush_later();
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
    if (x->ended() && x->sent_end_) resets_.earn(1);
    x->unlink();
    x->detach();
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
