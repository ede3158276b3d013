// The inside of H2Session: its streams and its state. h2.cc holds the calls from above; h2_receive.cc takes frames
// apart (RFC 9113 §4–6); h2_events.cc makes messages of them (§8); h2_send.cc writes frames.
//
// Frames other than DATA are written at once, to `control`, in the order in which they are asked for; DATA, and
// trailers after it, when produce() comes for it. A stream that ends is put on `closings` and closed between two
// frames, so that a Stream& is good until the caller returns.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/http/budget.h"
#include "libs/http/h2.h"
#include "libs/http/h2_head.h"
#include "libs/http/hpack.h"

namespace tulle::http {

// RFC 9113 §6 and §6.5.2.
enum FrameType : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRstStream,
  kSettings,
  kPushPromise,
  kPing,
  kGoaway,
  kWindowUpdate,
  kContinuation
};
enum FrameFlag : uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8, kPriorityFields = 32 };
enum Setting : uint16_t {
  kHeaderTableSize = 1,
  kEnablePush = 2,
  kMaxConcurrentStreams = 3,
  kInitialWindowSize = 4,
  kMaxFrameSize = 5,
  kMaxHeaderListSize = 6,
  kNoRfc7540Priorities = 9
};

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
    bool reset_at_end = false;  // reset with NO_ERROR when it has
    bool reset_told = false;    // on_reset was called, or is not due since the reset is the caller's
    bool reset_sent = false;    // nothing more is sent on it
    bool queued = false;        // it is in `ready` or in `blocked`
    bool over_mark = false;     // pending went over write_mark
    bool tell_sent = false;     // on_writable is due when nothing is pending
    uint8_t interims = 0;       // client: 1xx heads that came
    uint32_t head_bytes = 0;    // of the head that the handler was given
    void* context = nullptr;
    size_t unconsumed = 0;  // bytes of on_data without credit yet
    int64_t send_window = 0;
    int64_t receive_window = 0;
    uint32_t credit = 0;     // consumed, and the peer not told yet
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
  bool can_open() const { return !failed && !draining && goaway_last < 0 && streams.size() < peer_max_streams; }
  // Ends all of them, when the connection has.
  void end_streams(H2Code code, bool by_peer);

  // ---- Failure
  void fail_with(H2Code code, std::string_view reason, Code error_code = Code::kProtocol);
  // Tells the peer and the handler, once, if the connection has failed.
  void after_failure();

  // ---- What arrives (h2_events.cc). False: the connection has failed.
  bool flood(std::string_view what);
  // The preface, or a frame or header block other than DATA, has begun and not ended.
  bool unfinished() const {
    return preface_due || !partial.empty() || block_stream || (in_frame && frame.type != kData);
  }
  bool glitch(std::string_view what) { return glitches.spend(now) || flood(what); }
  // Resets a stream whose message is malformed (RFC 9113 §8.1.1).
  bool reject(Stream& s, H2Code code);
  void tell_reset(Stream& s, H2Code code, bool by_peer);
  void on_head_begin(int32_t id, bool opens);
  bool on_field(const HpackField& field);
  bool on_head(int32_t id, bool end);
  bool on_request_head(Stream& s, bool end);
  bool on_response_head(Stream& s, bool end);
  bool on_trailers(Stream& s, bool end);
  bool on_data(int32_t id, Bytes data);
  bool on_data_end(int32_t id);
  void on_ping_ack(uint64_t opaque);
  void on_stream_close(int32_t id, H2Code code);
  void tell_writable();

  // ---- Frames that arrive (h2_receive.cc)
  // Takes all of `in`, or sets `failed`.
  void receive(Bytes in);
  bool take_preface(Bytes& in);
  bool take_frame_head(Bytes& in);
  bool begin_data();
  bool take_data(Bytes& in);
  bool on_frame(Bytes payload);
  bool on_headers(Bytes block);
  bool on_header_block(Bytes part, bool last);
  bool decode_block(Bytes whole);
  bool on_priority_fields(Bytes fields);
  bool on_rst_stream(Bytes payload);
  bool on_settings(Bytes payload);
  bool on_setting(uint16_t id, uint32_t value, uint32_t& window);
  bool set_peer_window(uint32_t window);
  bool on_settings_ack();
  bool on_ping(Bytes payload);
  bool on_goaway(Bytes payload);
  bool on_window_update(Bytes payload);
  bool broken(H2Code code, std::string_view reason) {
    return fail_with(code, cat(h2_code_name(code), ": ", reason)), false;
  }
  // Of a stream that is not there: whether it was given up by a reset of ours, or is above the last one of a GOAWAY, so
  // that more of it may be on its way.
  bool ended_by_us(int32_t id) const;
  // Whether a frame on `id` would be on a stream that was never opened.
  bool is_idle(uint32_t id) const;

  // ---- Frames that leave (h2_send.cc)
  void open();
  void send(Buffer& out, size_t limit);
  bool wants_write() const { return !control.empty() || (!failed && (!ready.empty() || !closings.empty())); }
  char* put_frame(size_t length, uint8_t type, uint8_t flags, int32_t id);
  void put_headers(Buffer& out, int32_t id, const H2Fields& fields, bool end);
  Result<int32_t> put_request(const H2Fields& fields, bool end);
  void put_response(Stream& s, const H2Fields& fields, bool end);
  void put_interim(int32_t id, const H2Fields& fields);
  void put_reset(Stream& s, H2Code code);
  void put_reset(int32_t id, H2Code code);  // of a stream that is not, or no longer, there
  void remember_reset(int32_t id);
  void put_ping(uint64_t opaque, bool ack);
  void put_goaway(int32_t last_id, H2Code code, std::string_view debug);
  void hold(Stream& s, size_t n);  // data is given to the handler
  void unhold(size_t n);           // and was passed on, or dropped
  void credit_stream(Stream& s, size_t n);
  void credit_connection(size_t n);
  bool crowded() const { return unsent > options.queued_mark; }
  size_t write_mark() const { return crowded() ? 0 : options.write_mark; }
  // n bytes were added to the stream's `out`.
  void on_queued(Stream& s, size_t n);
  // The stream has something to send.
  void resume(Stream& s);
  void put_data(Stream& s, Buffer& out);
  void on_end_sent(Stream& s);
  // Closes the stream if both sides are done.
  void settle(Stream& s);
  void close_ended();

  const Role role;
  const H2Options options;
  H2Handler& handler;
  absl::flat_hash_map<int32_t, std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Stream>> spare;
  Stream* last = nullptr;  // the stream looked up last, most often the next one too
  H2HeadReader head;
  HpackEncoder encoder;
  HpackDecoder decoder;

  // Arriving
  Buffer partial;  // the preface, the frame head or the payload (but DATA's) that has not come in full
  struct Frame {
    uint32_t length = 0;
    uint8_t type = 0;
    uint8_t flags = 0;
    int32_t id = 0;
  } frame;
  bool in_frame = false;
  bool preface_due;          // the client's 24 bytes
  bool settings_due = true;  // the peer's first frame
  uint32_t data_left = 0;    // of a DATA frame, without its padding
  uint32_t padding_left = 0;
  bool padding_due = false;  // its length comes first
  bool data_ignored = false;
  int32_t block_stream = 0;  // whose header block goes on in CONTINUATION frames; 0: none
  bool block_end = false;    // and ends the message
  bool block_ignored = false;
  Buffer block;  // its parts, where there are several
  int64_t receive_window = 65535;
  size_t connection_credit = 0;
  size_t held = 0;           // unconsumed data of all streams
  size_t owed = 0;           // the part of it that the connection has no credit for yet
  int32_t last_peer_id = 0;  // the highest stream that the peer opened
  // Streams that ended by a reset, lately: those that we reset as they are, as what still arrives for them is no fault
  // of the peer's; those that the peer did by their negative.
  std::vector<int32_t> resets_seen;
  size_t reset_at = 0;
  int32_t forgotten_reset = 0;  // the highest stream that fell out of it
  uint64_t late_heads = 0;      // of a client: header blocks that are no fault on streams that it has reset

  // Leaving
  Buffer control;
  size_t unread = 0;           // bytes of it that are not header blocks
  size_t unsent = 0;           // `out` of all streams
  std::vector<int32_t> ready;  // streams that have something to send, in turn
  size_t ready_at = 0;
  std::vector<int32_t> blocked;  // by the connection's window
  std::vector<std::pair<int32_t, H2Code>> closings;
  std::vector<int32_t> writable;  // on_writable is due
  int64_t send_window = 65535;
  uint32_t peer_window = 65535;
  uint32_t peer_max_frame = 16384;
  uint32_t peer_max_streams;
  int32_t next_id = 1;
  int32_t goaway_sent = -1;  // the last id of ours

  TimePoint now{};
  TimePoint head_begun = TimePoint::min();  // when what is unfinished() began; kNever: nothing is
  size_t open_heads = 0;                    // head_bytes of all streams
  Budget glitches, resets;
  int32_t goaway_last = -1;  // of the peer's GOAWAY
  uint32_t requests = 0;     // client
  bool settings_acked = false;
  bool clock_started = false;
  bool busy = false;  // inside receive(), send() or a handler
  bool gone = false;  // nobody reads or writes any more
  bool draining = false;
  bool final_goaway = false;  // the last GOAWAY of a drain was queued
  std::unique_ptr<Error> failed;
  bool failure_told = false;  // to the peer and the handler
  H2Code failed_code = H2Code::kNoError;
  std::string_view failed_why;  // of a flood: which
};

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr int64_t kMaxWindow = 0x7fffffff;

// The ping that tells that the peer has seen the first GOAWAY of a drain.
inline constexpr uint64_t kDrainPing = 0x74756c6c65647261;

}  // namespace tulle::http
