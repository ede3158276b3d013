// HTTP/1.1 requests of the CLI, one connection each: to the control plane's Unix socket, to the admin ports of pods,
// and to the programs in them. As coroutines on the caller's reactor, and, for commands that do nothing else, blocking.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/time.h"
#include "libs/httpio/client.h"
#include "libs/rt/reactor.h"
#include "libs/rt/task.h"

namespace tulle::cli {

using Connector = httpio::Client::Connector;

// The control plane's Unix socket; a server of another user (neither ours nor root's) is refused with kDenied.
Connector unix_connector(rt::Reactor& reactor, std::string socket_path);
// An address of the host's network; `timeout` for connecting.
Connector tcp_connector(rt::Reactor& reactor, SocketAddr to, Duration timeout);

struct HttpAnswer {
  int status = 0;
  std::string body;
};

inline constexpr size_t kMaxAnswer = 64 << 20;

// Sends a request and reads its answer. `body` empty: none is sent; else it is JSON. Errors: no connection (kConnect),
// more than `max_answer` bytes (kTooLarge), no answer until `deadline` (kTimeout).
rt::Task<Result<HttpAnswer>> http_call(rt::Reactor& reactor, Connector connector, std::string method, std::string path,
                                       std::string body, TimePoint deadline, size_t max_answer = kMaxAnswer);

// Sends GET and returns when the answer, which may take forever, has ended. `on_open` is called once it has begun with
// status 200. Gives why it ended.
rt::Task<Error> http_hold(rt::Reactor& reactor, Connector connector, std::string path, std::function<void()> on_open);

// Where to ask: a TCP address, or a Unix socket where `socket_path` is set.
struct HttpServer {
  SocketAddr address;
  std::string socket_path;
};

struct Ask {
  HttpServer server;
  std::string path;
};

// The answers to GETs, in the order of the questions, each within `timeout` or with an error. Blocking, with a reactor
// of its own.
std::vector<Result<HttpAnswer>> http_get_all(const std::vector<Ask>& asks, Duration timeout);
Result<HttpAnswer> http_get(const Ask& ask, Duration timeout);

}  // namespace tulle::cli
