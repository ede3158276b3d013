#include "proxy/worker/exchange.h"

#include "libs/http/hop_by_hop.h"
#include "libs/rt/combine.h"

namespace tulle::proxy {

bool try_fresh(const httpio::ClientExchange& upstream, const http::RequestHead& request, bool no_body) {
  return upstream.stale() && no_body && http::is_idempotent(request.method_kind);
}

bool end_with_status(httpio::ServerExchange& client, const ProxyError& e, bool emit) {
  const auto& request = client.request;
  if (!client.responded() || request.version != http::Version::kHttp2 || !http::is_grpc(request.headers)) return false;
  http::Headers trailers;
  trailers.add(http::HeaderId::kGrpcStatus, cat(e.grpc_status));
  if (emit) trailers.add(http::HeaderId::kGrpcMessage, percent_encode(std::string_view(e.text).substr(0, 1024)));
  return client.finish(&trailers).has_value();
}

void strip_l5d_of_request(http::Headers& headers) {
  headers.remove_if([](const http::Header& h) { return h.name.starts_with("l5d-"); });
}

void strip_l5d_of_response(http::Headers& headers) {
  headers.remove_if([](const http::Header& h) { return h.id != http::HeaderId::kOther && h.name.starts_with("l5d-"); });
}

rt::Task<void> break_off(httpio::Exchange& to, http::H2Code code) {
  constexpr Duration kLongest = 10s;  // docs/limits.md
  rt::Reactor& reactor = to.changed().reactor();
  (void)co_await rt::until(reactor, reactor.now() + kLongest, to.sent());
  to.reset(code);
}

rt::Task<void> upload(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  auto r = co_await httpio::relay(client, upstream);
  if (!r && !upstream.error()) co_await break_off(upstream, http::H2Code::kCancel);
  client.changed().notify();
}

rt::Task<Result<http::ResponseHead>> response_head(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  for (;;) {
    auto head = co_await upstream.response();
    if (!head || head->status >= 200 || head->status == 101) co_return head;
    http::strip_hop_by_hop(head->headers, false);
    strip_l5d_of_response(head->headers);
    client.interim(*head);
  }
}

}  // namespace tulle::proxy
