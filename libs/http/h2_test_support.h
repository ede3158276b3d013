// For the tests of H2Session: who writes down what a session says, two sessions that talk to each other, and one alone
// with raw frames.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "libs/http/h2.h"

namespace tulle::http {

using Role = H2Session::Role;

inline std::string dump(const Headers& headers) {
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

// ---- Hand-made frames

inline std::string frame(int type, int flags, int32_t id, std::string_view payload) {
  std::string f;
  for (int shift : {16, 8, 0}) f += static_cast<char>(payload.size() >> shift);
  f += static_cast<char>(type);
  f += static_cast<char>(flags);
  for (int shift : {24, 16, 8, 0}) f += static_cast<char>(id >> shift);
  return f.append(payload);
}
// Literal fields without indexing.
inline std::string block(const std::vector<std::pair<std::string, std::string>>& fields) {
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
inline const Fields kGet = {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}};
inline Fields with(Fields f, const Fields& more) {
  f.insert(f.end(), more.begin(), more.end());
  return f;
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

}  // namespace tulle::http
