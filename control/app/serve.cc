#include "control/app/serve.h"

#include <sys/socket.h>
#include <unistd.h>

#include "libs/base/log.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr size_t kMaxBody = 1 << 20;
constexpr size_t kMaxConnections = 50'000;
using Exchange = std::unique_ptr<httpio::ServerExchange>;

// `allow`: of a 405, the method that would be right.
void respond(httpio::ServerExchange& exchange, int status, std::string_view type, std::string_view body,
             std::string_view allow = {}) {
  http::ResponseHead head;
  head.status = status;
  head.headers.add(http::HeaderId::kContentType, type);
  head.headers.add(http::HeaderId::kContentLength, cat(body.size()));
  if (!allow.empty()) head.headers.add("allow", allow);
  if (!exchange.respond(head, body.empty()) || body.empty()) return;
  Buffer bytes;
  bytes.append(body);
  exchange.write(std::move(bytes));
  (void)exchange.finish();
}

void respond(httpio::ServerExchange& exchange, const ApiAnswer& answer) {
  respond(exchange, answer.status, "application/json", answer.body, answer.allow);
}

rt::Task<Result<std::string>> read_body(httpio::ServerExchange& exchange) {
  std::string out;
  for (;;) {
    TULLE_CO_TRY(Buffer bytes, co_await exchange.read());
    if (bytes.empty()) co_return out;
    if (out.size() + bytes.size() > kMaxBody)
      co_return fail(Code::kTooLarge, "the body has more than 1 MiB", Side::kClient);
    out.append(bytes.view());
  }
}

// Ends a workload when the hold of it ends, however it does.
class Hold {
 public:
  Hold(ServeParts& parts, std::string id) : parts_(parts), id_(std::move(id)) {}
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;
  ~Hold() {
    if (!parts_.closing) parts_.api.end(id_, time_of(parts_.reactor));
  }

 private:
  ServeParts& parts_;
  std::string id_;
};

rt::Task<void> hold(ServeParts& parts, Exchange exchange, std::string id) {
  ApiAnswer answer = parts.api.hold(id);
  if (answer.status != 200) {
    respond(*exchange, answer);
    co_return;
  }
  Hold held(parts, std::move(id));
  http::ResponseHead head;
  head.headers.add(http::HeaderId::kContentType, "application/x-ndjson");
  if (!exchange->respond(head, false)) co_return;
  Buffer line;
  line.append(answer.body);
  exchange->write(std::move(line));
  while (!exchange->error()) co_await exchange->changed().wait();
}

rt::Task<void> handle_api(ServeParts& parts, Exchange exchange) {
  ApiRequest request{exchange->request.method, exchange->request.path, {}};
  if (auto id = Api::hold_id(request)) co_return co_await hold(parts, std::move(exchange), std::move(*id));
  auto body = co_await read_body(*exchange);
  if (!body) {
    if (body.error().code == Code::kTooLarge) respond(*exchange, {413, R"({"error":"the body has more than 1 MiB"})"});
    co_return;
  }
  request.body = std::move(*body);
  ApiAnswer answer = parts.api.handle(request, time_of(parts.reactor));
  if (answer.when_published) co_await parts.publisher.published(parts.reactor.now() + 500ms);
  respond(*exchange, answer);
}

rt::Task<void> handle_admin(ServeParts& parts, Exchange exchange) {
  std::string_view path = exchange->request.path;
  constexpr std::string_view kText = "text/plain";
  if (exchange->request.method != "GET") respond(*exchange, 405, kText, "accepted: GET\n", "GET");
  else if (path == "/live") respond(*exchange, 200, kText, "live\n");
  else if (path == "/ready")
    parts.settling.done() ? respond(*exchange, 200, kText, "ready\n") : respond(*exchange, 503, kText, "not ready\n");
  else if (path == "/metrics") respond(*exchange, 200, "text/plain; version=0.0.4", parts.metrics());
  else respond(*exchange, parts.api.handle_public({exchange->request.method, exchange->request.path, {}}));
  co_return;
}

bool is_own_user(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == geteuid() || peer.uid == 0);
}

rt::Task<void> serve(ServeParts& parts, net::Listener& listener, httpio::Protocol protocol,
                     const httpio::Handler& handler, bool own_user) {
  for (;;) {
    auto accepted = co_await listener.accept();
    if (!accepted) {
      log_error("a listener has failed", {{"error", accepted.error().reason}});
      co_return;
    }
    if (own_user && !is_own_user(accepted->fd.get())) {
      log_warn("a connection of another user was refused");
      continue;
    }
    if (parts.connections.size() >= kMaxConnections) {
      log_warn("too many connections; one was refused");
      continue;
    }
    auto stream =
        std::make_unique<net::TcpStream>(parts.reactor, std::move(accepted->fd), accepted->local, accepted->peer, true);
    parts.connections.spawn(httpio::serve(std::move(stream), protocol, Buffer(), parts.options, handler));
  }
}

}  // namespace

ApiTime time_of(const rt::Reactor& reactor) {
  return {reactor.now(), std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now())};
}

ServeParts::ServeParts(rt::Reactor& r, rt::Scope& c, Api& a, Publisher& p, Settling& t, grpc::Server& g,
                       std::function<std::string()> m)
    : reactor(r), connections(c), api(a), publisher(p), settling(t), grpc(g), metrics(std::move(m)) {
  options.drain = &drain;
  grpc_handler = [this](Exchange exchange) { return grpc.handle(std::move(exchange)); };
  api_handler = [this](Exchange exchange) { return handle_api(*this, std::move(exchange)); };
  admin_handler = [this](Exchange exchange) { return handle_admin(*this, std::move(exchange)); };
}

rt::Task<void> serve_grpc(ServeParts& parts, net::Listener& listener) {
  return serve(parts, listener, httpio::Protocol::kHttp2, parts.grpc_handler, false);
}

rt::Task<void> serve_admin(ServeParts& parts, net::Listener& listener) {
  return serve(parts, listener, httpio::Protocol::kHttp1, parts.admin_handler, false);
}

rt::Task<void> serve_api(ServeParts& parts, net::Listener& listener) {
  return serve(parts, listener, httpio::Protocol::kHttp1, parts.api_handler, true);
}

}  // namespace tulle::control
