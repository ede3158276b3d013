// Exchange: one request and its response, seen from one end of one connection, HTTP/1 and HTTP/2 alike.
//
// Whoever handles an exchange owns it. Destroying it ends it: a message that is not complete is reset (HTTP/2) or its
// connection is closed (HTTP/1). The connection only refers to it, and when the connection dies the exchange lives on
// with an error. One reactor; not thread-safe.
//
// Bodies are streamed: at most kBodyMark bytes wait on either side, then the sender is held up, over HTTP/2 by its
// window and over HTTP/1 by TCP's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "libs/base/buffer.h"
#include "libs/base/result.h"
#include "libs/http/h2.h"
#include "libs/http/message.h"
#include "libs/rt/signal.h"
#include "libs/rt/task.h"

namespace tulle::httpio {

inline constexpr size_t kBodyMark = 64 * 1024;
inline constexpr size_t kCrowdedPiece = 4 * 1024;  // of a body, at once, to a connection that is crowded

class Exchange : public rt::Pooled {
 public:
  virtual ~Exchange() {
    if (other_) other_->other_ = nullptr;
  }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // ---- The message that comes in
  // The next bytes of its body, at most so many; empty at its end. Error: it broke off.
  rt::Task<Result<Buffer>> read(size_t most = SIZE_MAX);
  // All of it has come.
  bool complete() const { return ended_; }
  // All of it has come and was read.
  bool ended() const { return ended_ && in_.empty(); }
  // All of it has come, and was no more than its head. An HTTP/2 head that does not end its stream says that something
  // follows, even if that is an empty DATA frame: it is sent on as it came, since grpc-go's server waits for that frame
  // for ever when a stream of no messages ends with its head.
  bool head_only() const { return ended() && !trailers_ && !end_apart_; }
  // What came after the body; null when nothing did. Valid once ended(); may be moved from.
  http::Headers* trailers() { return trailers_ ? &*trailers_ : nullptr; }
  // The exchange has become a tunnel of raw bytes (101, or 2xx to CONNECT): read() and write() carry them.
  bool tunnel() const { return tunnel_; }

  // ---- The message that goes out; its head is sent by ServerExchange::respond or Client::start
  virtual void write(Buffer&& bytes) = 0;
  // Waits until more may be written. Error: nobody will read it.
  rt::Task<Result<>> room();
  // Its connection has so much to send that each exchange may write but little, kCrowdedPiece, when there is room.
  virtual bool crowded() const { return false; }
  // Somebody waits for room: changed() is to be notified when there is.
  virtual void make_room() {}
  // Waits until the exchange may be destroyed or reset without loss of what was written: without end if the peer does
  // not read. Error as above.
  rt::Task<Result<>> sent();
  // Ends it. Error: the trailers cannot be sent. Of a tunnel: this direction only; the other one goes on.
  virtual Result<> finish(const http::Headers* trailers = nullptr) = 0;
  // Breaks off both directions.
  virtual void reset(http::H2Code code) = 0;

  // Why it broke off, if it did; and the HTTP/2 code if the peer said one.
  const std::optional<Error>& error() const { return error_; }
  std::optional<http::H2Code> reset_code() const { return reset_code_; }
  // Notified when anything above changes.
  rt::Signal& changed() { return changed_; }
  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }

  // ---- For connections
  void push(Bytes data);
  void end(http::Headers* trailers);
  // HTTP/2: the head has not ended the stream.
  void end_comes_apart() { end_apart_ = true; }
  void fail(Error e, std::optional<http::H2Code> code = {});
  void become_tunnel() { tunnel_ = true; }
  // HTTP/1: behind the message's end comes what the tunnel carries.
  void reopen() { ended_ = false; }
  size_t unread() const { return in_.size(); }
  // Bytes that the other end of its relay holds for it.
  size_t held_beyond() const { return other_ ? other_->unread() + other_->unsent() : 0; }
  // The two are the ends of one relay, from now until one of them is destroyed.
  void relayed_with(Exchange& other);

 protected:
  explicit Exchange(rt::Reactor& reactor) : changed_(reactor) {}
  // The reader took n bytes: the sender may send as many more.
  virtual void consumed(size_t n) = 0;
  // Bytes written and not yet sent.
  virtual size_t unsent() const = 0;
  // Some of them would be lost if the exchange were reset now. changed() is notified when none is any more.
  virtual bool flushing() = 0;
  void count_out(size_t n) { bytes_out_ += n; }

 private:
  Buffer in_;
  bool ended_ = false;
  bool end_apart_ = false;
  bool tunnel_ = false;
  std::optional<http::Headers> trailers_;
  std::optional<Error> error_;
  std::optional<http::H2Code> reset_code_;
  rt::Signal changed_;
  Exchange* other_ = nullptr;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
};

// The server's end.
class ServerExchange : public Exchange {
 public:
  http::RequestHead request;

  // Sends the head of the response; `end`: it has no body. Once. Error: the head cannot be sent (kInvalid), and
  // nothing was.
  // Fields about the connection are added to `head`.
  virtual Result<> respond(http::ResponseHead& head, bool end) = 0;
  // Sends an 1xx before it.
  virtual void interim(const http::ResponseHead& head) = 0;
  bool responded() const { return responded_; }
  // HTTP/1: the connection ends after this exchange. HTTP/2: a graceful GOAWAY.
  virtual void close_connection() = 0;

 protected:
  using Exchange::Exchange;
  bool responded_ = false;
};

// The client's end.
class ClientExchange : public Exchange {
 public:
  // The next head: 1xx heads first, then the response. Error: none will come.
  rt::Task<Result<http::ResponseHead>> response();
  // HTTP/1: it broke off before a byte of the response, on a connection that had served before: most likely the peer
  // was closing that connection as the request left. What may be repeated is worth one more try, on a fresh one.
  bool stale() const { return stale_; }

  // ---- For connections
  void set_stale() { stale_ = true; }
  void push_head(http::ResponseHead&& head);

 protected:
  using Exchange::Exchange;

 private:
  bool stale_ = false;
  absl::InlinedVector<http::ResponseHead, 1> heads_;  // not yet taken; bounded by the codecs' limit on 1xx
};

// Copies the body and trailers of one message into another, until its end; of a tunnel, until all has been sent, so
// that the exchange may be destroyed after both directions without loss. Error: either side broke off.
rt::Task<Result<>> relay(Exchange& from, Exchange& to);

// Handles one request. Started once its head is complete; cancelled when the client goes away
// (ServeOptions::broken_request_grace).
using Handler = std::function<rt::Task<void>(std::unique_ptr<ServerExchange>)>;

}  // namespace tulle::httpio
