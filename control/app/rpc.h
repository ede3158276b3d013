// The gRPC services of the control plane: Linkerd's and our own. Each stream sends what its answer is now and, whenever
// something that the answer depends on has changed, what has become of it. A stream that its client reads slowly holds
// one message: what changes meanwhile is told as one step. Belongs to one reactor.
#pragma once

#include <map>
#include <string>

#include "control/api/plane.h"
#include "control/app/publisher.h"
#include "libs/grpc/server.h"
#include "libs/observe/metrics.h"
#include "libs/rt/reactor.h"

namespace tulle::control {

class Rpc {
 public:
  // All outlive this.
  Rpc(rt::Reactor& reactor, Plane& plane, Publisher& publisher, Settling& settling, observe::Shard& shard)
      : reactor_(reactor), plane_(plane), publisher_(publisher), settling_(settling), shard_(shard) {}

  // Adds the methods; `server` must not outlive this.
  void add_to(grpc::Server& server);

 private:
  using Messages = EndpointCache::Messages;
  // What there is to send, given the topics that were read; null: nothing new. Error: ends the stream.
  using Answer = std::move_only_function<grpc::Outcome<Messages>(TopicSet& read)>;
  using Handler = rt::Task<grpc::Status> (Rpc::*)(grpc::ServerCall&);

  void add(grpc::Server& server, std::string_view path, Handler handler);
  rt::Task<grpc::Status> counted(std::string path, Handler handler, grpc::ServerCall& call);
  rt::Task<grpc::Status> watch(grpc::ServerCall& call, Answer answer);
  // An answer that is one message, sent when it differs from the last.
  Answer latest(std::move_only_function<grpc::Outcome<std::string>(const Snapshot&)> make);
  // Sends the one message and ends.
  rt::Task<grpc::Status> once(grpc::ServerCall& call,
                              std::move_only_function<grpc::Outcome<std::string>(const Snapshot&)> make);

  rt::Task<grpc::Status> get(grpc::ServerCall& call);
  rt::Task<grpc::Status> get_profile(grpc::ServerCall& call);
  rt::Task<grpc::Status> outbound_get(grpc::ServerCall& call);
  rt::Task<grpc::Status> outbound_watch(grpc::ServerCall& call);
  rt::Task<grpc::Status> inbound_get(grpc::ServerCall& call);
  rt::Task<grpc::Status> inbound_watch(grpc::ServerCall& call);
  rt::Task<grpc::Status> certify(grpc::ServerCall& call);
  rt::Task<grpc::Status> names(grpc::ServerCall& call);
  rt::Task<grpc::Status> trust_bundle(grpc::ServerCall& call);
  rt::Task<grpc::Status> check_digests(grpc::ServerCall& call);
  std::string names_message(const Snapshot& snapshot, const std::string& ns);

  rt::Reactor& reactor_;
  Plane& plane_;
  Publisher& publisher_;
  Settling& settling_;
  observe::Shard& shard_;
  struct NamesMemo {
    uint64_t generation = 0;
    std::string message;
  };
  std::map<std::string, NamesMemo> names_;  // by namespace; as many as there are
};

}  // namespace tulle::control
