#include <algorithm>

#include "libs/base/check.h"
#include "libs/base/sanitized.h"
#include "libs/http/h2_impl.h"

namespace tulle::http {
namespace {

constexpr size_t kSpareStreams = kSanitized ? 0 : 64;

int64_t content_length(const Headers& headers) {
  auto value = headers.get(HeaderId::kContentLength);
  return value ? static_cast<int64_t>(parse_number<uint64_t>(*value).value_or(0)) : -1;
}

}  // namespace

// ---- Streams

H2Session::Impl::Stream& H2Session::Impl::add_stream(int32_t id) {
  std::unique_ptr<Stream> s;
  if (spare.empty()) {
    s = std::make_unique<Stream>();
  } else {
    s = std::move(spare.back());
    spare.pop_back();
  }
  s->id = id;
  s->send_window = peer_window;
  s->receive_window = settings_acked ? options.stream_window : std::max(options.stream_window, 65535u);
  last = s.get();
  streams[id] = std::move(s);
  return *last;
}

std::unique_ptr<H2Session::Impl::Stream> H2Session::Impl::take_stream(int32_t id) {
  auto it = streams.find(id);
  if (it == streams.end()) return nullptr;
  auto s = std::move(it->second);
  streams.erase(it);
  unsent -= s->out.size();
  if (last == s.get()) last = nullptr;
  return s;
}

void H2Session::Impl::end_streams(H2Code code, bool by_peer) {
  std::vector<int32_t> ids;
  ids.reserve(streams.size());
  for (const auto& [id, s] : streams) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  busy = true;
  for (int32_t id : ids) {
    Stream* s = find(id);
    tell_reset(*s, code, by_peer);
    auto ended = take_stream(id);
    if (ended->known) handler.on_closed(id, ended->context);
  }
  busy = false;
}

void H2Session::Impl::on_stream_close(int32_t id, H2Code code) {
  Stream* s = find(id);
  if (!s) return;
  if (code != H2Code::kNoError || !s->in_ended) {
    bool refused = goaway_last >= 0 && id > goaway_last && !server();
    tell_reset(*s, code, refused);
  } else {
    glitches.earn(4);
    resets.earn(1);
  }
  auto ended = take_stream(id);
  if (ended->queued) std::erase(blocked, id);
  open_heads -= ended->head_bytes;
  if (ended->unconsumed) unhold(ended->unconsumed);
  if (ended->known) handler.on_closed(id, ended->context);
  if (spare.size() >= kSpareStreams) return;
  *ended = Stream();
  spare.push_back(std::move(ended));
}

// ---- Failure

void H2Session::Impl::fail_with(H2Code code, std::string_view reason, Code error_code) {
  if (failed) return;
  failed_code = code;
  failed = std::make_unique<Error>(error_code, cat("HTTP/2 connection: ", reason),
                                   server() ? Side::kClient : Side::kPeer, Retry::kIdempotentOnly);
}

void H2Session::Impl::after_failure() {
  if (!failed || std::exchange(failure_told, true)) return;
  ready.clear();
  blocked.clear();
  closings.clear();
  ready_at = 0;
  constexpr size_t kWorthKeeping = 16 * 1024;
  if (control.size() > kWorthKeeping) control.clear();  // nobody reads it
  put_goaway(last_peer_id, failed_code, options.explain ? std::string_view(failed->reason).substr(0, 128) : "");
  end_streams(failed_code, false);
}

bool H2Session::Impl::flood(std::string_view what) {
  fail_with(H2Code::kEnhanceYourCalm, what, Code::kExhausted);
  if (failed_why.empty()) failed_why = what;
  return false;
}

bool H2Session::Impl::reject(Stream& s, H2Code code) {
  put_reset(s, code);
  tell_reset(s, code, false);
  return glitch("flood of malformed messages");
}

void H2Session::Impl::tell_reset(Stream& s, H2Code code, bool by_peer) {
  if (s.reset_told) return;
  s.reset_told = true;
  if (s.known) handler.on_reset(s.id, code, by_peer);
}

// ---- Messages: H2HeadReader checks fields; the order and length of what makes a message are checked here (RFC 9113
// §8.1).

void H2Session::Impl::on_head_begin(int32_t id, bool opens) {
  Stream* s = find(id);
  auto kind = H2HeadReader::Kind::kTrailers;
  if (server() && opens) {
    if (!s) s = &add_stream(id);
    kind = H2HeadReader::Kind::kRequest;
  } else if (!server() && s && !s->final_head) {
    kind = H2HeadReader::Kind::kResponse;
  }
  head.begin(kind, options.max_header_list, options.max_header_fields);
}

bool H2Session::Impl::on_field(const HpackField& field) {
  head.add(field);
  // HPACK can blow up a small block: refuse to go on decoding long after the limit.
  return head.bytes() <= 4ull * options.max_header_list + 65536 || flood("flood of header fields in one message");
}

bool H2Session::Impl::on_head(int32_t id, bool end) {
  Stream* s = find(id);
  if (!s) return true;
  if (s->reset_told) {
    s->in_ended |= end;
    return true;
  }
  if (!head.finish().empty()) return reject(*s, H2Code::kProtocolError);
  switch (head.kind()) {
    case H2HeadReader::Kind::kRequest: return on_request_head(*s, end);
    case H2HeadReader::Kind::kResponse: return on_response_head(*s, end);
    case H2HeadReader::Kind::kTrailers: return on_trailers(*s, end);
  }
  return true;
}

bool H2Session::Impl::on_request_head(Stream& s, bool end) {
  s.final_head = true;
  s.in_ended = end;
  if (head.too_large()) {
    s.end_queued = s.answered = s.reset_at_end = true;
    put_response(s, {{HeaderId::kOther, 0, ":status", "431"}}, true);
    return glitch("flood of malformed messages");
  }
  s.connect = head.request.method_kind == Method::kConnect;
  if (!s.connect) s.body_left = content_length(head.request.headers);
  if (end && s.body_left > 0) return reject(s, H2Code::kProtocolError);
  if (uint64_t n = head.bytes(); open_heads + n > options.max_open_heads &&
                                 n > options.max_open_heads / std::max(options.max_concurrent_streams, 1u))
    return put_reset(s, H2Code::kRefusedStream), true;
  s.known = true;
  s.head_bytes = static_cast<uint32_t>(head.bytes());
  open_heads += s.head_bytes;
  handler.on_request(s.id, std::move(head.request), end);
  return true;
}

bool H2Session::Impl::on_response_head(Stream& s, bool end) {
  if (head.too_large()) return reject(s, H2Code::kEnhanceYourCalm);
  int status = head.response.status;
  if (status < 200) {
    if (end) return reject(s, H2Code::kProtocolError);
    if (++s.interims > options.max_interims) return reject(s, H2Code::kEnhanceYourCalm);
    handler.on_interim(s.id, std::move(head.response));
    return true;
  }
  s.final_head = true;
  s.in_ended = end;
  if (s.bodiless || status == 204 || status == 304) s.body_left = 0;
  else if (!s.connect) s.body_left = content_length(head.response.headers);
  if (end && s.body_left > 0) return reject(s, H2Code::kProtocolError);
  handler.on_response(s.id, std::move(head.response), end);
  return true;
}

bool H2Session::Impl::on_trailers(Stream& s, bool end) {
  if (head.too_large()) return reject(s, H2Code::kEnhanceYourCalm);
  if (!end || s.body_left > 0) return reject(s, H2Code::kProtocolError);
  s.in_ended = true;
  if (s.known) handler.on_end(s.id, &head.trailers);
  return true;
}

bool H2Session::Impl::on_data(int32_t id, Bytes data) {
  Stream* s = find(id);
  if (!s || !s->known || s->reset_told) {
    credit_connection(data.size());
    return true;
  }
  hold(*s, data.size());
  bool too_long = s->body_left >= 0 && static_cast<uint64_t>(s->body_left) < data.size();
  if (!s->final_head || too_long) return reject(*s, H2Code::kProtocolError);
  if (s->body_left > 0) s->body_left -= static_cast<int64_t>(data.size());
  handler.on_data(id, data);
  return true;
}

bool H2Session::Impl::on_data_end(int32_t id) {
  Stream* s = find(id);
  if (!s) return true;
  if (!s->reset_told && (!s->final_head || s->body_left > 0)) return reject(*s, H2Code::kProtocolError);
  s->in_ended = true;
  if (s->known && !s->reset_told) handler.on_end(id, nullptr);
  return true;
}

void H2Session::Impl::on_ping_ack(uint64_t opaque) {
  if (opaque != kDrainPing) return handler.on_ping_ack(opaque);
  if (!draining || final_goaway) return;
  final_goaway = true;
  put_goaway(last_peer_id, H2Code::kNoError, {});
}

void H2Session::Impl::tell_writable() {
  for (size_t i = 0; i < writable.size(); ++i)
    if (find(writable[i])) handler.on_writable(writable[i]);
  writable.clear();
}

}  // namespace tulle::http
