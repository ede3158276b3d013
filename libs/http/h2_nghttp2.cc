#include <nghttp2/nghttp2.h>

#include "libs/base/check.h"
#include "libs/http/h2_impl.h"

namespace tulle::http {
namespace {

std::string_view text(const uint8_t* p, size_t n) { return {reinterpret_cast<const char*>(p), n}; }
uint8_t* bytes(std::string_view s) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(s.data())); }

using Nv = absl::InlinedVector<nghttp2_nv, 24>;
Nv to_nv(const H2Fields& fields) {
  Nv nv;
  for (const H2Field& f : fields) {
    auto flags = f.static_name ? NGHTTP2_NV_FLAG_NO_COPY_NAME : NGHTTP2_NV_FLAG_NONE;
    nv.push_back({bytes(f.name), bytes(f.value), f.name.size(), f.value.size(), static_cast<uint8_t>(flags)});
  }
  return nv;
}

int result(bool good) { return good ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE; }

}  // namespace

struct H2Session::Impl::Callbacks {
  static Impl& self(void* user) { return *static_cast<Impl*>(user); }

  // ---- Receiving
  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* hd, void* user) {
    Impl& m = self(user);
    if (m.failed) return NGHTTP2_ERR_CALLBACK_FAILURE;  // terminate() from inside a callback
    switch (hd->type) {
      case NGHTTP2_HEADERS: {
        bool opens = m.server() && hd->stream_id > m.last_opened;
        return opens || m.find(hd->stream_id) ? 0 : result(m.glitch("frames on streams that have ended"));
      }
      case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? result(m.glitch("empty DATA frames")) : 0;
      case NGHTTP2_RST_STREAM: return result(m.resets.spend(m.now) || m.flood("stream resets"));
      case NGHTTP2_PUSH_PROMISE:
        m.fail_with(H2Code::kProtocolError, "PUSH_PROMISE, which is switched off");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
      default: return result(m.glitch("control frames"));
    }
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    self(user).on_head_begin(frame->hd.stream_id, frame->headers.cat == NGHTTP2_HCAT_REQUEST);
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame*, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    return result(self(user).on_field(text(name, name_size), text(value, value_size)));
  }

  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Impl& m = self(user);
    int32_t id = frame->hd.stream_id;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    bool ack = frame->hd.flags & NGHTTP2_FLAG_ACK;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: return result(m.on_head(id, end));
      case NGHTTP2_DATA: return end ? result(m.on_data_end(id)) : 0;
      case NGHTTP2_RST_STREAM:
        if (Stream* s = m.find(id)) m.tell_reset(*s, static_cast<H2Code>(frame->rst_stream.error_code), true);
        return 0;
      case NGHTTP2_SETTINGS:
        if (!ack) m.handler.on_settings(m.peer_streams());
        return 0;
      case NGHTTP2_GOAWAY:
        m.goaway_last = frame->goaway.last_stream_id;
        m.handler.on_goaway(m.goaway_last, static_cast<H2Code>(frame->goaway.error_code));
        return 0;
      case NGHTTP2_PING: {
        uint64_t opaque = 0;
        for (uint8_t byte : frame->ping.opaque_data) opaque = opaque << 8 | byte;
        if (ack) m.on_ping_ack(opaque);
        return 0;
      }
      default: return 0;
    }
  }

  static int on_invalid_frame(nghttp2_session*, const nghttp2_frame*, int, void* user) {
    return result(self(user).glitch("malformed frames"));
  }

  static int on_data(nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    return result(self(user).on_data(id, text(data, size)));
  }

  static int on_stream_close(nghttp2_session*, int32_t id, uint32_t code, void* user) {
    self(user).on_stream_close(id, static_cast<H2Code>(code));
    return 0;
  }

  // ---- Sending
  static ssize_t read_data(nghttp2_session* session, int32_t id, uint8_t*, size_t max, uint32_t* flags,
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

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* frame_head, size_t size,
                       nghttp2_data_source*, void* user) {
    Impl& m = self(user);
    if (!m.data_out || m.data_out->size() >= m.data_limit) return NGHTTP2_ERR_WOULDBLOCK;
    Stream* s = m.find(frame->hd.stream_id);
    if (!s || s->out.size() < size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    m.data_out->prepare(9 + size);
    m.data_out->append(text(frame_head, 9));
    m.data_out->append(s->out.view().substr(0, size));
    s->out.consume(size);
    if (s->over_mark && s->out.size() <= m.options.write_mark) {
      s->over_mark = false;
      m.writable.push_back(s->id);
    }
    m.glitches.earn(2);
    return 0;
  }

  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    Impl& m = self(user);
    switch (frame->hd.type) {
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR) {
          auto code = static_cast<H2Code>(frame->goaway.error_code);
          std::string_view why = text(frame->goaway.opaque_data, frame->goaway.opaque_data_len);
          m.fail_with(code, cat(h2_code_name(code), why.empty() ? "" : ": ", why));
        }
        return 0;
      case NGHTTP2_DATA:
      case NGHTTP2_HEADERS:
        if (m.server() && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) m.on_end_sent(frame->hd.stream_id);
        return 0;
      default: return 0;
    }
  }

  // A failed request closes its stream by itself; an answer that cannot be sent must end it.
  static int on_frame_not_send(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    Impl& m = self(user);
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat == NGHTTP2_HCAT_REQUEST) return 0;
    Stream* s = m.find(frame->hd.stream_id);
    if (!s || s->reset_told) return 0;
    m.put_reset(s->id, H2Code::kInternalError);
    m.tell_reset(*s, H2Code::kInternalError, false);
    return 0;
  }

  // Frames of other types are for nobody (RFC 9113 §5.5); nghttp2 is told to hand them over only so that on_begin_frame
  // counts them.
  static int on_other_frame(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) { return NGHTTP2_ERR_CANCEL; }

  static void set(nghttp2_session_callbacks* cb) {
    nghttp2_session_callbacks_set_unpack_extension_callback(cb, on_other_frame);
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
  }
};

H2Session::Impl::Impl(Role r, const H2Options& o, H2Handler& h)
    : role(r),
      options(o),
      handler(h),
      glitches(o.glitch_burst, o.glitches_per_second),
      resets(o.reset_burst, o.resets_per_second) {
  open();
}

H2Session::Impl::~Impl() {
  TULLE_CHECK(!busy);
  nghttp2_session_del(session);
}

void H2Session::Impl::open() {
  nghttp2_session_callbacks* cb = nullptr;
  TULLE_CHECK(nghttp2_session_callbacks_new(&cb) == 0);
  Callbacks::set(cb);
  nghttp2_option* opt = nullptr;
  TULLE_CHECK(nghttp2_option_new(&opt) == 0);
  nghttp2_option_set_no_auto_window_update(opt, 1);
  nghttp2_option_set_no_http_messaging(opt, 1);  // h2_events.cc and h2_head.cc check messages
  nghttp2_option_set_no_closed_streams(opt, 1);  // else a server keeps every stream that it closed
  nghttp2_option_set_peer_max_concurrent_streams(opt, options.initial_peer_streams);
  nghttp2_option_set_max_deflate_dynamic_table_size(opt, options.header_table);
  nghttp2_option_set_max_send_header_block_length(opt, 512 * 1024);
  for (int type = NGHTTP2_CONTINUATION + 1; type <= 0xff; ++type)
    nghttp2_option_set_user_recv_extension_type(opt, static_cast<uint8_t>(type));
  nghttp2_option_set_stream_reset_rate_limit(opt, 1u << 30, 1u << 30);  // `resets` decides, by the caller's clock
  int rv = server() ? nghttp2_session_server_new2(&session, cb, this, opt)
                    : nghttp2_session_client_new2(&session, cb, this, opt);
  TULLE_CHECK(rv == 0);
  nghttp2_option_del(opt);
  nghttp2_session_callbacks_del(cb);

  absl::InlinedVector<nghttp2_settings_entry, 8> settings;
  if (server()) settings.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX});  // see below
  settings.push_back({NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window});
  settings.push_back({NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, options.max_header_list});
  if (server()) {
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
  if (server()) announce_stream_limit();
}

// nghttp2 ends the connection of a client that goes over an acknowledged limit, where RFC 9113 §5.1.2 wants a stream
// error. So it believes that there is none, the peer reads ours in the SETTINGS, and on_head_begin keeps it.
void H2Session::Impl::announce_stream_limit() {
  const uint8_t* frame = nullptr;
  ssize_t n = nghttp2_session_mem_send(session, &frame);
  constexpr size_t kValueAt = 9 + 2;  // in the frame's first entry
  TULLE_CHECK(n >= static_cast<ssize_t>(kValueAt + 4) && frame[3] == NGHTTP2_SETTINGS &&
              frame[kValueAt - 1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  std::string copy(text(frame, static_cast<size_t>(n)));
  for (int i = 0; i < 4; ++i) copy[kValueAt + i] = static_cast<char>(options.max_concurrent_streams >> (24 - 8 * i));
  early.append(copy);
}

void H2Session::Impl::receive(Bytes in) {
  busy = true;
  ssize_t n = nghttp2_session_mem_recv(session, bytes(in), in.size());
  busy = false;
  if (n >= 0) return;
  H2Code code = n == NGHTTP2_ERR_FLOODED            ? H2Code::kEnhanceYourCalm
                : n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? H2Code::kProtocolError
                                                    : H2Code::kInternalError;
  fail_with(code, nghttp2_strerror(static_cast<int>(n)));
}

void H2Session::Impl::send(Buffer& into, bool with_data, size_t limit) {
  busy = true;
  data_out = with_data ? &into : nullptr;
  data_limit = into.size() + limit;
  while (into.size() < data_limit) {
    const uint8_t* frame = nullptr;
    ssize_t n = nghttp2_session_mem_send(session, &frame);  // DATA is appended by send_data before it returns
    if (n > 0) into.append(text(frame, static_cast<size_t>(n)));
    if (n < 0) {  // out of memory: not even a GOAWAY can be sent
      fail_with(H2Code::kInternalError, nghttp2_strerror(static_cast<int>(n)), Code::kInternal);
      gone = true;
    }
    bool more = n > 0 || !writable.empty();
    tell_writable();
    if (!more) break;
  }
  data_out = nullptr;
  busy = false;
}

bool H2Session::Impl::wants_read() const { return nghttp2_session_want_read(session); }
bool H2Session::Impl::wants_write() const { return nghttp2_session_want_write(session); }
bool H2Session::Impl::has_frames() const { return nghttp2_session_get_outbound_queue_size(session) > 0; }

uint32_t H2Session::Impl::peer_streams() const {
  return nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

Result<int32_t> H2Session::Impl::put_request(const H2Fields& fields, bool end) {
  Nv nv = to_nv(fields);
  nghttp2_data_provider body{{.ptr = nullptr}, Callbacks::read_data};
  int32_t id = nghttp2_submit_request(session, nullptr, nv.data(), nv.size(), end ? nullptr : &body, nullptr);
  if (id > 0) return id;
  if (id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE)
    return fail(Code::kExhausted, "HTTP/2 stream ids are used up", Side::kSelf, Retry::kSafe);
  return fail(Code::kInternal, cat("HTTP/2 request: ", nghttp2_strerror(id)), Side::kSelf, Retry::kSafe);
}

Result<> H2Session::Impl::put_response(int32_t id, const H2Fields& fields, bool end) {
  Nv nv = to_nv(fields);
  nghttp2_data_provider body{{.ptr = nullptr}, Callbacks::read_data};
  int rv = nghttp2_submit_response(session, id, nv.data(), nv.size(), end ? nullptr : &body);
  if (rv == 0) return {};
  return fail(Code::kInternal, cat("HTTP/2 response: ", nghttp2_strerror(rv)));
}

Result<> H2Session::Impl::put_interim(int32_t id, const H2Fields& fields) {
  Nv nv = to_nv(fields);
  int rv = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, id, nullptr, nv.data(), nv.size(), nullptr);
  if (rv == 0) return {};
  return fail(Code::kInternal, cat("HTTP/2 response: ", nghttp2_strerror(rv)));
}

void H2Session::Impl::put_reset(int32_t id, H2Code code) {
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(code));
}

void H2Session::Impl::put_ping(uint64_t opaque) {
  uint8_t data[8];
  for (int i = 0; i < 8; ++i) data[i] = static_cast<uint8_t>(opaque >> (56 - 8 * i));
  nghttp2_submit_ping(session, NGHTTP2_FLAG_NONE, data);
}

void H2Session::Impl::put_shutdown_notice() { nghttp2_submit_shutdown_notice(session); }

void H2Session::Impl::put_goaway() {
  int32_t seen = nghttp2_session_get_last_proc_stream_id(session);
  nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, seen, NGHTTP2_NO_ERROR, nullptr, 0);
}

void H2Session::Impl::put_terminate(H2Code code) {
  nghttp2_session_terminate_session(session, static_cast<uint32_t>(code));
}

void H2Session::Impl::credit(int32_t id, size_t n) { nghttp2_session_consume(session, id, n); }
void H2Session::Impl::credit_connection(size_t n) { nghttp2_session_consume_connection(session, n); }

void H2Session::Impl::resume(Stream& s) {
  if (!s.deferred) return;
  s.deferred = false;
  nghttp2_session_resume_data(session, s.id);
}

}  // namespace tulle::http
