// Calling gRPC methods over httpio::Client (HTTP/2).
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "libs/base/time.h"
#include "libs/grpc/framing.h"
#include "libs/grpc/status.h"
#include "libs/httpio/client.h"

namespace tulle::grpc {

// One call in progress: unary or server-streaming, its request already sent. Destroying it cancels the call.
class ClientCall {
 public:
  // The next message; nothing when the server has ended the call with OK. Error: how it ended otherwise.
  rt::Task<Outcome<std::optional<std::string>>> read();

 private:
  friend rt::Task<Outcome<ClientCall>> call(httpio::Client&, std::string, std::string, std::string);
  explicit ClientCall(std::unique_ptr<httpio::ClientExchange> x) : exchange_(std::move(x)) {}
  std::unique_ptr<httpio::ClientExchange> exchange_;
  MessageReader messages_;
  bool got_head_ = false;
  int http_status_ = 0;
};

// Starts a call with one request message. `authority`: the server's name for :authority.
rt::Task<Outcome<ClientCall>> call(httpio::Client& client, std::string authority, std::string path,
                                   std::string request);

// A whole unary call. kDeadlineExceeded when `deadline` passes.
rt::Task<Outcome<std::string>> unary(rt::Reactor& reactor, httpio::Client& client, std::string authority,
                                     std::string path, std::string request, TimePoint deadline);

}  // namespace tulle::grpc
