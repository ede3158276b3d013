// An HTTP/2 connection whose peer takes long to read, and then takes everything at once.
#include <sys/socket.h>

#include "libs/http/h2.h"
#include "libs/httpio/test_loop.h"

namespace tulle::httpio {
namespace {

constexpr size_t kBody = 1024 * 1024;
constexpr int kStreams = 16;

rt::Task<void> send_body(std::unique_ptr<ServerExchange> x) {
  http::ResponseHead head;
  EXPECT_TRUE(x->respond(head, false));
  for (size_t sent = 0; sent < kBody;) {
    Buffer b;
    b.append(std::string(32 * 1024, 'b'));
    sent += b.size();
    x->write(std::move(b));
    if (auto room = co_await x->room(); !room) co_return;
  }
  (void)x->finish();
}

// Windows so large that it never says anything more.
struct Reader final : http::H2Handler {
  size_t bytes = 0;
  int ended = 0;
  void on_data(int32_t, Bytes data) override { bytes += data.size(); }
  void on_end(int32_t, http::Headers*) override { ++ended; }
  void on_reset(int32_t, http::H2Code, bool) override {}
};

struct Flush : TestLoop, testing::Test {};

TEST_F(Flush, APeerThatTakesAllAtOnceGetsAllOfIt) {
  auto listener = listen();
  Handler handler = send_body;
  serve_on(*listener, Protocol::kHttp2, handler);
  http::H2Options options;
  options.stream_window = options.connection_window = 0x7fffffff;
  Reader reader;
  http::H2Session client(http::H2Session::Role::kClient, options, reader);
  for (int i = 0; i < kStreams; ++i) EXPECT_TRUE(client.submit_request(get_request("/"), true));
  Buffer out;
  client.produce(out);

  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage to;
  socklen_t size = listener->local().to_sockaddr(to);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
  ASSERT_EQ(::send(fd.get(), out.view().data(), out.size(), 0), static_cast<ssize_t>(out.size()));
  std::string buffer(256 * 1024, 0);
  EXPECT_TRUE(turn_until([&] {
    // What the socket holds, all of it, and only then a turn of the server.
    for (;;) {
      ssize_t n = ::recv(fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n <= 0) break;
      EXPECT_TRUE(client.feed(Bytes(buffer.data(), static_cast<size_t>(n)), reactor.now()));
    }
    return reader.ended == kStreams;
  })) << reader.bytes
      << " bytes of " << kStreams * kBody;
  scope.cancel();
}

// The rest of a head comes in the very turn in which its time is over.
TEST_F(Flush, ARefusedConnectionIsCountedOnce) {
  options.header_timeout = 20ms;
  std::vector<std::string> refused;
  options.on_refused = [&](std::string_view why) { refused.emplace_back(why); };
  auto listener = listen();
  Handler handler = send_body;
  serve_on(*listener, Protocol::kHttp2, handler);
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage to;
  socklen_t size = listener->local().to_sockaddr(to);
  ASSERT_EQ(::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), size), 0);
  ASSERT_EQ(::send(fd.get(), "PRI *", 5, 0), 5);
  TimePoint begun = Clock::now();
  ASSERT_TRUE(turn_until([&] { return serving == 1; }));
  for (int i = 0; i < 5; ++i) reactor.turn(0ms);
  while (Clock::now() < begun + 50ms) {  // the loop is held up
  }
  ASSERT_EQ(::send(fd.get(), " HTTP", 5, 0), 5);
  EXPECT_TRUE(turn_until([&] { return !refused.empty(); }));
  for (int i = 0; i < 5; ++i) reactor.turn(0ms);
  EXPECT_EQ(refused, std::vector<std::string>{"header timeout"});
  scope.cancel();
}

}  // namespace
}  // namespace tulle::httpio
