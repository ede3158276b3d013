#include "libs/grpc/server.h"

namespace tulle::grpc {

rt::Task<Outcome<std::optional<std::string>>> ServerCall::read() {
  for (;;) {
    auto message = messages_.next();
    if (!message) co_return std::unexpected(to_status(message.error()));
    if (*message) co_return std::move(*message);
    auto bytes = co_await exchange_.read();
    if (!bytes) co_return std::unexpected(to_status(bytes.error()));
    if (bytes->empty()) {
      if (!messages_.clean())
        co_return std::unexpected(Status(StatusCode::kInternal, "the request ends inside a message"));
      co_return std::nullopt;
    }
    messages_.push(bytes->view());
  }
}

rt::Task<Outcome<std::string>> ServerCall::read_one() {
  auto message = co_await read();
  if (!message) co_return std::unexpected(std::move(message).error());
  if (!*message) co_return std::unexpected(Status(StatusCode::kInternal, "the request has no message"));
  co_return std::move(**message);
}

void ServerCall::send_head() {
  if (exchange_.responded()) return;
  http::ResponseHead head;
  head.headers.add(http::HeaderId::kContentType, "application/grpc");
  (void)exchange_.respond(head, false);
}

rt::Task<Outcome<void>> ServerCall::write(Bytes message) {
  send_head();
  Buffer framed;
  append_message(message, framed);
  exchange_.write(std::move(framed));
  auto room = co_await exchange_.room();
  if (!room) co_return std::unexpected(to_status(room.error()));
  co_return Outcome<void>{};
}

rt::Task<void> Server::handle(std::unique_ptr<httpio::ServerExchange> exchange) const {
  Status status;
  ServerCall call(*exchange);
  auto method = methods_.find(exchange->request.path);
  if (exchange->request.method_kind != http::Method::kPost || !http::is_grpc(exchange->request.headers)) {
    http::ResponseHead head;
    head.status = exchange->request.method_kind == http::Method::kPost ? 415 : 405;
    (void)exchange->respond(head, true);
    co_return;
  }
  if (method == methods_.end())
    status = Status(StatusCode::kUnimplemented, cat("no method ", quoted(exchange->request.path)));
  else status = co_await method->second(call);

  if (!exchange->responded()) {  // trailers only
    http::ResponseHead head;
    head.headers.add(http::HeaderId::kContentType, "application/grpc");
    write_status(status, head.headers);
    (void)exchange->respond(head, true);
  } else {
    http::Headers trailers;
    write_status(status, trailers);
    (void)exchange->finish(&trailers);
  }
}

}  // namespace tulle::grpc
