#include "cli/command/http.h"

#include <algorithm>

#include "libs/base/strings.h"
#include "libs/httpio/client.h"
#include "libs/net/socket.h"
#include "libs/rt/combine.h"
#include "libs/rt/scope.h"

namespace tulle::cli {
namespace {

constexpr size_t kMaxBody = 64 << 20;
constexpr size_t kAtOnce = 64;

using StreamResult = Result<std::unique_ptr<net::Stream>>;

rt::Task<StreamResult> dial(rt::Reactor& reactor, const HttpServer* server, TimePoint deadline) {
  if (!server->socket_path.empty()) {
    auto fd = net::connect_unix(server->socket_path);
    if (!fd) co_return fail(std::move(fd).error());
    co_return std::make_unique<net::TcpStream>(reactor, std::move(*fd), SocketAddr(), SocketAddr(), false);
  }
  net::ConnectOptions options;
  TULLE_CO_TRY(net::Connected connected, co_await net::connect(reactor, server->address, options, deadline));
  co_return std::make_unique<net::TcpStream>(reactor, std::move(connected.fd), connected.local, server->address, false);
}

rt::Task<Result<std::string>> read_body(httpio::ClientExchange* exchange) {
  std::string body;
  while (true) {
    TULLE_CO_TRY(Buffer bytes, co_await exchange->read());
    if (bytes.empty()) co_return body;
    if (body.size() + bytes.size() > kMaxBody) co_return fail(Code::kTooLarge, "the answer is larger than 64 MiB");
    body += bytes.view();
  }
}

rt::Task<Result<HttpAnswer>> get(rt::Reactor& reactor, const Ask* ask, TimePoint deadline) {
  httpio::Client client(reactor, httpio::Protocol::kHttp1,
                        [&reactor, ask, deadline] { return dial(reactor, &ask->server, deadline); }, {});
  http::RequestHead head;
  head.path = ask->path;
  head.authority = ask->server.socket_path.empty() ? ask->server.address.to_string() : "localhost";
  head.headers.add(http::HeaderId::kHost, head.authority);
  TULLE_CO_TRY(auto exchange, co_await client.start(head, true));
  int status = 0;
  while (status < 200) {
    TULLE_CO_TRY(http::ResponseHead answer, co_await exchange->response());
    status = answer.status;
  }
  TULLE_CO_TRY(std::string body, co_await read_body(exchange.get()));
  co_return HttpAnswer{status, std::move(body)};
}

rt::Task<void> get_into(rt::Reactor& reactor, const Ask* ask, TimePoint deadline, Result<HttpAnswer>* out) {
  *out = co_await rt::with_deadline(reactor, deadline, "HTTP", get(reactor, ask, deadline));
}

}  // namespace

std::vector<Result<HttpAnswer>> http_get_all(const std::vector<Ask>& asks, Duration timeout) {
  std::vector<Result<HttpAnswer>> answers(asks.size(), Result<HttpAnswer>());
  rt::Reactor reactor;
  rt::Scope scope(reactor);
  for (size_t i = 0; i < asks.size() || scope.size() > 0;) {
    while (i < asks.size() && scope.size() < kAtOnce) {
      scope.spawn(get_into(reactor, &asks[i], reactor.now() + timeout, &answers[i]));
      ++i;
    }
    reactor.turn(100ms);
  }
  return answers;
}

Result<HttpAnswer> http_get(const Ask& ask, Duration timeout) { return std::move(http_get_all({ask}, timeout)[0]); }

}  // namespace tulle::cli
