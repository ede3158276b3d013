#include <algorithm>

#include "libs/base/check.h"
#include "libs/http/h2_impl.h"

// Frames that arrive (RFC 9113 §4–6). A function that returns false has set `failed`.
namespace tulle::http {
namespace {

uint32_t u32(Bytes b) {
  return static_cast<uint32_t>(static_cast<uint8_t>(b[0])) << 24 |
         static_cast<uint32_t>(static_cast<uint8_t>(b[1])) << 16 |
         static_cast<uint32_t>(static_cast<uint8_t>(b[2])) << 8 | static_cast<uint8_t>(b[3]);
}
uint16_t u16(Bytes b) { return static_cast<uint16_t>(static_cast<uint8_t>(b[0]) << 8 | static_cast<uint8_t>(b[1])); }
uint32_t u31(Bytes b) { return u32(b) & 0x7fffffff; }

// HPACK can make much of little: a block, and what it decodes to, end not long after the limit of a message.
constexpr uint32_t kBlockSlack = 65536;

}  // namespace

void H2Session::Impl::receive(Bytes in) {
  busy = true;
  if (!closings.empty()) close_ended();  // ended by calls from above since
  bool good = take_preface(in);
  while (good && (!in.empty() || (in_frame && frame.length == 0))) {
    if (!in_frame) {
      good = take_frame_head(in);
    } else if (frame.type == kData) {
      good = take_data(in);
    } else if (partial.empty() && in.size() >= frame.length) {
      Bytes payload = in.substr(0, frame.length);
      in.remove_prefix(frame.length);
      in_frame = false;
      good = on_frame(payload);
    } else {
      size_t n = std::min(in.size(), frame.length - partial.size());
      partial.append(in.substr(0, n));
      in.remove_prefix(n);
      if (partial.size() < frame.length) break;
      Buffer payload = std::move(partial);
      in_frame = false;
      good = on_frame(payload.view());
    }
    good = good && !failed;  // terminate() from inside a callback
    if (good && !closings.empty()) close_ended();
    if (!unfinished()) head_begun = kNever;
  }
  if (head_begun == kNever || head_begun == TimePoint::min()) head_begun = unfinished() ? now : kNever;
  busy = false;
}

bool H2Session::Impl::take_preface(Bytes& in) {
  if (!preface_due) return true;
  size_t n = std::min(in.size(), kPreface.size() - partial.size());
  if (in.substr(0, n) != kPreface.substr(partial.size(), n))
    return broken(H2Code::kProtocolError, "what came first is not the HTTP/2 preface");
  partial.append(in.substr(0, n));
  in.remove_prefix(n);
  if (partial.size() < kPreface.size()) return true;
  partial.clear();
  preface_due = false;
  return true;
}

bool H2Session::Impl::take_frame_head(Bytes& in) {
  constexpr size_t kSize = 9;
  char bytes[kSize];
  if (partial.empty() && in.size() >= kSize) {
    std::copy_n(in.data(), kSize, bytes);
    in.remove_prefix(kSize);
  } else {
    size_t n = std::min(in.size(), kSize - partial.size());
    partial.append(in.substr(0, n));
    in.remove_prefix(n);
    if (partial.size() < kSize) return true;
    std::copy_n(partial.view().data(), kSize, bytes);
    partial.clear();
  }
  Bytes head(bytes, kSize);
  frame.length = u32(head) >> 8;
  frame.type = static_cast<uint8_t>(head[3]);
  frame.flags = static_cast<uint8_t>(head[4]);
  frame.id = static_cast<int32_t>(u31(head.substr(5)));
  in_frame = true;
  if (settings_due && (frame.type != kSettings || (frame.flags & kAck)))
    return broken(H2Code::kProtocolError, "the first frame is not SETTINGS");
  if (frame.length > options.max_frame_size)
    return broken(H2Code::kFrameSizeError,
                  cat("a frame of ", frame.length, " bytes; the limit is ", options.max_frame_size));
  if (block_stream && (frame.type != kContinuation || frame.id != block_stream))
    return broken(H2Code::kProtocolError, "a header block is interrupted");
  return frame.type != kData || begin_data();
}

// ---- DATA: passed on as it comes, in pieces

bool H2Session::Impl::begin_data() {
  if (frame.id == 0) return broken(H2Code::kProtocolError, "DATA on stream 0");
  if (is_idle(static_cast<uint32_t>(frame.id)))
    return broken(H2Code::kProtocolError, "DATA on a stream that was not opened");
  padding_due = frame.flags & kPadded;
  padding_left = 0;
  data_left = frame.length;
  if (padding_due && frame.length == 0) return broken(H2Code::kFrameSizeError, "padding without its length");
  if (receive_window < frame.length) return broken(H2Code::kFlowControlError, "more DATA than the connection's window");
  receive_window -= frame.length;
  if (frame.length == 0 && !(frame.flags & kEndStream) && !glitch("flood of empty DATA frames")) return false;

  Stream* s = find(frame.id);
  data_ignored = !s || s->reset_sent;
  if (s && s->in_ended && !s->reset_sent) return broken(H2Code::kStreamClosed, "DATA after the end of a message");
  if (!data_ignored && s->receive_window < frame.length) {
    data_ignored = true;
    put_reset(*s, H2Code::kFlowControlError);
    tell_reset(*s, H2Code::kFlowControlError, false);
    if (!glitch("flood of DATA above the stream's window")) return false;
  } else if (!s && !ended_by_us(frame.id)) {
    // RFC 9113 §5.1: an error of the connection after END_STREAM, of the stream after RST_STREAM.
    if (std::ranges::find(resets_seen, -frame.id) == resets_seen.end())
      return broken(H2Code::kStreamClosed, "DATA on a closed stream");
    put_reset(frame.id, H2Code::kStreamClosed);
    if (!glitch("flood of DATA on closed streams")) return false;
  }
  if (data_ignored) credit_connection(frame.length);
  else s->receive_window -= frame.length;
  return true;
}

bool H2Session::Impl::ended_by_us(int32_t id) const {
  int32_t last_looked_at = server() ? goaway_sent : goaway_last;
  return id <= forgotten_reset || (last_looked_at >= 0 && id > last_looked_at) ||
         std::ranges::find(resets_seen, id) != resets_seen.end();
}

bool H2Session::Impl::take_data(Bytes& in) {
  if (padding_due && !in.empty()) {
    padding_due = false;
    padding_left = static_cast<uint8_t>(in[0]);
    in.remove_prefix(1);
    if (padding_left >= data_left) return broken(H2Code::kProtocolError, "more padding than frame");
    data_left -= 1 + padding_left;
    if (data_left == 0 && !(frame.flags & kEndStream) && !glitch("flood of empty DATA frames")) return false;
    if (!data_ignored) {
      credit_connection(1 + padding_left);
      if (Stream* s = find(frame.id)) credit_stream(*s, 1 + padding_left);
    }
  }
  if (padding_due) return true;
  Bytes data = in.substr(0, std::min<size_t>(in.size(), data_left));
  in.remove_prefix(data.size());
  data_left -= static_cast<uint32_t>(data.size());
  if (!data.empty() && !data_ignored && !on_data(frame.id, data)) return false;
  if (data_left) return true;
  size_t n = std::min<size_t>(in.size(), padding_left);
  in.remove_prefix(n);
  padding_left -= static_cast<uint32_t>(n);
  if (padding_left) return true;
  in_frame = false;
  if (!(frame.flags & kEndStream) || data_ignored || failed) return !failed;
  if (!on_data_end(frame.id)) return false;
  if (Stream* s = find(frame.id)) settle(*s);
  return true;
}

// ---- The other frames, whole

bool H2Session::Impl::on_frame(Bytes payload) {
  if (settings_due) {
    settings_due = false;
    peer_max_streams = UINT32_MAX;  // unless it says so
  }
  switch (frame.type) {
    case kHeaders: return on_headers(payload);
    case kContinuation:
      if (!block_stream) return broken(H2Code::kProtocolError, "CONTINUATION of nothing");
      return glitch("flood of CONTINUATION frames") && on_header_block(payload, frame.flags & kEndHeaders);
    case kPriority:
      if (frame.id == 0) return broken(H2Code::kProtocolError, "PRIORITY on stream 0");
      if (payload.size() != 5) return broken(H2Code::kFrameSizeError, "PRIORITY that is not of 5 bytes");
      if (!on_priority_fields(payload)) return broken(H2Code::kProtocolError, "a stream that depends on itself");
      return glitch("flood of control frames");
    case kRstStream: return on_rst_stream(payload);
    case kSettings: return on_settings(payload);
    case kPushPromise: return broken(H2Code::kProtocolError, "PUSH_PROMISE, which is switched off");
    case kPing: return on_ping(payload);
    case kGoaway: return on_goaway(payload);
    case kWindowUpdate: return on_window_update(payload);
    default: return glitch("flood of control frames");
  }
}

bool H2Session::Impl::is_idle(uint32_t id) const {
  bool ours = (id % 2 == 1) != server();
  return ours ? id >= static_cast<uint32_t>(next_id) : id > static_cast<uint32_t>(last_peer_id);
}

// False if the stream depends on itself (RFC 7540 §5.3.1); else priorities are not looked at.
bool H2Session::Impl::on_priority_fields(Bytes fields) { return u31(fields) != static_cast<uint32_t>(frame.id); }

bool H2Session::Impl::on_headers(Bytes payload) {
  if (frame.id == 0) return broken(H2Code::kProtocolError, "HEADERS on stream 0");
  if (frame.flags & kPadded) {
    if (payload.empty()) return broken(H2Code::kFrameSizeError, "padding without its length");
    size_t padding = static_cast<uint8_t>(payload[0]);
    if (padding >= payload.size()) return broken(H2Code::kProtocolError, "more padding than frame");
    payload = payload.substr(1, payload.size() - 1 - padding);
  }
  if (frame.flags & kPriorityFields) {
    if (payload.size() < 5) return broken(H2Code::kFrameSizeError, "HEADERS too short for its priority");
    if (!on_priority_fields(payload)) return broken(H2Code::kProtocolError, "a stream that depends on itself");
    payload.remove_prefix(5);
  }
  Stream* s = find(frame.id);
  bool opens = false;
  block_ignored = s && s->reset_sent;
  if (!s) {
    bool idle = is_idle(static_cast<uint32_t>(frame.id));
    if (idle && (!server() || frame.id % 2 == 0))
      return broken(H2Code::kProtocolError, "HEADERS on a stream that nobody may open");
    if (!idle) {
      if (!ended_by_us(frame.id)) return broken(H2Code::kStreamClosed, "HEADERS on a closed stream");
      block_ignored = true;
    } else {
      // A client that says GOAWAY is leaving. One that asks on all the same would never be gone: it is told that from
      // here on nobody looks.
      if (goaway_last >= 0 && !final_goaway) {
        draining = final_goaway = true;
        put_goaway(last_peer_id, H2Code::kNoError, {});
      }
      last_peer_id = frame.id;
      opens = true;
      if (goaway_sent >= 0 && frame.id > goaway_sent) {
        block_ignored = true;  // it was told that nobody looks at this one (RFC 9113 §6.8)
      } else if (streams.size() >= options.max_concurrent_streams) {
        block_ignored = true;
        put_reset(frame.id, H2Code::kRefusedStream);
        if (!glitch("flood of streams over the limit")) return false;
      }
    }
  } else if (s->in_ended && !s->reset_sent) {
    return broken(H2Code::kStreamClosed, "HEADERS after the end of a message");
  }
  // A server answers what we have just given up, and honestly; a client that goes on with what it lost is odd.
  if (block_ignored && !opens) {
    if (late_heads > 0) --late_heads;
    else if (!glitch("flood of frames on streams that have ended")) return false;
  }
  block_stream = frame.id;
  block_end = frame.flags & kEndStream;
  block.clear();
  if (!block_ignored) on_head_begin(frame.id, opens);
  return on_header_block(payload, frame.flags & kEndHeaders);
}

bool H2Session::Impl::on_header_block(Bytes part, bool last_part) {
  if (block.size() + part.size() > options.max_header_list + kBlockSlack)
    return flood("flood of header fields in one message");
  if (last_part && block.empty()) return decode_block(part);
  block.append(part);
  if (!last_part) return true;
  Buffer whole = std::move(block);
  return decode_block(whole.view());
}

bool H2Session::Impl::decode_block(Bytes whole) {
  HpackField field;
  uint64_t ignored = 0;
  for (;;) {
    auto next = decoder.next(whole, field);
    if (next == HpackDecoder::Next::kError)
      return broken(H2Code::kCompressionError, "a header block that is not HPACK");
    if (next == HpackDecoder::Next::kEnd) break;
    if (!block_ignored) {
      if (!on_field(field)) return false;
    } else if ((ignored += field.name.size() + field.value.size() + 32) >
               4ull * options.max_header_list + kBlockSlack) {
      return flood("flood of header fields in one message");
    }
  }
  int32_t id = std::exchange(block_stream, 0);
  if (block_ignored) return true;
  if (!on_head(id, block_end)) return false;
  if (Stream* s = block_end ? find(id) : nullptr) settle(*s);
  return true;
}

bool H2Session::Impl::on_rst_stream(Bytes payload) {
  if (payload.size() != 4) return broken(H2Code::kFrameSizeError, "RST_STREAM that is not of 4 bytes");
  if (frame.id == 0) return broken(H2Code::kProtocolError, "RST_STREAM on stream 0");
  if (is_idle(static_cast<uint32_t>(frame.id)))
    return broken(H2Code::kProtocolError, "RST_STREAM on a stream that was not opened");
  if (!resets.spend(now)) return flood("flood of stream resets");
  Stream* s = find(frame.id);
  if (!s || s->reset_sent) return true;
  auto code = static_cast<H2Code>(u32(payload));
  s->reset_sent = true;  // nothing more is sent
  remember_reset(-s->id);
  tell_reset(*s, code, true);
  closings.emplace_back(s->id, code);
  return true;
}

bool H2Session::Impl::on_settings(Bytes payload) {
  if (frame.id != 0) return broken(H2Code::kProtocolError, "SETTINGS on a stream");
  if (!glitch("flood of control frames")) return false;
  if (frame.flags & kAck) {
    if (!payload.empty()) return broken(H2Code::kFrameSizeError, "SETTINGS that acknowledge and set");
    return on_settings_ack();
  }
  if (payload.size() % 6) return broken(H2Code::kFrameSizeError, "SETTINGS that are not of 6 bytes each");
  constexpr size_t kFree = 16;  // honest peers set fewer
  uint32_t window = peer_window;
  for (size_t n = 0; !payload.empty(); payload.remove_prefix(6), ++n) {
    if (n >= kFree && !glitch("flood of settings")) return false;
    if (!on_setting(u16(payload), u32(payload.substr(2)), window)) return false;
  }
  if (!set_peer_window(window)) return false;
  put_frame(0, kSettings, kAck, 0);
  handler.on_settings(peer_max_streams);
  return true;
}

// For all streams at once, however often a frame says it.
bool H2Session::Impl::set_peer_window(uint32_t window) {
  if (window == peer_window) return true;
  int64_t more = static_cast<int64_t>(window) - peer_window;
  peer_window = window;
  for (auto& [_, s] : streams) {
    s->send_window += more;
    if (s->send_window > kMaxWindow) return broken(H2Code::kFlowControlError, "a stream's window above 2^31-1");
    resume(*s);
  }
  return true;
}

bool H2Session::Impl::on_setting(uint16_t id, uint32_t value, uint32_t& window) {
  switch (id) {
    case kHeaderTableSize: encoder.set_peer_table(value); return true;
    case kEnablePush:
      return value <= (server() ? 1u : 0u) || broken(H2Code::kProtocolError, "ENABLE_PUSH that may not be");
    case kMaxConcurrentStreams: peer_max_streams = value; return true;
    case kInitialWindowSize:
      if (value > kMaxWindow) return broken(H2Code::kFlowControlError, "INITIAL_WINDOW_SIZE above 2^31-1");
      window = value;
      return true;
    case kMaxFrameSize:
      if (value < 16384 || value > 0xffffff)
        return broken(H2Code::kProtocolError, "MAX_FRAME_SIZE out of 2^14 … 2^24-1");
      peer_max_frame = value;
      return true;
    default: return true;
  }
}

bool H2Session::Impl::on_settings_ack() {
  if (std::exchange(settings_acked, true)) return true;
  if (options.header_table != 4096) decoder.set_table(options.header_table);
  // Until now the peer could not know of a window smaller than the default.
  if (options.stream_window < 65535)
    for (auto& [_, s] : streams) s->receive_window -= 65535 - static_cast<int64_t>(options.stream_window);
  return true;
}

bool H2Session::Impl::on_ping(Bytes payload) {
  if (payload.size() != 8) return broken(H2Code::kFrameSizeError, "PING that is not of 8 bytes");
  if (frame.id != 0) return broken(H2Code::kProtocolError, "PING on a stream");
  if (!glitch("flood of control frames")) return false;
  uint64_t opaque = static_cast<uint64_t>(u32(payload)) << 32 | u32(payload.substr(4));
  if (frame.flags & kAck) on_ping_ack(opaque);
  else put_ping(opaque, true);
  return true;
}

bool H2Session::Impl::on_goaway(Bytes payload) {
  if (payload.size() < 8) return broken(H2Code::kFrameSizeError, "GOAWAY below 8 bytes");
  if (frame.id != 0) return broken(H2Code::kProtocolError, "GOAWAY on a stream");
  if (!glitch("flood of control frames")) return false;
  auto last_id = static_cast<int32_t>(u31(payload));
  if (goaway_last >= 0 && last_id > goaway_last)
    return broken(H2Code::kProtocolError, "GOAWAY that takes back an earlier one");
  goaway_last = last_id;
  handler.on_goaway(last_id, static_cast<H2Code>(u32(payload.substr(4))));
  if (server()) return true;
  size_t from = closings.size();
  for (auto& [id, s] : streams)
    if (id > last_id && !s->reset_sent) closings.emplace_back(id, H2Code::kRefusedStream);
  std::sort(closings.begin() + static_cast<ptrdiff_t>(from), closings.end());
  return true;
}

bool H2Session::Impl::on_window_update(Bytes payload) {
  if (payload.size() != 4) return broken(H2Code::kFrameSizeError, "WINDOW_UPDATE that is not of 4 bytes");
  if (is_idle(static_cast<uint32_t>(frame.id)) && frame.id)
    return broken(H2Code::kProtocolError, "WINDOW_UPDATE on a stream that was not opened");
  if (!glitch("flood of control frames")) return false;
  uint32_t more = u31(payload);
  if (frame.id == 0) {
    if (more == 0) return broken(H2Code::kProtocolError, "WINDOW_UPDATE of 0");
    send_window += more;
    if (send_window > kMaxWindow) return broken(H2Code::kFlowControlError, "a connection's window above 2^31-1");
    ready.insert(ready.end(), blocked.begin(), blocked.end());
    blocked.clear();
    return true;
  }
  Stream* s = find(frame.id);
  if (!s || s->reset_sent) return true;
  s->send_window += more;
  if (more && s->send_window <= kMaxWindow) return resume(*s), true;
  H2Code code = more ? H2Code::kFlowControlError : H2Code::kProtocolError;
  put_reset(*s, code);
  tell_reset(*s, code, false);
  return true;
}

}  // namespace tulle::http
