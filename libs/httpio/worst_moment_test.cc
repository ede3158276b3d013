// Memory runs out at every moment of an exchange. Our buffers never refuse a block (without memory the process ends),
// so that what can fail is this: the guard ends the connection that holds most, between two steps of whatever runs.
// Here it does so before the 1st, 2nd, 3rd … step of an exchange through a proxy, until one passes untouched.
#include "libs/base/buffered.h"
#include "libs/httpio/test_loop.h"
#include "libs/net/testing/memory_stream.h"

namespace tulle::httpio {
namespace {

using net::test::MemoryLink;
using net::test::MemoryStream;

constexpr size_t kBody = 150'000;  // more than the windows and the marks

enum class Worst : uint8_t { kNoMemory, kClientGone, kOriginGone };

struct Exchanges : testing::TestWithParam<std::tuple<Worst, Protocol, Protocol>> {
  TimePoint now{1h};
  rt::Reactor reactor{1, &now};
  net::test::Faults faults{1, true};  // pieces of any size: more moments
  net::Holders holders;
  ServeOptions of_proxy, of_origin;
  std::vector<std::shared_ptr<MemoryLink>> down, up;
  rt::Scope serving{reactor};
  Handler origin = [this](std::unique_ptr<ServerExchange> x) { return echo(std::move(x)); };
  Handler pass = [this](std::unique_ptr<ServerExchange> x) { return pass_on(std::move(x)); };
  std::optional<Client> upstream, client;
  int begun = 0, ended = 0, passed_begun = 0, passed_ended = 0;
  size_t broken = 0, most = 0;

  void once(size_t n, bool& happened);

  void SetUp() override {
    auto [worst, from_client, to_origin] = GetParam();
    of_proxy.holders = &holders;
    of_proxy.h2.stream_window = 20'000;
    upstream.emplace(
        reactor, to_origin, [this, p = to_origin] { return connect(p, up, of_origin, origin); }, ClientOptions());
    client.emplace(
        reactor, from_client, [this, p = from_client] { return connect(p, down, of_proxy, pass); }, ClientOptions());
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect(Protocol p, std::vector<std::shared_ptr<MemoryLink>>& links,
                                                         const ServeOptions& options, const Handler& handler) {
    auto link = links.emplace_back(std::make_shared<MemoryLink>());
    auto here = std::make_unique<MemoryStream>(reactor, link, 0, faults);
    auto there = std::make_unique<MemoryStream>(reactor, link, 1, faults);
    serving.spawn(serve(std::move(there), p, Buffer(), options, handler));
    co_return std::move(here);
  }
  // What was held by that.
  size_t happens() {
    switch (std::get<0>(GetParam())) {
      case Worst::kClientGone:
        if (!down.empty()) down.back()->break_off();
        return held();
      case Worst::kOriginGone:
        if (!up.empty()) up.back()->break_off();
        return held();
      case Worst::kNoMemory: break;
    }
    std::vector<net::Holders::Holding> found;
    size_t total = 0;
    holders.largest(1, 0, found, total);
    return found.empty() ? 0 : holders.shed(found[0].serial).value_or(0);
  }
  struct Counted {
    int& n;
    explicit Counted(int& begun, int& ended) : n(ended) { ++begun; }
    ~Counted() { ++n; }
  };
  rt::Task<void> echo(std::unique_ptr<ServerExchange> x) {
    Counted counted(begun, ended);
    http::ResponseHead head;
    if (!x->respond(head, false)) co_return;
    for (;;) {
      auto bytes = co_await x->read();
      if (!bytes) co_return;
      if (bytes->empty()) break;
      x->write(std::move(*bytes));
      if (auto room = co_await x->room(); !room) co_return;
    }
    (void)x->finish();
  }
  rt::Task<void> pass_on(std::unique_ptr<ServerExchange> x) {
    Counted counted(passed_begun, passed_ended);
    auto up = co_await upstream->start(x->request, false);
    if (!up) co_return;
    rt::Running body(reactor, relay_request(*x, **up));
    auto head = co_await (*up)->response();
    if (!head || !x->respond(*head, false)) co_return;
    (void)co_await relay(**up, *x);
  }
  static rt::Task<void> relay_request(ServerExchange& x, ClientExchange& up) { (void)co_await relay(x, up); }

  // One exchange; "whole", or why not.
  rt::Task<void> ask(std::string& result) {
    http::RequestHead head = get_request("/");
    head.set_method("POST");
    auto x = co_await client->start(head, false);
    if (!x) co_return void(result = cat("error: ", x.error().reason));
    rt::Running sending(reactor, send(**x));
    auto response = co_await (*x)->response();
    if (!response) co_return void(result = cat("error: ", response.error().reason));
    if (response->status != 200) co_return void(result = cat("error: ", response->status));
    std::string got;
    for (;;) {
      auto bytes = co_await (*x)->read();
      if (!bytes) co_return void(result = cat("error: ", bytes.error().reason));
      if (bytes->empty()) break;
      got.append(bytes->view());
    }
    result = got == std::string(kBody, 'b') ? "whole" : cat("a part of ", got.size(), " taken for the whole");
  }
  rt::Task<void> send(ClientExchange& x) {
    for (size_t left = kBody; left > 0;) {
      Buffer b;
      b.append(std::string(std::min<size_t>(left, 10'000), 'b'));
      left -= b.size();
      x.write(std::move(b));
      if (auto room = co_await x.room(); !room) co_return;
    }
    (void)x.finish();
  }
  template <class F>
  bool turn_until(F&& done) {
    for (int i = 0; i < 20'000 && !done(); ++i) {
      now += 1ms;
      reactor.turn(0ms);
    }
    return done();
  }
  size_t held() {
    std::vector<net::Holders::Holding> some;
    size_t total = 0;
    holders.largest(0, 0, some, total);
    return total;
  }
};

// Lets it happen when so many rounds of what is ready, or to be flushed, have gone by; unless `result` is there.
struct Later final : rt::Runnable {
  Exchanges& t;
  const std::string& result;
  size_t steps;
  bool done = false;
  size_t bytes = 0;
  Later(Exchanges& test, const std::string& r, size_t n) : t(test), result(r), steps(n) { t.reactor.schedule(*this); }
  void run() override {
    if (!result.empty()) return;
    if (steps > 0) return --steps & 1 ? t.reactor.at_turn_end(*this) : t.reactor.schedule(*this);
    done = true;
    bytes = t.happens();
  }
};

// One exchange, and at its nth moment it happens; gives whether there was such a moment.
void Exchanges::once(size_t n, bool& happened) {
  std::string result;
  rt::Running asking(reactor, ask(result));
  Later later(*this, result, n);
  ASSERT_TRUE(turn_until([&] { return !result.empty(); })) << n;
  happened = later.done;
  broken += result != "whole";
  most = std::max(most, later.bytes);
  ASSERT_TRUE(result == "whole" || (happened && result.starts_with("error: "))) << n << ": " << result;
  ASSERT_TRUE(turn_until([&] { return begun == ended && passed_begun == passed_ended && held() == 0; })) << n;
}

TEST_P(Exchanges, EndOnceAndLeaveNothingWheneverItHappens) {
  const size_t before = buffered_bytes();
  int asked = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    faults.rng = Rng(seed);
    bool happened = true;
    for (size_t n = 0; happened; ++n, ++asked) {
      ASSERT_LT(n, 5000u) << "no exchange passed untouched";
      once(n, happened);
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(broken, 50u);
  EXPECT_GT(most, 4096u) << "and among the moments are those that hold much";
  EXPECT_LE(passed_begun, asked) << "each is passed on once";
  client.reset();
  upstream.reset();
  EXPECT_TRUE(turn_until([&] { return serving.size() == 0; }));
  for (auto* links : {&down, &up}) {
    for (const auto& link : *links) EXPECT_TRUE(!link->ends[0] && !link->ends[1]);
    links->clear();
  }
  EXPECT_LT(buffered_bytes(), before + 128 * 1024);
}

std::string name(const testing::TestParamInfo<Exchanges::ParamType>& i) {
  constexpr std::string_view kWorst[] = {"NoMemory", "ClientGone", "OriginGone"}, kProtocols[] = {"Http1", "Http2"};
  return cat(kWorst[static_cast<size_t>(std::get<0>(i.param))], kProtocols[static_cast<size_t>(std::get<1>(i.param))],
             "To", kProtocols[static_cast<size_t>(std::get<2>(i.param))]);
}

INSTANTIATE_TEST_SUITE_P(All, Exchanges,
                         testing::Combine(testing::Values(Worst::kNoMemory, Worst::kClientGone, Worst::kOriginGone),
                                          testing::Values(Protocol::kHttp1, Protocol::kHttp2),
                                          testing::Values(Protocol::kHttp1, Protocol::kHttp2)),
                         name);

}  // namespace
}  // namespace tulle::httpio
