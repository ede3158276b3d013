#include "libs/http/h2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

namespace tulle::http {
namespace {

using ::testing::HasSubstr;
using Role = H2Session::Role;

std::string dump(const Headers& headers) {
  std::string out;
  headers.for_each([&](const Header& h) { append(out, h.name, "=", h.value, ";"); });
  return out;
}

// Writes down what it is told and does what `act` says.
class Recorder : public H2Handler {
 public:
  void on_request(int32_t id, RequestHead&& r, bool end) override {
    append(text, id, ":[", r.method, " ", r.scheme, " ", r.authority, " ", r.path, "|", dump(r.headers),
           end ? "]." : "]");
    ids.push_back(id);
    if (request) request(id, std::move(r), end);
  }
  void on_response(int32_t id, ResponseHead&& r, bool end) override {
    append(text, id, ":[", r.status, "|", dump(r.headers), end ? "]." : "]");
    if (response) response(id);
  }
  void on_interim(int32_t id, ResponseHead&& r) override { append(text, id, ":(", r.status, ")"); }
  void on_data(int32_t id, Bytes d) override {
    std::string more = cat(id, ":<");
    size_t at = text.rfind(more);
    if (quiet) received += d.size();
    else if (at != std::string::npos && text.find('>', at) == text.size() - 1)
      text.insert(text.size() - 1, d);  // goes on
    else append(text, more, d, ">");
    if (data) data(id, d);
    else session->consume(id, d.size());
  }
  void on_end(int32_t id, Headers* trailers) override {
    append(text, id, ":end", trailers ? cat("(", dump(*trailers), ")") : "");
    if (end) end(id);
  }
  void on_reset(int32_t id, H2Code code, bool by_peer) override {
    append(text, id, ":reset ", h2_code_name(code), by_peer ? " by peer;" : ";");
  }
  void on_closed(int32_t id, void* context) override { append(text, id, ":closed;"); }
  void on_writable(int32_t id) override {
    ++writables;
    if (writable) writable(id);
  }
  void on_goaway(int32_t last, H2Code code) override { append(text, "goaway ", last, " ", h2_code_name(code), ";"); }
  void on_settings(uint32_t n) override { max_streams = n; }
  void on_ping_ack(uint64_t opaque) override { append(text, "pong ", opaque, ";"); }

  std::string take() { return std::exchange(text, ""); }

  H2Session* session = nullptr;
  std::string text;
  std::vector<int32_t> ids;
  bool quiet = false;
  size_t received = 0;
  int writables = 0;
  uint32_t max_streams = 0;
  std::function<void(int32_t, RequestHead&&, bool)> request;
  std::function<void(int32_t)> response, end, writable;
  std::function<void(int32_t, Bytes)> data;
};

struct Pair {
  explicit Pair(const H2Options& client_options = {}, const H2Options& server_options = {})
      : client(Role::kClient, client_options, c), server(Role::kServer, server_options, s) {
    c.session = &client;
    s.session = &server;
  }
  // Carries bytes both ways, in pieces, until nobody has anything to say.
  void pump(size_t piece = 1 << 20) {
    for (int turn = 0; turn < 10000; ++turn) {
      Buffer to_server, to_client;
      client.produce(to_server);
      server.produce(to_client);
      if (to_server.empty() && to_client.empty()) return;
      deliver(server, to_server.view(), piece, server_error);
      deliver(client, to_client.view(), piece, client_error);
    }
    FAIL() << "the two never come to rest";
  }
  void deliver(H2Session& to, Bytes bytes, size_t piece, std::string& error) {
    for (size_t i = 0; i < bytes.size(); i += piece)
      if (auto r = to.feed(bytes.substr(i, piece), now); !r) error = r.error().reason;
  }
  int32_t ask(std::string_view path = "/", bool end = true, const Headers& headers = {}) {
    RequestHead r;
    r.authority = "web";
    r.path = path;
    r.headers = headers;
    auto id = client.submit_request(r, end);
    EXPECT_TRUE(id) << (id ? "" : id.error().reason);
    return id.value_or(-1);
  }
  void answer(int32_t id, std::string_view body = "", const Headers* trailers = nullptr) {
    ResponseHead r;
    r.headers.add("x-a", "b");
    bool end = body.empty() && !trailers;
    EXPECT_TRUE(server.submit_response(id, r, end));
    server.write_data(id, body);
    if (!end) EXPECT_TRUE(server.end_data(id, trailers));
  }

  TimePoint now{};
  Recorder c, s;
  H2Session client, server;
  std::string client_error, server_error;
};

TEST(H2, RequestAndResponseInEverySplit) {
  for (size_t piece : {1u, 2u, 9u, 10u, 100u, 100000u}) {
    Pair p;
    Headers h;
    h.add("Cookie", "a=1");
    h.add("connection", "close");  // does not travel
    h.add("te", "trailers");
    h.add("x-empty", "");
    int32_t id = p.ask("/x?y", false, h);
    p.client.write_data(id, "hello");
    ASSERT_TRUE(p.client.end_data(id));
    p.pump(piece);
    EXPECT_EQ(p.s.take(), "1:[GET http web /x?y|cookie=a=1;te=trailers;x-empty=;]1:<hello>1:end") << piece;
    Headers trailers;
    trailers.add("grpc-status", "0");
    p.answer(id, "world", &trailers);
    p.pump(piece);
    EXPECT_EQ(p.c.take(), "1:[200|x-a=b;]1:<world>1:end(grpc-status=0;)1:closed;");
    EXPECT_EQ(p.s.take(), "1:closed;");
    EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
    EXPECT_EQ(p.c.max_streams, 1024u);
    EXPECT_EQ(p.client_error + p.server_error, "");
  }
}

TEST(H2, ShapesOfResponses) {
  Pair p;
  Headers trailers;
  trailers.add("grpc-status", "14");
  trailers.add("grpc-message", "no");
  int32_t a = p.ask("/a"), b = p.ask("/b"), c = p.ask("/c"), d = p.ask("/d");
  p.pump();
  p.s.take();
  p.answer(a);                 // head only
  p.answer(b, "", &trailers);  // head, trailers, no data
  ResponseHead only;           // trailers-only: one block that ends
  only.headers.add("grpc-status", "5");
  ASSERT_TRUE(p.server.submit_response(c, only, true));
  ResponseHead early;
  early.status = 103;
  early.headers.add("link", "x");
  ASSERT_TRUE(p.server.submit_interim(d, early));
  p.answer(d, "x");
  p.pump();
  std::string said = p.c.take();
  EXPECT_THAT(said, HasSubstr("1:[200|x-a=b;]."));
  EXPECT_THAT(said, HasSubstr("3:[200|x-a=b;]"));
  EXPECT_THAT(said, HasSubstr("3:end(grpc-status=14;grpc-message=no;)"));
  EXPECT_THAT(said, Not(HasSubstr("3:<")));
  EXPECT_THAT(said, HasSubstr("5:[200|grpc-status=5;]."));
  EXPECT_THAT(said, HasSubstr("7:(103)7:[200|x-a=b;]"));
  EXPECT_THAT(said, HasSubstr("7:<x>7:end"));
}

TEST(H2, EverythingFromInsideCallbacks) {
  Pair p;
  p.s.request = [&](int32_t id, RequestHead&& r, bool) {
    if (r.path == "/reset") return p.server.reset(id, H2Code::kCancel);
    if (r.path == "/double") {
      p.server.reset(id, H2Code::kCancel);
      p.server.reset(id, H2Code::kInternalError);
      p.answer(id, "late");
      return;
    }
    p.answer(id, "body");
  };
  p.c.response = [&](int32_t id) {
    if (id == 1) p.ask("/next");
    if (id == 3) p.client.reset(id, H2Code::kCancel);
  };
  p.ask("/1");
  p.ask("/3");
  p.ask("/reset");
  p.ask("/double");
  p.pump();
  std::string said = p.c.take();
  EXPECT_THAT(said, HasSubstr("1:[200"));
  EXPECT_THAT(said, HasSubstr("9:[200"));
  EXPECT_THAT(said, HasSubstr("5:reset CANCEL by peer;5:closed;"));
  EXPECT_THAT(said, HasSubstr("7:reset CANCEL by peer;7:closed;"));
  EXPECT_THAT(said, HasSubstr("3:closed;"));
  EXPECT_THAT(said, Not(HasSubstr("3:reset")));
  EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
}

TEST(H2, FlowControlFollowsTheConsumer) {
  H2Options server_options;
  server_options.stream_window = 70000;
  Pair p({}, server_options);
  p.s.quiet = true;
  p.s.data = [](int32_t, Bytes) {};  // consumes nothing
  int32_t id = p.ask("/", false);
  std::string body(200000, 'x');
  p.client.write_data(id, body);
  ASSERT_TRUE(p.client.end_data(id));
  p.pump();
  EXPECT_EQ(p.s.received, 70000u);
  EXPECT_EQ(p.client.pending(id), 130000u);
  EXPECT_EQ(p.c.writables, 0);
  p.server.consume(id, 70000);
  p.pump();
  EXPECT_EQ(p.s.received, 140000u);
  EXPECT_EQ(p.client.pending(id), 60000u);
  EXPECT_EQ(p.c.writables, 1);
  p.server.consume(id, 70000);
  p.pump();
  EXPECT_EQ(p.s.received, 200000u);
  EXPECT_EQ(p.client.pending(id), 0u);
}

TEST(H2, ConnectionWindowSurvivesStreamsThatDieUnconsumed) {
  Pair p;
  p.s.quiet = true;
  p.s.data = [](int32_t, Bytes) {};
  for (int i = 0; i < 40; ++i) {  // 40 × 64 KiB is more than the connection's window
    int32_t id = p.ask("/", false);
    p.client.write_data(id, std::string(65535, 'x'));
    p.pump();
    p.client.reset(id, H2Code::kCancel);
    p.pump();
  }
  EXPECT_EQ(p.s.received, 40u * 65535);
}

TEST(H2, ProduceKeepsToItsMaximum) {
  H2Options options;
  options.stream_window = options.connection_window = 1 << 24;
  Pair p(options);
  p.c.quiet = true;
  int32_t id = p.ask();
  p.pump();
  p.answer(id, std::string(1 << 20, 'y'));
  size_t total = 0, turns = 0;
  while (p.server.want_write()) {
    Buffer out;
    p.server.produce(out, 32768);
    EXPECT_LE(out.size(), 32768u + 16384 + 9);
    total += out.size();
    ++turns;
    ASSERT_TRUE(p.client.feed(out.view(), p.now));
    Buffer back;
    p.client.produce(back);
    ASSERT_TRUE(p.server.feed(back.view(), p.now));
  }
  EXPECT_EQ(p.c.received, 1u << 20);
  EXPECT_GE(turns, 20u);
  EXPECT_LT(total, (1u << 20) + 2000);
}

TEST(H2, WritableIsToldOncePerFall) {
  H2Options options;
  options.write_mark = 1000;
  H2Options wide;
  wide.stream_window = 1 << 20;
  Pair p(options, wide);
  p.s.quiet = true;
  int32_t id = p.ask("/", false);
  int rounds = 0;
  p.c.writable = [&](int32_t i) {
    if (++rounds < 5) p.client.write_data(i, std::string(5000, 'z'));
    else EXPECT_TRUE(p.client.end_data(i));
  };
  p.client.write_data(id, std::string(5000, 'z'));
  p.pump();
  EXPECT_EQ(p.c.writables, 5);
  EXPECT_EQ(p.s.received, 25000u);
  EXPECT_THAT(p.s.text, HasSubstr("1:end"));
  Buffer whole;
  whole.append("swapped");
  int32_t id2 = p.ask("/", false);
  p.client.write_data(id2, std::move(whole));
  EXPECT_EQ(p.client.pending(id2), 7u);
  EXPECT_TRUE(whole.empty());
}

TEST(H2, StreamLimitIsKept) {
  H2Options server_options;
  server_options.max_concurrent_streams = 3;
  H2Options client_options;
  client_options.initial_peer_streams = 5;
  Pair p(client_options, server_options);
  p.pump();
  EXPECT_EQ(p.c.max_streams, 3u);
  for (int i = 0; i < 3; ++i) p.ask();
  EXPECT_FALSE(p.client.can_open());
  RequestHead r;
  auto refused = p.client.submit_request(r, true);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  EXPECT_EQ(refused.error().retry, Retry::kSafe);
  p.pump();
  p.answer(1);
  p.pump();
  EXPECT_TRUE(p.client.can_open());
}

TEST(H2, BeforeTheLimitIsKnownStreamsAreRefusedOneByOne) {
  H2Options server_options;
  server_options.max_concurrent_streams = 2;
  Pair p({}, server_options);
  for (int i = 0; i < 4; ++i) p.ask();  // before the server's SETTINGS came
  p.pump();
  EXPECT_EQ(p.client_error + p.server_error, "");
  EXPECT_THAT(p.c.text, HasSubstr("5:reset REFUSED_STREAM by peer;"));
  EXPECT_THAT(p.c.text, HasSubstr("7:reset REFUSED_STREAM by peer;"));
}

TEST(H2, AnEarlyAnswerStopsTheRequest) {
  Pair p;
  int32_t id = p.ask("/", false);
  p.client.write_data(id, "part");
  p.pump();
  p.answer(id, "enough");
  p.server.reset(id, H2Code::kNoError);
  p.pump();
  EXPECT_EQ(p.c.take(), "1:[200|x-a=b;]1:<enough>1:end1:reset NO_ERROR by peer;1:closed;");
  EXPECT_THAT(p.s.take(), HasSubstr("1:closed;"));
  // The request ends just before: nothing is reset.
  id = p.ask("/", false);
  p.pump();
  p.answer(id, std::string(100000, 'x'));  // more than the window
  p.server.reset(id, H2Code::kNoError);
  p.c.quiet = true;
  p.c.data = [](int32_t, Bytes) {};
  p.pump();
  ASSERT_TRUE(p.client.end_data(id));
  p.pump();
  p.client.consume(id, 100000);
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("3:end3:closed;"));
  EXPECT_THAT(p.s.text, HasSubstr("3:closed;"));
}

TEST(H2, DrainOfAServerLosesNothing) {
  Pair p;
  int32_t a = p.ask("/a");
  p.pump();
  p.server.drain();
  EXPECT_FALSE(p.server.finished());
  int32_t b = p.ask("/b");  // crosses the first GOAWAY
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("goaway 2147483647 NO_ERROR;"));
  EXPECT_THAT(p.c.text, HasSubstr("goaway 3 NO_ERROR;"));
  EXPECT_FALSE(p.client.can_open());
  RequestHead r;
  auto late = p.client.submit_request(r, true);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().retry, Retry::kSafe);
  EXPECT_FALSE(p.server.finished());
  p.answer(a, "a");
  p.answer(b, "b");
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("1:<a>"));
  EXPECT_THAT(p.c.text, HasSubstr("3:<b>"));
  EXPECT_TRUE(p.server.finished());
  EXPECT_TRUE(p.client.finished());
}

TEST(H2, DrainOfAnIdleServerWaitsForTheAcknowledgement) {
  Pair p;
  p.pump();
  p.server.drain();
  Buffer out;
  p.server.produce(out);
  EXPECT_FALSE(p.server.finished());
  ASSERT_TRUE(p.client.feed(out.view(), p.now));
  p.pump();
  EXPECT_TRUE(p.server.finished());
}

TEST(H2, DrainOfAClient) {
  Pair p;
  int32_t a = p.ask("/a");
  p.pump();
  p.client.drain();
  EXPECT_FALSE(p.client.can_open());
  p.pump();
  EXPECT_FALSE(p.client.finished());
  p.answer(a);
  p.pump();
  EXPECT_TRUE(p.client.finished());
}

TEST(H2, GoawayRefusesWhatTheServerNeverSaw) {
  Pair p;
  p.ask("/a");
  p.pump();
  p.s.take();
  // A server that says it saw stream 1 only, while 3 is on its way.
  p.ask("/b");
  std::string frame("\0\0\x08\x07\0\0\0\0\0\0\0\0\x01\0\0\0\0", 17);
  ASSERT_TRUE(p.client.feed(frame, p.now));
  EXPECT_THAT(p.c.text, HasSubstr("goaway 1 NO_ERROR;"));
  p.pump();
  EXPECT_THAT(p.c.text, HasSubstr("3:reset REFUSED_STREAM by peer;3:closed;"));
  EXPECT_THAT(p.c.text, Not(HasSubstr("1:reset")));
}

TEST(H2, PingAndTerminate) {
  Pair p;
  int32_t id = p.ask();
  p.client.ping(42);
  p.pump();
  EXPECT_EQ(p.c.take(), "pong 42;");
  p.server.terminate(H2Code::kInternalError);
  EXPECT_THAT(p.s.take(), HasSubstr("1:reset INTERNAL_ERROR;1:closed;"));
  p.pump();
  EXPECT_TRUE(p.server.finished());
  EXPECT_THAT(p.c.text, HasSubstr("goaway 1 INTERNAL_ERROR;"));
  p.client.abandon(H2Code::kCancel);
  EXPECT_THAT(p.c.text, HasSubstr("1:reset CANCEL by peer;1:closed;"));
  EXPECT_TRUE(p.client.finished());
  p.client.write_data(id, "x");
  p.client.reset(id, H2Code::kCancel);
  EXPECT_EQ(p.client.submit_request(RequestHead(), true).error().code, Code::kUnavailable);
}

TEST(H2, ContextIsGivenBack) {
  Pair p;
  int mine = 0;
  RequestHead r;
  auto id = p.client.submit_request(r, true, &mine);
  ASSERT_TRUE(id);
  EXPECT_EQ(p.client.context(*id), &mine);
  p.pump();
  p.server.set_context(*id, &p);
  EXPECT_EQ(p.server.context(*id), &p);
  EXPECT_EQ(p.server.context(77), nullptr);
}

TEST(H2, HeadsThatCannotBeSent) {
  Pair p;
  auto refusal = [&](auto change) {
    RequestHead r;
    change(r);
    auto id = p.client.submit_request(r, true);
    return id ? "sent" : std::string(code_name(id.error().code));
  };
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("a", "b\nc"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("a b", "c"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.path = "x"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.authority = "a@b"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.set_method("A B"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.set_method("CONNECT"); }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.scheme = "1x"; }), "invalid");
  EXPECT_EQ(refusal([](RequestHead& r) { r.headers.add("host", "h:1"); }), "sent");
  p.pump();
  EXPECT_THAT(p.s.text, HasSubstr("[GET http h:1 /|]"));
  ResponseHead bad;
  bad.status = 101;
  EXPECT_FALSE(p.server.submit_response(1, bad, true));
  bad.status = 200;
  bad.headers.add("x", "a\rb");
  EXPECT_FALSE(p.server.submit_response(1, bad, true));
  ResponseHead good;
  ASSERT_TRUE(p.server.submit_response(1, good, false));
  Headers trailers;
  trailers.add("x", std::string("a\0b", 3));
  EXPECT_FALSE(p.server.end_data(1, &trailers));
}

// ---- A peer that breaks rules, by hand-made frames

std::string frame(int type, int flags, int32_t id, std::string_view payload) {
  std::string f;
  for (int shift : {16, 8, 0}) f += static_cast<char>(payload.size() >> shift);
  f += static_cast<char>(type);
  f += static_cast<char>(flags);
  for (int shift : {24, 16, 8, 0}) f += static_cast<char>(id >> shift);
  return f.append(payload);
}
// Literal fields without indexing.
std::string block(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string out;
  auto put = [&](const std::string& s) {
    if (s.size() < 127) {
      out += static_cast<char>(s.size());
    } else {
      out += static_cast<char>(127);
      size_t rest = s.size() - 127;
      for (; rest >= 128; rest >>= 7) out += static_cast<char>((rest & 127) | 128);
      out += static_cast<char>(rest);
    }
    out += s;
  };
  for (auto& [n, v] : fields) {
    out += '\0';
    put(n);
    put(v);
  }
  return out;
}
constexpr int kData = 0, kHeaders = 1, kRst = 3, kSettings = 4, kPing = 6, kWindow = 8, kContinuation = 9;
constexpr int kEnd = 1, kEndHeaders = 4;
constexpr std::string_view kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// A server alone, and what it does with raw bytes.
struct Server {
  explicit Server(const H2Options& o = {}) : session(Role::kServer, o, h) {
    h.session = &session;
    feed(std::string(kMagic) + frame(kSettings, 0, 0, ""));
    h.take();
  }
  bool feed(std::string_view bytes) {
    auto r = session.feed(bytes, now);
    if (!r) error = r.error().reason;
    Buffer out;
    session.produce(out);
    sent.assign(out.view());
    return r.has_value();
  }
  // The types of the frames sent since the last feed, with the code of a reset or goaway.
  std::string frames() const {
    std::string out;
    for (size_t i = 0; i + 9 <= sent.size();) {
      size_t n = static_cast<uint8_t>(sent[i]) << 16 | static_cast<uint8_t>(sent[i + 1]) << 8 |
                 static_cast<uint8_t>(sent[i + 2]);
      int type = sent[i + 3];
      append(out, type,
             type == kRst ? cat("(", static_cast<int>(sent[i + 12]), ")")
             : type == 7  ? cat("(", static_cast<int>(sent[i + 16]), ")")
                          : "",
             " ");
      i += 9 + n;
    }
    return out;
  }
  Recorder h;
  TimePoint now{};
  H2Session session;
  std::string error, sent;
};

using Fields = std::vector<std::pair<std::string, std::string>>;
const Fields kGet = {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}};
Fields with(Fields f, const Fields& more) {
  f.insert(f.end(), more.begin(), more.end());
  return f;
}

TEST(H2Violations, MalformedMessagesResetOnlyTheirStream) {
  const Fields cases[] = {
      with(kGet, {{"connection", "close"}}),
      with(kGet, {{"transfer-encoding", "chunked"}}),
      with(kGet, {{"upgrade", "x"}}),
      with(kGet, {{"keep-alive", "x"}}),
      with(kGet, {{"proxy-connection", "x"}}),
      with(kGet, {{"te", "gzip"}}),
      with(kGet, {{"X-Upper", "x"}}),
      with(kGet, {{"x", "a\nb"}}),
      with(kGet, {{"x", "a\rb"}}),
      with(kGet, {{"x", std::string("a\0b", 3)}}),
      with(kGet, {{"x", " a"}}),
      with(kGet, {{"x y", "a"}}),
      with(kGet, {{"", "a"}}),
      with(kGet, {{":path", "/2"}}),
      with(kGet, {{":status", "200"}}),
      with(kGet, {{":odd", "x"}}),
      with(kGet, {{"x", "y"}, {":authority", "b"}}),
      with(kGet, {{"host", "b"}}),
      with(kGet, {{"host", "a"}, {"host", "a"}}),
      with(kGet, {{"content-length", "1"}, {"content-length", "1"}}),
      with(kGet, {{"content-length", "x"}}),
      with(kGet, {{"content-length", "5"}}),  // and no body
      {{":method", "GET"}, {":scheme", "http"}, {":path", "x"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", ""}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/a b"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/#f"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "u@a"}},
      {{":method", "G T"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}},
      {{":method", "GET"}, {":scheme", "http"}},
      {{":method", "GET"}, {":path", "/"}},
      {{":scheme", "http"}, {":path", "/"}},
      {{":method", "CONNECT"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a:1"}},
      {{":method", "CONNECT"}},
  };
  for (const Fields& fields : cases) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 1, block(fields)))) << s.error;
    EXPECT_THAT(s.frames(), HasSubstr("3(1) ")) << quoted(block(fields), 500) << s.h.text;
    EXPECT_THAT(s.h.text, testing::AnyOf("", HasSubstr("1:reset PROTOCOL_ERROR;1:closed;")))
        << quoted(block(fields), 500);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 3, block(kGet))));
    EXPECT_THAT(s.h.text, HasSubstr("3:[GET http a /|]."));
  }
}

TEST(H2Violations, BodyMustMatchItsLength) {
  for (std::string_view body : {"four", "sixsix"}) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 1, block(with(kGet, {{"content-length", "5"}}))) +
                       frame(kData, kEnd, 1, body)));
    EXPECT_THAT(s.frames(), HasSubstr("3(1) "));
    EXPECT_THAT(s.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;"));
    EXPECT_THAT(s.h.text, Not(HasSubstr("end")));
  }
}

TEST(H2Violations, TrailersEndAMessage) {
  std::string open = frame(kHeaders, kEndHeaders, 1, block(kGet));
  for (auto& last : {frame(kHeaders, kEndHeaders, 1, block({{"x", "y"}})),
                     frame(kHeaders, kEnd | kEndHeaders, 1, block({{":path", "/"}})),
                     frame(kHeaders, kEnd | kEndHeaders, 1, block({{"content-length", "1"}}))}) {
    Server s;
    EXPECT_TRUE(s.feed(open + last));
    EXPECT_THAT(s.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;"));
  }
}

// A client alone, with stream 1 open.
struct Client {
  explicit Client(std::string_view method = "GET") : session(Role::kClient, {}, h) {
    h.session = &session;
    RequestHead r;
    r.set_method(method);
    r.authority = "a:1";
    EXPECT_TRUE(session.submit_request(r, true));
    feed(frame(kSettings, 0, 0, ""));
    h.take();
  }
  void feed(std::string_view bytes) {
    Buffer out;
    session.produce(out);
    auto r = session.feed(bytes, {});
    EXPECT_TRUE(r) << r.error().reason << quoted(bytes);
    session.produce(out);
  }
  Recorder h;
  H2Session session;
};

TEST(H2Violations, Responses) {
  auto head = [](std::string status, int flags, const Fields& more = {}) {
    return frame(kHeaders, flags | kEndHeaders, 1, block(with({{":status", status}}, more)));
  };
  const std::pair<std::string, std::string_view> wrong[] = {
      {head("103", kEnd), "GET"},
      {head("101", 0), "GET"},
      {head("20", 0), "GET"},
      {head("2000", 0), "GET"},
      {head("abc", 0), "GET"},
      {frame(kHeaders, kEndHeaders, 1, block({{"x", "y"}})), "GET"},
      {frame(kHeaders, kEndHeaders, 1, block({{":status", "200"}, {":status", "200"}})), "GET"},
      {head("103", 0) + frame(kData, 0, 1, "x"), "GET"},
      {head("200", kEnd, {{"content-length", "2"}}), "GET"},
      {head("200", 0, {{"content-length", "2"}}) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"content-length", "2"}}) + frame(kData, kEnd, 1, "xyz"), "GET"},
      {head("200", 0) + frame(kData, kEnd, 1, "x"), "HEAD"},
      {head("304", 0) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"connection", "close"}}), "GET"},
      {head("200", 0) + head("200", 0), "GET"},
  };
  for (auto& [bytes, method] : wrong) {
    Client c(method);
    c.feed(bytes);
    EXPECT_THAT(c.h.text, HasSubstr("1:reset PROTOCOL_ERROR;1:closed;")) << quoted(bytes) << c.h.text;
    EXPECT_THAT(c.h.text, Not(HasSubstr("end")));
  }
  const std::pair<std::string, std::string_view> right[] = {
      {head("200", kEnd, {{"content-length", "2"}}), "HEAD"},
      {head("304", kEnd, {{"content-length", "2"}}), "GET"},
      {head("100", 0) + head("103", 0) + head("200", 0) + frame(kData, kEnd, 1, "x"), "GET"},
      {head("200", 0, {{"content-length", "0"}}) + frame(kData, kEnd, 1, ""), "GET"},
      {head("200", 0, {{"content-length", "1"}}) + frame(kData, kEnd, 1, "abc"), "CONNECT"},
      {head("200", 0) + frame(kHeaders, kEnd | kEndHeaders, 1, block({{"grpc-status", "0"}})), "POST"},
  };
  for (auto& [bytes, method] : right) {
    Client c(method);
    c.feed(bytes);
    EXPECT_THAT(c.h.text, Not(HasSubstr("reset"))) << quoted(bytes);
    EXPECT_THAT(c.h.text, HasSubstr("1:closed;")) << quoted(bytes);
  }
}

TEST(H2Violations, PushIsRefused) {
  Recorder h;
  H2Session session(Role::kClient, {}, h);
  RequestHead r;
  r.authority = "a";
  ASSERT_TRUE(session.submit_request(r, true));
  Buffer out;
  session.produce(out);
  EXPECT_FALSE(session.feed(
      frame(kSettings, 0, 0, "") + frame(5, kEndHeaders, 1, std::string("\0\0\0\2", 4) + block(kGet)), {}));
}

TEST(H2Violations, AcceptedOddities) {
  const std::pair<Fields, std::string_view> cases[] = {
      {with(kGet, {{"host", "A"}}), "1:[GET http a /|]."},
      {with(kGet, {{"te", "trailers"}}), "1:[GET http a /|te=trailers;]."},
      {with(kGet, {{"cookie", "a=1"}, {"x", "y"}, {"cookie", "b=2"}, {"cookie", "c=3"}}),
       "1:[GET http a /|cookie=a=1; b=2; c=3;x=y;]."},
      {{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "h"}}, "1:[GET http h /|]."},
      {{{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {":authority", "a"}}, "1:[OPTIONS http a *|]."},
      {{{":method", "CONNECT"}, {":authority", "a:1"}}, "1:[CONNECT  a:1 |]."},
  };
  for (auto& [fields, want] : cases) {
    Server s;
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 1, block(fields))));
    EXPECT_EQ(s.h.text, want);
  }
}

TEST(H2Violations, ConnectionErrorsSayWhyAtOnce) {
  const std::pair<std::string, std::string_view> cases[] = {
      {frame(kData, 0, 1, "x"), "PROTOCOL_ERROR"},                              // idle stream
      {frame(kHeaders, kEnd | kEndHeaders, 2, block(kGet)), "PROTOCOL_ERROR"},  // even id
      {frame(kHeaders, kEnd | kEndHeaders, 1, "\xff\xff\xff\xff\xff"), "COMPRESSION_ERROR"},
      {frame(kPing, 0, 0, "1234567"), "FRAME_SIZE_ERROR"},
      {frame(kSettings, 0, 0, "12345"), "FRAME_SIZE_ERROR"},
      {frame(kData, 0, 1, std::string(20000, 'x')).substr(0, 9), "FRAME_SIZE_ERROR"},
      {frame(kWindow, 0, 0, std::string_view("\0\0\0\0", 4)), "PROTOCOL_ERROR"},
      {frame(kWindow, 0, 0, "\x7f\xff\xff\xff"), "FLOW_CONTROL_ERROR"},
      {frame(kContinuation, kEndHeaders, 1, ""), "PROTOCOL_ERROR"},
      {frame(kHeaders, kEnd, 1, block(kGet)) + frame(kPing, 0, 0, "12345678"), "PROTOCOL_ERROR"},
  };
  for (auto& [bytes, code] : cases) {
    Server s;
    EXPECT_FALSE(s.feed(bytes)) << quoted(bytes);
    EXPECT_THAT(s.error, HasSubstr(std::string(code))) << quoted(bytes);
    EXPECT_THAT(s.frames(), HasSubstr("7("));
    EXPECT_TRUE(s.session.finished());
    EXPECT_FALSE(s.feed("more"));
    EXPECT_EQ(s.session.open_streams(), 0u);
  }
  Recorder h;
  H2Session magic(Role::kServer, {}, h);
  auto r = magic.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n", {});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().side, Side::kClient);
}

TEST(H2Violations, TooManyFieldsGet431AndThenAnEnd) {
  H2Options o;
  o.max_header_list = 1000;
  o.max_header_fields = 20;
  Fields many = kGet;
  for (int i = 0; i < 20; ++i) many.push_back({"a", "b"});
  for (const Fields& fields : {with(kGet, {{"x", std::string(1000, 'y')}}), many}) {
    Server s(o);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEndHeaders, 1, block(fields))));
    EXPECT_EQ(s.h.text, "");
    EXPECT_EQ(s.frames(), "1 3(0) ");  // HEADERS with 431, then RST_STREAM with NO_ERROR
    EXPECT_EQ(s.session.open_streams(), 0u);
    EXPECT_TRUE(s.feed(frame(kHeaders, kEnd | kEndHeaders, 3, block(kGet))));
    EXPECT_THAT(s.h.text, HasSubstr("3:[GET"));
  }
  Server s(o);
  Fields bomb = kGet;
  for (int i = 0; i < 10; ++i) bomb.push_back({"x", std::string(10000, 'y')});
  std::string all = block(bomb);
  std::string frames = frame(kHeaders, kEnd, 1, all.substr(0, 16000));
  for (size_t i = 16000; i < all.size(); i += 16000) frames += frame(kContinuation, 0, 1, all.substr(i, 16000));
  EXPECT_FALSE(s.feed(frames));
  EXPECT_THAT(s.error, HasSubstr("flood of header fields"));
}

TEST(H2Violations, FloodsEndTheConnection) {
  std::string get = block(kGet);
  const std::pair<std::string_view, std::function<std::string(int)>> floods[] = {
      {"control frames", [](int) { return frame(kPing, 0, 0, "12345678"); }},
      {"control frames", [](int) { return frame(kSettings, 0, 0, ""); }},
      {"control frames", [](int) { return frame(2, 0, 1, std::string_view("\0\0\0\0\0", 5)); }},
      {"control frames", [](int) { return frame(kWindow, 0, 0, std::string_view("\0\0\0\1", 4)); }},
      {"empty DATA frames",
       [&](int i) { return i == 0 ? frame(kHeaders, kEndHeaders, 1, get) : frame(kData, 0, 1, ""); }},
      {"malformed messages",
       [&](int i) { return frame(kHeaders, kEnd | kEndHeaders, 2 * i + 1, block(with(kGet, {{"host", "b"}}))); }},
      {"stream resets",
       [&](int i) {
         return frame(kHeaders, kEnd | kEndHeaders, 2 * i + 1, get) +
                frame(kRst, 0, 2 * i + 1, std::string_view("\0\0\0\x08", 4));
       }},
  };
  for (auto& [what, make] : floods) {
    H2Options o;
    o.glitch_burst = 100;
    o.glitches_per_second = 10;
    o.reset_burst = 200;
    o.resets_per_second = 10;
    Server s(o);
    int i = 0;
    while (i < 1000 && s.feed(make(i))) ++i;
    EXPECT_LE(i, 250) << what;
    EXPECT_GE(i, 30) << what;
    EXPECT_THAT(s.frames(), HasSubstr("7(11)")) << what << s.error;  // ENHANCE_YOUR_CALM
  }
}

TEST(H2Violations, WhatIsSlowIsNoFlood) {
  H2Options o;
  o.glitch_burst = 10;
  o.glitches_per_second = 10;
  Server s(o);
  for (int i = 0; i < 1000; ++i) {
    s.now += 100ms;
    ASSERT_TRUE(s.feed(frame(kPing, 0, 0, "12345678"))) << i;
  }
}

TEST(H2Violations, ALongLifeKeepsNothing) {
  Pair p;
  p.s.request = [&](int32_t id, RequestHead&&, bool) { p.answer(id, "body"); };
  for (int i = 0; i < 20000; ++i) {
    p.ask();
    p.pump();
    p.c.text.clear();
    p.s.text.clear();
  }
  EXPECT_EQ(p.client.open_streams() + p.server.open_streams(), 0u);
  EXPECT_EQ(p.client_error + p.server_error, "");
}

}  // namespace
}  // namespace tulle::http
