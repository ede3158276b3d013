// The server of the benches for what nginx does not serve, one thread, epoll:
//   bench_origin ADDRESS HTTP2_PORT TCP_PORT      ADDRESS lo: every loopback address
// HTTP2_PORT, prior knowledge: GETs get 1 KiB; gRPC /bench.Echo/Unary answers a message with one of 1 KiB and
// /bench.Echo/Stream sends back what it gets. TCP_PORT: the first byte is `e` (all is sent back) or `s` (all is
// dropped).
#include <arpa/inet.h>

#include <memory>
#include <string>

#include "bench/http2.h"
#include "bench/sockets.h"

namespace tulle::bench {
namespace {

struct Connection {
  virtual ~Connection() = default;
  // False: the connection is over.
  virtual bool readable(int fd, std::string_view bytes) = 0;
};

class Http2 : public Connection, http::H2Handler {
 public:
  Http2() : session_(http::H2Session::Role::kServer, wide(), *this) {}

  bool readable(int fd, std::string_view bytes) override {
    bool good = session_.feed(bytes, TimePoint(Duration(now_ns()))).has_value();
    Buffer out;
    while (session_.want_write()) session_.produce(out);
    if (!out.empty()) send_all(fd, out.view());
    return good && !session_.finished();
  }

 private:
  void on_request(int32_t id, http::RequestHead&& head, bool) override {
    http::ResponseHead answer;
    answer.headers.add("server", "bench");
    answer.headers.add("date", "Tue, 24 Nov 2026 08:12:40 GMT");
    if (http::is_grpc(head.headers)) {
      answer.headers.add("content-type", "application/grpc");
      if (head.path == "/bench.Echo/Stream") session_.set_context(id, this);
      if (!session_.submit_response(id, answer, false)) die("a response that cannot be sent");
      return;
    }
    answer.headers.add("content-type", "text/plain");
    answer.headers.add("content-length", std::to_string(kBody.size()));
    if (!session_.submit_response(id, answer, false)) die("a response that cannot be sent");
    session_.write_data(id, kBody);
    if (!session_.end_data(id)) die("a response that cannot end");
  }
  void on_data(int32_t id, Bytes data) override {
    if (session_.context(id)) session_.write_data(id, data);
    session_.consume(id, data.size());
  }
  // GETs end with their head, so this is the end of a call.
  void on_end(int32_t id, http::Headers*) override {
    if (!session_.context(id)) session_.write_data(id, kMessage);
    http::Headers trailers;
    trailers.add("grpc-status", "0");
    if (!session_.end_data(id, &trailers)) die("trailers that cannot be sent");
  }
  void on_reset(int32_t, http::H2Code, bool) override {}

  inline static const std::string kBody = std::string(1024, 'x'), kMessage = grpc_message(1024);
  http::H2Session session_;
};

class Tcp : public Connection {
 public:
  bool readable(int fd, std::string_view bytes) override {
    if (kind_ == 0) kind_ = bytes[0];
    if (kind_ == 'e') send_all(fd, bytes);
    return true;
  }

 private:
  char kind_ = 0;
};

int listen_on(std::string_view address, const char* port) {
  sockaddr_in at = resolve(address == "lo" ? "0.0.0.0" : address.data(), port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (address == "lo" && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2) != 0)
    die(std::string("SO_BINDTODEVICE: ") + std::strerror(errno));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || listen(fd, 4096) != 0)
    die(std::string(address) + ":" + port + ": " + std::strerror(errno));
  return fd;
}

struct Entry {
  int fd;
  char listener;  // 2: HTTP/2, t: TCP, 0: a connection
  std::unique_ptr<Connection> connection;
};

void serve(int epoll, Entry* entry) {
  static char buffer[256 * 1024];
  if (entry->listener) {
    int fd = accept4(entry->fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    no_delay(fd);
    std::unique_ptr<Connection> made;
    if (entry->listener == '2') made = std::make_unique<Http2>();
    else made = std::make_unique<Tcp>();
    watch(epoll, fd, new Entry{fd, 0, std::move(made)});
    return;
  }
  ssize_t n = recv(entry->fd, buffer, sizeof buffer, 0);
  if (n > 0 && entry->connection->readable(entry->fd, {buffer, static_cast<size_t>(n)})) return;
  close(entry->fd);
  delete entry;
}

}  // namespace
}  // namespace tulle::bench

int main(int argc, char** argv) {
  using namespace tulle::bench;
  if (argc != 4) die("usage: ADDRESS HTTP2_PORT TCP_PORT");
  int epoll = epoll_create1(0);
  Entry http2{listen_on(argv[1], argv[2]), '2', nullptr}, tcp{listen_on(argv[1], argv[3]), 't', nullptr};
  watch(epoll, http2.fd, &http2);
  watch(epoll, tcp.fd, &tcp);
  epoll_event events[64];
  while (true) {
    int n = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < n; ++i) serve(epoll, static_cast<Entry*>(events[i].data.ptr));
  }
}
