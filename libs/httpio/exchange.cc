#include "libs/httpio/exchange.h"

#include "libs/base/check.h"

namespace tulle::httpio {

void Exchange::relayed_with(Exchange& other) {
  if (other_ == &other) return;
  if (other_) other_->other_ = nullptr;
  if (other.other_) other.other_->other_ = nullptr;
  other_ = &other;
  other.other_ = this;
}

rt::Task<Result<Buffer>> Exchange::read(size_t most) {
  while (in_.empty() && !ended_ && !error_) co_await changed_.wait();
  if (!in_.empty()) {
    Buffer taken;
    if (in_.size() <= most) {
      taken = std::move(in_);
    } else {
      taken.append(in_.view().substr(0, most));
      in_.consume(most);
    }
    consumed(taken.size());
    co_return taken;
  }
  if (ended_) co_return Buffer();
  co_return tulle::fail(*error_);
}

rt::Task<Result<>> Exchange::room() {
  while (!error_ && unsent() > (crowded() ? 0 : kBodyMark)) {
    make_room();
    co_await changed_.wait();
  }
  if (error_) co_return tulle::fail(*error_);
  co_return Result<>{};
}

rt::Task<Result<>> Exchange::sent() {
  while (!error_ && flushing()) co_await changed_.wait();
  if (error_) co_return tulle::fail(*error_);
  co_return Result<>{};
}

void Exchange::push(Bytes data) {
  bytes_in_ += data.size();
  in_.append(data);
  changed_.notify();
}

void Exchange::end(http::Headers* trailers) {
  if (trailers && !trailers->empty()) trailers_ = std::move(*trailers);
  ended_ = true;
  changed_.notify();
}

void Exchange::fail(Error e, std::optional<http::H2Code> code) {
  if (!error_) {
    error_ = std::move(e);
    reset_code_ = code;
  }
  changed_.notify();
}

rt::Task<Result<http::ResponseHead>> ClientExchange::response() {
  while (heads_.empty() && !error()) co_await changed().wait();
  if (heads_.empty()) co_return tulle::fail(*error());
  http::ResponseHead head = std::move(heads_.front());
  heads_.erase(heads_.begin());
  co_return head;
}

void ClientExchange::push_head(http::ResponseHead&& head) {
  heads_.push_back(std::move(head));
  changed().notify();
}

rt::Task<Result<>> relay(Exchange& from, Exchange& to) {
  from.relayed_with(to);
  for (;;) {
    auto bytes = co_await from.read(to.crowded() ? kCrowdedPiece : SIZE_MAX);
    if (!bytes) co_return fail(std::move(bytes).error());
    if (bytes->empty()) {
      TULLE_CO_TRY_VOID(to.finish(from.trailers()));
      if (to.tunnel()) co_return co_await to.sent();
      co_return Result<>{};
    }
    to.write(std::move(*bytes));
    auto room = co_await to.room();
    if (!room) co_return fail(std::move(room).error());
  }
}

}  // namespace tulle::httpio
