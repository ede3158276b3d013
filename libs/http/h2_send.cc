#include <algorithm>
#include <cstring>

#include "libs/base/check.h"
#include "libs/http/h2_impl.h"

// Frames that leave (RFC 9113 §4–6).
namespace tulle::http {
namespace {

constexpr size_t kFrameHead = 9;
constexpr size_t kDataPiece = 16384;        // DATA in one frame, at most: others shall have their turn
constexpr size_t kMaxControl = 512 * 1024;  // answers that the peer does not read: its pings, settings and resets
constexpr size_t kSmall = 1024;             // DATA below it that a window cut short is no work of the peer's
constexpr size_t kRememberedResets = 128;

void put32(char* into, uint32_t value) {
  for (int i = 0; i < 4; ++i) into[i] = static_cast<char>(value >> (24 - 8 * i));
}

void write_head(char* into, size_t length, uint8_t type, uint8_t flags, int32_t id) {
  put32(into, static_cast<uint32_t>(length) << 8 | type);
  into[4] = static_cast<char>(flags);
  put32(into + 5, static_cast<uint32_t>(id));
}

}  // namespace

H2Session::Impl::Impl(Role r, const H2Options& o, H2Handler& h)
    : role(r),
      options(o),
      handler(h),
      encoder(o.header_table),
      preface_due(r == Role::kServer),
      peer_max_streams(r == Role::kServer ? 0 : o.initial_peer_streams),
      glitches(o.glitch_burst, o.glitches_per_second),
      resets(o.reset_burst, o.resets_per_second) {
  open();
}

H2Session::Impl::~Impl() { TULLE_CHECK(!busy); }

void H2Session::Impl::open() {
  if (!server()) control.append(kPreface);
  absl::InlinedVector<std::pair<uint16_t, uint32_t>, 8> settings;
  settings.emplace_back(kInitialWindowSize, options.stream_window);
  settings.emplace_back(kMaxHeaderListSize, options.max_header_list);
  if (server()) {
    settings.emplace_back(kMaxConcurrentStreams, options.max_concurrent_streams);
    settings.emplace_back(kNoRfc7540Priorities, 1);
  } else {
    settings.emplace_back(kEnablePush, 0);
  }
  if (options.max_frame_size != 16384) settings.emplace_back(kMaxFrameSize, options.max_frame_size);
  if (options.header_table != 4096) settings.emplace_back(kHeaderTableSize, options.header_table);
  if (options.header_table > 4096) decoder.set_table(options.header_table);
  char* at = put_frame(6 * settings.size(), kSettings, 0, 0);
  for (auto [id, value] : settings) {
    at[0] = static_cast<char>(id >> 8);
    at[1] = static_cast<char>(id);
    put32(at + 2, value);
    at += 6;
  }
  if (options.connection_window > 65535) {
    put32(put_frame(4, kWindowUpdate, 0, 0), options.connection_window - 65535);
    receive_window = options.connection_window;
  }
}

// Room for the payload, which the caller fills in before anything else is put.
char* H2Session::Impl::put_frame(size_t length, uint8_t type, uint8_t flags, int32_t id) {
  char* at = control.prepare(kFrameHead + length);
  write_head(at, length, type, flags, id);
  control.commit(kFrameHead + length);
  unread += kFrameHead + length;
  if (unread > kMaxControl) flood("flood of frames whose answers are not read");
  return at + kFrameHead;
}

void H2Session::Impl::put_headers(Buffer& out, int32_t id, const H2Fields& fields, bool end) {
  size_t at = out.size();
  out.prepare(kFrameHead);
  out.commit(kFrameHead);
  encoder.encode(fields, out);
  size_t length = out.size() - at - kFrameHead;
  uint8_t flags = end ? kEndStream : 0;
  if (length <= peer_max_frame) {
    write_head(out.data() + at, length, kHeaders, flags | kEndHeaders, id);
    return;
  }
  std::string block(out.view().substr(at + kFrameHead));
  out.drop_back(out.size() - at);  // a copy of the block only: what was there before may be large
  uint8_t type = kHeaders;
  for (Bytes rest = block; !rest.empty(); type = kContinuation, flags = 0) {
    Bytes part = rest.substr(0, peer_max_frame);
    rest.remove_prefix(part.size());
    write_head(out.prepare(kFrameHead), part.size(), type, rest.empty() ? flags | kEndHeaders : flags, id);
    out.commit(kFrameHead);
    out.append(part);
  }
}

Result<int32_t> H2Session::Impl::put_request(const H2Fields& fields, bool end) {
  if (next_id < 0) return fail(Code::kExhausted, "HTTP/2 stream ids are used up", Side::kSelf, Retry::kSafe);
  int32_t id = next_id;
  next_id = id > INT32_MAX - 2 ? -1 : id + 2;
  put_headers(control, id, fields, end);
  return id;
}

void H2Session::Impl::put_response(Stream& s, const H2Fields& fields, bool end) {
  if (s.reset_sent) return;
  put_headers(control, s.id, fields, end);
  if (end) on_end_sent(s);
}

void H2Session::Impl::put_interim(int32_t id, const H2Fields& fields) { put_headers(control, id, fields, false); }

void H2Session::Impl::put_reset(int32_t id, H2Code code) {
  put32(put_frame(4, kRstStream, 0, id), static_cast<uint32_t>(code));
  remember_reset(id);
}

void H2Session::Impl::remember_reset(int32_t id) {
  if (resets_seen.size() < kRememberedResets) {
    resets_seen.push_back(id);
    return;
  }
  forgotten_reset = std::max(forgotten_reset, std::abs(resets_seen[reset_at]));
  resets_seen[reset_at] = id;
  reset_at = (reset_at + 1) % kRememberedResets;
}

void H2Session::Impl::put_reset(Stream& s, H2Code code) {
  if (s.reset_sent) return;
  s.reset_sent = true;
  put_reset(s.id, code);
  if (!server()) late_heads += options.max_interims + 2;
  closings.emplace_back(s.id, code);
}

void H2Session::Impl::put_ping(uint64_t opaque, bool ack) {
  char* at = put_frame(8, kPing, ack ? kAck : 0, 0);
  put32(at, static_cast<uint32_t>(opaque >> 32));
  put32(at + 4, static_cast<uint32_t>(opaque));
}

void H2Session::Impl::put_goaway(int32_t last_id, H2Code code, std::string_view debug) {
  goaway_sent = last_id;
  char* at = put_frame(8 + debug.size(), kGoaway, 0, 0);
  put32(at, static_cast<uint32_t>(last_id));
  put32(at + 4, static_cast<uint32_t>(code));
  if (!debug.empty()) std::memcpy(at + 8, debug.data(), debug.size());
}

// ---- Credit for what arrived: told when half of a window has gathered.
// A stream's credit comes when its data has been passed on. The connection's comes at once while what is held for all
// streams together is little, so that slow readers of some streams do not stop the others; above that it waits too.

void H2Session::Impl::hold(Stream& s, size_t n) {
  s.unconsumed += n;
  held += n;
  if (held <= options.held_mark) credit_connection(n);
  else owed += n;
}

void H2Session::Impl::unhold(size_t n) {
  held -= n;
  size_t due = std::min(owed, n);
  owed -= due;
  if (due) credit_connection(due);
}

void H2Session::Impl::credit_stream(Stream& s, size_t n) {
  if (s.in_ended || s.reset_sent) return;
  s.credit += static_cast<uint32_t>(n);
  if (s.credit < std::max(options.stream_window / 2, 1u)) return;
  put32(put_frame(4, kWindowUpdate, 0, s.id), s.credit);
  s.receive_window += s.credit;
  s.credit = 0;
}

// Never less than half of the window is open to the peer, unless more than held_mark is held.
void H2Session::Impl::credit_connection(size_t n) {
  connection_credit += n;
  if (connection_credit == 0 || receive_window > static_cast<int64_t>(options.connection_window / 2)) return;
  put32(put_frame(4, kWindowUpdate, 0, 0), static_cast<uint32_t>(connection_credit));
  receive_window += static_cast<int64_t>(connection_credit);
  connection_credit = 0;
}

// ---- DATA

void H2Session::Impl::on_queued(Stream& s, size_t n) {
  unsent += n;
  s.over_mark |= s.out.size() > write_mark();
  resume(s);
}

void H2Session::Impl::resume(Stream& s) {
  bool something = !s.out.empty() ? s.send_window > 0 : s.end_queued && !s.end_sent;
  bool head_out = server() ? s.answered : true;
  if (!something || !head_out || s.queued || s.reset_sent) return;
  s.queued = true;
  ready.push_back(s.id);
}

void H2Session::Impl::send(Buffer& out, size_t limit) {
  busy = true;
  size_t full = out.size() + limit;
  for (;;) {
    if (!closings.empty()) close_ended();
    if (!control.empty()) {
      if (out.empty()) out.swap(control);
      else out.append(control.view());
      control.clear();
      unread = 0;
    }
    if (ready_at == ready.size() || out.size() >= full || failed) {
      if (writable.empty()) break;
      tell_writable();
      continue;
    }
    Stream* s = find(ready[ready_at++]);
    if (ready_at == ready.size()) ready.clear(), ready_at = 0;
    else if (ready_at > 256)
      ready.erase(ready.begin(), ready.begin() + static_cast<ptrdiff_t>(std::exchange(ready_at, 0)));
    if (!s) continue;
    s->queued = false;
    if (s->reset_sent) continue;
    if (!s->out.empty() && send_window <= 0) {
      s->queued = true;
      blocked.push_back(s->id);
      continue;
    }
    put_data(*s, out);
  }
  busy = false;
}

void H2Session::Impl::put_data(Stream& s, Buffer& out) {
  size_t n = std::min({s.out.size(), kDataPiece, static_cast<size_t>(peer_max_frame),
                       static_cast<size_t>(send_window > 0 ? send_window : 0),
                       static_cast<size_t>(s.send_window > 0 ? s.send_window : 0)});
  size_t kept = s.out.size();
  bool all = n == kept && s.end_queued;
  bool end = all && !s.trailers;
  if (n || end) {
    char* at = out.prepare(kFrameHead + n);
    write_head(at, n, kData, end ? kEndStream : 0, s.id);
    if (n) std::memcpy(at + kFrameHead, s.out.view().data(), n);
    out.commit(kFrameHead + n);
    s.out.consume(n);
    unsent -= n;
    s.send_window -= static_cast<int64_t>(n);
    send_window -= static_cast<int64_t>(n);
    if (n == kept || n >= kSmall || end) glitches.earn(2);
  }
  bool fell = s.over_mark && s.out.size() <= write_mark(), sent = s.tell_sent && s.out.empty();
  if (fell) s.over_mark = false;
  if (sent) s.tell_sent = false;
  if (fell || sent) writable.push_back(s.id);
  if (all && s.trailers) {
    H2Fields fields;
    if (!h2_fields_of_trailers(*s.trailers, fields)) TULLE_BUG("trailers changed after they were checked");
    put_headers(out, s.id, fields, true);
    s.trailers.reset();
  }
  if (all) on_end_sent(s);
  else resume(s);
}

// ---- The end of a stream

void H2Session::Impl::on_end_sent(Stream& s) {
  s.end_sent = true;
  if (s.reset_at_end && !s.in_ended) put_reset(s, H2Code::kNoError);
  else settle(s);
}

void H2Session::Impl::settle(Stream& s) {
  if (s.in_ended && s.end_sent && !s.reset_sent) {
    s.reset_sent = true;
    closings.emplace_back(s.id, H2Code::kNoError);
  }
}

void H2Session::Impl::close_ended() {
  // A handler may end more streams meanwhile.
  for (size_t i = 0; i < closings.size(); ++i) {
    auto [id, code] = closings[i];
    on_stream_close(id, code);
  }
  closings.clear();
}

}  // namespace tulle::http
