// The sockets of the control plane: gRPC, the API's Unix socket, the admin port. Belongs to one reactor.
#pragma once

#include <memory>
#include <string>

#include "control/api/api.h"
#include "control/app/publisher.h"
#include "libs/grpc/server.h"
#include "libs/httpio/server.h"
#include "libs/net/socket.h"
#include "libs/observe/metrics.h"
#include "libs/rt/scope.h"

namespace tulle::control {

// The present moment, both clocks.
ApiTime time_of(const rt::Reactor& reactor);

// What connections refer to; outlives them.
struct ServeParts {
  rt::Reactor& reactor;
  rt::Scope& connections;  // they live in it
  Api& api;
  Publisher& publisher;
  Settling& settling;
  grpc::Server& grpc;
  std::function<std::string()> metrics;
  bool closing = false;  // workloads whose holds end now stay registered, for the next control plane to find
  httpio::Drain drain;
  httpio::ServeOptions options;
  httpio::Handler grpc_handler, api_handler, admin_handler;

  ServeParts(rt::Reactor& r, rt::Scope& c, Api& a, Publisher& p, Settling& t, grpc::Server& g,
             std::function<std::string()> m);
  ServeParts(const ServeParts&) = delete;
};

// Each accepts until it is cancelled. `parts` outlives it.
rt::Task<void> serve_grpc(ServeParts& parts, net::Listener& listener);
rt::Task<void> serve_admin(ServeParts& parts, net::Listener& listener);
// Only peers of this user, or root, are heard.
rt::Task<void> serve_api(ServeParts& parts, net::Listener& listener);

}  // namespace tulle::control
