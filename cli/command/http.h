// HTTP requests of the CLI: to a control plane's Unix socket and to the admin ports of pods. Blocking, each call with a
// reactor of its own.
#pragma once

#include <string>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/time.h"

namespace tulle::cli {

// Where to ask: a TCP address, or a Unix socket where `socket_path` is set.
struct HttpServer {
  SocketAddr address;
  std::string socket_path;
};

struct Ask {
  HttpServer server;
  std::string path;
};

struct HttpAnswer {
  int status = 0;
  std::string body;
};

// The answer to GET. Errors: no connection (kConnect), more than 64 MiB (kTooLarge), no answer in `timeout` (kTimeout).
Result<HttpAnswer> http_get(const Ask& ask, Duration timeout);
// The same for many at once; answers in the order of the questions.
std::vector<Result<HttpAnswer>> http_get_all(const std::vector<Ask>& asks, Duration timeout);

}  // namespace tulle::cli
