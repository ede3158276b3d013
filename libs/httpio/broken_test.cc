// Messages that break off: what came before the break arrives, and then the break.
#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

constexpr size_t kBlocks = 4, kBlock = 50'000;  // more than an HTTP/2 window holds

void write_blocks(Exchange& x) {
  for (size_t i = 0; i < kBlocks; ++i) {
    Buffer b;
    b.append(std::string(kBlock, static_cast<char>('a' + i)));
    x.write(std::move(b));
  }
}

struct Read {
  std::string body;
  std::optional<Error> error;
};
rt::Task<Read> read_all(Exchange& x) {
  Read out;
  for (;;) {
    auto bytes = co_await x.read();
    if (!bytes) out.error = bytes.error();
    if (!bytes || bytes->empty()) co_return out;
    out.body.append(bytes->view());
  }
}

struct Broken : TestLoop, testing::TestWithParam<Protocol> {
  std::optional<Read> request;  // of the last POST
  bool waiting = false;         // a response waits for its reader
  int handlers = 0;             // of POSTs, at work
  rt::Signal later{reactor};
  struct Here {
    int& n;
    explicit Here(int& count) : n(count) { ++n; }
    ~Here() { --n; }
  };
  Handler handler = [this](std::unique_ptr<ServerExchange> x) { return handle(*this, std::move(x)); };
  std::unique_ptr<net::Listener> listener = listen();
  std::optional<Client> client;

  void SetUp() override {
    options.broken_request_grace = 10s;
    serve_on(*listener, GetParam(), handler);
    client.emplace(reactor, GetParam(), [this] { return dial(listener->local()); }, ClientOptions());
  }
  void TearDown() override { scope.cancel(); }
  // GET: a response that breaks off. POST: takes the request's body.
  static rt::Task<void> handle(Broken& t, std::unique_ptr<ServerExchange> x) {
    if (x->request.method == "POST") {
      Here here(t.handlers);
      if (x->request.path == "/later") co_await t.later.wait();
      t.request = co_await read_all(*x);
      co_return;
    }
    http::ResponseHead head;
    EXPECT_TRUE(x->respond(head, false));
    write_blocks(*x);
    t.waiting = true;
    EXPECT_TRUE(co_await x->sent());
    t.waiting = false;
    x->reset(http::H2Code::kEnhanceYourCalm);
  }
};

rt::Task<void> response(Broken& t, http::Version version) {
  http::RequestHead head = get_request("/");
  head.version = version;
  auto x = co_await t.client->start(head, true);
  if (!x || !co_await (*x)->response()) co_return ADD_FAILURE() << "no response";
  Read got = co_await read_all(**x);
  EXPECT_EQ(got.body.size(), kBlocks * kBlock);
  EXPECT_EQ(got.body.back(), 'd');
  EXPECT_TRUE(got.error);
  if (t.GetParam() == Protocol::kHttp2) EXPECT_EQ((*x)->reset_code(), http::H2Code::kEnhanceYourCalm);
}
TEST_P(Broken, AResponse) { run(response(*this, http::Version::kHttp11)); }

rt::Task<void> until_close(Broken& t) {
  if (t.GetParam() == Protocol::kHttp2) co_return;
  auto stream = co_await t.dial(t.listener->local());
  (*stream)->write("GET / HTTP/1.0\r\n\r\n");
  std::string got = co_await Broken::all_of(**stream);
  EXPECT_NE(got.find(cat(std::string(kBlock, 'd'), " error: ")), got.npos) << got.substr(0, 200);
}
TEST_P(Broken, AResponseThatOnlyItsEndDelimits) { run(until_close(*this)); }

rt::Task<void> deaf(Broken& t) {
  if (t.GetParam() == Protocol::kHttp1) co_return;  // the connection has it all
  {
    auto x = co_await t.client->start(get_request("/"), true);
    co_await t.until([&] { return t.waiting; });
    (*x)->reset(http::H2Code::kCancel);
  }
  auto next = co_await t.client->start(get_request("/"), true);
  if (!next || !co_await (*next)->response()) co_return ADD_FAILURE() << "no response";
  EXPECT_EQ((co_await read_all(**next)).body.size(), kBlocks * kBlock);
}
TEST_P(Broken, AResponseWhoseReaderGivesUpWaitsNoMore) { run(deaf(*this)); }

rt::Task<std::unique_ptr<ClientExchange>> post(Broken& t, std::string path, size_t blocks) {
  http::RequestHead head = get_request(std::move(path));
  head.set_method("POST");
  int before = t.handlers;
  auto x = co_await t.client->start(head, false);
  if (!x) co_return ADD_FAILURE() << x.error().reason, nullptr;
  for (size_t i = 0; i < blocks; ++i) {
    Buffer b;
    b.append(std::string(1000, 'x'));
    (*x)->write(std::move(b));
  }
  co_await t.until([&] { return t.handlers == before + 1; });
  co_return std::move(*x);
}

rt::Task<void> one_request(Broken& t) {
  auto x = co_await post(t, "/", 40);
  if (!x) co_return;
  EXPECT_TRUE(co_await x->sent());
  x->reset(http::H2Code::kCancel);
  EXPECT_FALSE(co_await x->response());
  co_await t.until([&] { return t.handlers == 0; });
  EXPECT_TRUE(t.request && t.request->error);
  EXPECT_EQ(t.request->body.size(), 40'000u);
}
TEST_P(Broken, ARequest) { run(one_request(*this)); }

// Its handler comes to read it after it was broken off, or after its connection was.
rt::Task<void> read_later(Broken& t, bool connection) {
  auto x = co_await post(t, "/later", 40);
  EXPECT_TRUE(co_await x->sent());
  if (connection) t.client.reset();
  else x->reset(http::H2Code::kCancel);
  for (int i = 0; i < 20; ++i) co_await rt::sleep_for(t.reactor, 1ms);
  EXPECT_EQ(t.handlers, 1);
  t.later.notify();
  co_await t.until([&] { return t.handlers == 0; });
  EXPECT_TRUE(t.request && t.request->error);
  EXPECT_EQ(t.request->body.size(), 40'000u);
}
TEST_P(Broken, ARequestThatIsReadLater) { run(read_later(*this, false)); }
TEST_P(Broken, ARequestWithItsConnection) { run(read_later(*this, true)); }

rt::Task<void> in_vain(Broken& t, int stay) {
  std::vector<std::unique_ptr<ClientExchange>> asked;
  for (int i = 0; i < 3; ++i) asked.push_back(co_await post(t, "/later", 1));
  for (auto& x : asked) x->reset(http::H2Code::kCancel);
  co_await t.until([&] { return t.handlers == stay; });
  co_await t.until([&] { return t.handlers == 0; });
  EXPECT_FALSE(t.request);
}
TEST_P(Broken, ABrokenRequestIsPassedOnForAMoment) {
  options.broken_request_grace = 50ms;
  run(in_vain(*this, 0));
}
TEST_P(Broken, FewBrokenRequestsArePassedOnAtOnce) {
  options.broken_request_grace = 300ms;
  options.max_broken_requests = 1;
  run(in_vain(*this, GetParam() == Protocol::kHttp2 ? 1 : 3));
}
TEST_P(Broken, WithoutGraceItIsDroppedAtOnce) {
  options.broken_request_grace = 0s;
  run(in_vain(*this, 0));
}

INSTANTIATE_TEST_SUITE_P(Both, Broken, testing::Values(Protocol::kHttp1, Protocol::kHttp2),
                         [](auto& i) { return i.param == Protocol::kHttp1 ? "Http1" : "Http2"; });

}  // namespace
}  // namespace tulle::httpio
