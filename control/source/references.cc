#include "control/source/references.h"

#include <set>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

// "shop.yaml:12" → its file and line.
Problem problem_at(const HttpRoute& route) {
  Problem out{
      Problem::Severity::kWarning, route.meta.origin, 0, cat("HTTPRoute ", route.meta.ref().to_string()), "", ""};
  size_t colon = out.file.rfind(':');
  if (colon == out.file.npos) return out;
  out.line = static_cast<int>(parse_number<uint32_t>(std::string_view(out.file).substr(colon + 1)).value_or(0));
  out.file.resize(colon);
  return out;
}

// What is wrong with a reference; "" when nothing is. `effect`: what happens to requests.
std::string complaint(const Service* service, const Ref& name, std::optional<uint16_t> port, std::string_view effect) {
  if (!service)
    return cat("there is no Service ", name.to_string(), ", so ", effect,
               "; accepted: a Service of a manifest, or one that `tulle run --service` makes");
  if (!port || service->find_port(*port) || !service->external_name.empty()) return "";
  std::string ports;
  for (const ServicePort& p : service->ports) append(ports, ports.empty() ? "" : ", ", p.port);
  return cat("Service ", name.to_string(), " has no port ", *port, ", so ", effect, "; accepted: ", ports);
}

bool is_service(std::string_view group, std::string_view kind) {
  return (group.empty() || group == "core") && kind == "Service";
}

}  // namespace

std::vector<Problem> missing_references(const HttpRoute& route, const FindService& find) {
  std::vector<Problem> out;
  std::set<std::string> said;
  auto look = [&](const Ref& name, std::optional<uint16_t> port, std::string at, std::string_view effect) {
    const Service* service = find(name);
    std::string message = complaint(service, name, port, effect);
    if (message.empty() || !said.insert(message).second) return;
    Problem problem = problem_at(route);
    problem.field = cat(at, service ? ".port" : ".name");
    problem.message = std::move(message);
    out.push_back(std::move(problem));
  };
  for (size_t i = 0; i < route.parents.size(); ++i) {
    const ParentRef& p = route.parents[i];
    if (is_service(p.group, p.kind))
      look({p.ns, p.name}, p.port, cat("spec.parentRefs[", i, "]"), "the route has no effect there");
  }
  for (size_t r = 0; r < route.rules.size(); ++r)
    for (size_t i = 0; i < route.rules[r].backends.size(); ++i) {
      const BackendRef& b = route.rules[r].backends[i];
      if (is_service(b.group, b.kind))
        look({b.ns, b.name}, b.port, cat("spec.rules[", r, "].backendRefs[", i, "]"),
             "what is sent there is answered with 502 (no-dispatcher)");
    }
  return out;
}

}  // namespace tulle::control
