// The JSON API for the CLI, over HTTP/1.1 on a Unix socket (and its harmless part over TCP). Pure but for the files of
// workloads: requests in, answers out; app/ does the sockets.
//
//   POST   /v1/workloads             register: {name?, namespace?, service?, service_account?, labels?, annotations?,
//                                    ports: [{name?, port, served?}], address?, refused_addresses?, ready?, pid}
//                                    → {id, name, namespace, address, identity, ports: [{name, port, served}], token,
//                                    token_path, trust_anchors_pem, env: {…}, warnings: […]}
//                                    409: a workload of that name is running
//   GET    /v1/workloads/ID/hold     stays open, one JSON object a line; the workload is removed when it ends. Must
//                                    come within 10 s of the registration
//   POST   /v1/workloads/ID/ready    {"ready": bool}; answers once proxies were told
//   DELETE /v1/workloads/ID
//   GET    /v1/mesh                  name, version, ports, settings, counts, certificates: [{name, expires}] of the
//                                    trust root and the issuer, certificateLifetimeSeconds of a workload's
//   GET    /v1/ended-workloads       {items: [{namespace, name, service, service_account, ended}]}, the latest first:
//                                    those of the last hour, at most 1000
//   GET    /v1/resources/KIND        {kind: "List", items: […]}; ?namespace=, ?name=
//   GET    /v1/problems              {items: […]} of the manifests, what routes name and nobody declares included
//   GET    /v1/endpoints?target=     {endpoints: […]} for NAME.NS.svc.DOMAIN:PORT
//   GET    /v1/policy?target=        for svc/NS/NAME:PORT, an authority or an address, and pod/NS/NAME:PORT;
//                                    ?namespace= of the client
//   GET    /v1/names                 the table of names; ?namespace=
//   GET    /v1/prometheus-targets    the pods' admin ports, as Prometheus' http_sd wants them
//
// Errors: {"error": "what, where and what is accepted"} with 400, 404, 405, 409, 413 or 503.
#pragma once

#include <deque>
#include <string>
#include <string_view>

#include "control/api/plane.h"
#include "control/api/workload_files.h"
#include "libs/base/addr.h"

namespace tulle::control {

struct ApiRequest {
  std::string method;
  std::string path;  // with query
  std::string body;
};

struct ApiAnswer {
  int status = 200;
  std::string body;             // JSON
  bool when_published = false;  // to be sent once proxies were told of what this request changed
  std::string_view allow = {};  // of a 405: the method that the path takes
};

struct ApiTime {
  TimePoint now;
  WallTime wall;
  int64_t unix_seconds() const {
    return std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count();
  }
};

class Api {
 public:
  struct Options {
    std::string mesh_name;
    SocketAddr grpc;   // where proxies find the control plane
    SocketAddr admin;  // /metrics and the like
    std::string version;
    std::string manifests = "";  // the folder; "": none
    std::string log = "info";
  };
  // Both outlive this.
  Api(Options options, Plane& plane, WorkloadFiles& files)
      : options_(std::move(options)), plane_(plane), files_(files) {}

  // Any request but a hold.
  ApiAnswer handle(const ApiRequest& request, const ApiTime& time);
  // The GETs that anybody on this machine may ask: mesh, prometheus-targets.
  ApiAnswer handle_public(const ApiRequest& request);
  // What GET /v1/mesh says but for the counts, which do not last: for mesh.json.
  std::string settings() const;

  // The ID of a hold request; nothing for any other.
  static std::optional<std::string> hold_id(const ApiRequest& request);
  // The workload stays from now on. The answer's body is the first line.
  ApiAnswer hold(std::string_view id);
  // Its hold has ended.
  void end(std::string_view id, const ApiTime& time);
  // Removes what nobody came to hold, and writes the tokens anew that are half through their life.
  void tidy(const ApiTime& time);

  // The workloads that are running now and are not in `expected`'s way: those of `expected` that are missing.
  size_t missing(const std::vector<Ref>& expected) const;

 private:
  ApiAnswer register_workload(std::string_view body, const ApiTime& time);
  ApiAnswer set_ready(std::string_view id, std::string_view body, const ApiTime& time);
  ApiAnswer remove_workload(std::string_view id, const ApiTime& time);
  ApiAnswer get(std::string_view path, std::string_view query);
  ApiAnswer mesh() const;
  ApiAnswer resources(std::string_view kind, std::string_view query) const;
  std::vector<Problem> all_problems() const;
  ApiAnswer problems() const;
  ApiAnswer ended_workloads() const;
  ApiAnswer endpoints(std::string_view query) const;
  ApiAnswer policy(std::string_view query) const;
  ApiAnswer names(std::string_view query) const;
  ApiAnswer prometheus_targets() const;
  std::string new_token(const Pod& pod, WallTime now) const;
  std::vector<std::string> warnings(const Pod& pod) const;

  Options options_;
  Plane& plane_;
  WorkloadFiles& files_;
  WallTime tokens_written_{};
  struct Ended {
    Ref ref;
    std::string service, service_account;
    WallTime at;
  };
  std::deque<Ended> ended_;  // the latest first
};

// The environment of a workload's proxy, but for what `tulle run` alone knows. Pure.
std::map<std::string, std::string> proxy_environment(const Plane& plane, const Pod& pod, SocketAddr grpc,
                                                     const std::string& token_path);

}  // namespace tulle::control
