#include "libs/httpio/server.h"

#include "libs/httpio/h1_server.h"
#include "libs/httpio/h2_conn.h"

namespace tulle::httpio {

rt::Task<void> serve(std::unique_ptr<net::Stream> stream, Protocol protocol, Buffer initial,
                     const ServeOptions& options, const Handler& handler) {
  if (protocol == Protocol::kHttp2) {
    H2Server server(std::move(stream), options, handler);
    co_await server.run(std::move(initial));
  } else {
    H1Server server(std::move(stream), std::move(initial), options, handler);
    co_await server.run();
  }
}

}  // namespace tulle::httpio
