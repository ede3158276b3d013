// Stream: one connection's bytes, in both directions. Belongs to one reactor; not thread-safe.
//
// Reading gives views, not copies: the bytes stand in memory that all readers of the reactor share, so they are valid
// only until the reading coroutine next suspends. Writing appends to out(); what one turn of the loop has collected
// leaves in one send at the end of the turn. Nothing is allocated while a connection is idle.
#pragma once

#include <atomic>
#include <coroutine>
#include <memory>
#include <optional>

#include "libs/base/addr.h"
#include "libs/base/buffer.h"
#include "libs/base/fd.h"
#include "libs/base/result.h"
#include "libs/net/holders.h"
#include "libs/rt/reactor.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::net {

// Counts bytes for a metric: one writer, any reader.
using Meter = std::atomic<uint64_t>;

class Stream {
 public:
  virtual ~Stream() {
    if (watcher_) watcher_->on_closed(write_error_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // co_await stream.read(): Result<Bytes>, empty at the end of the stream. One reader at a time. Cancelled by
  // destroying the waiting coroutine; no byte is lost by that.
  class Read;
  Read read();
  // Makes a waiting read() end with Code::kCancelled; none waiting: no effect.
  void interrupt_read();
  // read() gives up to 256 KiB at once, not 64: a sender of bulk is woken less often, and more is held when nobody
  // takes it on.
  void read_bulk() { read_size_ = rt::Reactor::kScratch; }

  // Bytes to send: append here, then call flush_later().
  Buffer& out() { return out_; }
  void write(Bytes bytes) {
    if (write_error_) return;
    out_.append(bytes);
    flush_later();
  }
  // write() and flush() in one: what the socket takes is not copied first.
  void write_now(Bytes bytes);
  // Sends at the end of this turn.
  void flush_later() { reactor_.at_turn_end(*flusher_); }
  // Sends what the socket takes now.
  void flush();
  // Who produces bytes at the last moment: run at the end of a turn in which flush_later() was called or the socket
  // took bytes again; it fills out() and calls flush(). It must outlive the stream or be replaced by nullptr.
  void set_flusher(rt::Runnable* r) {
    flusher_->unlink();
    flusher_ = r ? r : &self_flusher_;
  }
  // Unsent bytes, those of out() included.
  virtual size_t pending() const { return out_.size(); }
  // Waits until at most `mark` bytes are unsent. Error: the write side has failed.
  rt::Task<Result<>> drained(size_t mark);
  // Ends our direction once everything is sent; reading goes on.
  void shutdown_write() {
    fin_wanted_ = true;
    flush_later();
  }
  // Drops what is unsent and resets the connection when it is destroyed.
  virtual void abort() { out_.clear(); }

  // Set when sending has failed; what is written after that is dropped.
  const std::optional<Error>& write_error() const { return write_error_; }
  // The other end has ended its direction or broken the connection, as far as is known without reading.
  bool hung_up() const { return hung_up_; }
  // The connection is broken (reset): nobody will read what is sent. An end that merely closed cannot be told from one
  // that goes on reading, until it answers what is sent with a reset.
  bool broken() const { return broken_; }
  // Notified when one of these becomes true, when bytes have been sent, and when sending fails.
  rt::Signal& changed() { return changed_; }
  // Asks the system, without taking anything: true while the other end has neither ended nor sent what is not yet read.
  virtual bool quiet() const { return !hung_up_; }
  // The other end's system has acknowledged all that was sent.
  virtual bool acknowledged() const { return pending() == 0; }
  // Acknowledges at once what has been received. For a peer that sends a message in two small writes without
  // TCP_NODELAY: its kernel keeps the second back until the first is acknowledged, which ours delays by 40 ms.
  virtual void acknowledge_now() {}
  // The other end has ended its direction and we shall wait: asks it every so often (whole seconds, ≥ 1 s) whether the
  // connection is still there, so that one that has closed altogether becomes broken() once its kernel has forgotten
  // it.
  virtual void probe(Duration every) {}
  // Another signal that is notified with changed(); null for none. It outlives the stream or is taken back.
  void set_follower(rt::Signal* s) { follower_ = s; }
  rt::Reactor& reactor() { return reactor_; }
  SocketAddr peer() const { return peer_; }
  SocketAddr local() const { return local_; }
  // Counted from now on; either may be null. They outlive the stream.
  void set_meters(Meter* read, Meter* written) {
    read_meter_ = read;
    write_meter_ = written;
  }
  // Told when the stream is destroyed; `error`: why sending failed, if it did.
  class Watcher {
   public:
    virtual void on_closed(const std::optional<Error>& error) = 0;

   protected:
    ~Watcher() = default;
  };
  // It outlives the stream.
  void set_watcher(Watcher* w) { watcher_ = w; }

 protected:
  enum class Now { kBytes, kWouldBlock, kEnd, kError };
  struct ReadNow {
    Now now;
    Bytes bytes;
    std::optional<Error> error;
    ReadNow(Now n) : now(n) {}  // NOLINT: reads as the value it is
    ReadNow(Bytes b) : now(Now::kBytes), bytes(b) {}
    ReadNow(Error e) : now(Now::kError), error(std::move(e)) {}
  };

  Stream(rt::Reactor& reactor, SocketAddr local, SocketAddr peer)
      : reactor_(reactor), changed_(reactor), local_(local), peer_(peer), self_flusher_(*this) {}

  // One attempt, without waiting; the bytes stand in the reactor's scratch memory.
  virtual ReadNow read_now() = 0;
  // Sends from out() what can be sent, then ends the direction when fin_wanted_ and nothing is left.
  virtual void flush_now() = 0;
  // Sends from the front of `bytes`, while out() is empty; how many it took.
  virtual size_t send_now(Bytes) { return 0; }
  // For implementations: something may be readable / the socket takes bytes again / the other end is gone.
  void wake_reader();
  void writable_again() { reactor_.at_turn_end(*flusher_); }
  void set_hung_up(bool broken = false);
  void fail_write(Error e);
  void notify_changed() {
    changed_.notify();
    if (follower_) follower_->notify();
  }
  size_t read_size() const { return read_size_; }
  void count_read(size_t n) { add(read_meter_, n); }
  void count_written(size_t n) { add(write_meter_, n); }

  bool fin_wanted_ = false;
  bool fin_sent_ = false;

 private:
  struct SelfFlusher final : rt::Runnable {
    Stream& stream;
    explicit SelfFlusher(Stream& s) : stream(s) {}
    void run() override { stream.flush(); }
  };
  static void add(Meter* m, size_t n) {
    if (m) m->store(m->load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  rt::Reactor& reactor_;
  Buffer out_;
  std::optional<Error> write_error_;
  rt::Signal changed_;
  rt::Signal* follower_ = nullptr;
  bool hung_up_ = false;
  bool broken_ = false;
  Read* reader_ = nullptr;
  SocketAddr local_, peer_;
  Meter* read_meter_ = nullptr;
  Meter* write_meter_ = nullptr;
  Watcher* watcher_ = nullptr;
  SelfFlusher self_flusher_;
  rt::Runnable* flusher_ = &self_flusher_;
  size_t read_size_ = 64 * 1024;
  TimePoint read_turn_{};
  int reads_in_turn_ = 0;
};

class Stream::Read final : private rt::Runnable {
 public:
  explicit Read(Stream& s) : stream_(s) {}
  ~Read() {
    if (stream_.reader_ == this) stream_.reader_ = nullptr;
  }
  bool await_ready();
  void await_suspend(std::coroutine_handle<> h);
  Result<Bytes> await_resume();

 private:
  friend class Stream;
  void run() override;  // tries again; resumes the reader unless it would block

  Stream& stream_;
  std::coroutine_handle<> handle_;
  ReadNow result_ = Now::kWouldBlock;
  bool interrupted_ = false;
};

inline Stream::Read Stream::read() { return Read(*this); }

// A stream on a socket: readiness, and the system calls. TcpStream is the plain one; tls::TlsStream puts TLS on top.
class FdStream : public Stream, private rt::FdHandler {
 public:
  ~FdStream() override;
  void abort() override;
  bool quiet() const override;
  bool acknowledged() const override;
  void acknowledge_now() override;
  void probe(Duration every) override;
  int fd() const { return fd_.get(); }
  // Gives the socket away, to be used by another kind of stream; this one is of no use after.
  Fd take_fd();

 protected:
  // `readable`: try a read before waiting (after accept; not after connect).
  FdStream(rt::Reactor& reactor, Fd fd, SocketAddr local, SocketAddr peer, bool readable);

  // recv() into the reactor's scratch.
  ReadNow receive();
  // send() from the front of `from`; true when all was taken. Failure ends the write side. `count`: for the meter; who
  // encrypts counts the plaintext instead.
  bool send_from(Buffer& from, bool count = true);
  // One send(): how much was taken, 0 where the socket takes none now.
  Result<size_t> send_some(Bytes bytes);
  void send_fin();
  bool write_blocked() const { return write_blocked_; }

 private:
  void on_ready(uint32_t events) override;

  Fd fd_;
  bool readable_;
  bool end_near_ = false;  // FIN or error seen: read on to the end, for no further edge will come
  bool write_blocked_ = false;
};

class TcpStream final : public FdStream {
 public:
  TcpStream(rt::Reactor& reactor, Fd fd, SocketAddr local, SocketAddr peer, bool readable)
      : FdStream(reactor, std::move(fd), local, peer, readable) {}
  ~TcpStream() override;

 protected:
  ReadNow read_now() override { return receive(); }
  void flush_now() override;
  size_t send_now(Bytes bytes) override;
};

// What a copy in both directions moved, and how it ended: nothing for an orderly end of both.
struct CopyResult {
  uint64_t a_to_b = 0, b_to_a = 0;
  std::optional<Error> error;
};
inline constexpr size_t kCopyMark = 128 * 1024;
// Copies until both directions have ended or one has failed; half-closes pass through. `mark`: unsent bytes at which
// reading of the other side pauses.
// `a` is the client's; with `holders` it can be shed.
rt::Task<CopyResult> copy_both(Stream& a, Stream& b, size_t mark = kCopyMark, Holders* holders = nullptr);

}  // namespace tulle::net
