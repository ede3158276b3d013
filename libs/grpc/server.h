// Serving gRPC: methods by path, each a coroutine over one call.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "libs/grpc/framing.h"
#include "libs/grpc/status.h"
#include "libs/httpio/exchange.h"

namespace tulle::grpc {

// One call, seen by the method that serves it. Cancelled with its method when the client goes away.
class ServerCall {
 public:
  explicit ServerCall(httpio::ServerExchange& exchange) : exchange_(exchange) {}
  // The request's metadata.
  const http::Headers& headers() const { return exchange_.request.headers; }
  // The next message of the client; nothing when it has sent all. Error: the call broke off or a message is bad.
  rt::Task<Outcome<std::optional<std::string>>> read();
  // Reads the one message of a unary or server-streaming request.
  rt::Task<Outcome<std::string>> read_one();
  // Sends a message, once there is room: a slow reader holds the method up, not our memory.
  rt::Task<Outcome<void>> write(Bytes message);

 private:
  friend class Server;
  void send_head();
  httpio::ServerExchange& exchange_;
  MessageReader messages_;
};

// Gives the status that ends the call.
using Method = std::function<rt::Task<Status>(ServerCall&)>;

// Owned by whoever serves; outlives the connections that use it.
class Server {
 public:
  // `path`: "/package.Service/Method".
  void add(std::string path, Method method) { methods_.emplace(std::move(path), std::move(method)); }
  // Serves one HTTP/2 request; unknown paths are UNIMPLEMENTED.
  rt::Task<void> handle(std::unique_ptr<httpio::ServerExchange> exchange) const;

 private:
  absl::flat_hash_map<std::string, Method> methods_;
};

}  // namespace tulle::grpc
