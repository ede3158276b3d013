#include "libs/http/h2.h"

#include "libs/base/check.h"
#include "libs/http/h2_impl.h"

namespace tulle::http {

H2Session::H2Session(Role role, const H2Options& options, H2Handler& handler)
    : impl_(std::make_unique<Impl>(role, options, handler)) {}

H2Session::~H2Session() = default;

// ---- Bytes

Result<> H2Session::feed(Bytes in, TimePoint now) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  m.after_failure();
  if (m.failed) return fail(*m.failed);
  m.now = now;
  if (!m.clock_started) {
    m.clock_started = true;
    m.glitches.start(now);
    m.resets.start(now);
  }
  m.receive(in);
  if (!m.failed) return {};
  m.after_failure();
  return fail(*m.failed);
}

void H2Session::produce(Buffer& out, size_t max) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  if (m.gone) return;
  m.after_failure();
  m.send(out, max);
  m.after_failure();
}

bool H2Session::want_write() const { return !impl_->gone && impl_->wants_write(); }

bool H2Session::finished() const {
  const Impl& m = *impl_;
  if (want_write()) return false;
  if (m.failed) return true;
  if (m.draining && m.server() && !m.final_goaway) return false;
  return m.streams.empty() && (m.goaway_sent >= 0 || m.goaway_last >= 0);
}

// ---- Messages

Result<int32_t> H2Session::submit_request(const RequestHead& head, bool end, void* context) {
  Impl& m = *impl_;
  if (m.server()) return fail(Code::kInternal, "a server cannot send requests");
  if (m.failed || m.draining || m.goaway_last >= 0)
    return fail(Code::kUnavailable, "HTTP/2 connection is going away", Side::kPeer, Retry::kSafe);
  if (!m.can_open()) {
    return fail(Code::kExhausted, cat("all ", m.peer_max_streams, " HTTP/2 streams that the peer allows are in use"),
                Side::kPeer, Retry::kSafe);
  }
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, fields));
  TULLE_TRY(int32_t id, m.put_request(fields, end));
  Impl::Stream& s = m.add_stream(id);
  s.known = true;
  s.end_queued = s.end_sent = end;
  s.context = context;
  s.bodiless = head.method_kind == Method::kHead;
  s.connect = head.method_kind == Method::kConnect;
  if (++m.requests >= m.options.max_requests) drain();
  return id;
}

bool H2Session::can_open() const { return !impl_->server() && impl_->can_open(); }

Result<> H2Session::submit_response(int32_t id, const ResponseHead& head, bool end) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->answered) return {};
  char status[3];
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, status, fields));
  s->answered = true;
  s->end_queued = end;
  impl_->put_response(*s, fields, end);
  return {};
}

Result<> H2Session::submit_interim(int32_t id, const ResponseHead& head) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->answered) return {};
  if (head.status < 100 || head.status > 199)
    return fail(Code::kInvalid, cat("status ", head.status, " is not interim"));
  char status[3];
  H2Fields fields;
  TULLE_TRY_VOID(h2_fields_of(head, status, fields));
  if (!s->reset_sent) impl_->put_interim(id, fields);
  return {};
}

void H2Session::write_data(int32_t id, Bytes data) {
  Impl::Stream* s = impl_->find(id);
  if (!s || s->end_queued || s->reset_sent || data.empty()) return;
  s->out.append(data);
  impl_->on_queued(*s, data.size());
}

void H2Session::write_data(int32_t id, Buffer&& data) {
  Impl::Stream* s = impl_->find(id);
  if (s && !s->end_queued && !s->reset_sent && s->out.empty() && !data.empty()) {
    s->out.swap(data);
    impl_->on_queued(*s, s->out.size());
  } else {
    write_data(id, data.view());
  }
  data.clear();
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

void H2Session::tell_sent(int32_t id) {
  if (Impl::Stream* s = impl_->find(id)) s->tell_sent = !s->out.empty();
}

void H2Session::consume(int32_t id, size_t n) {
  Impl::Stream* s = impl_->find(id);
  if (!s) return;
  n = std::min(n, s->unconsumed);
  if (n == 0) return;
  s->unconsumed -= n;
  impl_->unhold(n);
  impl_->credit_stream(*s, n);
}

void H2Session::reset(int32_t id, H2Code code) {
  Impl::Stream* s = impl_->find(id);
  if (!s) return;
  s->reset_told = true;
  if (code == H2Code::kNoError && impl_->server() && s->answered && s->end_queued && !s->end_sent) {
    s->reset_at_end = true;
    return;
  }
  impl_->put_reset(*s, code);
}

bool H2Session::is_open(int32_t id) const {
  const Impl::Stream* s = impl_->find(id);
  return s && !s->reset_sent;
}

void H2Session::set_context(int32_t id, void* context) {
  if (Impl::Stream* s = impl_->find(id)) s->context = context;
}

void* H2Session::context(int32_t id) const {
  Impl::Stream* s = impl_->find(id);
  return s ? s->context : nullptr;
}

// ---- Connection

void H2Session::ping(uint64_t opaque) { impl_->put_ping(opaque, false); }

void H2Session::drain() {
  Impl& m = *impl_;
  if (m.draining || m.failed) return;
  m.draining = true;
  if (!m.server()) return m.put_goaway(m.last_peer_id, H2Code::kNoError, {});
  m.put_goaway(INT32_MAX, H2Code::kNoError, {});
  m.put_ping(kDrainPing, false);
}

bool H2Session::draining() const { return impl_->draining; }

void H2Session::terminate(H2Code code, std::string_view why) {
  Impl& m = *impl_;
  if (m.failed) return;
  m.fail_with(code, cat("ended by us with ", h2_code_name(code), why.empty() ? "" : ": ", why), Code::kClosed);
  m.failed_why = why;
  if (!m.busy) m.after_failure();  // else feed() or produce() does it
}

void H2Session::abandon(H2Code code) {
  Impl& m = *impl_;
  TULLE_CHECK(!m.busy);
  m.fail_with(code, "the connection is gone", Code::kClosed);
  m.gone = m.failure_told = true;
  m.control.clear();
  m.closings.clear();
  m.end_streams(code, true);
}

size_t H2Session::open_streams() const { return impl_->streams.size(); }

TimePoint H2Session::head_begun() const { return impl_->head_begun; }

size_t H2Session::queued() const { return impl_->control.size(); }

void H2Session::want_room(int32_t id) {
  if (Impl::Stream* s = impl_->find(id)) s->over_mark = !s->out.empty();
}

bool H2Session::crowded() const { return impl_->crowded(); }

size_t H2Session::held() const {
  const Impl& m = *impl_;
  return m.control.size() + m.partial.size() + m.block.size() + m.unsent + m.held + m.open_heads;
}

std::string_view H2Session::failure() const {
  if (!impl_->failed) return {};
  return impl_->failed_why.empty() ? h2_code_name(impl_->failed_code) : impl_->failed_why;
}

}  // namespace tulle::http
