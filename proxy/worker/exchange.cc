#include "proxy/worker/exchange.h"

namespace tulle::proxy {

bool try_fresh(const httpio::ClientExchange& upstream, const http::RequestHead& request, bool no_body) {
  return upstream.stale() && no_body && http::is_idempotent(request.method_kind);
}

rt::Task<void> upload(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  auto r = co_await httpio::relay(client, upstream);
  if (!r && !upstream.error()) upstream.reset(http::H2Code::kCancel);
  client.changed().notify();
}

rt::Task<Result<http::ResponseHead>> response_head(httpio::ServerExchange& client, httpio::ClientExchange& upstream) {
  for (;;) {
    auto head = co_await upstream.response();
    if (!head || head->status >= 200 || head->status == 101) co_return head;
    client.interim(*head);
  }
}

}  // namespace tulle::proxy
