#include <benchmark/benchmark.h>

#include "libs/base/check.h"
#include "libs/http/h1.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::http {
namespace {

// 300 bytes, as a browser-like client sends.
constexpr std::string_view kRequest =
    "GET /api/v1/items/42?expand=all HTTP/1.1\r\n"
    "Host: api.default.svc.cluster.local:8080\r\n"
    "User-Agent: python-requests/2.31.0\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Accept: */*\r\n"
    "Connection: keep-alive\r\n"
    "X-Request-Id: 7f3c1d2e-88aa-4f0e-9d3b-0e6f5a1b2c3d\r\n"
    "Cookie: session=abcdef0123456789abcdef\r\n"
    "\r\n";
constexpr std::string_view kResponse =
    "HTTP/1.1 200 OK\r\n"
    "Server: nginx/1.22.1\r\n"
    "Date: Tue, 24 Nov 2026 08:12:40 GMT\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 20\r\n"
    "Connection: keep-alive\r\n"
    "\r\n"
    "{\"answer\":42,\"a\":\"b\"}";

void parse_request(benchmark::State& state) {
  H1Parser parser(Role::kRequest, Limits());
  for (auto _ : state) {
    Bytes in = kRequest;
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kRequest);
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kEnd);
    if (state.range(0)) RequestHead head = std::move(parser.request());  // as the request path does
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kRequest.size()));
}
BENCHMARK(parse_request)->ArgName("moved_out")->Arg(0)->Arg(1);

void parse_response(benchmark::State& state) {
  H1Parser parser(Role::kResponse, Limits());
  for (auto _ : state) {
    Bytes in = kResponse;
    parser.expect_response_to(Method::kGet);
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kResponse);
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kData);
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kEnd);
    ResponseHead head = std::move(parser.response());
    benchmark::DoNotOptimize(head);
  }
}
BENCHMARK(parse_response);

void forward_request(benchmark::State& state) {
  H1Parser parser(Role::kRequest, Limits());
  Buffer out;
  for (auto _ : state) {
    Bytes in = kRequest;
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kRequest);
    strip_hop_by_hop(parser.request().headers);
    TULLE_CHECK(encode_request(parser.request(), BodyFraming::none(), out));
    TULLE_CHECK(parser.next(in) == H1Parser::Event::kEnd);
    out.consume(out.size());
  }
}
BENCHMARK(forward_request);

}  // namespace
}  // namespace tulle::http
