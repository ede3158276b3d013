#include <vector>

#include "libs/base/check.h"
#include "libs/http/h2.h"

namespace tulle::http {
namespace {

// Answers and asks, writes, resets and consumes as the bytes it is given say; checks the order of events.
class Busy : public H2Handler {
 public:
  explicit Busy(uint8_t mood) : mood_(mood) {}

  void on_request(int32_t id, RequestHead&& r, bool end) override {
    TULLE_CHECK(r.path.empty() || r.path[0] == '/' || r.path == "*");
    open(id, end);
    ResponseHead head;
    head.headers.add("x", "y");
    if (mood_ & 1) return session->reset(id, H2Code::kCancel);
    TULLE_CHECK(session->submit_response(id, head, mood_ & 2));
    session->write_data(id, r.path);
    Headers trailers;
    trailers.add("grpc-status", "0");
    TULLE_CHECK(session->end_data(id, mood_ & 4 ? &trailers : nullptr));
    if (mood_ & 8) session->reset(id, H2Code::kNoError);
  }
  void on_response(int32_t id, ResponseHead&& r, bool end) override {
    TULLE_CHECK(r.status >= 200);
    open(id, end);
    if (mood_ & 1) session->reset(id, H2Code::kCancel);
  }
  void on_interim(int32_t id, ResponseHead&& r) override { TULLE_CHECK(r.status < 200 && !find(id)); }
  void on_data(int32_t id, Bytes data) override {
    TULLE_CHECK(find(id) && !find(id)->ended && !data.empty());
    if (mood_ & 16) session->consume(id, data.size());
  }
  void on_end(int32_t id, Headers*) override {
    TULLE_CHECK(find(id) && !find(id)->ended);
    find(id)->ended = true;
  }
  void on_reset(int32_t id, H2Code, bool) override {}
  void on_closed(int32_t id, void*) override {
    for (auto it = streams_.begin(); it != streams_.end(); ++it)
      if (it->id == id) return void(streams_.erase(it));
  }
  H2Session* session = nullptr;

 private:
  struct Stream {
    int32_t id;
    bool ended;
  };
  Stream* find(int32_t id) {
    for (Stream& s : streams_)
      if (s.id == id) return &s;
    return nullptr;
  }
  void open(int32_t id, bool end) {
    TULLE_CHECK(!find(id));
    streams_.push_back({id, end});
  }
  uint8_t mood_;
  std::vector<Stream> streams_;
};

}  // namespace
}  // namespace tulle::http

// First byte: role and pieces; second: what the handler does.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle::http;
  if (size < 2) return 0;
  tulle::Bytes in(reinterpret_cast<const char*>(data) + 2, size - 2);
  bool server = data[0] & 1;
  size_t piece = data[0] & 2 ? 1 + (data[0] >> 2) : in.size() + 1;
  Busy handler(data[1]);
  H2Session session(server ? H2Session::Role::kServer : H2Session::Role::kClient, {}, handler);
  handler.session = &session;
  tulle::TimePoint now{};
  if (server) {
    (void)session.feed("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", now);
  } else {
    for (const char* method : {"GET", "POST", "HEAD", "CONNECT"}) {
      RequestHead r;
      r.set_method(method);
      r.authority = "a:1";
      auto id = session.submit_request(r, data[1] & 32);
      TULLE_CHECK(id);
      session.write_data(*id, "body");
    }
  }
  tulle::Buffer out;
  session.produce(out);
  for (size_t i = 0; i < in.size(); i += piece) {
    bool good = session.feed(in.substr(i, piece), now).has_value();
    out.clear();
    session.produce(out);
    TULLE_CHECK(good || (session.finished() && session.open_streams() == 0));
  }
  if (data[1] & 64) session.drain();
  if (data[1] & 128) session.abandon(H2Code::kCancel);
  session.produce(out);
  return 0;
}
