// One HTTP/2 connection, either end (RFC 9113). Sans-I/O: bytes in by feed(), bytes out by
// produce(), events by H2Handler. Owned by one connection, used by one thread.
//
// Any method may be called from inside a handler callback, except feed(), produce() and the destructor.
// Streams are named by id; calls on a stream that is gone do nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "libs/base/buffer.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/http/message.h"

namespace tulle::http {

// RFC 9113 §7.
enum class H2Code : uint32_t {
  kNoError,
  kProtocolError,
  kInternalError,
  kFlowControlError,
  kSettingsTimeout,
  kStreamClosed,
  kFrameSizeError,
  kRefusedStream,
  kCancel,
  kCompressionError,
  kConnectError,
  kEnhanceYourCalm,
  kInadequateSecurity,
  kHttp11Required,
};
std::string_view h2_code_name(H2Code code);  // "PROTOCOL_ERROR"; "UNKNOWN" for one the RFC has not

// Windows and sizes are bytes.
struct H2Options {
  uint32_t stream_window = 65535;            // what a peer may send on one stream before it is consumed; < 2^31
  uint32_t connection_window = 1024 * 1024;  // the same for all streams together; ≥ 65535
  uint32_t held_mark = 8 * 1024 * 1024;    // unconsumed data of all streams from which on the connection's credit waits
  uint32_t max_concurrent_streams = 1024;  // server: streams that the client may have open; above: REFUSED_STREAM,
                                           // and a point of those below
  uint32_t max_frame_size = 16384;         // that the peer may send; 16384 … 2^24-1
  uint32_t max_header_list = 72 * 1024;    // all that HTTP/1 takes (limits.h), with room for what proxies add:
                                           // names, values and 32 a field; above: 431, or the stream is reset
  uint32_t max_header_fields = 256;        // of one message; above: as above
  uint32_t header_table = 4096;            // HPACK table, both ways
  uint32_t initial_peer_streams = 100;     // client: streams assumed allowed before the peer's SETTINGS
  uint32_t max_requests = 1'000'000'000;   // client: then it drains, for stream ids end at 2^31; ≥ 1
  // Server: heads of all open requests, sizes as above. Above, a head that is larger than its share (this by
  // max_concurrent_streams) is refused with REFUSED_STREAM; smaller ones always have room, for a proxy's connection
  // carries requests of many clients, and the large heads of one shall not keep the others out.
  uint32_t max_open_heads = 3 * 1024 * 1024;
  uint32_t max_interims = 16;       // client: 1xx heads before one response; above: the stream is reset
  uint32_t write_mark = 64 * 1024;  // on_writable when a stream's unsent bytes fall to this
  // Unsent body bytes of all streams; above, the connection is crowded() and a stream's mark is 0.
  uint32_t queued_mark = 1024 * 1024;
  // Frames that do no work (pings, settings, priorities, empty DATA, window updates, acknowledgements, frames of types
  // that HTTP/2 has not, malformed messages, heads on streams that have ended or are over the limit, settings after the
  // 16th of a frame) each cost a point; streams that end well and DATA frames sent, but not those that a window cuts
  // short, earn some back. So many points may be spent at once, and so
  // many a second after that; more is a flood, which ends the connection with ENHANCE_YOUR_CALM.
  uint32_t glitch_burst = 2000;
  uint32_t glitches_per_second = 100;
  // The same for RST_STREAM alone, which honest peers send in storms when deadlines pass.
  uint32_t reset_burst = 5000;
  uint32_t resets_per_second = 2000;
  // A GOAWAY after an error carries the reason as text (RFC 9113 §6.8); strangers get the code alone.
  bool explain = false;
  // Client: so many streams are reset at once and in the long run, streams that end well earning some back, so that it
  // stays within what a server of ours bears: requests of many clients share its connection, and none of them shall
  // lose it for the others. A stream given up beyond that is reset later, unless it has ended by itself.
  uint32_t sent_reset_burst = 4000;
  uint32_t sent_resets_per_second = 1500;
};

// Told of what arrives, in order, from inside feed(); on_reset, on_closed and on_writable also from produce(),
// abandon() and terminate().
// A message is: head (end: nothing follows) · on_data* · on_end, unless the head said end.
class H2Handler {
 public:
  virtual ~H2Handler() = default;
  // Server. The stream is open for an answer. CONNECT: scheme and path are "". authority is "" where the client named
  // none (a request that was HTTP/1.0 has none).
  virtual void on_request(int32_t id, RequestHead&& head, bool end) {}
  // Client. The final response; and 1xx heads before it.
  virtual void on_response(int32_t id, ResponseHead&& head, bool end) {}
  virtual void on_interim(int32_t id, ResponseHead&& head) {}
  // `data` is valid during the call. Give the credit back with consume() when it has been passed on.
  virtual void on_data(int32_t id, Bytes data) = 0;
  // The peer's message is complete; trailers is null if there are none; may be moved from.
  virtual void on_end(int32_t id, Headers* trailers) = 0;
  // The stream ended before its time: the peer reset it or refused it (by_peer), or we did because the peer broke a
  // rule or the connection ended. Not called for a reset() of the caller's own. on_closed follows, perhaps later.
  // Client: kNoError after the whole response only means that the server does not want the rest of the request.
  virtual void on_reset(int32_t id, H2Code code, bool by_peer) = 0;
  // The last word about a stream that the handler knows of: both sides are done or it was reset. Its context pointer
  // is given back here. Not called by the session's destructor.
  virtual void on_closed(int32_t id, void* context) {}
  // Unsent bytes of this stream fell to H2Options::write_mark from above, or to none after tell_sent().
  virtual void on_writable(int32_t id) {}
  // The peer will take no stream above last_id; those above it were never seen (on_reset with kRefusedStream follows
  // for each, so they are safe to retry).
  virtual void on_goaway(int32_t last_id, H2Code code) {}
  // The peer's SETTINGS came: how many streams we may have open.
  virtual void on_settings(uint32_t max_concurrent) {}
  virtual void on_ping_ack(uint64_t opaque) {}
};

class H2Session {
 public:
  enum class Role : uint8_t { kServer, kClient };

  // `handler` outlives the session. Preface and SETTINGS are queued at once.
  H2Session(Role role, const H2Options& options, H2Handler& handler);
  ~H2Session();
  H2Session(const H2Session&) = delete;
  H2Session& operator=(const H2Session&) = delete;

  // ---- Bytes
  // What was read, in any split; all of it is taken. `now` is the loop's clock, for flood limits. An error is the end
  // of the connection: every open stream got on_reset and on_closed, and a GOAWAY is queued; produce(), write, close.
  // Further feeds return the same error.
  Result<> feed(Bytes in, TimePoint now);
  // Appends frames to `out` until about `max` bytes were added (over by at most one frame) or nothing is left.
  void produce(Buffer& out, size_t max = 64 * 1024);
  // Whether produce() would add something.
  bool want_write() const;
  // Neither side will do anything more on this connection: flush and close.
  bool finished() const;

  // ---- Client
  // Errors: kExhausted (safe to retry: the peer's stream limit), kUnavailable (safe: going away),
  // kInvalid (the head cannot be sent; the reason names the field). Host in the list is folded into :authority;
  // connection-specific fields (RFC 9113 §8.2.2) are left out.
  Result<int32_t> submit_request(const RequestHead& head, bool end, void* context = nullptr);
  // Whether submit_request would find room.
  bool can_open() const;

  // ---- Server
  Result<> submit_response(int32_t id, const ResponseHead& head, bool end);
  // 1xx other than 101.
  Result<> submit_interim(int32_t id, const ResponseHead& head);

  // ---- Bodies and streams, both roles
  // Queues body bytes after a head that was submitted with end = false. Keep pending() near write_mark.
  void write_data(int32_t id, Bytes data);
  void write_data(int32_t id, Buffer&& data);  // without a copy where nothing is pending
  // Ends the message, with trailers or without. Errors: kInvalid for trailers that cannot be sent.
  Result<> end_data(int32_t id, const Headers* trailers = nullptr);
  // Body bytes not yet framed.
  size_t pending(int32_t id) const;
  // More than queued_mark of them wait on all streams together: write only to streams that have none pending, and
  // little (4 KiB), so that each can go on and all together cannot grow much.
  bool crowded() const;
  // on_writable is to be called for this stream when its unsent bytes fall to its mark, though they may never have been
  // above it: the mark depends on the others.
  void want_room(int32_t id);
  // on_writable is called, once, when nothing is pending.
  void tell_sent(int32_t id);
  // Gives flow-control credit for n bytes of on_data that were passed on. What a stream had not consumed when it
  // closed is credited to the connection by itself.
  void consume(int32_t id, size_t n);
  // Ends a stream at once and drops what is pending; but a server's kNoError after end_data (or end = true) waits until
  // the answer is out: it only tells the client to stop sending (RFC 9113 §8.1). on_closed follows.
  void reset(int32_t id, H2Code code);
  // Neither reset nor ended in both directions.
  bool is_open(int32_t id) const;
  // A pointer of the caller's per stream, to find its state without a map.
  void set_context(int32_t id, void* context);
  void* context(int32_t id) const;  // null where not set

  // ---- Connection
  void ping(uint64_t opaque);
  // Graceful end. Server: GOAWAY with 2^31-1 and a ping, and when that is acknowledged the GOAWAY that names the
  // last stream; open streams finish. Client: no new streams. Then finished() once the last stream closed.
  void drain();
  bool draining() const;
  // Ends at once: a GOAWAY with this code is queued, every open stream gets on_reset and on_closed, then finished().
  // `why`: for failure(); outlives the session.
  void terminate(H2Code code, std::string_view why = {});
  // The connection is gone (EOF, I/O error): every open stream gets on_reset (by_peer) and on_closed; finished().
  void abandon(H2Code code);
  size_t open_streams() const;  // of either side
  // When the preface, or a frame or header block other than DATA, that has not come in full began to come; kNever: none
  // has. Before the first feed(): TimePoint::min().
  TimePoint head_begun() const;
  // Bytes of heads and control frames that produce() has not given out.
  size_t queued() const;
  // Bytes that wait in it, either way: body bytes that were not consumed or not sent, heads of open requests, frames.
  size_t held() const;
  // Why the connection failed, in a few fixed words: "flood of …", the name of the code, or what terminate() was told;
  // empty if it has not.
  std::string_view failure() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tulle::http
