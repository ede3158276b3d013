#include "libs/httpio/client.h"

#include <algorithm>
#include <utility>

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

// ---- Waiting

// A request's place in the queue. When it is destroyed its place is free, and a call to it goes to the next.
class Client::Turn final : public ListNode {
 public:
  Turn(Client& client, bool again) : client_(&client), again_(again) { ++client.waiters_; }
  ~Turn() {
    if (Client* c = leave(); c && called_) c->serve_waiters();
  }
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    resume_.handle = h;
    if (again_) client_->waiting_.push_front(*this);
    else client_->waiting_.push_back(*this);
    client_->serve_waiters();
  }
  Result<> await_resume() {
    leave();
    if (error_) return fail(std::move(*error_));
    return {};
  }
  void call() {
    called_ = true;
    client_->called_.push_back(*this);
    client_->reactor_.schedule(resume_);
  }
  void give_up(Error e) {
    unlink();
    error_ = std::move(e);
    client_->reactor_.schedule(resume_);
  }
  void forget_client() { client_ = nullptr; }

 private:
  Client* leave() {
    Client* c = std::exchange(client_, nullptr);
    if (c) --c->waiters_;
    unlink();
    return c;
  }

  Client* client_;  // null once it has left
  bool again_;
  bool called_ = false;
  std::optional<Error> error_;
  rt::Resume resume_;
};

// An attempt to connect, counted for as long as it lasts.
struct Client::Dialing final : ListNode {
  Client* client;
  explicit Dialing(Client& c) : client(&c) {
    ++c.dials_;
    c.dialing_.push_back(*this);
  }
  ~Dialing() {
    if (!client) return;
    --client->dials_;
    client->serve_waiters();
  }
};

Client::~Client() {
  for (List<Turn>* list : {&waiting_, &called_}) list->for_each([](Turn& t) { t.forget_client(); });
  dialing_.for_each([](Dialing& d) { d.client = nullptr; });
}

rt::Task<Result<>> Client::wait_turn(bool again) {
  if (!again && waiters_ >= options_.max_waiting) {
    co_return fail(Code::kExhausted,
                   cat(waiters_, " requests wait already for ",
                       protocol_ == Protocol::kHttp2 ? "a stream of the peer's HTTP/2 connections" : "a connection"),
                   Side::kPeer, Retry::kSafe);
  }
  co_return co_await Turn(*this, again);
}

void Client::serve_waiters() {
  if (waiting_.empty() || !called_.empty()) return;
  bool http2 = protocol_ == Protocol::kHttp2;
  if (http2 ? usable_h2() != nullptr : idle_h1() || may_dial_h1()) waiting_.pop_front()->call();
  else if (http2) connect_more_h2();
}

// ---- HTTP/1

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start(const http::RequestHead& head, bool end, bool fresh) {
  if (protocol_ == Protocol::kHttp2) return start_h2(head, end);
  return start_h1(head, end, fresh);
}

H1Client* Client::idle_h1() const {
  for (auto it = h1_.rbegin(); it != h1_.rend(); ++it)
    if ((*it)->idle()) return it->get();
  return nullptr;
}

// An idle connection that this request may go on.
H1Client* Client::open_h1(const http::RequestHead& head, bool end) {
  if (end && http::is_idempotent(head.method_kind)) return idle_h1();
  TimePoint now = reactor_.now();
  Duration kept = now < distrust_until_ ? leaves_after_ : Duration::max();
  H1Client* doubtful = nullptr;
  for (auto it = h1_.rbegin(); it != h1_.rend(); ++it) {
    H1Client* c = it->get();
    if (!c->idle()) continue;
    if (now - c->idle_since() + kKeepMargin >= std::min(kept, c->announced())) doubtful = c;
    else if (c->look()) return c;
  }
  std::erase_if(h1_, [&](auto& c) { return c.get() == doubtful; });  // so that idle ones do not add up
  return nullptr;
}

// A connection that is over. The shortest time says what to expect; a longer one does not make it last.
void Client::note_end(const H1Client& c) {
  auto after = c.left_after();
  if (!after) return;
  if (options_.on_unannounced_end) options_.on_unannounced_end();
  TimePoint now = reactor_.now();
  if (now < distrust_until_ && *after > leaves_after_) return;
  leaves_after_ = *after;
  distrust_until_ = now + options_.distrust;
}

bool Client::may_dial_h1() const { return h1_.size() + dials_ < options_.max_connections; }

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start_h1(const http::RequestHead& head, bool end,
                                                                   bool fresh) {
  for (bool again = false;; again = true) {
    if (again || waiters_ == 0) {  // nobody is overtaken
      if (H1Client* c = fresh && may_dial_h1() ? nullptr : open_h1(head, end)) {
        auto exchange = c->start(head, end);
        serve_waiters();
        co_return exchange;
      }
      if (may_dial_h1()) break;
    }
    TULLE_CO_TRY_VOID(co_await wait_turn(again));
  }
  Dialing dialing(*this);
  serve_waiters();
  auto stream = co_await connector_();
  if (!stream) co_return fail(std::move(stream).error());
  h1_.push_back(std::make_unique<H1Client>(std::move(*stream), options_.limits, &upkeep_));
  co_return h1_.back()->start(head, end);
}

// ---- HTTP/2

rt::Task<Result<std::unique_ptr<ClientExchange>>> Client::start_h2(const http::RequestHead& head, bool end) {
  for (bool again = false;; again = true) {
    if (again || waiters_ == 0) {
      if (H2Client* c = usable_h2()) {
        auto exchange = c->start(head, end);
        serve_waiters();
        co_return exchange;
      }
    }
    TULLE_CO_TRY_VOID(co_await wait_turn(again));
  }
}

rt::Task<Result<>> Client::warm_up() {
  for (bool again = false; !connected(); again = true) TULLE_CO_TRY_VOID(co_await wait_turn(again));
  serve_waiters();
  co_return Result<>{};
}

H2Client* Client::usable_h2() const {
  for (auto& c : h2_)
    if (c->can_start()) return c.get();
  return nullptr;
}

// One more HTTP/2 connection, where none has room.
void Client::connect_more_h2() {
  constexpr size_t kMostConnections = 4;  // a second and more only where the peer's stream limit is reached
  size_t live = static_cast<size_t>(std::ranges::count_if(h2_, [](auto& c) { return !c->ending(); }));
  if (connecting_ || live >= kMostConnections) return;
  if (live > 0 && reactor_.now() < no_extra_before_) return;
  connecting_.emplace(reactor_, connect_h2());
}

rt::Task<void> Client::connect_h2() {
  auto stream = co_await connector_();
  if (stream) {
    h2_.push_back(std::make_unique<H2Client>(std::move(*stream), options_.h2, options_.keep_alive, &upkeep_));
  } else if (std::ranges::any_of(h2_, [](auto& c) { return !c->ending(); })) {
    no_extra_before_ = reactor_.now() + 1s;  // those that wait get the streams that end
  } else {
    while (Turn* t = waiting_.pop_front()) t->give_up(stream.error());
  }
  reactor_.schedule(upkeep_);
}

// ---- Upkeep

bool Client::connected() const {
  if (protocol_ == Protocol::kHttp2) return usable_h2() != nullptr;
  return idle_h1() != nullptr;
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
    if (c->dead()) return note_end(*c), true;
    if (!c->idle()) return false;
    TimePoint until = c->idle_since() + std::min(options_.idle_timeout, c->announced());
    if (until <= now || ++idle > options_.max_idle) return true;
    next = std::min(next, until);
    return false;
  });
  if (!idle_timer_.armed() || next == kNever) idle_timer_.arm(next);
  serve_waiters();
  changed_.notify();
}

}  // namespace tulle::httpio
