// Both ends of HTTP connections as whole state machines: our client and our server, over connections in memory that
// move bytes in pieces, block, stall and break, while exchanges are begun, given up and reset at any moment, both sides
// drain, and memory runs out: then the connection that holds most is ended, between any two steps of what runs (blocks
// of our buffers are never refused; this is how the process stays below its limit). Or one of the ends says whatever it
// likes. What must hold, whatever happens:
// – each exchange ends exactly once on either side, and in bounded time after the last of what it waits for;
// – an answer that ends well is the whole answer to that request;
// – with nothing open any more, nothing is left: no connection, no task, no byte in a buffer, and no credit of a window
//   (a last exchange of several windows in both directions goes through on the same connection).
//
// First byte: bits 0–1: client and server, or raw bytes in place of the client (1) or the server (2); bit 2: HTTP/2;
// bit 3: faults. The next two seed the faults. Then one operation a byte; of a raw end: what it says.
#include <vector>

#include "libs/base/buffered.h"
#include "libs/base/check.h"
#include "libs/httpio/client.h"
#include "libs/httpio/server.h"
#include "libs/net/testing/memory_stream.h"

namespace tulle::httpio {
namespace {

using net::test::Faults;
using net::test::MemoryLink;
using net::test::MemoryStream;

// The byte at `i` of the body that belongs to a path.
std::string body_of(std::string_view path, size_t size) {
  std::string s(size, 0);
  for (size_t i = 0; i < size; ++i) s[i] = static_cast<char>(path[i % path.size()] + static_cast<char>(i >> 8));
  return s;
}

struct Counts {
  int begun = 0, ended = 0;
  struct Guard {
    Counts& c;
    explicit Guard(Counts& counts) : c(counts) { ++c.begun; }
    ~Guard() { ++c.ended; }
  };
};

class World {
 public:
  World(bool http2, bool faults, uint64_t seed)
      : protocol_(http2 ? Protocol::kHttp2 : Protocol::kHttp1), faults_(seed | 1, faults) {
    serve_options_.h2.stream_window = client_options_.h2.stream_window = 1000;
    serve_options_.h2.connection_window = client_options_.h2.connection_window = 65535;
    serve_options_.h2.max_concurrent_streams = 4;
    serve_options_.drain = &drain_;
    serve_options_.holders = &holders_;
    client_options_.max_connections = 4;
    client_options_.max_waiting = 8;
    handler_ = [this](std::unique_ptr<ServerExchange> x) { return handle(std::move(x)); };
    client_.emplace(reactor_, protocol_, [this] { return connect(); }, client_options_);
  }

  void two_ends(Bytes script);
  void raw(bool client, Bytes said);

 private:
  struct Sent {
    explicit Sent(rt::Reactor& r) : scope(r) {}
    rt::Scope scope;
    std::string result;  // "": given up
  };

  std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> pair() {
    links_.push_back(std::make_shared<MemoryLink>());
    return {std::make_unique<MemoryStream>(reactor_, links_.back(), 0, faults_),
            std::make_unique<MemoryStream>(reactor_, links_.back(), 1, faults_)};
  }
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect() {
    auto [client, server] = pair();
    serving_.spawn(serve_one(std::move(server)));
    co_return std::move(client);
  }
  // To an end that the test itself holds; one connection at a time.
  rt::Task<Result<std::unique_ptr<net::Stream>>> connect_raw(std::unique_ptr<MemoryStream>& mine) {
    if (mine) co_return fail(Code::kConnect, "refused", Side::kPeer, Retry::kSafe);
    auto [client, server] = pair();
    mine = std::move(server);
    co_return std::move(client);
  }
  rt::Task<void> serve_one(std::unique_ptr<net::Stream> stream) {
    Counts::Guard guard(connections_);
    co_await serve(std::move(stream), protocol_, Buffer(), serve_options_, handler_);
  }
  rt::Task<void> handle(std::unique_ptr<ServerExchange> x);
  rt::Task<void> send(std::string path, size_t size, Sent& sent);
  // An exchange is answered with the path and what was sent.
  void start(uint8_t plan) {
    static constexpr std::string_view kKinds = "eerxicdt";
    static constexpr size_t kSizes[] = {0, 1, 999, 70'000};
    exchanges_.push_back(std::make_unique<Sent>(reactor_));
    exchanges_.back()->scope.spawn(
        send(cat("/", kKinds[plan & 7], next_++), kSizes[(plan >> 3) & 3], *exchanges_.back()));
  }
  void turns(int n, Duration step = 100us) {
    for (; n > 0; --n) {
      now_ += step;
      reactor_.turn(0ms);
    }
  }
  template <class F>
  bool turn_until(F&& done) {
    for (int i = 0; i < 400 && !done(); ++i) turns(20);                      // what is on its way
    for (int i = 0; i < 400 && !done(); ++i) turns(4, i < 300 ? 50ms : 5s);  // what waits for a time
    return done();
  }
  // Ends the connection that holds most when `rounds` rounds of what is ready, or to be flushed, have gone by.
  struct Shed final : rt::Runnable {
    World& world;
    size_t rounds;
    Shed(World& w, size_t n) : world(w), rounds(n) { world.reactor_.schedule(*this); }
    void run() override {
      if (rounds-- > 0) return rounds & 1 ? world.reactor_.at_turn_end(*this) : world.reactor_.schedule(*this);
      std::vector<net::Holders::Holding> found;
      size_t total = 0;
      world.holders_.largest(1, 0, found, total);
      if (!found.empty()) TULLE_CHECK(world.holders_.shed(found[0].serial) == found[0].bytes);
    }
  };
  void finish(bool calm);

  TimePoint now_{1h};
  rt::Reactor reactor_{1, &now_};
  Protocol protocol_;
  Faults faults_;
  ServeOptions serve_options_;
  ClientOptions client_options_;
  Drain drain_;
  net::Holders holders_;
  Counts handled_, connections_, sent_;
  Handler handler_;
  std::vector<std::shared_ptr<MemoryLink>> links_;
  rt::Scope serving_{reactor_};
  std::optional<Client> client_;
  std::vector<std::unique_ptr<Sent>> exchanges_;
  int next_ = 0;
  bool raw_ = false;
};

rt::Task<void> World::handle(std::unique_ptr<ServerExchange> x) {
  Counts::Guard guard(handled_);
  std::string path = x->request.path;
  char kind = path.size() > 1 ? path[1] : 'e';
  if (kind == 'd') co_return;  // forgets it
  http::ResponseHead head;
  if (kind == 'i')
    x->interim([] {
      http::ResponseHead early;
      early.status = 103;
      return early;
    }());
  if (kind == 'c') x->close_connection();
  if (kind == 'x') {  // answers at once
    (void)x->respond(head, true);
    co_return;
  }
  std::string body;
  for (;;) {
    auto bytes = co_await x->read();
    if (!bytes) co_return;
    if (bytes->empty()) break;
    body.append(bytes->view());
    if (kind == 'r' && body.size() > 500) co_return x->reset(http::H2Code::kInternalError);
  }
  if (!raw_) TULLE_CHECK(body == body_of(path, body.size()));
  if (!x->respond(head, false)) co_return;
  body.insert(0, path);
  for (std::string_view rest = body; !rest.empty();) {
    Buffer b;
    b.append(rest.substr(0, 20'000));
    rest.remove_prefix(std::min<size_t>(rest.size(), 20'000));
    x->write(std::move(b));
    if (auto room = co_await x->room(); !room) co_return;
  }
  http::Headers trailers;
  trailers.add("x-sum", cat(body.size()));
  (void)x->finish(kind == 't' ? &trailers : nullptr);
}

rt::Task<void> World::send(std::string path, size_t size, Sent& sent) {
  Counts::Guard guard(sent_);
  http::RequestHead head;
  head.scheme = "http";
  head.authority = "a";
  head.path = path;
  head.set_method(size ? "POST" : "GET");
  std::string body = body_of(path, size);
  auto x = co_await client_->start(head, body.empty());
  if (!x) co_return void(sent.result = cat("error: ", x.error().reason));
  for (std::string_view rest = body; !rest.empty();) {
    Buffer b;
    b.append(rest.substr(0, 30'000));
    rest.remove_prefix(std::min<size_t>(rest.size(), 30'000));
    (*x)->write(std::move(b));
    if (auto room = co_await (*x)->room(); !room) break;  // it may be answered all the same
  }
  if (!body.empty()) (void)(*x)->finish();
  auto response = co_await (*x)->response();
  while (response && response->status < 200) response = co_await (*x)->response();
  if (!response) co_return void(sent.result = cat("error: ", response.error().reason));
  std::string got;
  for (;;) {
    auto bytes = co_await (*x)->read();
    if (!bytes) co_return void(sent.result = cat("error: ", bytes.error().reason));
    if (bytes->empty()) break;
    got.append(bytes->view());
  }
  sent.result = cat(response->status);
  if (raw_ || response->status != 200) co_return;
  if (path[1] == 'x') TULLE_CHECK(got.empty());
  else TULLE_CHECK(got == path + body);
  if (path[1] == 't') TULLE_CHECK((*x)->trailers() && (*x)->trailers()->get("x-sum") == cat(got.size()));
}

// `calm`: nothing was broken, stalled or drained, so that a last exchange must succeed.
void World::finish(bool calm) {
  for (auto& link : links_) link->stall(false);
  bool all = turn_until([&] { return std::ranges::all_of(exchanges_, [](auto& e) { return e->scope.size() == 0; }); });
  TULLE_CHECK(all);
  exchanges_.clear();
  TULLE_CHECK(sent_.begun == sent_.ended);
  TULLE_CHECK(turn_until([&] { return handled_.begun == handled_.ended; }));
  if (calm) {
    size_t made = links_.size();
    start(3 << 3);
    TULLE_CHECK(turn_until([&] { return exchanges_[0]->scope.size() == 0; }));
    TULLE_CHECK(exchanges_[0]->result == "200");
    if (protocol_ == Protocol::kHttp2 && made > 0) TULLE_CHECK(links_.size() <= made + 1);
    exchanges_.clear();
  }
  client_.reset();
  TULLE_CHECK(turn_until([&] { return serving_.size() == 0; }));
  TULLE_CHECK(connections_.begun == connections_.ended && handled_.begun == handled_.ended && drain_.empty());
  for (auto& link : links_) TULLE_CHECK(!link->ends[0] && !link->ends[1]);
}

void World::two_ends(Bytes script) {
  bool calm = true;
  for (char c : script.substr(0, 300)) {
    auto op = static_cast<uint8_t>(c);
    size_t which = op & 31;
    switch (op >> 5) {
      case 0:
      case 1: start(op); break;
      case 2:
        if (which < exchanges_.size()) exchanges_[which]->scope.cancel();
        break;
      case 3: turns(static_cast<int>(which) + 1); break;
      case 4:
        if (which < links_.size()) links_[which]->break_off(), calm = false;
        break;
      case 5:
        if (which / 2 < links_.size()) links_[which / 2]->stall(which & 1);
        break;
      case 6: turns(1, which * 100ms); break;
      case 7:
        if (which == 0) drain_.start(), calm = false;
        if (which == 1) client_->drain();
        if (which == 2) (void)client_.value().connected();
        if (which >= 4) {
          Shed shed(*this, which - 4);
          turns(1);
          calm = false;
          break;
        }
        turns(1);
        break;
    }
  }
  finish(calm);
}

void World::raw(bool client, Bytes said) {
  raw_ = true;
  std::unique_ptr<MemoryStream> mine;
  if (client) {
    auto [raw_end, server] = pair();
    serving_.spawn(serve_one(std::move(server)));
    mine = std::move(raw_end);
    if (protocol_ == Protocol::kHttp2) mine->write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  } else {
    client_.emplace(reactor_, protocol_, [&] { return connect_raw(mine); }, client_options_);
    for (uint8_t plan : {0, 16, 8}) start(plan);
    turns(20);
  }
  for (size_t i = 0; i < said.size() && mine; i += 97) {
    mine->write(said.substr(i, 97));
    turns(3);
  }
  turns(20);
  mine.reset();
  finish(false);
}

}  // namespace
}  // namespace tulle::httpio

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  if (size < 3) return 0;
  Bytes in(reinterpret_cast<const char*>(data) + 3, size - 3);
  static const size_t before = buffered_bytes();
  {
    httpio::World world(data[0] & 4, data[0] & 8, data[1] << 8 | data[2]);
    int mode = data[0] & 3;
    if (mode == 1 || mode == 2) world.raw(mode == 1, in);
    else world.two_ends(in);
  }
  TULLE_CHECK(buffered_bytes() < before + 128 * 1024);
  return 0;
}
