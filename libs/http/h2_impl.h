// The inside of H2Session: its streams and its state. h2.cc holds the calls from above, h2_events.cc the rules about
// what arrives, and h2_nghttp2.cc all that touches nghttp2, so that the framing can be replaced.
#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/http/budget.h"
#include "libs/http/h2.h"
#include "libs/http/h2_head.h"

struct nghttp2_session;

namespace tulle::http {

struct H2Session::Impl {
  struct Stream {
    int32_t id = 0;
    bool known = false;         // the handler has heard of it
    bool final_head = false;    // the head that is not 1xx came
    bool bodiless = false;      // client: it asked with HEAD
    bool connect = false;       // a CONNECT: the length of what follows is nobody's business
    bool in_ended = false;      // the peer's message is complete
    bool answered = false;      // submit_response was called
    bool end_queued = false;    // ours is complete but for what is pending
    bool end_sent = false;      // ours left in full
    bool refused = false;       // over our limit
    bool reset_at_end = false;  // reset with NO_ERROR when it has
    bool reset_told = false;    // on_reset was called, or is not due since the reset is the caller's
    bool deferred = false;      // nghttp2 waits for data
    bool over_mark = false;     // pending went over write_mark
    void* context = nullptr;
    size_t unconsumed = 0;   // bytes of on_data without credit yet
    int64_t body_left = -1;  // what content-length promised and has not come; -1: it said nothing
    Buffer out;
    std::unique_ptr<Headers> trailers;
  };

  Impl(Role r, const H2Options& o, H2Handler& h);
  ~Impl();

  bool server() const { return role == Role::kServer; }

  // ---- Streams (h2_events.cc)
  Stream* find(int32_t id) {
    if (last && last->id == id) return last;
    auto it = streams.find(id);
    if (it == streams.end()) return nullptr;
    return last = it->second.get();
  }
  Stream& add_stream(int32_t id);
  std::unique_ptr<Stream> take_stream(int32_t id);
  bool can_open() const { return !failed && !draining && goaway_last < 0 && streams.size() < peer_streams(); }
  // Ends all of them, when the connection has.
  void end_streams(H2Code code, bool by_peer);

  // ---- Failure
  void fail_with(H2Code code, std::string_view reason, Code error_code = Code::kProtocol);
  // After fail_with, outside of nghttp2: tells the peer and the handler.
  void after_failure();

  // ---- What arrives (h2_events.cc). False: the connection has failed.
  bool flood(std::string_view what);
  bool glitch(std::string_view what) { return glitches.spend(now) || flood(what); }
  // Resets a stream whose message is malformed (RFC 9113 §8.1.1).
  bool reject(Stream& s, H2Code code);
  void tell_reset(Stream& s, H2Code code, bool by_peer);
  void on_head_begin(int32_t id, bool opens);
  bool on_field(Bytes name, Bytes value);
  bool on_head(int32_t id, bool end);
  bool on_request_head(Stream& s, bool end);
  bool on_response_head(Stream& s, bool end);
  bool on_trailers(Stream& s, bool end);
  bool on_data(int32_t id, Bytes data);
  bool on_data_end(int32_t id);
  void on_end_sent(int32_t id);
  void on_ping_ack(uint64_t opaque);
  void on_stream_close(int32_t id, H2Code code);
  void tell_writable();

  // ---- Frames (h2_nghttp2.cc)
  struct Callbacks;
  void open();
  void announce_stream_limit();
  // Parses all of `in`; sets `failed` where that is an error that nghttp2 tells of.
  void receive(Bytes in);
  // Appends output to `into` until `limit` bytes were added; DATA only if with_data.
  void send(Buffer& into, bool with_data, size_t limit);
  bool wants_read() const;
  bool wants_write() const;
  bool has_frames() const;  // other than DATA
  uint32_t peer_streams() const;
  Result<int32_t> put_request(const H2Fields& fields, bool end);
  Result<> put_response(int32_t id, const H2Fields& fields, bool end);
  Result<> put_interim(int32_t id, const H2Fields& fields);
  void put_reset(int32_t id, H2Code code);
  void put_ping(uint64_t opaque);
  void put_shutdown_notice();
  void put_goaway();  // names the last stream that was seen
  void put_terminate(H2Code code);
  void credit(int32_t id, size_t n);  // the stream's window and the connection's
  void credit_connection(size_t n);
  void resume(Stream& s);

  const Role role;
  const H2Options options;
  H2Handler& handler;
  nghttp2_session* session = nullptr;
  absl::flat_hash_map<int32_t, std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Stream>> spare;
  Stream* last = nullptr;  // the stream looked up last, most often the next one too
  H2HeadReader head;
  std::vector<int32_t> writable;  // on_writable is due
  Buffer early;                   // produced by feed()
  Buffer* data_out = nullptr;     // where DATA goes during send(); null: no DATA now
  size_t data_limit = 0;          // its size from which on no more DATA is added
  TimePoint now{};
  Budget glitches, resets;
  int32_t goaway_last = -1;  // of the peer's GOAWAY
  int32_t last_opened = 0;   // server: the highest stream so far
  uint32_t requests = 0;     // client
  bool clock_started = false;
  bool busy = false;  // inside nghttp2 or a handler
  bool gone = false;  // nobody reads or writes any more
  bool draining = false;
  bool final_goaway = false;  // the last GOAWAY of a drain was queued
  std::unique_ptr<Error> failed;
  H2Code failed_code = H2Code::kNoError;
};

// The ping that tells that the peer has seen the first GOAWAY of a drain.
inline constexpr uint64_t kDrainPing = 0x74756c6c65647261;

}  // namespace tulle::http
