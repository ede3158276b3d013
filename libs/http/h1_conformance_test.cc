// Replays tests/conformance/http1/*.txt through the codec, in one piece and in all splits. What is done around the
// codec here is what the connections of libs/httpio do; that they do it is shown by tests/conformance/test_http1.py.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "libs/http/h1.h"
#include "libs/http/h2_head.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::http {
namespace {

using Event = H1Parser::Event;

// ---- The rows

struct Row {
  std::string name, request, verdict;  // request: of responses.txt
  int line = 0;
  std::string sent, seen;
  bool has(std::string_view word) const {
    std::istringstream words(verdict);
    for (std::string w; words >> w;)
      if (w == word) return true;
    return false;
  }
  // The statuses of the verdict, each followed by a space.
  std::string statuses() const {
    std::istringstream words(verdict);
    std::string out;
    for (std::string w; words >> w;)
      if (is_digit(w[0])) append(out, w, " ");
    return out;
  }
};

// One line's text, escapes resolved; up to the brace that closes a repetition when `inner`.
std::string unescape(std::string_view& s, bool inner = false) {
  std::string out;
  while (!s.empty()) {
    char c = s[0];
    s.remove_prefix(1);
    if (inner && c == '}') return out;
    if (c == '{' && !s.empty() && is_digit(s[0])) {
      size_t star = s.find('*');
      size_t n = std::stoul(std::string(s.substr(0, star)));
      s.remove_prefix(star + 1);
      for (std::string text = unescape(s, true); n > 0; --n) out += text;
    } else if (c == '\\' && !s.empty()) {
      char e = s[0];
      s.remove_prefix(1);
      if (e == 'x') {
        out += static_cast<char>(std::stoi(std::string(s.substr(0, 2)), nullptr, 16));
        s.remove_prefix(2);
      } else {
        out += e == 'r' ? '\r' : e == 'n' ? '\n' : e == 't' ? '\t' : e == '0' ? '\0' : e == 's' ? ' ' : e;
      }
    } else {
      out += c;
    }
  }
  return out;
}

std::string bytes_of(std::string_view line) {
  bool joined = line.ends_with('\\') && !line.ends_with("\\\\");
  if (joined) line.remove_suffix(1);
  return unescape(line) + (joined ? "" : "\r\n");
}

std::vector<Row> read_rows(const std::string& path, bool with_request) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::vector<Row> rows;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.starts_with("= ")) {
      std::vector<std::string> parts;
      std::string_view rest = std::string_view(line).substr(2);
      for (size_t bar; (bar = rest.find(" | ")) != rest.npos; rest.remove_prefix(bar + 3))
        parts.emplace_back(rest.substr(0, bar));
      parts.emplace_back(rest);
      EXPECT_EQ(parts.size(), with_request ? 4u : 3u) << path << ":" << number;
      rows.push_back({parts[0], with_request ? parts[2] : "", parts.back(), number, "", ""});
    } else if (line.starts_with(">") || line.starts_with("<")) {
      std::string& into = line[0] == '>' ? rows.back().sent : rows.back().seen;
      into += bytes_of(std::string_view(line).substr(std::min<size_t>(line.size(), 2)));
    } else {
      EXPECT_TRUE(line.empty() || line[0] == '#') << path << ":" << number;
    }
  }
  return rows;
}

std::string printable(std::string_view s) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (char c : s) {
    auto u = static_cast<uint8_t>(c);
    if (c == '\r') out += "\\r";
    else if (c == '\n') out += "\\n";
    else if (u < 0x20 || u > 0x7e || c == '\\') append(out, "\\x", kHex[u >> 4], kHex[u & 15]);
    else out += c;
  }
  return out.size() > 3000 ? out.substr(0, 3000) + "…" : out;
}

// ---- A proxy around the codec

struct Outcome {
  std::string statuses;  // as Row::statuses
  std::string seen;
  bool begun = false, closed = false, cut = false, drop = false;
  bool operator==(const Outcome&) const = default;
};

class Replay {
 public:
  void feed(Bytes piece) {
    pending_.append(piece);
    Bytes in = pending_;
    while (!over_ && step(in)) {
    }
    pending_.erase(0, pending_.size() - in.size());
  }

  Outcome out;

 protected:
  explicit Replay(Role role) : parser_(role, Limits()) {}
  virtual ~Replay() = default;
  virtual bool step(Bytes& in) = 0;  // false: more is needed
  void write(const Buffer& bytes) { out.seen += bytes.view(); }
  void write_body(const Headers& trailers) {
    Buffer bytes;
    if (chunked_) {
      encode_chunk(body_, bytes);
      EXPECT_TRUE(encode_last_chunk(&trailers, bytes));
    } else {
      bytes.append(body_);
    }
    write(bytes);
    body_.clear();
  }

  H1Parser parser_;
  std::string body_;
  bool chunked_ = false, over_ = false;

 private:
  std::string pending_;
};

class RequestReplay final : public Replay {
 public:
  explicit RequestReplay(const Row&) : Replay(Role::kRequest) {}

  void eof() {
    if (over_ || !parser_.in_message()) return;
    EXPECT_EQ(parser_.finish_eof(), Event::kError);
    EXPECT_TRUE(parser_.error().closed);
    out.begun = in_request_;
  }

 private:
  bool step(Bytes& in) override {
    switch (parser_.next(in)) {
      case Event::kNeedMore: return false;
      case Event::kRequest: head(parser_.request()); return true;
      case Event::kData:
        if (tunnel_) out.seen += parser_.data();
        else body_ += parser_.data();
        return true;
      case Event::kEnd: end(); return true;
      case Event::kError:
        append(out.statuses, parser_.error().status, " ");
        out.begun = in_request_;
        over_ = true;
        return true;
      default: ADD_FAILURE(); return false;
    }
  }

  void head(const RequestHead& request) {
    in_request_ = true;
    head_ = request;
    upgrade_ = is_upgrade(request) || request.method_kind == Method::kConnect;
    if (request.version == Version::kHttp11 && has_token(request.headers, HeaderId::kExpect, "100-continue"))
      out.statuses += "100 ";
    strip_hop_by_hop(head_.headers, is_upgrade(request));
    head_.headers.remove(HeaderId::kL5dClientId);
    head_.headers.remove(HeaderId::kL5dOrigProto);
  }

  void end() {
    Framing framing = parser_.framing();
    chunked_ = framing == Framing::kChunked;
    BodyFraming body = upgrade_                      ? BodyFraming::none()
                       : chunked_                    ? BodyFraming::chunked()
                       : framing == Framing::kLength ? BodyFraming::of_length(parser_.content_length())
                                                     : BodyFraming::none();
    Buffer bytes;
    EXPECT_TRUE(encode_request(head_, body, bytes));
    write(bytes);
    write_body(parser_.trailers());
    in_request_ = false;
    out.statuses += upgrade_ && head_.method_kind != Method::kConnect ? "101 " : "200 ";
    if (upgrade_) {
      parser_.become_tunnel();
      tunnel_ = true;
    } else if (!parser_.keep_alive()) {
      out.closed = over_ = true;
    }
  }

  RequestHead head_;
  bool in_request_ = false, upgrade_ = false, tunnel_ = false;
};

class ResponseReplay final : public Replay {
 public:
  explicit ResponseReplay(const Row& row) : Replay(Role::kResponse), http10_(row.request.ends_with("1.0")) {
    std::string_view word = row.request;
    bool upgrade = word == "UPGRADE";
    method_ = upgrade ? Method::kGet : method_id(word.substr(0, word.find(' ')));
    parser_.expect_response_to(method_, upgrade);
  }

  void eof() {
    if (over_) return;
    switch (parser_.finish_eof()) {
      case Event::kEnd: end(); break;
      case Event::kError: error(); break;
      default: break;
    }
  }

 private:
  bool step(Bytes& in) override {
    switch (parser_.next(in)) {
      case Event::kNeedMore: return false;
      case Event::kInterim: head(parser_.response()); return true;
      case Event::kResponse: head(parser_.response()); return true;
      case Event::kData:
        if (parser_.framing() == Framing::kTunnel) out.seen += parser_.data();
        else body_ += parser_.data();
        return true;
      case Event::kEnd: end(); return true;
      case Event::kError: error(); return true;
      default: ADD_FAILURE(); return false;
    }
  }

  void head(const ResponseHead& response) {
    ResponseHead h = response;
    bool interim = h.status < 200 && h.status != 101;
    if (interim && http10_) return;
    append(out.statuses, h.status, " ");
    strip_hop_by_hop(h.headers, h.status == 101);
    h.version = Version::kHttp11;
    BodyFraming body = BodyFraming::none();
    if (!interim) {
      if (http10_) h.headers.set(HeaderId::kConnection, "close");
      switch (parser_.framing()) {
        case Framing::kLength: body = BodyFraming::of_length(parser_.content_length()); break;
        case Framing::kChunked:
        case Framing::kUntilClose:
          body = http10_ ? BodyFraming::until_close() : BodyFraming::chunked();
          chunked_ = !http10_;
          break;
        default: break;
      }
      in_response_ = true;
      out.drop = !parser_.keep_alive();
    }
    Buffer bytes;
    EXPECT_TRUE(encode_response(h, body, bytes));
    write(bytes);
  }

  void end() {
    write_body(parser_.trailers());
    in_response_ = false;
    ended_ = true;
  }

  void error() {
    over_ = true;
    EXPECT_EQ(parser_.error().status, 502);
    if (ended_) {
      out.drop = true;  // bytes that nobody asked for
    } else if (in_response_) {
      out.cut = true;
    } else {
      out.statuses += "502 ";
    }
  }

  Method method_;
  bool http10_, in_response_ = false, ended_ = false;
};

template <class R>
Outcome replay(const Row& row, std::initializer_list<size_t> cuts) {
  R r(row);
  size_t at = 0;
  for (size_t cut : cuts) {
    r.feed(Bytes(row.sent).substr(at, cut - at));
    at = cut;
  }
  r.feed(Bytes(row.sent).substr(at));
  if (row.has("eof")) r.eof();
  return r.out;
}

template <class R>
Outcome replay_bytes(const Row& row) {
  R r(row);
  for (char c : row.sent) r.feed(Bytes(&c, 1));
  if (row.has("eof")) r.eof();
  return r.out;
}

// All splits in two, byte by byte, and for short rows all splits in three. How many splits that were.
template <class R>
size_t check_splits(const Row& row, const Outcome& whole) {
  size_t splits = 0;
  auto check = [&](const Outcome& o, size_t a, size_t b) {
    ++splits;
    EXPECT_EQ(o.seen, whole.seen) << row.name << " cut at " << a << " and " << b;
    EXPECT_TRUE(o == whole) << row.name << " cut at " << a << " and " << b;
    return o == whole;
  };
  size_t n = row.sent.size();
  if (!check(replay_bytes<R>(row), 1, 2)) return splits;
  for (size_t a = 1; a < n; a += n > 2000 ? 1 + n / 100 : 1)
    if (!check(replay<R>(row, {a}), a, n)) return splits;
  if (n > 110) return splits;
  for (size_t a = 1; a < n; ++a)
    for (size_t b = a + 1; b < n; ++b)
      if (!check(replay<R>(row, {a, b}), a, b)) return splits;
  return splits;
}

std::string rows_file(const char* name) { return cat(TULLE_HTTP1_ROWS, "/", name); }

TEST(Http1Conformance, Requests) {
  size_t splits = 0;
  auto rows = read_rows(rows_file("requests.txt"), false);
  for (const Row& row : rows) {
    if (row.has("open")) continue;  // well-formed, but refused by the proxy
    SCOPED_TRACE(cat("requests.txt:", row.line, " ", row.name));
    Outcome o = replay<RequestReplay>(row, {});
    EXPECT_EQ(o.statuses, row.statuses());
    EXPECT_EQ(o.begun, row.has("begun"));
    EXPECT_EQ(o.closed, row.has("close"));
    EXPECT_EQ(printable(o.seen), printable(row.seen));
    EXPECT_EQ(o.seen, row.seen);
    splits += check_splits<RequestReplay>(row, o);
  }
  RecordProperty("rows", static_cast<int>(rows.size()));
  RecordProperty("splits", static_cast<int>(splits));
  std::cout << rows.size() << " rows, " << splits << " splits\n";
  EXPECT_GE(rows.size(), 200u);
}

TEST(Http1Conformance, Responses) {
  size_t splits = 0;
  auto rows = read_rows(rows_file("responses.txt"), true);
  for (const Row& row : rows) {
    SCOPED_TRACE(cat("responses.txt:", row.line, " ", row.name));
    Outcome o = replay<ResponseReplay>(row, {});
    if (row.has("interims")) EXPECT_TRUE(o.statuses.ends_with(row.statuses())) << o.statuses;
    else EXPECT_EQ(o.statuses, row.statuses());
    EXPECT_EQ(o.cut, row.has("cut"));
    if (!row.has("502") && !row.has("cut") && !row.has("close")) {
      EXPECT_EQ(o.drop, row.has("drop"));
      EXPECT_EQ(printable(o.seen), printable(row.seen));
      EXPECT_EQ(o.seen, row.seen);
    }
    splits += check_splits<ResponseReplay>(row, o);
  }
  RecordProperty("rows", static_cast<int>(rows.size()));
  RecordProperty("splits", static_cast<int>(splits));
  std::cout << rows.size() << " rows, " << splits << " splits\n";
  EXPECT_GE(rows.size(), 80u);
}

// A head of HTTP/1, as the fields that HTTP/2 carries: "NAME = VALUE" and CRLF each.
template <class Head>
std::string as_http2(Head head) {
  strip_hop_by_hop(head.headers);
  H2Fields fields;
  char status[3];
  Result<> r;
  if constexpr (std::is_same_v<Head, RequestHead>) r = h2_fields_of(head, fields);
  else r = h2_fields_of(head, status, fields);
  EXPECT_TRUE(r);
  std::string out;
  for (const auto& f : fields) append(out, f.name, " = ", f.value, "\r\n");
  return out;
}

TEST(Http1Conformance, ToHttp2) {
  auto rows = read_rows(rows_file("to-http2.txt"), false);
  EXPECT_GE(rows.size(), 14u);
  for (const Row& row : rows) {
    SCOPED_TRACE(cat("to-http2.txt:", row.line, " ", row.name));
    bool request = row.verdict == "request";
    H1Parser parser(request ? Role::kRequest : Role::kResponse, Limits());
    if (!request) parser.expect_response_to(Method::kGet);
    Bytes in = row.sent;
    Event e = parser.next(in);
    ASSERT_EQ(e == Event::kInterim ? Event::kResponse : e, request ? Event::kRequest : Event::kResponse);
    EXPECT_EQ(request ? as_http2(parser.request()) : as_http2(parser.response()), row.seen);
  }
}

}  // namespace
}  // namespace tulle::http
