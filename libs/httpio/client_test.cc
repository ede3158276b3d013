// The pool: who waits for a connection or a stream, how many, for how long, and who wakes them.
#include "libs/httpio/client.h"

#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

// Answers with 200 once `open` is set.
rt::Task<void> hold(bool& open, rt::Signal& changed, int& held, std::unique_ptr<ServerExchange> x) {
  ++held;
  changed.notify();
  while (!open) co_await changed.wait();
  http::ResponseHead head;
  (void)x->respond(head, true);
}

struct Pool : TestLoop, testing::TestWithParam<Protocol> {
  bool open = false;
  int held = 0;  // requests that have reached the server
  rt::Signal changed{reactor};
  Handler handler = [this](std::unique_ptr<ServerExchange> x) { return hold(open, changed, held, std::move(x)); };
  std::unique_ptr<net::Listener> listener = listen();
  bool refuse = false;  // dials fail, when `dial_now` lets them
  bool dial_now = true;
  int dials = 0, dialing = 0, most_dialing = 0;
  ClientOptions client_options;
  std::optional<Client> client;
  std::vector<std::string> ended;  // one for each request that has ended, in order
  // The tasks that send: gone before the client.
  rt::Scope sending{reactor};

  bool http2() const { return GetParam() == Protocol::kHttp2; }
  // Room for four requests at once.
  void SetUp() override {
    options.h2.max_concurrent_streams = 1;
    client_options.h2.initial_peer_streams = 1;
    client_options.max_connections = 4;
    client_options.max_waiting = 3;
    serve_on(*listener, GetParam(), handler);
    client.emplace(reactor, GetParam(), [this] { return dial(); }, client_options);
  }
  void TearDown() override {
    sending.cancel();
    scope.cancel();
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> dial() {
    ++dials;
    most_dialing = std::max(most_dialing, ++dialing);
    while (!dial_now) co_await changed.wait();
    --dialing;
    if (refuse) co_return fail(Code::kConnect, "refused", Side::kPeer, Retry::kSafe);
    co_return co_await TestLoop::dial(listener->local());
  }
  rt::Task<void> request(std::string name) {
    auto head = get_request("/");
    auto x = co_await client->start(head, true);
    if (!x) {
      ended.push_back(cat(name, ": ", code_name(x.error().code)));
    } else {
      auto response = co_await (*x)->response();
      ended.push_back(cat(name, ": ", response ? cat(response->status) : response.error().reason));
    }
    changed.notify();
  }
  void send(std::string name) { sending.spawn(request(std::move(name))); }
  void let(bool& what, bool value = true) {
    what = value;
    changed.notify();
  }
  size_t ended_well() const {
    return static_cast<size_t>(std::ranges::count_if(ended, [](auto& e) { return e.ends_with(": 200"); }));
  }
  // Four requests are with the server, so that what comes now waits.
  void fill() {
    for (int i = 0; i < 4; ++i) {
      send(cat("first ", i));
      ASSERT_TRUE(turn_until([&] { return held == i + 1; }));
    }
    ASSERT_EQ(client->connections(), 4u);
  }
};

TEST_P(Pool, WaitersAreBoundedAndServedInTurn) {
  fill();
  for (auto* name : {"a", "b", "c", "one too many"}) send(name);
  ASSERT_TRUE(turn_until([&] { return !ended.empty(); }));
  EXPECT_EQ(ended.front(), "one too many: exhausted");
  let(open);
  EXPECT_TRUE(turn_until([&] { return ended_well() == 7; }));
  EXPECT_EQ(client->connections(), 4u);
  EXPECT_EQ(dials, 4);
}

TEST_P(Pool, AWaiterThatIsCancelledLeavesItsPlaceToTheNext) {
  fill();
  rt::Scope others(reactor);
  for (int i = 0; i < 3; ++i) others.spawn(request("given up"));
  reactor.turn(0ms);
  let(open);
  // Cancelled in the very turn in which it is called, or before.
  for (int i = 0; i < 3; ++i) {
    others.cancel();
    others.spawn(request("given up"));
    reactor.turn(0ms);
  }
  others.cancel();
  send("last");
  EXPECT_TRUE(turn_until([&] { return ended_well() >= 5 && std::ranges::count(ended, "last: 200") == 1; }));
}

TEST_P(Pool, DialsInProgressCount) {
  dial_now = false;
  for (int i = 0; i < 4; ++i) send(cat(i));
  send("fifth");
  ASSERT_TRUE(turn_until([&] { return dials > 0; }));
  for (int i = 0; i < 5; ++i) reactor.turn(0ms);
  EXPECT_EQ(most_dialing, http2() ? 1 : 4);
  open = true;
  let(dial_now);
  EXPECT_TRUE(turn_until([&] { return ended_well() == (http2() ? 3u : 5u); }));  // HTTP/2: all of them waited
  EXPECT_LE(dials, 4);
}

TEST_P(Pool, AFailedDialWakesWhoWaits) {
  dial_now = false;
  refuse = true;
  for (int i = 0; i < 4; ++i) send(cat(i));
  if (!http2()) send("fifth"), send("sixth");
  ASSERT_TRUE(turn_until([&] { return dials == (http2() ? 1 : 4); }));
  let(dial_now);
  EXPECT_TRUE(turn_until([&] { return ended.size() == (http2() ? 4u : 6u); }));
  for (auto& e : ended) EXPECT_TRUE(e.ends_with(": connect") || (http2() && e.ends_with(": exhausted"))) << e;
}

// Where some connections stand, one more that cannot be made is no failure of those that wait for a stream.
TEST_P(Pool, AFailedExtraConnectionLeavesWaitersWaiting) {
  if (!http2()) return;
  send("first");
  ASSERT_TRUE(turn_until([&] { return held == 1; }));
  refuse = true;
  send("second");
  ASSERT_TRUE(turn_until([&] { return dials == 2; }));
  let(open);
  EXPECT_TRUE(turn_until([&] { return ended_well() == 2; }));
}

TEST_P(Pool, AConnectionThatDiesWakesWhoWaits) {
  fill();
  send("a");
  reactor.turn(0ms);
  scope.cancel();  // the server drops all connections
  serve_on(*listener, GetParam(), handler);
  ASSERT_TRUE(turn_until([&] { return held == 5; }));
  let(open);
  EXPECT_TRUE(turn_until([&] { return ended_well() == 1; }));
  EXPECT_EQ(ended.size(), 5u);
}

// Connections that only finish their streams are not waited for.
TEST_P(Pool, DrainingConnectionsAreReplaced) {
  if (!http2()) return;
  fill();
  client->drain();
  send("new");
  ASSERT_TRUE(turn_until([&] { return held == 5; }));
  let(open);
  EXPECT_TRUE(turn_until([&] { return ended_well() == 5; }));
  EXPECT_TRUE(turn_until([&] { return client->connections() == 1; }));
}

// A server that closes connections between requests without saying so. `first`: the stream of the first request.
struct Closing : TestLoop, testing::Test {
  std::unique_ptr<net::Listener> listener = listen();
  std::unique_ptr<net::Stream> stream;  // the server's end of the newest connection
  int requests = 0, dials = 0, unannounced = 0;
  std::string fields;  // of each answer
  Client client{reactor, Protocol::kHttp1, [this] { return counted(); }, client_options()};
  ClientOptions client_options(Duration distrust = 60s) {
    ClientOptions o;
    o.distrust = distrust;
    o.on_unannounced_end = [this] { ++unannounced; };
    return o;
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> counted() {
    ++dials;
    return dial(listener->local());
  }
  rt::Task<void> answer_one(bool accept_first) {
    if (accept_first) stream = co_await accept(*listener);
    (void)co_await stream->read();
    ++requests;
    stream->write(cat("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n", fields, "\r\n"));
  }
};

rt::Task<void> one_answered(Closing& f, std::string_view method, Client& client, bool fresh = true) {
  int dials = f.dials;
  rt::Running server(f.reactor, f.answer_one(fresh));
  http::RequestHead head = get_request("/");
  head.set_method(method);
  auto x = co_await client.start(head, true);
  EXPECT_EQ(f.dials - dials, fresh) << method;
  EXPECT_TRUE(x);
  EXPECT_TRUE(co_await (*x)->response());
  x->reset();
}
rt::Task<void> one_answered(Closing& f, std::string_view method, bool fresh = true) {
  return one_answered(f, method, f.client, fresh);
}

rt::Task<void> goes_stale(Closing& f) {
  co_await one_answered(f, "GET");
  auto x = co_await f.client.start(get_request("/"), true);  // it does not look: this request may be repeated
  f.stream.reset();
  auto head = co_await (*x)->response();
  EXPECT_FALSE(head);
  EXPECT_TRUE((*x)->stale());
  {
    rt::Running server(f.reactor, f.answer_one(true));
    auto again = co_await f.client.start(get_request("/"), true, true);
    EXPECT_TRUE(co_await (*again)->response());
  }
  // A connection that has never served cannot be stale; nor one of which a part of the response has come.
  f.client.drain();
  co_await one_answered(f, "GET");
  auto part = co_await f.client.start(get_request("/"), true);
  (void)co_await f.stream->read();
  f.stream->write("HTTP/1.1 2");
  EXPECT_TRUE(co_await f.stream->drained(0));
  f.stream.reset();
  EXPECT_FALSE(co_await (*part)->response());
  EXPECT_FALSE((*part)->stale());
}
TEST_F(Closing, AReusedConnectionThatEndsUnansweredIsStale) { run(goes_stale(*this)); }

rt::Task<void> post_looks(Closing& f) {
  for (std::string_view unasked : {"", "HTTP/1.1 408 Request Timeout\r\n\r\n"}) {
    co_await one_answered(f, "POST");
    // The system knows, and the loop has not been told yet.
    if (!unasked.empty()) {
      f.stream->write(unasked);
      f.stream->flush();
    } else {
      f.stream.reset();
    }
    co_await one_answered(f, "POST");
    EXPECT_EQ(f.requests, 2);
    f.requests = 0;
    f.client.drain();
    f.stream.reset();
  }
}
TEST_F(Closing, WhatCannotBeRepeatedGoesOnNoConnectionThatHasEnded) { run(post_looks(*this)); }

// Connections that end soon after their answer: what cannot be repeated goes on no used one, for a while.
rt::Task<void> distrusts(Closing& f, Client& client, bool forgets) {
  co_await one_answered(f, "POST", client);
  co_await one_answered(f, "POST", client, false);
  f.stream.reset();
  while (client.connections() > 0) co_await client.changed().wait();
  EXPECT_EQ(f.unannounced, 1);
  co_await one_answered(f, "POST", client);
  co_await one_answered(f, "POST", client, !forgets);
  EXPECT_EQ(client.connections(), 1u);  // idle ones do not add up
  co_await one_answered(f, "GET", client, false);
  EXPECT_EQ(f.unannounced, 1);  // we have closed the other one
}
TEST_F(Closing, AfterAnUnannouncedEndWhatCannotBeRepeatedGetsFreshConnections) { run(distrusts(*this, client, false)); }
TEST_F(Closing, DistrustIsForgotten) {
  Client other(reactor, Protocol::kHttp1, [this] { return counted(); }, client_options(0s));
  run(distrusts(*this, other, true));
}

rt::Task<void> ends_under_a_request(Closing& f) {
  co_await one_answered(f, "GET");
  auto x = co_await f.client.start(get_request("/"), true);
  f.stream.reset();
  EXPECT_FALSE(co_await (*x)->response());
  while (f.client.connections() > 0) co_await f.client.changed().wait();
  EXPECT_EQ(f.unannounced, 1);
  co_await one_answered(f, "POST");
  co_await one_answered(f, "POST");
}
TEST_F(Closing, AnEndUnderARequestCountsToo) { run(ends_under_a_request(*this)); }

rt::Task<void> announces(Closing& f) {
  f.fields = "Keep-Alive: max=9, Timeout=60\r\n";
  co_await one_answered(f, "POST");
  co_await one_answered(f, "POST", false);
  // Too near its end for what cannot be repeated.
  f.fields = "Keep-Alive: timeout=1\r\n";
  co_await one_answered(f, "POST", false);
  co_await one_answered(f, "POST");
  co_await one_answered(f, "GET", false);
  f.stream.reset();
  while (f.client.connections() > 0) co_await f.client.changed().wait();
  EXPECT_EQ(f.unannounced, 0);
  // A new answer has a new say; what is not a number says nothing.
  f.fields = "Keep-Alive: timeout=-1\r\n";
  co_await one_answered(f, "POST");
  co_await one_answered(f, "POST", false);
  // Announced for later: an end before that was not.
  f.fields = "Keep-Alive: timeout=60\r\n";
  co_await one_answered(f, "POST", false);
  f.stream.reset();
  while (f.client.connections() > 0) co_await f.client.changed().wait();
  EXPECT_EQ(f.unannounced, 1);
}
TEST_F(Closing, AnAnnouncedEndIsHeeded) { run(announces(*this)); }

rt::Task<void> cut_body(Closing& f) {
  rt::Running server(f.reactor, f.answer_one(true));
  http::RequestHead head = get_request("/");
  head.set_method("POST");
  head.headers.add(http::HeaderId::kContentLength, "10");
  auto x = co_await f.client.start(head, false);
  EXPECT_TRUE(x);
  EXPECT_TRUE(co_await (*x)->response());
  EXPECT_TRUE(co_await (*x)->read());
  EXPECT_TRUE((*x)->ended());
  auto finished = (*x)->finish();
  EXPECT_FALSE(finished);
  if (!finished) EXPECT_EQ(finished.error().reason, "the request body is shorter than its content-length");
}
TEST_F(Closing, ABodyThatEndsShortAfterItsAnswerIsAnError) { run(cut_body(*this)); }

INSTANTIATE_TEST_SUITE_P(Both, Pool, testing::Values(Protocol::kHttp1, Protocol::kHttp2),
                         [](auto& i) { return i.param == Protocol::kHttp1 ? "Http1" : "Http2"; });

}  // namespace
}  // namespace tulle::httpio
