#include "bench/clients.h"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "bench/http2.h"
#include "bench/sockets.h"

namespace tulle::bench {
namespace {

using Done = void (*)(void*, size_t);

class Http1 : public Client {
 public:
  Http1(std::string_view host, std::string_view path)
      : request_("GET " + std::string(path) + " HTTP/1.1\r\nHost: " + std::string(host) +
                 "\r\nuser-agent: loadgen\r\naccept: */*\r\n\r\n") {}

  std::string take_output() override { return std::exchange(out_, {}); }
  void ask(size_t) override { out_ = request_; }
  void feed(std::string_view bytes, Done done, void* context) override {
    if (left_ == 0) {
      head_.append(bytes);
      size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) return;
      bytes = bytes.substr(bytes.size() - (head_.size() - end - 4));
      left_ = length_of(std::string_view(head_).substr(0, end));
      head_.clear();
    }
    if (bytes.size() > left_) die("more bytes than one answer");
    left_ -= bytes.size();
    if (left_ == 0) done(context, 0);
  }

 private:
  static size_t length_of(std::string_view head) {
    if (!head.starts_with("HTTP/1.1 200")) die("answer: " + std::string(head.substr(0, head.find('\r'))));
    std::string lower(head);
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    size_t field = lower.find("\r\ncontent-length:");
    if (field == std::string::npos) die("an answer without content-length");
    size_t length = std::strtoul(lower.c_str() + field + 17, nullptr, 10);
    if (length == 0) die("an answer without a body");
    return length;
  }

  std::string request_, out_, head_;
  size_t left_ = 0;  // of the body
};

class Http2 : public Client, http::H2Handler {
 public:
  enum class Kind { kGet, kUnary, kStream };

  Http2(Kind kind, std::string_view host, std::string_view path, size_t lanes)
      : kind_(kind), session_(http::H2Session::Role::kClient, wide(), *this), lanes_(lanes) {
    head_.authority = host;
    head_.path = path;
    head_.scheme = "http";
    head_.version = http::Version::kHttp2;
    head_.headers.add("user-agent", "loadgen");
    if (kind == Kind::kGet) return;
    head_.set_method("POST");
    head_.path = kind == Kind::kUnary ? "/bench.Echo/Unary" : "/bench.Echo/Stream";
    head_.headers.add("content-type", "application/grpc");
    head_.headers.add("te", "trailers");
    message_ = grpc_message(kind == Kind::kUnary ? 100 : 1024);
  }

  std::string take_output() override {
    Buffer out;
    while (session_.want_write()) session_.produce(out);
    return std::string(out.view());
  }

  void ask(size_t key) override {
    Lane& lane = lanes_[key];
    lane.got = 0;
    if (kind_ == Kind::kStream && lane.id != 0) return session_.write_data(lane.id, message_);
    auto id = session_.submit_request(head_, kind_ == Kind::kGet, &lane);
    if (!id) die("request: " + id.error().reason);
    lane.id = *id;
    if (kind_ == Kind::kGet) return;
    session_.write_data(lane.id, message_);
    if (kind_ == Kind::kUnary && !session_.end_data(lane.id)) die("a message that cannot end");
  }

  void feed(std::string_view bytes, Done done, void* context) override {
    done_ = done;
    context_ = context;
    if (auto r = session_.feed(bytes, TimePoint(Duration(now_ns()))); !r) die("HTTP/2: " + r.error().reason);
  }

 private:
  struct Lane {
    int32_t id = 0;
    size_t got = 0;
  };

  Lane& lane_of(int32_t id) const { return *static_cast<Lane*>(session_.context(id)); }
  size_t key_of(int32_t id) const { return static_cast<size_t>(&lane_of(id) - lanes_.data()); }

  void on_response(int32_t, http::ResponseHead&& head, bool end) override {
    if (head.status != 200 || end) die("answer: status " + std::to_string(head.status));
  }
  void on_data(int32_t id, Bytes data) override {
    Lane& lane = lane_of(id);
    lane.got += data.size();
    session_.consume(id, data.size());
    if (kind_ == Kind::kStream && lane.got == message_.size()) done_(context_, key_of(id));
  }
  void on_end(int32_t id, http::Headers* trailers) override {
    if (kind_ == Kind::kStream) die("the stream ended");
    if (kind_ == Kind::kUnary && (!trailers || trailers->get("grpc-status") != "0"))
      die("a call without grpc-status 0");
    if (lane_of(id).got == 0) die("an answer without a body");
    done_(context_, key_of(id));
  }
  void on_reset(int32_t, http::H2Code code, bool) override { die("stream reset: " + std::string(h2_code_name(code))); }

  Kind kind_;
  http::H2Session session_;
  std::vector<Lane> lanes_;
  http::RequestHead head_;
  std::string message_;
  Done done_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace

std::unique_ptr<Client> make_client(std::string_view protocol, std::string_view host, std::string_view path,
                                    size_t lanes) {
  if (protocol == "http1") return std::make_unique<Http1>(host, path);
  if (protocol == "http2") return std::make_unique<Http2>(Http2::Kind::kGet, host, path, lanes);
  if (protocol == "unary") return std::make_unique<Http2>(Http2::Kind::kUnary, host, path, lanes);
  if (protocol == "stream") return std::make_unique<Http2>(Http2::Kind::kStream, host, path, lanes);
  return nullptr;
}

}  // namespace tulle::bench
