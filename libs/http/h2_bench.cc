#include <benchmark/benchmark.h>

#include "libs/base/check.h"
#include "libs/http/h2.h"

namespace tulle::http {
namespace {

struct Echo : H2Handler {
  void on_request(int32_t id, RequestHead&&, bool) override {
    TULLE_CHECK(session->submit_response(id, *answer, false));
    session->write_data(id, body);
    TULLE_CHECK(session->end_data(id));
  }
  void on_data(int32_t id, Bytes data) override { session->consume(id, data.size()); }
  void on_end(int32_t, Headers*) override { ++done; }
  void on_reset(int32_t, H2Code, bool) override { TULLE_CHECK(false); }
  H2Session* session = nullptr;
  const ResponseHead* answer = nullptr;
  Bytes body;
  size_t done = 0;
};

// So many GETs at once through a client and a server, each answered with 1 KiB; time per exchange, both ends.
void exchange(benchmark::State& state) {
  Echo c, s;
  H2Session client(H2Session::Role::kClient, {}, c), server(H2Session::Role::kServer, {}, s);
  c.session = &client;
  s.session = &server;
  ResponseHead answer;
  answer.headers.add("content-type", "application/json");
  answer.headers.add("date", "Tue, 24 Nov 2026 08:12:40 GMT");
  answer.headers.add("content-length", "1024");
  answer.headers.add("server", "nginx/1.22.1");
  s.answer = &answer;
  std::string body(1024, 'x');
  s.body = body;
  RequestHead request;
  request.authority = "api.default.svc.cluster.local:8080";
  request.path = "/api/v1/items/42?expand=all";
  request.headers.add("user-agent", "python-requests/2.31.0");
  request.headers.add("accept-encoding", "gzip, deflate");
  request.headers.add("accept", "*/*");
  request.headers.add("x-request-id", "7f3c1d2e-88aa-4f0e-9d3b-0e6f5a1b2c3d");
  request.headers.add("cookie", "session=abcdef0123456789abcdef");
  TimePoint now{};
  Buffer up, down;
  size_t asked = 0;
  for (auto _ : state) {
    for (int i = 0; i < state.range(0); ++i, ++asked) TULLE_CHECK(client.submit_request(request, true));
    while (c.done < asked) {
      client.produce(up);
      TULLE_CHECK(server.feed(up.view(), now));
      up.clear();
      server.produce(down, 1 << 20);
      TULLE_CHECK(client.feed(down.view(), now));
      down.clear();
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(asked));
}
BENCHMARK(exchange)->ArgName("concurrent")->Arg(1)->Arg(32);

void bulk(benchmark::State& state) {
  Echo c, s;
  H2Options wide;
  wide.connection_window = 1 << 24;
  wide.stream_window = 1 << 20;
  H2Session client(H2Session::Role::kClient, wide, c), server(H2Session::Role::kServer, wide, s);
  c.session = &client;
  s.session = &server;
  ResponseHead answer;
  s.answer = &answer;
  RequestHead request;
  request.authority = "a";
  std::string body(1 << 20, 'x');
  s.body = body;
  Buffer up, down;
  size_t asked = 0;
  for (auto _ : state) {
    TULLE_CHECK(client.submit_request(request, true));
    ++asked;
    while (c.done < asked) {
      client.produce(up);
      TULLE_CHECK(server.feed(up.view(), {}));
      up.clear();
      server.produce(down);
      TULLE_CHECK(client.feed(down.view(), {}));
      down.clear();
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(asked << 20));
}
BENCHMARK(bulk);

}  // namespace
}  // namespace tulle::http
