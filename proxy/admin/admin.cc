#include "proxy/admin/admin.h"

#include <algorithm>

#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/http/detect.h"
#include "libs/net/socket_user.h"
#include "libs/rt/combine.h"
#include "libs/tls/tls_stream.h"
#include "proxy/admin/text.h"

namespace tulle::proxy {
namespace {

constexpr size_t kMaxBody = 8 * 1024;  // of a request: a log filter
constexpr Duration kHandshakeTimeout = 5s;
constexpr Duration kHeaderTimeout = 10s;  // and for a body, after it
constexpr std::string_view kNotLocal = "Requests are only permitted from localhost.";
constexpr std::string_view kText = "text/plain", kJson = "application/json";

rt::Task<bool> read_more(net::Stream& stream, Buffer& into) {
  auto bytes = co_await stream.read();
  if (!bytes || bytes->empty()) co_return false;
  into.append(*bytes);
  co_return true;
}

enum class Seen : uint8_t { kDecided, kTimeout, kGone };

// Reads until `decide(bytes)` no longer wants more.
template <class D>
rt::Task<Seen> read_until_decided(rt::Reactor& reactor, net::Stream& stream, Buffer& initial, TimePoint deadline,
                                  D decide) {
  while (initial.empty() || !decide(initial.view())) {
    auto more = co_await rt::until(reactor, deadline, read_more(stream, initial));
    if (!more) co_return Seen::kTimeout;
    if (!*more) co_return Seen::kGone;
  }
  co_return Seen::kDecided;
}

bool wants_more_hello(Bytes b) { return http::parse_client_hello(b).kind == http::HelloResult::Kind::kNeedMore; }
bool wants_more_http(Bytes b) { return http::detect(b) == http::Detected::kNeedMore; }

bool mentions(const http::Headers& headers, std::string_view lower_name, std::string_view what) {
  bool found = false;
  headers.for_each([&](const http::Header& h) {
    if (h.name == lower_name && to_lower(h.value).contains(what)) found = true;
  });
  return found;
}

bool takes_json(const http::Headers& headers) {
  if (!headers.has(http::HeaderId::kAccept)) return true;
  return mentions(headers, "accept", "application/json") || mentions(headers, "accept", "application/*") ||
         mentions(headers, "accept", "*/*");
}

rt::Task<Result<std::string>> read_body(httpio::ServerExchange& x) {
  std::string body;
  for (;;) {
    auto bytes = co_await x.read();
    if (!bytes) co_return fail(std::move(bytes).error());
    if (bytes->empty()) co_return body;
    body.append(bytes->view());
    if (body.size() > kMaxBody)
      co_return fail(Code::kTooLarge, cat("at most ", kMaxBody, " bytes are accepted"), Side::kClient);
  }
}

}  // namespace

struct Admin::Reply {
  int status = 200;
  std::string body;
  std::string_view type;  // "": none
  std::vector<std::pair<std::string_view, std::string_view>> headers;
  Reply(int s, std::string b = {}, std::string_view t = {})
      : status(s), body(std::move(b)), type(t) {}  // NOLINT: reads as the value it is
};

struct Admin::Connection final : ListNode {
  struct Done final : rt::Runnable {
    Connection& of;
    explicit Done(Connection& c) : of(c) {}
    void run() override { of.admin.retire(&of); }
  };
  Admin& admin;
  int requests = 0;  // in progress
  Done done;
  rt::Running running;
  Connection(Admin& a, net::Accepted accepted)
      : admin(a), done(*this), running(a.reactor_, a.serve(std::move(accepted), *this), &done) {}
};

Result<std::unique_ptr<Admin>> Admin::start(rt::Reactor& reactor, AdminOptions options, observe::Registry& registry) {
  auto listener = net::Listener::bind(reactor, options.listen);
  if (!listener) return fail(std::move(listener).error().with("admin server"));
  return std::unique_ptr<Admin>(new Admin(reactor, std::move(options), registry, std::move(*listener)));
}

Admin::Admin(rt::Reactor& reactor, AdminOptions options, observe::Registry& registry,
             std::unique_ptr<net::Listener> listener)
    : reactor_(reactor),
      options_(std::move(options)),
      registry_(registry),
      listener_(std::move(listener)),
      accepting_(reactor, accept_forever()) {}

Admin::~Admin() {
  while (Connection* c = connections_.pop_front()) delete c;
}

bool Admin::is_local(const AdminClient& client) const {
  if (!options_.pod_ip) return client.peer.ip.is_loopback();
  return client.peer.ip == *options_.pod_ip && net::peer_is_same_user(client.local, client.peer);
}

rt::Task<void> Admin::accept_forever() {
  for (;;) {
    auto accepted = co_await listener_->accept();
    if (!accepted) {
      log_error("the admin server has stopped", {{"error", accepted.error().reason}});
      co_return;
    }
    if (open_ >= options_.max_connections) make_room();
    if (open_ >= options_.max_connections) {
      log_.warn(reactor_.now(), "too many admin connections", 0,
                {{"client", accepted->peer.to_string()}, {"most", options_.max_connections}});
      continue;
    }
    ++open_;
    connections_.push_back(*new Connection(*this, std::move(*accepted)));
  }
}

void Admin::make_room() {
  Connection* idle = nullptr;
  connections_.for_each([&](Connection& c) {
    if (!idle && c.requests == 0) idle = &c;
  });
  if (idle) retire(idle);
}

void Admin::retire(Connection* c) {
  --open_;
  delete c;
}

rt::Task<void> Admin::serve(net::Accepted accepted, Connection& self) {
  net::apply(accepted.fd.get(), {});
  SocketAddr local = accepted.local, peer = accepted.peer;
  auto plain = std::make_unique<net::TcpStream>(reactor_, std::move(accepted.fd), local, peer, true);
  Buffer initial;
  Seen seen = co_await read_until_decided(reactor_, *plain, initial, reactor_.now() + options_.detect_timeout,
                                          [](Bytes b) { return !wants_more_hello(b); });
  if (seen == Seen::kGone) co_return;

  AdminClient client;
  client.local = local;
  client.peer = peer;
  std::optional<tls::Identity> identity;
  std::unique_ptr<net::Stream> stream;
  if (http::parse_client_hello(initial.view()).kind == http::HelloResult::Kind::kFound) {
    if (!context_) co_return;
    auto t = co_await tls::TlsStream::accept(reactor_, context_, plain->take_fd(), local, peer, std::move(initial), {},
                                             reactor_.now() + kHandshakeTimeout);
    if (!t) {
      log_debug("admin connection refused", {{"client", peer.to_string()}, {"error", t.error().reason}});
      co_return;
    }
    if (auto* name = (*t)->peer_identity()) identity = *name;
    client.tls = true;
    client.identity = identity ? &*identity : nullptr;
    stream = std::move(*t);
    initial = Buffer();
  } else {
    stream = std::move(plain);
  }

  seen = co_await read_until_decided(reactor_, *stream, initial, reactor_.now() + options_.detect_timeout,
                                     [](Bytes b) { return !wants_more_http(b); });
  if (seen == Seen::kGone) co_return;
  auto protocol = client.tls ? httpio::Protocol::kHttp2 : httpio::Protocol::kHttp1;  // of a client that is slow to say
  if (seen == Seen::kDecided) {
    auto detected = http::detect(initial.view());
    if (detected == http::Detected::kNotHttp) co_return;
    protocol = detected == http::Detected::kHttp2 ? httpio::Protocol::kHttp2 : httpio::Protocol::kHttp1;
  }
  httpio::ServeOptions options;
  options.header_timeout = kHeaderTimeout;
  options.idle_timeout = options_.idle_timeout;
  httpio::Handler handler = [this, &client, &self](std::unique_ptr<httpio::ServerExchange> x) {
    return handle(client, self, std::move(x));
  };
  co_await httpio::serve(std::move(stream), protocol, std::move(initial), options, handler);
}

rt::Task<void> Admin::handle(const AdminClient& client, Connection& on,
                             std::unique_ptr<httpio::ServerExchange> exchange) {
  struct Busy {
    Connection& on;
    explicit Busy(Connection& c) : on(c) { ++on.requests; }
    ~Busy() {
      if (--on.requests > 0 || !on.linked()) return;
      on.unlink();
      on.admin.connections_.push_back(on);
    }
  } busy(on);
  co_await answer_to(client, std::move(exchange));
}

rt::Task<void> Admin::answer_to(const AdminClient& client, std::unique_ptr<httpio::ServerExchange> exchange) {
  const http::RequestHead& request = exchange->request;
  auto body =
      co_await rt::with_deadline(reactor_, reactor_.now() + kHeaderTimeout, "request body", read_body(*exchange));
  if (!body && body.error().code != Code::kTooLarge) co_return;
  std::string_view path = std::string_view(request.path).substr(0, request.path.find('?'));
  std::optional<int> refused;
  if (options_.authorize && path != "/live" && path != "/ready") refused = co_await options_.authorize(client);
  Reply reply = refused ? Reply(*refused)
                : body  ? answer(client, path, request, *body)
                        : Reply(413, body.error().reason + "\n", kText);

  http::ResponseHead head;
  head.status = reply.status;
  if (!reply.type.empty()) head.headers.add(http::HeaderId::kContentType, reply.type);
  for (auto& [name, value] : reply.headers) head.headers.add(name, value);
  if (reply.status != 204) head.headers.add(http::HeaderId::kContentLength, cat(reply.body.size()));
  bool empty = reply.body.empty() || request.method_kind == http::Method::kHead;
  if (!exchange->respond(head, empty) || empty) co_return;
  Buffer bytes;
  bytes.append(reply.body);
  exchange->write(std::move(bytes));
  (void)exchange->finish();
}

Admin::Reply Admin::answer(const AdminClient& client, std::string_view path, const http::RequestHead& request,
                           std::string_view body) {
  if (path == "/live") return Reply(200, "live\n", kText);
  if (path == "/ready") return ready_ ? Reply(200, "ready\n", kText) : Reply(503, "not ready\n");
  if (path == "/metrics") return metrics(request);
  if (path == "/env.json") {
    // On a shared loopback whoever is not in the mesh is anybody.
    if (options_.pod_ip && !client.identity && !is_local(client)) return Reply(403, std::string(kNotLocal), kText);
    return environment(request);
  }
  bool for_locals = path == "/proxy-log-level" || path == "/shutdown";
  if (!for_locals || (path == "/proxy-log-level" && !options_.log_enabled)) return Reply(404);
  if (path == "/shutdown" && request.method_kind != http::Method::kPost) return Reply(405);
  if (!is_local(client)) return Reply(403, std::string(kNotLocal), kText);
  return path == "/shutdown" ? shut_down() : log_level(request, body);
}

Admin::Reply Admin::metrics(const http::RequestHead& request) {
  if (options_.before_metrics) options_.before_metrics();
  std::string text = registry_.render();
  if (!mentions(request.headers, "accept-encoding", "gzip")) return Reply(200, std::move(text), kText);
  Reply reply(200, gzip(text), kText);
  reply.headers.emplace_back("content-encoding", "gzip");
  return reply;
}

Admin::Reply Admin::log_level(const http::RequestHead& request, std::string_view body) {
  if (request.method_kind == http::Method::kGet) return Reply(200, log_filter(), kText);
  if (request.method_kind != http::Method::kPut) {
    Reply reply(405);
    reply.headers = {{"allow", "GET"}, {"allow", "PUT"}};
    return reply;
  }
  if (auto set = log_set_filter(trim(body)); !set) return Reply(400, set.error().reason + "\n", kText);
  return Reply(204);
}

Admin::Reply Admin::environment(const http::RequestHead& request) const {
  if (request.method_kind != http::Method::kGet) return Reply(405);
  if (!takes_json(request.headers)) return Reply(406, std::string(kJson), kText);
  size_t at = request.path.find('?');
  auto json = environment_json(options_.environment,
                               at == std::string::npos ? "" : std::string_view(request.path).substr(at + 1));
  if (!json)
    return Reply(400, R"({"error":"env.json query parameters may not contain key-value pairs","status":400})", kJson);
  return Reply(200, std::move(*json), kJson);
}

Admin::Reply Admin::shut_down() const {
  if (!options_.shutdown_enabled) return Reply(404, "shutdown endpoint is not enabled\n");
  if (!options_.on_shutdown || !options_.on_shutdown()) return Reply(500, "shutdown listener dropped\n");
  return Reply(200, "shutdown\n");
}

}  // namespace tulle::proxy
