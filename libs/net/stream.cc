#include "libs/net/stream.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "libs/base/check.h"
#include "libs/rt/scope.h"

namespace tulle::net {

// --- Stream

void Stream::flush() {
  if (!write_error_) flush_now();
}

void Stream::write_now(Bytes bytes) {
  if (write_error_) return;
  if (out_.empty()) bytes.remove_prefix(send_now(bytes));
  if (bytes.empty() || write_error_) return;
  out_.append(bytes);
  flush();
}

rt::Task<Result<>> Stream::drained(size_t mark) {
  if (pending() > mark) flush();
  while (!write_error_ && pending() > mark) co_await changed_.wait();
  if (write_error_) co_return fail(*write_error_);
  co_return Result<>{};
}

void Stream::wake_reader() {
  if (reader_ && !reader_->linked()) reader_->run();
}

void Stream::interrupt_read() {
  if (!reader_) return;
  reader_->result_ = Error(Code::kCancelled, "read interrupted");
  reader_->interrupted_ = true;
  reactor_.schedule(*reader_);
}

void Stream::set_hung_up(bool broken) {
  if (hung_up_ && (broken_ || !broken)) return;
  hung_up_ = true;
  broken_ |= broken;
  notify_changed();
}

void Stream::fail_write(Error e) {
  out_.clear();
  write_error_ = std::move(e);
  notify_changed();
}

bool Stream::Read::await_ready() {
  // A sender that is faster than we are must not keep the loop to itself.
  constexpr int kReadsInTurn = 8;
  if (stream_.read_turn_ != stream_.reactor_.now()) {
    stream_.read_turn_ = stream_.reactor_.now();
    stream_.reads_in_turn_ = 0;
  }
  if (++stream_.reads_in_turn_ > kReadsInTurn) return false;
  result_ = stream_.read_now();
  return result_.now != Now::kWouldBlock;
}

void Stream::Read::await_suspend(std::coroutine_handle<> h) {
  TULLE_CHECK(stream_.reader_ == nullptr);
  handle_ = h;
  stream_.reader_ = this;
  if (stream_.reads_in_turn_ > 8) {
    stream_.reads_in_turn_ = 0;
    stream_.reactor_.at_turn_end(*this);
  }
}

void Stream::Read::run() {
  if (!interrupted_) result_ = stream_.read_now();
  if (result_.now == Now::kWouldBlock) return;
  stream_.reader_ = nullptr;
  handle_.resume();
}

Result<Bytes> Stream::Read::await_resume() {
  if (result_.now == Now::kError) return fail(std::move(*result_.error));
  stream_.count_read(result_.bytes.size());
  return result_.bytes;
}

// --- FdStream

FdStream::FdStream(rt::Reactor& reactor, Fd fd, SocketAddr local, SocketAddr peer, bool readable)
    : Stream(reactor, local, peer), fd_(std::move(fd)), readable_(readable) {
  if (auto r = reactor.watch(fd_.get(), *this); !r) fail_write(r.error());
}

FdStream::~FdStream() {
  if (fd_) reactor().forget(fd_.get(), *this);
}

Fd FdStream::take_fd() {
  reactor().forget(fd_.get(), *this);
  return std::move(fd_);
}

void FdStream::abort() {
  Stream::abort();
  linger hard{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

bool FdStream::quiet() const {
  char byte;
  return Stream::quiet() && ::recv(fd_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool FdStream::acknowledged() const {
  int queued = 0;
  return Stream::acknowledged() && (ioctl(fd_.get(), SIOCOUTQ, &queued) != 0 || queued == 0);
}

void FdStream::acknowledge_now() {
  int on = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

void FdStream::probe(Duration every) {
  int seconds = std::max(1, static_cast<int>(every / 1s)), on = 1;
  setsockopt(fd_.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
}

void FdStream::on_ready(uint32_t events) {
  if ((events & EPOLLOUT) && write_blocked_) {
    write_blocked_ = false;
    writable_again();
  }
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    end_near_ = true;
    // EPOLLHUP alone is in order once both directions have ended.
    set_hung_up((events & EPOLLERR) || ((events & EPOLLHUP) && !fin_sent_));
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    readable_ = true;
    wake_reader();
  }
}

Stream::ReadNow FdStream::receive() {
  if (!readable_) return Now::kWouldBlock;
  for (;;) {
    ssize_t n = ::recv(fd_.get(), reactor().scratch(), read_size(), 0);
    if (n > 0) {
      // A short read says that the socket is empty: the next edge will tell. Not so when the end is near.
      if (static_cast<size_t>(n) < read_size() && !end_near_) readable_ = false;
      return Bytes(reactor().scratch(), static_cast<size_t>(n));
    }
    if (n == 0) {
      set_hung_up();
      return Now::kEnd;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      readable_ = false;
      return Now::kWouldBlock;
    }
    return sys_error("recv", errno, Side::kPeer);
  }
}

Result<size_t> FdStream::send_some(Bytes bytes) {
  for (;;) {
    ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      if (static_cast<size_t>(n) < bytes.size()) write_blocked_ = true;
      return static_cast<size_t>(n);
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      write_blocked_ = true;
      return 0;
    }
    return fail(sys_error("send", errno, Side::kPeer));
  }
}

bool FdStream::send_from(Buffer& from, bool count) {
  if (!from.empty() && !write_blocked_) {
    auto n = send_some(from.view());
    if (!n) {
      from.clear();
      fail_write(std::move(n).error());
      return false;
    }
    if (count) count_written(*n);
    from.consume(*n);
    if (*n) notify_changed();
  }
  return from.empty();
}

void FdStream::send_fin() {
  if (fin_sent_) return;
  fin_sent_ = true;
  ::shutdown(fd_.get(), SHUT_WR);
}

// --- TcpStream

TcpStream::~TcpStream() { flush(); }

void TcpStream::flush_now() {
  if (send_from(out()) && fin_wanted_) send_fin();
}

size_t TcpStream::send_now(Bytes bytes) {
  if (write_blocked() || bytes.empty()) return 0;
  auto n = send_some(bytes);
  if (!n) {
    fail_write(std::move(n).error());
    return 0;
  }
  count_written(*n);
  return *n;
}

// --- copying

namespace {

rt::Task<Result<>> copy_one(Stream& from, Stream& to, uint64_t& count, size_t mark) {
  from.read_bulk();
  for (;;) {
    auto bytes = co_await from.read();
    if (!bytes) co_return fail(std::move(bytes).error());
    if (bytes->empty()) {
      to.shutdown_write();
      co_return Result<>{};
    }
    count += bytes->size();
    to.write_now(*bytes);
    if (to.write_error()) co_return fail(*to.write_error());
    if (to.pending() > mark) {
      auto room = co_await to.drained(mark / 2);
      if (!room) co_return fail(std::move(room).error());
    }
  }
}

rt::Task<void> copy_and_tell(Stream& from, Stream& to, uint64_t& count, size_t mark, std::optional<Error>& error,
                             int& left, rt::Signal& done) {
  auto r = co_await copy_one(from, to, count, mark);
  if (!r && !error) error = std::move(r).error();
  --left;
  done.notify();
}

struct CopyHolder final : Holder {
  Stream &a, &b;
  std::optional<Error>& error;
  const int& left;
  rt::Signal& done;
  CopyHolder(Stream& x, Stream& y, std::optional<Error>& e, const int& l, rt::Signal& d)
      : a(x), b(y), error(e), left(l), done(d) {}
  size_t held() const override { return a.pending() + b.pending(); }
  SocketAddr peer() const override { return a.peer(); }
  void shed() override {
    if (!error) error = Error(Code::kExhausted, "memory");
    done.notify();
    if (left > 0) return;
    // All has been read, and what is left of it waits for somebody who does not take it.
    for (Stream* s : {&a, &b}) {
      s->abort();
      s->changed().notify();
    }
  }
};

}  // namespace

rt::Task<CopyResult> copy_both(Stream& a, Stream& b, size_t mark, Holders* holders) {
  CopyResult result;
  int left = 2;
  rt::Signal done(a.reactor());
  CopyHolder holder(a, b, result.error, left, done);
  if (holders) holders->add(holder);
  rt::Running forward(a.reactor(), copy_and_tell(a, b, result.a_to_b, mark, result.error, left, done));
  rt::Running backward(a.reactor(), copy_and_tell(b, a, result.b_to_a, mark, result.error, left, done));
  while (left > 0 && !result.error) co_await done.wait();
  if (result.error) {
    a.abort();
    b.abort();
  } else {
    (void)co_await a.drained(0);
    (void)co_await b.drained(0);
  }
  co_return result;
}

}  // namespace tulle::net
