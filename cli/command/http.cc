#include "cli/command/http.h"

#include <sys/socket.h>
#include <unistd.h>

#include "libs/base/strings.h"
#include "libs/net/socket.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"

namespace tulle::cli {
namespace {

constexpr size_t kAtOnce = 64;

using StreamResult = Result<std::unique_ptr<net::Stream>>;

http::RequestHead head_of(const std::string& method, const std::string& path, size_t body_size) {
  http::RequestHead head;
  head.set_method(method);
  head.path = path;
  head.authority = "localhost";
  head.headers.add(http::HeaderId::kHost, head.authority);
  if (body_size > 0) {
    head.headers.add(http::HeaderId::kContentType, "application/json");
    head.headers.add(http::HeaderId::kContentLength, cat(body_size));
  }
  return head;
}

rt::Task<Result<int>> final_status(httpio::ClientExchange& exchange) {
  while (true) {
    TULLE_CO_TRY(http::ResponseHead head, co_await exchange.response());
    if (head.status >= 200) co_return head.status;
  }
}

rt::Task<Result<HttpAnswer>> call(rt::Reactor& reactor, Connector connector, std::string method, std::string path,
                                  std::string body, size_t max_answer) {
  httpio::Client client(reactor, httpio::Protocol::kHttp1, std::move(connector), {});
  http::RequestHead head = head_of(method, path, body.size());
  TULLE_CO_TRY(auto exchange, co_await client.start(head, body.empty()));
  if (!body.empty()) {
    Buffer bytes;
    bytes.append(body);
    exchange->write(std::move(bytes));
    TULLE_CO_TRY_VOID(exchange->finish());
  }
  HttpAnswer answer;
  TULLE_CO_TRY(answer.status, co_await final_status(*exchange));
  while (true) {
    TULLE_CO_TRY(Buffer bytes, co_await exchange->read());
    if (bytes.empty()) co_return answer;
    if (answer.body.size() + bytes.size() > max_answer)
      co_return fail(Code::kTooLarge, cat(path, ": the answer is larger than ", max_answer, " bytes"));
    answer.body += bytes.view();
  }
}

rt::Task<StreamResult> connect_unix(rt::Reactor& reactor, std::string path) {
  TULLE_CO_TRY(Fd fd, net::connect_unix(path));
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
    co_return fail(sys_error("peer of the socket", errno));
  if (peer.uid != ::geteuid() && peer.uid != 0)
    co_return fail(Code::kDenied, cat(path, " is served by another user (uid ", peer.uid, ")"));
  co_return std::make_unique<net::TcpStream>(reactor, std::move(fd), SocketAddr(), SocketAddr(), false);
}

rt::Task<StreamResult> connect_tcp(rt::Reactor& reactor, SocketAddr to, TimePoint deadline) {
  net::ConnectOptions options;
  TULLE_CO_TRY(net::Connected c, co_await net::connect(reactor, to, options, deadline));
  co_return std::make_unique<net::TcpStream>(reactor, std::move(c.fd), c.local, to, false);
}

rt::Task<void> get_into(rt::Reactor& reactor, const Ask* ask, Duration timeout, Result<HttpAnswer>* out) {
  Connector connector = ask->server.socket_path.empty() ? tcp_connector(reactor, ask->server.address, timeout)
                                                        : unix_connector(reactor, ask->server.socket_path);
  *out = co_await http_call(reactor, std::move(connector), "GET", ask->path, "", reactor.now() + timeout);
}

}  // namespace

Connector unix_connector(rt::Reactor& reactor, std::string socket_path) {
  return [&reactor, path = std::move(socket_path)] { return connect_unix(reactor, path); };
}

Connector tcp_connector(rt::Reactor& reactor, SocketAddr to, Duration timeout) {
  return [&reactor, to, timeout] { return connect_tcp(reactor, to, reactor.now() + timeout); };
}

rt::Task<Result<HttpAnswer>> http_call(rt::Reactor& reactor, Connector connector, std::string method, std::string path,
                                       std::string body, TimePoint deadline, size_t max_answer) {
  std::string what = cat(method, " ", path);
  co_return co_await rt::with_deadline(
      reactor, deadline, what,
      call(reactor, std::move(connector), std::move(method), std::move(path), std::move(body), max_answer));
}

rt::Task<Error> http_hold(rt::Reactor& reactor, Connector connector, std::string path, std::function<void()> on_open) {
  httpio::Client client(reactor, httpio::Protocol::kHttp1, std::move(connector), {});
  http::RequestHead head = head_of("GET", path, 0);
  auto exchange = co_await client.start(head, true);
  if (!exchange) co_return std::move(exchange).error();
  auto status = co_await final_status(**exchange);
  if (!status) co_return std::move(status).error();
  if (*status != 200)
    co_return Error(*status == 404 ? Code::kNotFound : Code::kUnavailable, cat(path, ": status ", *status));
  on_open();
  while (true) {
    auto bytes = co_await (*exchange)->read();
    if (!bytes) co_return std::move(bytes).error();
    if (bytes->empty()) co_return Error(Code::kClosed, "the control plane ended the registration");
  }
}

std::vector<Result<HttpAnswer>> http_get_all(const std::vector<Ask>& asks, Duration timeout) {
  std::vector<Result<HttpAnswer>> answers(asks.size(), Result<HttpAnswer>());
  rt::Reactor reactor;
  rt::Scope scope(reactor);
  for (size_t i = 0; i < asks.size() || scope.size() > 0;) {
    while (i < asks.size() && scope.size() < kAtOnce) {
      scope.spawn(get_into(reactor, &asks[i], timeout, &answers[i]));
      ++i;
    }
    reactor.turn(100ms);
  }
  return answers;
}

Result<HttpAnswer> http_get(const Ask& ask, Duration timeout) { return std::move(http_get_all({ask}, timeout)[0]); }

}  // namespace tulle::cli
