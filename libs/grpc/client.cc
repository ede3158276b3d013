#include "libs/grpc/client.h"

#include "libs/rt/combine.h"

namespace tulle::grpc {

rt::Task<Outcome<ClientCall>> call(httpio::Client& client, std::string authority, std::string path,
                                   std::string request) {
  http::RequestHead head;
  head.version = http::Version::kHttp2;
  head.set_method("POST");
  head.scheme = "http";
  head.authority = std::move(authority);
  head.path = std::move(path);
  head.headers.add(http::HeaderId::kContentType, "application/grpc");
  head.headers.add(http::HeaderId::kTe, "trailers");
  auto exchange = co_await client.start(head, false);
  if (!exchange) co_return std::unexpected(to_status(exchange.error()));
  Buffer framed;
  append_message(request, framed);
  (*exchange)->write(std::move(framed));
  (void)(*exchange)->finish();
  co_return ClientCall(std::move(*exchange));
}

rt::Task<Outcome<std::optional<std::string>>> ClientCall::read() {
  while (!got_head_) {
    auto head = co_await exchange_->response();
    if (!head) co_return std::unexpected(to_status(head.error()));
    if (head->status < 200) continue;
    got_head_ = true;
    http_status_ = head->status;
    if (head->status != 200 || head->headers.has(http::HeaderId::kGrpcStatus)) {
      Status status = read_status(head->status, head->headers);
      if (!status.ok()) co_return std::unexpected(std::move(status));
      co_return std::nullopt;
    }
  }
  for (;;) {
    auto message = messages_.next();
    if (!message) co_return std::unexpected(to_status(message.error()));
    if (*message) co_return std::move(*message);
    auto bytes = co_await exchange_->read();
    if (!bytes) co_return std::unexpected(to_status(bytes.error()));
    if (bytes->empty()) {
      Status status = exchange_->trailers() ? read_status(http_status_, *exchange_->trailers())
                                            : Status(StatusCode::kUnknown, "the response has no grpc-status");
      if (status.ok() && !messages_.clean())
        status = Status(StatusCode::kInternal, "the response ends inside a message");
      if (!status.ok()) co_return std::unexpected(std::move(status));
      co_return std::nullopt;
    }
    messages_.push(bytes->view());
  }
}

namespace {
rt::Task<Outcome<std::string>> unary_call(httpio::Client& client, std::string authority, std::string path,
                                          std::string request) {
  auto started = co_await call(client, std::move(authority), std::move(path), std::move(request));
  if (!started) co_return std::unexpected(std::move(started).error());
  auto message = co_await started->read();
  if (!message) co_return std::unexpected(std::move(message).error());
  if (!*message) co_return std::unexpected(Status(StatusCode::kInternal, "the response has no message"));
  auto end = co_await started->read();
  if (!end) co_return std::unexpected(std::move(end).error());
  co_return std::move(**message);
}
}  // namespace

rt::Task<Outcome<std::string>> unary(rt::Reactor& reactor, httpio::Client& client, std::string authority,
                                     std::string path, std::string request, TimePoint deadline) {
  auto r = co_await rt::until(reactor, deadline,
                              unary_call(client, std::move(authority), std::move(path), std::move(request)));
  if (!r) co_return std::unexpected(Status(StatusCode::kDeadlineExceeded, "no answer in time"));
  co_return std::move(*r);
}

}  // namespace tulle::grpc
