#include "libs/httpio/client.h"

#include <algorithm>

#include "libs/httpio/h1_client.h"
#include "libs/httpio/h2_conn.h"

namespace tulle::httpio {

Client::Client(rt::Reactor& reactor, Protocol protocol, Connector connector, ClientOptions options)
    : reactor_(reactor),
      protocol_(protocol),
      connector_(std::move(connector)),
      options_(options),
      changed_(reactor),
      upkeep_(*this),
      idle_timer_(reactor, *this) {}

Client::~Client() = default;

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start(const http::RequestHead& head, bool end) {
  if (protocol_ == Protocol::kHttp2) return start_h2(head, end);
  return start_h1(head, end);
}

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start_h1(const http::RequestHead& head, bool end) {
  for (;;) {
    for (auto it = h1_.rbegin(); it != h1_.rend(); ++it)
      if ((*it)->idle()) co_return (*it)->start(head, end);
    if (h1_.size() < options_.max_connections) break;
    co_await changed_.wait();
  }
  auto stream = co_await connector_();
  if (!stream) co_return fail(std::move(stream).error());
  h1_.push_back(std::make_unique<H1Client>(std::move(*stream), options_.limits, &upkeep_));
  co_return h1_.back()->start(head, end);
}

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start_h2(const http::RequestHead& head, bool end) {
  auto conn = co_await ready_h2();
  if (!conn) co_return fail(std::move(conn).error());
  co_return (*conn)->start(head, end);
}

rt::Task<Result<>> Client::warm_up() {
  auto conn = co_await ready_h2();
  if (!conn) co_return fail(std::move(conn).error());
  co_return Result<>{};
}

H2Client* Client::usable_h2() const {
  for (auto& c : h2_)
    if (c->can_start()) return c.get();
  return nullptr;
}

rt::Task<Result<H2Client*>> Client::ready_h2() {
  constexpr size_t kMostConnections = 4;  // a second and more only where the peer's stream limit is reached
  for (;;) {
    if (H2Client* c = usable_h2()) co_return c;
    size_t live = std::ranges::count_if(h2_, [](auto& c) { return !c->ending(); });
    uint64_t attempt = attempts_;
    if (!connecting_ && live < kMostConnections) connecting_.emplace(reactor_, connect_h2());
    co_await changed_.wait();
    if (attempts_ != attempt && last_failure_) co_return fail(*last_failure_);
  }
}

rt::Task<void> Client::connect_h2() {
  auto stream = co_await connector_();
  ++attempts_;
  last_failure_.reset();
  if (stream) h2_.push_back(std::make_unique<H2Client>(std::move(*stream), options_.h2, &upkeep_));
  else last_failure_ = std::move(stream).error();
  reactor_.schedule(upkeep_);
}

bool Client::connected() const {
  if (protocol_ == Protocol::kHttp2) return usable_h2() != nullptr;
  return std::ranges::any_of(h1_, [](auto& c) { return c->idle(); });
}

void Client::drain() {
  for (auto& c : h2_) c->drain();
  std::erase_if(h1_, [](auto& c) { return c->idle(); });
}

void Client::clean_up() {
  if (connecting_ && connecting_->done()) connecting_.reset();
  TimePoint now = reactor_.now();
  std::erase_if(h2_, [](auto& c) { return c->dead(); });
  size_t idle = 0;
  TimePoint next = kNever;
  std::erase_if(h1_, [&](auto& c) {
    if (c->dead()) return true;
    if (!c->idle()) return false;
    TimePoint until = c->idle_since() + options_.idle_timeout;
    if (until <= now || ++idle > options_.max_idle) return true;
    next = std::min(next, until);
    return false;
  });
  if (!idle_timer_.armed() || next == kNever) idle_timer_.arm(next);
  changed_.notify();
}

}  // namespace tulle::httpio
