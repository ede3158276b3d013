#include "proxy/admin/admin.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include "libs/base/log.h"
#include "libs/base/strings.h"
#include "libs/httpio/client.h"
#include "libs/tls/test_mesh.h"
#include "libs/tls/tls_stream.h"
#include "proxy/admin/text.h"

namespace tulle::proxy {
namespace {

constexpr observe::Family kSeen = {"seen_total", "Seen.", observe::Type::kCounter, observe::Format::kText, {}};

struct Answer {
  int status = 0;
  http::Headers headers;
  std::string body;
  std::string header(std::string_view name) const { return std::string(headers.get(name).value_or("")); }
};

rt::Task<Result<std::unique_ptr<net::Stream>>> dial(rt::Reactor& r, SocketAddr to, std::optional<IpAddr> from,
                                                    std::shared_ptr<const tls::Context> context) {
  net::ConnectOptions options;
  options.bind_ip = from;
  auto c = co_await net::connect(r, to, options, r.now() + 5s);
  if (!c) co_return fail(std::move(c).error());
  if (!context) co_return std::make_unique<net::TcpStream>(r, std::move(c->fd), c->local, to, false);
  auto server = tls::test::name_of("web");
  auto t = co_await tls::TlsStream::connect(r, context, std::move(c->fd), c->local, to, server.name(), server, {},
                                            r.now() + 5s);
  if (!t) co_return fail(std::move(t).error());
  co_return std::move(*t);
}

rt::Task<void> ask(httpio::Client& client, http::RequestHead head, std::string body,
                   std::optional<Result<Answer>>& out) {
  auto x = co_await client.start(head, body.empty());
  if (!x) {
    out = fail(std::move(x).error());
    co_return;
  }
  if (!body.empty()) {
    Buffer b;
    b.append(body);
    (*x)->write(std::move(b));
    (void)(*x)->finish();
  }
  auto response = co_await (*x)->response();
  if (!response) {
    out = fail(std::move(response).error());
    co_return;
  }
  Answer a;
  a.status = response->status;
  a.headers = response->headers;
  for (;;) {
    auto bytes = co_await (*x)->read();
    if (!bytes || bytes->empty()) break;
    a.body.append(bytes->view());
  }
  out = std::move(a);
}

struct Fixture {
  rt::Reactor reactor{1};
  observe::Registry registry;
  observe::Shard& shard = registry.add_shard();
  observe::CounterRef seen = shard.counter(kSeen);
  AdminOptions options;
  std::unique_ptr<Admin> admin;
  std::optional<IpAddr> from;
  std::shared_ptr<const tls::Context> tls;
  httpio::Protocol protocol = httpio::Protocol::kHttp1;

  Fixture() {
    options.listen = SocketAddr(IpAddr::loopback(), 0);
    options.environment = {{"LINKERD2_PROXY_A", "1"}, {"TULLE_PROXY_B", "x\"y\n\xff"}, {"API_TOKEN", "s3cret"}};
  }
  void start() {
    auto made = Admin::start(reactor, options, registry);
    ASSERT_TRUE(made) << made.error().reason;
    admin = std::move(*made);
  }
  bool until(auto done) {
    for (TimePoint end = Clock::now() + 20s; !done() && Clock::now() < end;) reactor.turn(10ms);
    return done();
  }
  Answer get(std::string path, std::string method = "GET", std::string body = {},
             std::vector<std::pair<std::string, std::string>> headers = {}) {
    if (!admin) start();
    httpio::Client client(reactor, protocol, [&] { return dial(reactor, admin->local(), from, tls); }, {});
    http::RequestHead head;
    head.version = protocol == httpio::Protocol::kHttp2 ? http::Version::kHttp2 : http::Version::kHttp11;
    head.set_method(method);
    head.scheme = "http";
    head.authority = "admin";
    head.path = std::move(path);
    if (protocol == httpio::Protocol::kHttp1) head.headers.add(http::HeaderId::kHost, "admin");
    for (auto& [k, v] : headers) head.headers.add(k, v);
    if (!body.empty()) head.headers.add(http::HeaderId::kContentLength, cat(body.size()));
    std::optional<Result<Answer>> out;
    rt::Running running(reactor, ask(client, head, std::move(body), out));
    if (!until([&] { return out.has_value(); }) || !*out) return Answer{};
    return std::move(**out);
  }
};

TEST(Admin, LiveAndReadyOverBothVersions) {
  Fixture f;
  for (auto p : {httpio::Protocol::kHttp1, httpio::Protocol::kHttp2}) {
    f.protocol = p;
    Answer a = f.get("/live");
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(a.body, "live\n");
    EXPECT_EQ(a.header("content-type"), "text/plain");
    EXPECT_EQ(f.get("/live", "POST").status, 200);
    EXPECT_EQ(f.get("/live", "HEAD").body, "");
  }
  Answer a = f.get("/ready");
  EXPECT_EQ(a.status, 503);
  EXPECT_EQ(a.body, "not ready\n");
  EXPECT_EQ(a.header("content-type"), "");
  f.admin->set_ready();
  EXPECT_EQ(f.get("/ready?x").body, "ready\n");
  a = f.get("/nothing");
  EXPECT_EQ(a.status, 404);
  EXPECT_EQ(a.body, "");
}

TEST(Admin, MetricsPlainAndCompressed) {
  Fixture f;
  int refreshed = 0;
  f.options.before_metrics = [&] { ++refreshed; };
  f.seen->add(3);
  Answer a = f.get("/metrics");
  EXPECT_EQ(a.status, 200);
  EXPECT_TRUE(a.body.contains("seen_total 3\n"));
  EXPECT_TRUE(a.body.ends_with("# EOF\n"));
  EXPECT_EQ(a.header("content-encoding"), "");
  EXPECT_EQ(refreshed, 1);

  Answer z = f.get("/metrics", "GET", {}, {{"accept-encoding", "deflate, GZIP;q=1.0"}});
  EXPECT_EQ(z.header("content-encoding"), "gzip");
  std::string plain(100'000, '\0');
  z_stream s{};
  ASSERT_EQ(inflateInit2(&s, 16 + 15), Z_OK);
  s.next_in = reinterpret_cast<Bytef*>(z.body.data());
  s.avail_in = static_cast<uInt>(z.body.size());
  s.next_out = reinterpret_cast<Bytef*>(plain.data());
  s.avail_out = static_cast<uInt>(plain.size());
  EXPECT_EQ(inflate(&s, Z_FINISH), Z_STREAM_END);
  plain.resize(s.total_out);
  inflateEnd(&s);
  EXPECT_EQ(plain, a.body);
}

TEST(Admin, LogLevel) {
  Fixture f;
  std::string before = log_filter();
  EXPECT_EQ(f.get("/proxy-log-level").body, before);
  EXPECT_EQ(f.get("/proxy-log-level", "PUT", "error\n").status, 204);
  EXPECT_EQ(log_filter(), "error");
  Answer a = f.get("/proxy-log-level", "PUT", "loud");
  EXPECT_EQ(a.status, 400);
  EXPECT_TRUE(a.body.contains("loud"));
  EXPECT_EQ(log_filter(), "error");
  a = f.get("/proxy-log-level", "DELETE");
  EXPECT_EQ(a.status, 405);
  EXPECT_EQ(a.headers.count(http::HeaderId::kOther), 2u);  // allow, twice
  EXPECT_EQ(f.get("/proxy-log-level", "PUT", std::string(10'000, 'x')).status, 413);
  (void)log_set_filter(before);

  Fixture off;
  off.options.log_enabled = false;
  EXPECT_EQ(off.get("/proxy-log-level").status, 404);
}

TEST(Admin, Environment) {
  Fixture f;
  Answer a = f.get("/env.json");
  EXPECT_EQ(a.body,
            "{\"LINKERD2_PROXY_A\":\"1\",\"TULLE_PROXY_B\":\"x\\\"y\\u000a\xef\xbf\xbd\",\"API_TOKEN\":\"(hidden)\"}");
  EXPECT_EQ(a.header("content-type"), "application/json");
  EXPECT_EQ(f.get("/env.json?LINKERD2_PROXY_A&C&LINKERD2_PROXY_A").body, R"({"C":null,"LINKERD2_PROXY_A":"1"})");
  a = f.get("/env.json?A=1");
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.body, R"({"error":"env.json query parameters may not contain key-value pairs","status":400})");
  EXPECT_EQ(f.get("/env.json", "POST").status, 405);
  a = f.get("/env.json", "GET", {}, {{"accept", "text/html"}});
  EXPECT_EQ(a.status, 406);
  EXPECT_EQ(a.body, "application/json");
  EXPECT_EQ(f.get("/env.json", "GET", {}, {{"accept", "text/html, */*;q=0.8"}}).status, 200);
}

TEST(Admin, Shutdown) {
  Fixture f;
  Answer a = f.get("/shutdown", "POST");
  EXPECT_EQ(a.status, 404);
  EXPECT_EQ(a.body, "shutdown endpoint is not enabled\n");
  EXPECT_EQ(f.get("/shutdown").status, 405);

  Fixture on;
  bool works = false, asked = false;
  on.options.shutdown_enabled = true;
  on.options.on_shutdown = [&] {
    asked = true;
    return works;
  };
  EXPECT_EQ(on.get("/shutdown", "POST").status, 500);
  works = true;
  EXPECT_EQ(on.get("/shutdown", "POST").body, "shutdown\n");
  EXPECT_TRUE(asked);
}

// All on a machine share its loopback: neither another pod nor a program of the host is the workload.
TEST(Admin, InAPodOnlyItsOwnAddressIsLocal) {
  Fixture f;
  f.options.pod_ip = IpAddr::v4(127, 64, 0, 5);
  for (auto from : {IpAddr::v4(127, 64, 0, 6), IpAddr::loopback()}) {
    f.from = from;
    for (std::string path : {"/proxy-log-level", "/env.json"}) {
      Answer a = f.get(path);
      EXPECT_EQ(a.status, 403) << path;
      EXPECT_EQ(a.body, "Requests are only permitted from localhost.");
    }
    EXPECT_EQ(f.get("/metrics").status, 200);
  }
  f.from = IpAddr::v4(127, 64, 0, 5);
  EXPECT_EQ(f.get("/proxy-log-level").status, 200);
  EXPECT_EQ(f.get("/env.json").status, 200);
}

rt::Task<std::optional<int>> verdict(std::optional<int> v) { co_return v; }

TEST(Admin, ThePolicyOfThePortApplies) {
  Fixture f;
  int status = 403;
  f.options.authorize = [&](const AdminClient& c) {
    return verdict(c.identity ? std::nullopt : std::optional(status));
  };
  EXPECT_EQ(f.get("/metrics").status, 403);
  EXPECT_EQ(f.get("/live").status, 200);  // probes come from whoever starts the workload
  EXPECT_EQ(f.get("/ready").status, 503);
  status = 404;
  EXPECT_EQ(f.get("/metrics").status, 404);
}

TEST(Admin, OverMeshTls) {
  Fixture f;
  tls::test::TestMesh mesh;
  std::string who;
  f.options.authorize = [&](const AdminClient& c) {
    who = c.identity ? c.identity->name() : "";
    return verdict(std::nullopt);
  };
  f.start();
  f.tls = mesh.context("prometheus");
  EXPECT_EQ(f.get("/live").status, 0);  // no certificate of our own yet
  f.admin->set_context(mesh.context("web"));
  for (auto p : {httpio::Protocol::kHttp1, httpio::Protocol::kHttp2}) {
    f.protocol = p;
    EXPECT_EQ(f.get("/metrics").status, 200);
    EXPECT_EQ(who, tls::test::name_of("prometheus").name());
  }
  f.tls = nullptr;
  EXPECT_EQ(f.get("/metrics").status, 200);
  EXPECT_EQ(who, "");
}

// A client that says `first` and takes what comes.
struct Talk {
  Fixture& f;
  std::unique_ptr<net::Stream> stream;
  std::string got;
  bool ended = false;
  rt::Running talking;

  Talk(Fixture& fixture, std::string first) : f(fixture), talking(f.reactor, talk(*this, std::move(first))) {}
  static rt::Task<void> talk(Talk& t, std::string first) {
    auto s = co_await dial(t.f.reactor, t.f.admin->local(), {}, nullptr);
    EXPECT_TRUE(s);
    if (!s) co_return;
    t.stream = std::move(*s);
    t.stream->write(first);
    for (;;) {
      auto bytes = co_await t.stream->read();
      if (!bytes || bytes->empty()) break;
      t.got.append(*bytes);
    }
    t.ended = true;
  }
  bool says(std::string_view end) {
    return f.until([&] { return got.ends_with(end); });
  }
  bool ends() {
    return f.until([&] { return ended; });
  }
};
constexpr std::string_view kGetLive = "GET /live HTTP/1.1\r\nhost: x\r\n\r\n";

TEST(Admin, WhatIsNotHttpIsClosedAndTheSlowAreHttp1) {
  Fixture f;
  f.options.detect_timeout = 5ms;
  f.options.idle_timeout = 20ms;
  f.start();
  for (std::string first :
       {std::string("\0\1\2garbage\n\n", 12), std::string("GET /live HTTP/1.1\r\nbad header\r\n\r\n")}) {
    Talk t(f, first);
    EXPECT_TRUE(t.ends()) << first;
    if (first[0] == 'G') {
      EXPECT_TRUE(t.got.starts_with("HTTP/1.1 400")) << t.got;
    } else {
      EXPECT_EQ(t.got, "");
    }
  }
  Talk slow(f, "GE");
  ASSERT_TRUE(f.until([&] { return slow.stream != nullptr; }));
  Talk silent(f, "");  // made later, and ended after the same time and the idle one
  EXPECT_TRUE(silent.ends());
  EXPECT_FALSE(slow.ended);
  slow.stream->write(kGetLive.substr(2));
  EXPECT_TRUE(slow.says("live\n")) << slow.got;
}

TEST(Admin, TheLongestIdleConnectionMakesRoom) {
  Fixture f;
  f.options.max_connections = 2;
  f.start();
  Talk first(f, std::string(kGetLive));
  EXPECT_TRUE(first.says("live\n"));
  Talk second(f, std::string(kGetLive));
  EXPECT_TRUE(second.says("live\n"));
  EXPECT_EQ(f.get("/live").status, 200);
  EXPECT_TRUE(first.ended);
  EXPECT_FALSE(second.ended);
}

TEST(Admin, AnIdleConnectionEnds) {
  Fixture f;
  f.options.idle_timeout = 20ms;
  f.start();
  EXPECT_TRUE(Talk(f, std::string(kGetLive)).ends());
}

TEST(Admin, TooManyConnectionsAreClosed) {
  Fixture f;
  f.options.max_connections = 0;
  EXPECT_EQ(f.get("/live").status, 0);
}

}  // namespace
}  // namespace tulle::proxy
