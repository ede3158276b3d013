#include "libs/http/h2.h"

#include <nghttp2/nghttp2.h>

#include <cstring>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "libs/base/check.h"
#include "libs/http/budget.h"
#include "libs/http/h2_head.h"

namespace tulle::http {
namespace {

// The ping that tells that the peer has seen the first GOAWAY of a drain.
constexpr uint64_t kDrainPing = 0x74756c6c65647261;
constexpr size_t kSpareStreams = 16;

int64_t content_length(const Headers& headers) {
  auto value = headers.get(HeaderId::kContentLength);
  return value ? static_cast<int64_t>(parse_number<uint64_t>(*value).value_or(0)) : -1;
}

std::string_view text(const uint8_t* p, size_t n) { return {reinterpret_cast<const char*>(p), n}; }

}  // namespace

struct H2Session::Impl {
  struct Stream {
    int32_t id = 0;
    bool known = false;         // the handler has heard of it
    bool final_head = false;    // the head that is not 1xx came
    bool bodiless = false;      // client: it asked with HEAD
    bool connect = false;       // a CONNECT: the length of what follows is nobody's business
    bool in_ended = false;      // the peer's message is complete
    bool end_queued = false;    // ours is complete but for what is pending
    bool answered = false;      // submit_response was called
    bool deferred = false;      // nghttp2 waits for data
    bool over_mark = false;     // pending went over write_mark
    bool reset_told = false;    // on_reset was called, or is not due since the reset is the caller's
    bool end_sent = false;      // our message left in full
    bool reset_at_end = false;  // reset with NO_ERROR when it has
    void* context = nullptr;
    size_t unconsumed = 0;   // bytes of on_data without credit yet
    int64_t body_left = -1;  // what content-length promised and has not come; -1: it said nothing
    Buffer out;
    std::unique_ptr<Headers> trailers;
  };

  Impl(Role r, const H2Options& o, H2Handler& h)
      : role(r),
        options(o),
        handler(h),
        glitches(o.glitch_burst, o.glitches_per_second),
        resets(o.reset_burst, o.resets_per_second) {}

  Role role;
  H2Options options;
  H2Handler& handler;
  nghttp2_session* session = nullptr;
  absl::flat_hash_map<int32_t, std::unique_ptr<Stream>> streams;
  std::vector<std::unique_ptr<Stream>> spare;
  Stream* last = nullptr;  // the stream looked up last, most often the next one too
  H2HeadReader head;
  std::vector<int32_t> writable;  // on_writable is due
  Buffer early;                   // produced by feed()
  Buffer* out = nullptr;          // where DATA goes; null: no DATA now
  size_t out_limit = 0;
  TimePoint now{};
  Budget glitches, resets;
  int32_t goaway_last = -1;  // of the peer's GOAWAY
  bool server() const { return role == Role::kServer; }
  bool clock_started = false;
  bool busy = false;  // inside nghttp2
  bool gone = false;  // nobody reads or writes any more
  bool draining = false;
  bool final_goaway = false;  // the last GOAWAY of a drain was queued
  std::unique_ptr<Error> failed;
  H2Code failed_code = H2Code::kNoError;

  // ---- Streams
  Stream* find(int32_t id) {
    if (last && last->id == id) return last;
    auto it = streams.find(id);
    if (it == streams.end()) return nullptr;
    return last = it->second.get();
  }
  Stream& add_stream(int32_t id) {
    std::unique_ptr<Stream> s;
    if (spare.empty()) {
      s = std::make_unique<Stream>();
    } else {
      s = std::move(spare.back());
      spare.pop_back();
    }
    s->id = id;
    last = s.get();
    streams[id] = std::move(s);
    return *last;
  }
  std::unique_ptr<Stream> take_stream(int32_t id) {
    auto it = streams.find(id);
    if (it == streams.end()) return nullptr;
    auto s = std::move(it->second);
    streams.erase(it);
    if (last == s.get()) last = nullptr;
    return s;
  }
  void spare_stream(std::unique_ptr<Stream> s) {
    if (spare.size() >= kSpareStreams) return;
    *s = Stream();
    spare.push_back(std::move(s));
  }

  // ---- Failure
  void fail_with(H2Code code, std::string reason, Code error_code = Code::kProtocol) {
    if (failed) return;
    failed_code = code;
    failed =
        std::make_unique<Error>(error_code, cat("HTTP/2 connection: ", reason), Side::kPeer, Retry::kIdempotentOnly);
  }
  int flood(std::string_view what) {
    fail_with(H2Code::kEnhanceYourCalm, cat("flood of ", what), Code::kExhausted);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  int glitch(std::string_view what) { return glitches.spend(now) ? 0 : flood(what); }
  void tell_reset(Stream& s, H2Code code, bool by_peer) {
    if (s.reset_told) return;
    s.reset_told = true;
    if (s.known) handler.on_reset(s.id, code, by_peer);
  }
  // Resets a stream whose message is malformed (RFC 9113 §8.1.1).
  int reject(int32_t id, H2Code code) {
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
    if (Stream* s = find(id)) tell_reset(*s, code, false);
    return glitch("malformed messages");
  }
  void end_streams(H2Code code, bool by_peer) {
    std::vector<int32_t> ids;
    ids.reserve(streams.size());
    busy = true;
    for (const auto& [id, s] : streams) ids.push_back(id);
    std::sort(ids.begin(), ids.end());
    for (int32_t id : ids) {
      Stream* s = find(id);
      if (!s) continue;
      tell_reset(*s, code, by_peer);
      auto gone = take_stream(id);
      if (gone && gone->known) handler.on_closed(id, gone->context);
    }
    busy = false;
  }
  void after_failure() {
    nghttp2_session_terminate_session(session, static_cast<uint32_t>(failed_code));
    end_streams(failed_code, false);
  }

  // ---- Sending
  template <class T>
  Result<> fields_of(const T& head, char* status_text, H2Fields& fields) {
    if constexpr (std::is_same_v<T, RequestHead>) return h2_fields_of(head, fields);
    else return h2_fields_of(head, status_text, fields);
  }
  using Nv = absl::InlinedVector<nghttp2_nv, 24>;
  static Nv to_nv(const H2Fields& fields) {
    Nv nv;
    for (const H2Field& f : fields) {
      nv.push_back({const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(f.name.data())),
                    const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(f.value.data())), f.name.size(),
                    f.value.size(),
                    static_cast<uint8_t>(f.static_name ? NGHTTP2_NV_FLAG_NO_COPY_NAME : NGHTTP2_NV_FLAG_NONE)});
    }
    return nv;
  }
  uint32_t peer_streams() const {
    return nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  }
  bool can_open() const { return !failed && !draining && goaway_last < 0 && streams.size() < peer_streams(); }
  void resume(Stream& s) {
    if (!s.deferred) return;
    s.deferred = false;
    nghttp2_session_resume_data(session, s.id);
  }
  void tell_writable() {
    for (size_t i = 0; i < writable.size(); ++i)
      if (find(writable[i])) handler.on_writable(writable[i]);
    writable.clear();
  }
  // Runs nghttp2's output into `into` until `limit` bytes were added; null `data_out`: control frames only.
  void send(Buffer& into, Buffer* data_out, size_t limit) {
    busy = true;
    out = data_out;
    size_t start = into.size();
    out_limit = start + limit;
    while (into.size() < out_limit) {
      const uint8_t* frame = nullptr;
      ssize_t n = nghttp2_session_mem_send(session, &frame);
      if (n < 0) {  // out of memory: not even a GOAWAY can be sent
        fail_with(H2Code::kInternalError, nghttp2_strerror(static_cast<int>(n)), Code::kInternal);
        gone = true;
      }
      if (n > 0) into.append(text(frame, static_cast<size_t>(n)));
      bool more = n > 0 || !writable.empty();
      tell_writable();
      if (!more) break;
    }
    out = nullptr;
    busy = false;
  }

  // ---- Callbacks of nghttp2
  static Impl& self(void* user) { return *static_cast<Impl*>(user); }
  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user);
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t flags, void* user);
  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    return self(user).glitch("malformed frames");
  }
  static int on_data(nghttp2_session*, uint8_t flags, int32_t id, const uint8_t* data, size_t size, void* user);
  static int on_stream_close(nghttp2_session*, int32_t id, uint32_t code, void* user);
  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user);
  static int on_frame_not_send(nghttp2_session*, const nghttp2_frame* frame, int error, void* user);
  static ssize_t read_data(nghttp2_session*, int32_t id, uint8_t*, size_t max, uint32_t* flags, nghttp2_data_source*,
                           void* user);
  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_head, size_t size,
                       nghttp2_data_source*, void* user);

  int on_head(int32_t id, bool end);
  int on_request_head(Stream& s, bool end);
  int on_response_head(Stream& s, bool end);
  void open();
};

// ---- Receiving

int H2Session::Impl::on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
  Impl& m = self(user);
  if (m.failed) return NGHTTP2_ERR_CALLBACK_FAILURE;  // terminate() from inside a callback
  switch (hd->type) {
    case NGHTTP2_HEADERS: return 0;
    case NGHTTP2_DATA:
      return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? m.glitch("empty DATA frames") : 0;
    case NGHTTP2_RST_STREAM: return m.resets.spend(m.now) ? 0 : m.flood("stream resets");
    case NGHTTP2_PUSH_PROMISE:
      m.fail_with(H2Code::kProtocolError, "PUSH_PROMISE, which is switched off");
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS: return hd->flags & NGHTTP2_FLAG_ACK ? 0 : m.glitch("control frames");
    default: return m.glitch("control frames");
  }
}

int H2Session::Impl::on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
  Impl& m = self(user);
  Stream* s = m.find(frame->hd.stream_id);
  using Kind = H2HeadReader::Kind;
  Kind kind = Kind::kTrailers;
  if (m.server() && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
    if (!s) s = &m.add_stream(frame->hd.stream_id);
    kind = Kind::kRequest;
  } else if (!m.server() && s && !s->final_head) {
    kind = Kind::kResponse;
  }
  m.head.begin(kind, m.options.max_header_list, m.options.max_header_fields);
  return 0;
}

int H2Session::Impl::on_header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                               const uint8_t* value, size_t value_size, uint8_t, void* user) {
  Impl& m = self(user);
  m.head.add(text(name, name_size), text(value, value_size));
  // HPACK can blow up a small block: refuse to go on decoding long after the limit.
  if (m.head.bytes() > 4ull * m.options.max_header_list + 65536) return m.flood("header fields in one message");
  return 0;
}

int H2Session::Impl::on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Impl& m = self(user);
  int32_t id = frame->hd.stream_id;
  bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
  switch (frame->hd.type) {
    case NGHTTP2_HEADERS: return m.on_head(id, end);
    case NGHTTP2_DATA:
      if (Stream* s = m.find(id); s && end && !s->reset_told) {
        if (!s->final_head || s->body_left > 0) return m.reject(id, H2Code::kProtocolError);
        s->in_ended = true;
        if (s->known) m.handler.on_end(id, nullptr);
      }
      return 0;
    case NGHTTP2_RST_STREAM:
      if (Stream* s = m.find(id)) m.tell_reset(*s, static_cast<H2Code>(frame->rst_stream.error_code), true);
      return 0;
    case NGHTTP2_SETTINGS:
      if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) m.handler.on_settings(m.peer_streams());
      return 0;
    case NGHTTP2_GOAWAY:
      m.goaway_last = frame->goaway.last_stream_id;
      m.handler.on_goaway(m.goaway_last, static_cast<H2Code>(frame->goaway.error_code));
      return 0;
    case NGHTTP2_PING: {
      if (!(frame->hd.flags & NGHTTP2_FLAG_ACK)) return 0;
      uint64_t opaque = 0;
      for (uint8_t byte : frame->ping.opaque_data) opaque = opaque << 8 | byte;
      if (opaque != kDrainPing) {
        m.handler.on_ping_ack(opaque);
      } else if (m.draining && !m.final_goaway) {
        m.final_goaway = true;
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session),
                              NGHTTP2_NO_ERROR, nullptr, 0);
      }
      return 0;
    }
    default: return 0;
  }
}

// nghttp2's own checks of messages are off (they cost a tenth of its time): H2HeadReader has those of fields, and the
// order and length of what makes a message are checked here and in on_data (RFC 9113 §8.1).
int H2Session::Impl::on_head(int32_t id, bool end) {
  Stream* s = find(id);
  if (!s || s->reset_told) return 0;
  if (!head.finish().empty()) return reject(id, H2Code::kProtocolError);
  switch (head.kind()) {
    case H2HeadReader::Kind::kRequest: return on_request_head(*s, end);
    case H2HeadReader::Kind::kResponse: return on_response_head(*s, end);
    case H2HeadReader::Kind::kTrailers: break;
  }
  if (head.too_large()) return reject(id, H2Code::kEnhanceYourCalm);
  if (!end || s->body_left > 0) return reject(id, H2Code::kProtocolError);
  s->in_ended = true;
  if (s->known) handler.on_end(id, &head.trailers);
  return 0;
}

int H2Session::Impl::on_request_head(Stream& s, bool end) {
  s.final_head = true;
  s.in_ended = end;
  if (head.too_large()) {
    s.end_queued = s.answered = s.reset_at_end = true;
    uint8_t name[] = ":status", value[] = "431";
    nghttp2_nv status{name, value, 7, 3, NGHTTP2_NV_FLAG_NONE};
    nghttp2_submit_response(session, s.id, &status, 1, nullptr);
    return glitch("malformed messages");
  }
  s.connect = head.request.method_kind == Method::kConnect;
  if (!s.connect) s.body_left = content_length(head.request.headers);
  if (end && s.body_left > 0) return reject(s.id, H2Code::kProtocolError);
  s.known = true;
  handler.on_request(s.id, std::move(head.request), end);
  return 0;
}

int H2Session::Impl::on_response_head(Stream& s, bool end) {
  if (head.too_large()) return reject(s.id, H2Code::kEnhanceYourCalm);
  int status = head.response.status;
  if (status < 200) {
    if (end) return reject(s.id, H2Code::kProtocolError);
    handler.on_interim(s.id, std::move(head.response));
    return 0;
  }
  s.final_head = true;
  s.in_ended = end;
  if (s.bodiless || status == 204 || status == 304) s.body_left = 0;
  else if (!s.connect) s.body_left = content_length(head.response.headers);
  if (end && s.body_left > 0) return reject(s.id, H2Code::kProtocolError);
  handler.on_response(s.id, std::move(head.response), end);
  return 0;
}

int H2Session::Impl::on_data(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                             void* user) {
  Impl& m = self(user);
  Stream* s = m.find(id);
  if (!s || !s->known || s->reset_told) {
    nghttp2_session_consume(session, id, size);
    return 0;
  }
  s->unconsumed += size;
  if (!s->final_head || (s->body_left >= 0 && static_cast<uint64_t>(s->body_left) < size))
    return m.reject(id, H2Code::kProtocolError);
  if (s->body_left > 0) s->body_left -= static_cast<int64_t>(size);
  m.handler.on_data(id, text(data, size));
  return 0;
}

int H2Session::Impl::on_stream_close(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
  Impl& m = self(user);
  Stream* s = m.find(id);
  if (!s) return 0;
  if (code != NGHTTP2_NO_ERROR || !s->in_ended) {
    bool refused = m.goaway_last >= 0 && id > m.goaway_last && !m.server();
    m.tell_reset(*s, static_cast<H2Code>(code), refused);
  } else {
    m.glitches.earn(4);
    m.resets.earn(1);
  }
  auto gone = m.take_stream(id);
  if (gone->unconsumed) nghttp2_session_consume_connection(session, gone->unconsumed);
  if (gone->known) m.handler.on_closed(id, gone->context);
  m.spare_stream(std::move(gone));
  return 0;
}

// ---- Sending

ssize_t H2Session::Impl::read_data(nghttp2_session* session, int32_t id, uint8_t*, size_t max, uint32_t* flags,
                                   nghttp2_data_source*, void* user) {
  Stream* s = self(user).find(id);
  if (!s) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  if (s->out.empty() && !s->end_queued) {
    s->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  size_t n = std::min(max, s->out.size());
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (n < s->out.size() || !s->end_queued) return static_cast<ssize_t>(n);
  *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (s->trailers) {
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    H2Fields fields;
    if (!h2_fields_of_trailers(*s->trailers, fields)) TULLE_BUG("trailers changed after they were checked");
    Nv nv = to_nv(fields);
    nghttp2_submit_trailer(session, id, nv.data(), nv.size());
    s->trailers.reset();
  }
  return static_cast<ssize_t>(n);
}

int H2Session::Impl::send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_head, size_t size,
                               nghttp2_data_source*, void* user) {
  Impl& m = self(user);
  if (!m.out || m.out->size() >= m.out_limit) return NGHTTP2_ERR_WOULDBLOCK;
  Stream* s = m.find(frame->hd.stream_id);
  if (!s || s->out.size() < size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  m.out->prepare(9 + size);
  m.out->append(text(frame_head, 9));
  m.out->append(s->out.view().substr(0, size));
  s->out.consume(size);
  if (s->over_mark && s->out.size() <= m.options.write_mark) {
    s->over_mark = false;
    m.writable.push_back(s->id);
  }
  m.glitches.earn(2);
  return 0;
}

int H2Session::Impl::on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  Impl& m = self(user);
  if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
    auto code = static_cast<H2Code>(frame->goaway.error_code);
    m.fail_with(code, cat(h2_code_name(code), frame->goaway.opaque_data_len ? ": " : "",
                          text(frame->goaway.opaque_data, frame->goaway.opaque_data_len)));
    return 0;
  }
  bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
              (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
  if (!m.server() || !ends) return 0;
  Stream* s = m.find(frame->hd.stream_id);
  if (!s) return 0;
  s->end_sent = true;
  if (s->reset_at_end && !s->in_ended) nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
  return 0;
}

int H2Session::Impl::on_frame_not_send(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user) {
  Impl& m = self(user);
  if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat == NGHTTP2_HCAT_REQUEST)
    return 0;  // a failed request closes itself
  Stream* s = m.find(frame->hd.stream_id);
  if (!s || s->reset_told) return 0;
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
  m.tell_reset(*s, H2Code::kInternalError, false);
  return 0;
}

// ---- The session

void H2Session::Impl::open() {
  nghttp2_session_callbacks* cb = nullptr;
  TULLE_CHECK(nghttp2_session_callbacks_new(&cb) == 0);
  nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
  nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
  nghttp2_session_callbacks_set_on_frame_not_send_callback(cb, on_frame_not_send);
  nghttp2_session_callbacks_set_send_data_callback(cb, send_data);

  nghttp2_option* opt = nullptr;
  TULLE_CHECK(nghttp2_option_new(&opt) == 0);
  nghttp2_option_set_no_auto_window_update(opt, 1);
  nghttp2_option_set_no_http_messaging(opt, 1);
  nghttp2_option_set_no_closed_streams(opt, 1);  // else a server keeps every stream it closed (B3 of the reference)
  nghttp2_option_set_peer_max_concurrent_streams(opt, options.initial_peer_streams);
  nghttp2_option_set_max_deflate_dynamic_table_size(opt, options.header_table);
  nghttp2_option_set_max_send_header_block_length(opt, 512 * 1024);
  nghttp2_option_set_stream_reset_rate_limit(opt, 1u << 30,
                                             1u << 30);  // Budget `resets` decides, by the caller's clock
  int rv = server() ? nghttp2_session_server_new2(&session, cb, this, opt)
                    : nghttp2_session_client_new2(&session, cb, this, opt);
  TULLE_CHECK(rv == 0);
  nghttp2_option_del(opt);
  nghttp2_session_callbacks_del(cb);

  absl::InlinedVector<nghttp2_settings_entry, 8> settings;
  settings.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window});
  settings.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options.max_header_list});
  if (server()) {
    settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams});
    settings.push_back({NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1});  // a plain queue instead of a tree
  } else {
    settings.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  if (options.max_frame_size != 16384) settings.push_back({NGHTTP2_SETTINGS_MAX_FRAME_SIZE, options.max_frame_size});
  if (options.header_table != 4096) settings.push_back({NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, options.header_table});
  rv = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings.data(), settings.size());
  TULLE_CHECK(rv == 0);
  rv = nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                             static_cast<int32_t>(options.connection_window));
  TULLE_CHECK(rv == 0);
}

H2Session::H2Session(Role role, const H2Options& options, H2Handler& handler)
    : impl_(std::make_unique<Impl>(role, options, handler)) {
  impl_->open();
}

H2Session::~H2Session() {
  TULLE_CHECK(!impl_->busy);
  nghttp2_session_del(impl_->session);
}

Result<> H2Session::feed(Bytes in, TimePoint now) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  if (m.failed) return fail(*m.failed);
  m.now = now;
  if (!m.clock_started) {
    m.clock_started = true;
    m.glitches.start(now);
    m.resets.start(now);
  }
  m.busy = true;
  ssize_t n = nghttp2_session_mem_recv(m.session, reinterpret_cast<const uint8_t*>(in.data()), in.size());
  m.busy = false;
  if (n < 0 && !m.failed) {
    H2Code code = n == NGHTTP2_ERR_FLOODED            ? H2Code::kEnhanceYourCalm
                  : n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? H2Code::kProtocolError
                                                      : H2Code::kInternalError;
    m.fail_with(code, nghttp2_strerror(static_cast<int>(n)));
  }
  // nghttp2 tells of most connection errors only by the GOAWAY that it queues: look at what it has to say now.
  if (!m.failed && m.early.size() < 65536 && nghttp2_session_get_outbound_queue_size(m.session) > 0)
    m.send(m.early, nullptr, 65536);
  if (!m.failed) return {};
  m.after_failure();
  return fail(*m.failed);
}

void H2Session::produce(Buffer& out, size_t max) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  if (m.gone) return;
  if (!m.early.empty()) {
    max -= std::min(max, m.early.size());
    if (out.empty()) out.swap(m.early);
    else out.append(m.early.view());
    m.early.clear();
  }
  bool was_well = !m.failed;
  m.send(out, &out, max);
  if (m.failed && was_well) m.after_failure();
}

bool H2Session::want_write() const {
  return !impl_->gone && (!impl_->early.empty() || nghttp2_session_want_write(impl_->session));
}

bool H2Session::finished() const {
  const Impl& m = *impl_;
  if (want_write()) return false;
  if (m.failed) return true;
  if (m.draining && m.server() && !m.final_goaway) return false;
  return m.streams.empty() && !nghttp2_session_want_read(m.session);
}

// ---- Messages

Result<int32_t> H2Session::submit_request(const RequestHead& head, bool end, void* context) {
  Impl& m = *impl_;
  if (m.server()) return fail(Code::kInternal, "a server cannot send requests");
  if (m.failed || m.draining || m.goaway_last >= 0)
    return fail(Code::kUnavailable, "HTTP/2 connection is going away", Side::kPeer, Retry::kSafe);
  if (!m.can_open())
    return fail(Code::kExhausted, cat("all ", m.peer_streams(), " HTTP/2 streams that the peer allows are in use"),
                Side::kPeer, Retry::kSafe);
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, fields));
  Impl::Nv nv = Impl::to_nv(fields);
  nghttp2_data_provider body{{.ptr = nullptr}, Impl::read_data};
  int32_t id = nghttp2_submit_request(m.session, nullptr, nv.data(), nv.size(), end ? nullptr : &body, nullptr);
  if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
    return fail(Code::kExhausted, "HTTP/2 stream ids are used up", Side::kSelf, Retry::kSafe);
  if (id < 0) return fail(Code::kInternal, cat("HTTP/2 request: ", nghttp2_strerror(id)), Side::kSelf, Retry::kSafe);
  Impl::Stream& s = m.add_stream(id);
  s.known = true;
  s.end_queued = end;
  s.context = context;
  s.bodiless = head.method_kind == Method::kHead;
  s.connect = head.method_kind == Method::kConnect;
  return id;
}

bool H2Session::can_open() const { return !impl_->server() && impl_->can_open(); }

Result<> H2Session::submit_response(int32_t id, const ResponseHead& head, bool end) {
  Impl& m = *impl_;
  Impl::Stream* s = m.find(id);
  if (!s || s->answered) return {};
  char status[3];
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, status, fields));
  Impl::Nv nv = Impl::to_nv(fields);
  nghttp2_data_provider body{{.ptr = nullptr}, Impl::read_data};
  int rv = nghttp2_submit_response(m.session, id, nv.data(), nv.size(), end ? nullptr : &body);
  if (rv != 0) return fail(Code::kInternal, cat("HTTP/2 response: ", nghttp2_strerror(rv)));
  s->answered = true;
  s->end_queued = end;
  return {};
}

Result<> H2Session::submit_interim(int32_t id, const ResponseHead& head) {
  Impl& m = *impl_;
  Impl::Stream* s = m.find(id);
  if (!s || s->answered) return {};
  if (head.status < 100 || head.status > 199)
    return fail(Code::kInvalid, cat("status ", head.status, " is not interim"));
  char status[3];
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, status, fields));
  Impl::Nv nv = Impl::to_nv(fields);
  int rv = nghttp2_submit_headers(m.session, NGHTTP2_FLAG_NONE, id, nullptr, nv.data(), nv.size(), nullptr);
  if (rv != 0) return fail(Code::kInternal, cat("HTTP/2 response: ", nghttp2_strerror(rv)));
  return {};
}

void H2Session::write_data(int32_t id, Bytes data) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->end_queued || data.empty()) return;
  s->out.append(data);
  s->over_mark |= s->out.size() > impl_->options.write_mark;
  impl_->resume(*s);
}

void H2Session::write_data(int32_t id, Buffer&& data) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->end_queued || data.empty()) return data.clear();
  if (s->out.empty()) s->out.swap(data);
  else s->out.append(data.view());
  data.clear();
  s->over_mark |= s->out.size() > impl_->options.write_mark;
  impl_->resume(*s);
}

Result<> H2Session::end_data(int32_t id, const Headers* trailers) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->end_queued) return {};
  if (trailers && !trailers->empty()) {
    H2Fields fields;
    TULLE_TRY_VOID(h2_fields_of_trailers(*trailers, fields));
    if (!fields.empty()) s->trailers = std::make_unique<Headers>(*trailers);
  }
  s->end_queued = true;
  impl_->resume(*s);
  return {};
}

size_t H2Session::pending(int32_t id) const {
  Impl::Stream* s = impl_->find(id);
  return s ? s->out.size() : 0;
}

void H2Session::consume(int32_t id, size_t n) {
  Impl::Stream* s = impl_->find(id);
  if (!s) return;
  n = std::min(n, s->unconsumed);
  s->unconsumed -= n;
  if (n) nghttp2_session_consume(impl_->session, id, n);
}

void H2Session::reset(int32_t id, H2Code code) {
  Impl::Stream* s = impl_->find(id);
  if (!s) return;
  s->reset_told = true;
  if (code == H2Code::kNoError && impl_->server() && s->answered && s->end_queued && !s->end_sent) {
    s->reset_at_end = true;
    return;
  }
  nghttp2_submit_rst_stream(impl_->session, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
}

void H2Session::set_context(int32_t id, void* context) {
  if (Impl::Stream* s = impl_->find(id)) s->context = context;
}

void* H2Session::context(int32_t id) const {
  Impl::Stream* s = impl_->find(id);
  return s ? s->context : nullptr;
}

// ---- Connection

void H2Session::ping(uint64_t opaque) {
  uint8_t data[8];
  for (int i = 0; i < 8; ++i) data[i] = static_cast<uint8_t>(opaque >> (56 - 8 * i));
  nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, data);
}

void H2Session::drain() {
  Impl& m = *impl_;
  if (m.draining || m.failed) return;
  m.draining = true;
  if (m.server()) {
    nghttp2_submit_shutdown_notice(m.session);
    ping(kDrainPing);
  } else {
    nghttp2_submit_goaway(m.session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, nullptr, 0);
  }
}

bool H2Session::draining() const { return impl_->draining; }

void H2Session::terminate(H2Code code) {
  Impl& m = *impl_;
  if (m.failed) return;
  m.fail_with(code, cat("ended by us with ", h2_code_name(code)), Code::kClosed);
  if (!m.busy) m.after_failure();  // else feed() or produce() does it
}

void H2Session::abandon(H2Code code) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  m.fail_with(code, "the connection is gone", Code::kClosed);
  m.gone = true;
  m.early.clear();
  m.end_streams(code, true);
}

size_t H2Session::open_streams() const { return impl_->streams.size(); }

}  // namespace tulle::http
