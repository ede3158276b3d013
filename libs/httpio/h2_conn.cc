#include "libs/httpio/h2_conn.h"

#include <utility>

#include "libs/base/log.h"
#include "libs/httpio/h2_exchange.h"
#include "libs/rt/combine.h"

namespace tulle::httpio {

using http::H2Code;
using http::H2Session;

namespace {
constexpr size_t kQueueMark = 64 * 1024;  // heads and control frames that the socket has not taken
}

Error reset_error(H2Code code, bool by_peer, Side side) {
  Retry retry = code == H2Code::kRefusedStream ? Retry::kSafe : Retry::kIdempotentOnly;
  return Error(Code::kReset, cat("stream reset", by_peer ? " by the peer: " : ": ", http::h2_code_name(code)), side,
               retry);
}

H2Conn::H2Conn(H2Session::Role role, std::unique_ptr<net::Stream> stream, const http::H2Options& options,
               const KeepAliveOptions& keep_alive)
    : stream_(std::move(stream)),
      session_(role, options, *this),
      flusher_(*this),
      soon_(*this),
      keep_alive_(keep_alive, stream_->reactor().now()),
      alarm_(*this) {
  stream_->set_flusher(&flusher_);
  stream_->flush_later();
  if (keep_alive_.on()) alarm_.arm(keep_alive_.next());
}

H2Conn::~H2Conn() { stream_->set_flusher(nullptr); }

// The one place where a turn's frames are made and sent.
void H2Conn::flush() {
  constexpr size_t kAtOnce = 256 * 1024;
  auto has_room = [&] { return stream_->pending() < kAtOnce && !stream_->write_error(); };
  do {
    if (session_.want_write() && has_room()) session_.produce(stream_->out(), kAtOnce);
    stream_->flush();
    // What waited may have gone whole, and then nothing else would come to ask for more.
  } while (session_.want_write() && has_room());
  if (session_.finished()) stream_->interrupt_read();
}

void H2Conn::check_alive() {
  constexpr uint64_t kOpaque = 0x74756c6c65616c76;
  TimePoint now = stream_->reactor().now();
  if (!keep_alive_.options().while_idle && session_.open_streams() == 0) keep_alive_.heard(now);
  switch (keep_alive_.look(now)) {
    case KeepAlive::Do::kWait: break;
    case KeepAlive::Do::kPing:
      session_.ping(kOpaque);
      flush_later();
      break;
    case KeepAlive::Do::kGiveUp: {
      Error e(Code::kTimeout,
              cat("HTTP/2 keep-alive: no answer to a PING within ", format_duration(keep_alive_.options().timeout)),
              Side::kPeer, Retry::kIdempotentOnly);
      log_debug("connection given up", {{"peer", stream_->peer().to_string()}, {"error", e.reason}});
      return give_up(std::move(e));
    }
  }
  alarm_.arm(keep_alive_.next());
}

void H2Conn::give_up(Error why) {
  if (!given_up_) given_up_ = std::move(why);
  stream_->abort();
  stream_->changed().notify();
  stream_->interrupt_read();
}

rt::Task<Error> H2Conn::read_loop(Buffer initial) {
  Result<> fed;
  if (!initial.empty()) fed = session_.feed(initial.view(), stream_->reactor().now());
  initial.clear();
  on_fed();
  while (fed && !session_.finished() && !given_up_) {
    stream_->flush_later();
    if (session_.queued() > kQueueMark) co_await wait_queue();
    if (session_.finished() || given_up_) break;
    auto bytes = co_await stream_->read();
    if (!bytes) {
      if (bytes.error().code == Code::kCancelled) continue;
      co_return std::move(bytes).error();
    }
    keep_alive_.heard(stream_->reactor().now());
    if (bytes->empty())
      co_return Error(Code::kClosed, "the peer closed the connection", Side::kPeer, Retry::kIdempotentOnly);
    fed = session_.feed(*bytes, stream_->reactor().now());
    on_fed();
  }
  stream_->flush_later();
  if (!given_up_) co_await send_rest();
  if (given_up_) co_return *given_up_;
  co_return fed ? Error(Code::kClosed, "the connection ended in order", Side::kPeer, Retry::kSafe)
                : std::move(fed).error();
}

// A peer that asks and does not read its answers is not read from.
rt::Task<void> H2Conn::wait_queue() {
  while (session_.queued() > kQueueMark && !given_up_ && !session_.finished() && !stream_->write_error() &&
         !stream_->hung_up())
    co_await stream_->changed().wait();
}

rt::Task<void> H2Conn::send_rest() {
  stream_->shutdown_write();
  // A peer gets all that it is owed, however long it pauses. One that was sent away is not waited for.
  TimePoint deadline = session_.failure().empty() ? kNever : stream_->reactor().now() + 2s;
  auto sent = co_await rt::until(stream_->reactor(), deadline, stream_->drained(0));
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

}  // namespace tulle::httpio
