// Both ends of a connection against each other and against raw bytes, over real sockets on loopback.
#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

// Answers with the method, path and body; "/slow" never answers; "/big" answers with 8 MiB; "/early" answers at once;
// "/later" when `later` is notified.
rt::Task<void> echo(rt::Signal& later, int& cancelled, std::unique_ptr<ServerExchange> x) {
  struct Guard {
    int* n;
    ~Guard() {
      if (n) ++*n;
    }
  } guard{&cancelled};
  http::ResponseHead head;
  head.headers.add("x-head-only", x->head_only() ? "yes" : "no");
  while (x->request.path == "/slow") co_await later.wait();
  if (x->request.path == "/later") co_await later.wait();
  if (x->request.path == "/early") {
    EXPECT_TRUE(x->respond(head, true));
    guard.n = nullptr;
    co_return;
  }
  if (x->request.path == "/big") {
    EXPECT_TRUE(x->respond(head, false));
    std::string block(64 * 1024, 'b');
    for (int i = 0; i < 128; ++i) {
      Buffer b;
      b.append(block);
      x->write(std::move(b));
      auto room = co_await x->room();
      if (!room) co_return;
    }
    (void)x->finish();
    guard.n = nullptr;
    co_return;
  }
  std::string body;
  for (;;) {
    auto bytes = co_await x->read();
    if (!bytes) co_return;
    if (bytes->empty()) break;
    body.append(bytes->view());
  }
  head.headers.add("x-method", x->request.method);
  std::string text = cat(x->request.method, " ", x->request.path, " ", body);
  head.headers.add(http::HeaderId::kContentLength, cat(text.size()));
  EXPECT_TRUE(x->respond(head, false));
  Buffer b;
  b.append(text);
  x->write(std::move(b));
  (void)x->finish();
  guard.n = nullptr;
}

struct Fixture : TestLoop, testing::TestWithParam<Protocol> {
  int begun = 0, cancelled = 0;
  rt::Signal later{reactor};
  Drain drain;
  Handler handler = [this](std::unique_ptr<ServerExchange> x) {
    ++begun;
    return echo(later, cancelled, std::move(x));
  };
  std::unique_ptr<net::Listener> listener = listen();

  void SetUp() override {
    options.drain = &drain;
    serve_on(*listener, GetParam(), handler);
  }
  void TearDown() override { scope.cancel(); }
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial() { return TestLoop::dial(listener->local()); }
  Client make_client() {
    return Client(reactor, GetParam(), [this] { return dial(); }, ClientOptions());
  }
  rt::Task<std::string> get(Client& client, std::string method, std::string path, std::string body) {
    http::RequestHead head = get_request(std::move(path));
    head.set_method(method);
    auto x = co_await client.start(head, body.empty());
    if (!x) co_return cat("error: ", x.error().reason);
    if (!body.empty()) {
      Buffer b;
      b.append(body);
      (*x)->write(std::move(b));
      (void)(*x)->finish();
    }
    auto response = co_await (*x)->response();
    if (!response) co_return cat("error: ", response.error().reason);
    std::string got = cat(response->status, " ");
    for (;;) {
      auto bytes = co_await (*x)->read();
      if (!bytes) co_return cat("error: ", bytes.error().reason);
      if (bytes->empty()) break;
      got.append(bytes->view());
    }
    co_return got;
  }
};

rt::Task<void> requests_reuse(Fixture& f) {
  Client client = f.make_client();
  for (int i = 0; i < 20; ++i) {
    std::string got =
        co_await f.get(client, i % 2 ? "POST" : "GET", cat("/", i), i % 2 ? std::string(100000, 'x') : "");
    EXPECT_EQ(got, cat("200 ", i % 2 ? "POST" : "GET", " /", i, " ", i % 2 ? std::string(100000, 'x') : std::string()));
  }
  EXPECT_EQ(client.connections(), 1u);
  EXPECT_EQ(f.cancelled, 0);
}
TEST_P(Fixture, RequestsReuseTheConnection) { run(requests_reuse(*this)); }

rt::Task<void> big(Fixture& f) {
  Client client = f.make_client();
  std::string got = co_await f.get(client, "GET", "/big", "");
  EXPECT_EQ(got.size(), 4u + 8 * 1024 * 1024);
}
TEST_P(Fixture, LargeBodyStreams) { run(big(*this)); }

rt::Task<void> give_up(Fixture& f) {
  Client client = f.make_client();
  http::RequestHead head = get_request("/slow");
  {
    auto x = co_await client.start(head, true);
    EXPECT_TRUE(x);
    co_await f.until([&] { return f.begun == 1; });
  }
  co_await f.until([&] { return f.cancelled == 1; });
  EXPECT_EQ(co_await f.get(client, "GET", "/after", ""), "200 GET /after ");
}
TEST_P(Fixture, GivingUpCancelsTheHandler) { run(give_up(*this)); }

rt::Task<void> early(Fixture& f) {
  Client client = f.make_client();
  std::string got = co_await f.get(client, "POST", "/early", std::string(10, 'x'));
  EXPECT_EQ(got, "200 ");
  EXPECT_EQ(co_await f.get(client, "GET", "/after", ""), "200 GET /after ");
}
TEST_P(Fixture, EarlyResponse) { run(early(*this)); }

rt::Task<void> many(Fixture& f, Client& client, int n, int& done) {
  EXPECT_EQ(co_await f.get(client, "GET", cat("/", n), ""), cat("200 GET /", n, " "));
  ++done;
}
rt::Task<void> concurrent(Fixture& f) {
  Client client = f.make_client();
  rt::Scope scope(f.reactor);
  int done = 0;
  for (int i = 0; i < 100; ++i) scope.spawn(many(f, client, i, done));
  co_await scope.join();
  EXPECT_EQ(done, 100);
  EXPECT_EQ(client.connections(), f.GetParam() == Protocol::kHttp2 ? 1u : 100u);
}
TEST_P(Fixture, ConcurrentRequests) { run(concurrent(*this)); }

rt::Task<void> drains(Fixture& f) {
  Client client = f.make_client();
  EXPECT_EQ(co_await f.get(client, "GET", "/1", ""), "200 GET /1 ");
  f.drain.start();
  co_await f.until([&] { return !client.connected(); });
}
TEST_P(Fixture, DrainEndsIdleConnections) { run(drains(*this)); }

// RFC 9112 §9.6: a client may end its direction when it has asked for everything.
rt::Task<void> half_closed(Fixture& f) {
  if (f.GetParam() == Protocol::kHttp2) co_return;
  Client client = f.make_client();
  auto stream = co_await f.dial();
  (*stream)->write("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /later HTTP/1.1\r\nhost: a\r\n\r\n");
  (*stream)->shutdown_write();
  co_await f.until([&] { return f.begun == 2; });
  EXPECT_EQ(co_await f.get(client, "GET", "/meanwhile", ""), "200 GET /meanwhile ");
  f.later.notify();
  std::string got = co_await Fixture::all_of(**stream);
  EXPECT_NE(got.find("\r\n\r\nGET /1 "), got.npos) << got;
  EXPECT_TRUE(got.ends_with("\r\n\r\nGET /later ")) << got;
  EXPECT_EQ(f.cancelled, 0);

  auto slow_reader = co_await f.dial();
  (*slow_reader)->write("GET /big HTTP/1.1\r\nhost: a\r\n\r\n");
  (*slow_reader)->shutdown_write();
  co_await f.until([&] { return f.begun == 4; });
  // As much goes to another one, so that this one's sockets are long full.
  EXPECT_EQ((co_await f.get(client, "GET", "/big", "")).size(), 4u + 8 * 1024 * 1024);
  got = co_await Fixture::all_of(**slow_reader);
  EXPECT_GT(got.size(), 8u * 1024 * 1024);
  EXPECT_TRUE(got.ends_with("\r\n0\r\n\r\n"));
  EXPECT_EQ(f.cancelled, 0);
}
TEST_P(Fixture, AClientThatHalfClosesGetsItsAnswer) { run(half_closed(*this)); }

rt::Task<void> half_closed_and_gone(Fixture& f) {
  if (f.GetParam() == Protocol::kHttp2) co_return;
  auto stream = co_await f.dial();
  (*stream)->write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
  (*stream)->shutdown_write();
  co_await f.until([&] { return f.begun == 1; });
  auto next = co_await f.dial();  // it is answered after the end of the first has been seen
  (*next)->write("GET /next HTTP/1.1\r\nhost: a\r\n\r\n");
  (*next)->shutdown_write();
  EXPECT_TRUE((co_await Fixture::all_of(**next)).ends_with("\r\n\r\nGET /next "));
  EXPECT_EQ(f.cancelled, 0);
  (*stream)->abort();
  stream->reset();
  co_await f.until([&] { return f.cancelled == 1; });
  auto incomplete = co_await f.dial();
  (*incomplete)->write("POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nabc");
  (*incomplete)->shutdown_write();
  EXPECT_EQ(co_await Fixture::all_of(**incomplete), "");
}
TEST_P(Fixture, AHalfClosedClientThatIsGoneCancelsTheHandler) { run(half_closed_and_gone(*this)); }

rt::Task<void> half_closed_too_long(Fixture& f) {
  if (f.GetParam() == Protocol::kHttp2) co_return;
  // One that has its head in time may be as slow as it likes: longer than the one after it is waited for.
  auto reader = co_await f.dial();
  (*reader)->write("GET /big HTTP/1.1\r\nhost: a\r\n\r\n");
  (*reader)->shutdown_write();
  co_await f.until([&] { return f.begun == 1; });
  auto stream = co_await f.dial();
  (*stream)->write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
  (*stream)->shutdown_write();
  std::string got = co_await Fixture::all_of(**stream);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 504 ")) << got;
  EXPECT_NE(got.find("no answer came within 30ms"), got.npos) << got;
  EXPECT_EQ(f.cancelled, 1);
  EXPECT_TRUE((co_await Fixture::all_of(**reader)).ends_with("\r\n0\r\n\r\n"));
}
TEST_P(Fixture, AHalfClosedClientIsNotWaitedForLong) {
  options.half_closed_timeout = 30ms;
  run(half_closed_too_long(*this));
}

rt::Task<void> answer_before_the_body(Fixture& f) {
  if (f.GetParam() == Protocol::kHttp2) co_return;
  auto stream = co_await f.dial();
  (*stream)->write("POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nabc");
  std::string got = co_await Fixture::all_of(**stream);
  EXPECT_TRUE(got.starts_with("HTTP/1.1 200")) << got;
  EXPECT_NE(got.find("connection: close"), got.npos) << got;
  EXPECT_EQ(got.find("HTTP/1.1", 1), got.npos) << "a second answer: " << got;
}
TEST_P(Fixture, AnAnswerBeforeTheEndOfItsRequestIsTheLast) { run(answer_before_the_body(*this)); }

rt::Task<void> head_only(Fixture& f) {
  Client client = f.make_client();
  for (bool end : {true, false}) {
    auto x = co_await client.start(get_request("/1"), end);
    if (!x) co_return ADD_FAILURE() << x.error().reason;
    if (!end) EXPECT_TRUE((*x)->finish());
    auto response = co_await (*x)->response();
    if (!response) co_return ADD_FAILURE() << response.error().reason;
    if (end || f.GetParam() == Protocol::kHttp2) EXPECT_EQ(response->headers.get("x-head-only"), end ? "yes" : "no");
    while (!(*x)->ended()) (void)co_await (*x)->read();
  }
  if (f.GetParam() == Protocol::kHttp2) co_return;
  auto stream = co_await f.dial();
  (*stream)->write("POST /1 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n");
  (*stream)->shutdown_write();
  EXPECT_NE((co_await Fixture::all_of(**stream)).find("x-head-only: no"), std::string::npos);
}
TEST_P(Fixture, ARequestOfAHeadOnlyIsToldFromOneWithoutBody) { run(head_only(*this)); }

INSTANTIATE_TEST_SUITE_P(Both, Fixture, testing::Values(Protocol::kHttp1, Protocol::kHttp2),
                         [](auto& i) { return i.param == Protocol::kHttp1 ? "Http1" : "Http2"; });

}  // namespace
}  // namespace tulle::httpio
