// `tulle run`'s requests: to the control plane on its Unix socket, and to HTTP servers of the pod. HTTP/1.1, one
// connection each.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/result.h"
#include "libs/httpio/client.h"
#include "libs/rt/reactor.h"
#include "libs/rt/task.h"

namespace tulle::cli {

using Connector = httpio::Client::Connector;

struct Answer {
  int status = 0;
  std::string body;
};

// Sends a request and reads its answer, at most 4 MiB. `body` empty: none is sent; else it is JSON.
rt::Task<Result<Answer>> http_call(rt::Reactor& reactor, Connector connector, std::string method, std::string path,
                                   std::string body, TimePoint deadline);

// Sends GET and returns when the answer, which may take forever, has ended. `on_open` is called once it has begun with
// status 200. Gives why it ended.
rt::Task<Error> http_hold(rt::Reactor& reactor, Connector connector, std::string path, std::function<void()> on_open);

// The control plane's Unix socket; a server of another user (neither ours nor root's) is refused.
Connector unix_connector(rt::Reactor& reactor, std::string socket_path);
// An address of the host's network; `timeout` for connecting.
Connector tcp_connector(rt::Reactor& reactor, SocketAddr to, Duration timeout);

}  // namespace tulle::cli
