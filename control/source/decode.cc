#include "control/source/decode.h"

#include <algorithm>
#include <ctime>
#include <set>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

// RFC 3339 in UTC, as Kubernetes writes it: "2026-11-24T08:00:00Z".
std::optional<int64_t> parse_timestamp(std::string_view text) {
  std::tm tm{};
  std::string copy(text);
  const char* end = strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%SZ", &tm);
  if (!end || *end != '\0') return std::nullopt;
  return timegm(&tm);
}

void check_labels(Fields& meta, std::string_view field, const Labels& labels, bool values) {
  for (const auto& [key, value] : labels) {
    if (!is_label_key(key))
      meta.error(field, cat("found the key ", quoted(key), "; accepted: [PREFIX/]NAME of letters, digits, -, _ and ."));
    if (values && !is_label_value(value))
      meta.error(field,
                 cat("found ", quoted(value), " for ", key, "; accepted: at most 63 letters, digits, -, _ and ."));
  }
}

constexpr std::string_view kNameForm = "a name of a-z, 0-9, - and ., such as api";

}  // namespace

Metadata decode_metadata(Fields& document, bool namespaced) {
  Metadata out;
  Fields meta(document.require("metadata", "a map with a name"), "metadata", document.report());
  if (!meta.present()) return out;
  out.name = meta.require_text("name", kNameForm);
  if (!out.name.empty() && !is_dns_subdomain(out.name))
    meta.error("name", cat("found ", quoted(out.name), "; accepted: ", kNameForm));
  out.ns = meta.text_or("namespace", namespaced ? "default" : "");
  if (namespaced && !is_dns_label(out.ns))
    meta.error("namespace", cat("found ", quoted(out.ns), "; accepted: a name of a-z, 0-9 and -"));
  if (!namespaced && !out.ns.empty()) meta.error("namespace", "this kind has no namespace");
  out.labels = meta.labels("labels");
  check_labels(meta, "labels", out.labels, true);
  out.annotations = meta.labels("annotations");
  check_labels(meta, "annotations", out.annotations, false);
  if (auto created = meta.text("creationTimestamp")) {
    if (auto t = parse_timestamp(*created)) out.created = *t;
    else
      meta.error("creationTimestamp",
                 cat("found ", quoted(*created), "; accepted: a time such as 2026-11-24T08:00:00Z"));
  }
  meta.ignore({"uid", "resourceVersion", "generation", "managedFields", "ownerReferences", "finalizers", "selfLink",
               "deletionTimestamp", "deletionGracePeriodSeconds"});
  return out;
}

Namespace decode_namespace(Fields& document) {
  Namespace out{decode_metadata(document, false)};
  document.ignore({"spec", "status"});
  return out;
}

namespace {

ServicePort decode_service_port(Fields& port, bool several) {
  ServicePort out;
  out.name = port.text_or("name", "");
  if (!out.name.empty() && !is_dns_label(out.name))
    port.error("name", cat("found ", quoted(out.name), "; accepted: a name of a-z, 0-9 and -"));
  if (several && out.name.empty()) port.error("name", "missing; a Service with several ports names each");
  if (auto n = port.number("port", 1, 65535)) out.port = static_cast<uint16_t>(*n);
  else if (!port.report().failed()) port.error("port", "missing; accepted: a whole number from 1 to 65535");
  out.target = port.port_ref("targetPort").value_or(PortRef(out.port));
  out.app_protocol = port.text("appProtocol");
  port.word("protocol", {"TCP"});
  port.ignore({"nodePort"});
  return out;
}

void decode_service_ports(Fields& spec, Service& out) {
  const YamlNode* list = spec.take("ports");
  bool several = list && list->is_list() && list->items.size() > 1;
  std::set<std::string> names;
  std::set<uint16_t> numbers;
  spec.each("ports", 100, [&](const YamlNode& item, const std::string& at) {
    Fields port(&item, at, spec.report());
    if (!port.present()) return;
    ServicePort p = decode_service_port(port, several);
    if (!names.insert(p.name).second) port.error("name", cat(quoted(p.name), " names another port already"));
    if (!numbers.insert(p.port).second) port.error("port", cat(p.port, " is there already"));
    out.ports.push_back(std::move(p));
  });
}

}  // namespace

Service decode_service(Fields& document) {
  Service out;
  out.meta = decode_metadata(document, true);
  if (is_dns_subdomain(out.meta.name) && !is_dns_label(out.meta.name))
    document.report().error(document.line(), "metadata.name",
                            cat("found ", quoted(out.meta.name), "; accepted: a name of a-z, 0-9 and -"));
  Fields spec(document.require("spec", "a map with ports"), "spec", document.report());
  document.ignore({"status"});
  if (!spec.present()) return out;
  decode_service_ports(spec, out);
  out.selector = spec.labels("selector");
  out.publish_not_ready = spec.boolean("publishNotReadyAddresses").value_or(false);
  std::string type = spec.word("type", {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}).value_or("ClusterIP");
  if (type == "ExternalName") {
    out.external_name = spec.require_text("externalName", "a DNS name");
  } else {
    spec.ignore({"externalName"});
    if (out.ports.empty() && !spec.report().failed())
      spec.error("ports",
                 "a Service without ports takes no requests; accepted: a list of ports, such as [{port: 80, "
                 "targetPort: 8080}], or type ExternalName");
  }
  if (auto ip = spec.text("clusterIP")) {
    if (*ip == "None") out.headless = true;
    else if (!ip->empty())
      spec.report().warn(spec.line(), "spec.clusterIP", "not acted on: the mesh gives each Service its address");
  }
  spec.not_acted_on({"internalTrafficPolicy", "sessionAffinity", "trafficDistribution"});
  spec.ignore({"clusterIPs", "ipFamilies", "ipFamilyPolicy", "sessionAffinityConfig", "externalTrafficPolicy",
               "externalIPs", "loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges",
               "allocateLoadBalancerNodePorts", "healthCheckNodePort"});
  return out;
}

EndpointSlice decode_endpoint_slice(Fields& document) {
  EndpointSlice out;
  out.meta = decode_metadata(document, true);
  auto label = out.meta.labels.find("kubernetes.io/service-name");
  if (label != out.meta.labels.end()) out.service = label->second;
  else
    document.report().error(document.line(), "metadata.labels",
                            "missing kubernetes.io/service-name; accepted: the name of a Service");
  if (auto type = document.word("addressType", {"IPv4"}); !type && !document.report().failed())
    document.error("addressType", "missing; accepted: IPv4");
  document.each("ports", 100, [&](const YamlNode& item, const std::string& at) {
    Fields port(&item, at, document.report());
    EndpointSlice::Port p;
    p.name = port.text_or("name", "");
    if (auto n = port.number("port", 1, 65535)) p.port = static_cast<uint16_t>(*n);
    else if (port.present()) port.error("port", "accepted: a whole number from 1 to 65535");
    port.word("protocol", {"TCP"});
    port.ignore({"appProtocol"});
    out.ports.push_back(std::move(p));
  });
  document.each("endpoints", 1000, [&](const YamlNode& item, const std::string& at) {
    Fields e(&item, at, document.report());
    EndpointSlice::Endpoint endpoint;
    for (const std::string& text : e.texts("addresses", 100)) {
      auto ip = IpAddr::parse(text);
      if (ip && ip->is_v4()) endpoint.addresses.push_back(*ip);
      else e.error("addresses", cat("found ", quoted(text), "; accepted: IPv4 addresses"));
    }
    if (endpoint.addresses.empty() && !document.report().failed())
      e.error("addresses", "missing; accepted: a list of IPv4 addresses");
    endpoint.hostname = e.text_or("hostname", "");
    endpoint.zone = e.text_or("zone", "");
    Fields conditions(e.take("conditions"), at + ".conditions", document.report());
    endpoint.ready = conditions.boolean("ready").value_or(true);
    conditions.ignore({"serving", "terminating"});
    e.not_acted_on({"targetRef", "nodeName", "hints"});
    e.ignore({"deprecatedTopology"});
    out.endpoints.push_back(std::move(endpoint));
  });
  return out;
}

LabelSelector decode_label_selector(const YamlNode* node, const std::string& path, Report& report) {
  LabelSelector out;
  Fields selector(node, path, report);
  out.match_labels = selector.labels("matchLabels");
  selector.each("matchExpressions", 100, [&](const YamlNode& item, const std::string& at) {
    using Op = LabelSelector::Operator;
    Fields e(&item, at, report);
    LabelSelector::Expression expression;
    expression.key = e.require_text("key", "the key of a label");
    std::string op = e.word("operator", {"In", "NotIn", "Exists", "DoesNotExist"}).value_or("");
    if (op.empty() && !report.failed()) e.error("operator", "missing; accepted: In, NotIn, Exists, DoesNotExist");
    expression.op = op == "In"       ? Op::kIn
                    : op == "NotIn"  ? Op::kNotIn
                    : op == "Exists" ? Op::kExists
                                     : Op::kDoesNotExist;
    expression.values = e.texts("values", 100);
    bool takes_values = op == "In" || op == "NotIn";
    if (takes_values == expression.values.empty() && !op.empty())
      e.error("values",
              takes_values ? "missing; accepted: a list of at least one value" : cat("not accepted with ", op));
    out.expressions.push_back(std::move(expression));
  });
  return out;
}

Server decode_server(Fields& document) {
  Server out;
  out.meta = decode_metadata(document, true);
  Report& report = document.report();
  Fields spec(document.require("spec", "a map with podSelector and port"), "spec", report);
  document.ignore({"status"});
  if (!spec.present()) return out;
  const YamlNode* pods = spec.take("podSelector");
  const YamlNode* external = spec.take("externalWorkloadSelector");
  if (!pods == !external)
    spec.error("podSelector", "accepted: exactly one of podSelector and externalWorkloadSelector");
  out.selects_external = external != nullptr;
  if (pods) out.pods = decode_label_selector(pods, "spec.podSelector", report);
  if (external) decode_label_selector(external, "spec.externalWorkloadSelector", report);
  if (auto port = spec.port_ref("port")) out.port = *port;
  else if (!report.failed()) spec.error("port", "missing; accepted: a port from 1 to 65535, or the name of a port");
  std::string protocol =
      spec.word("proxyProtocol", {"unknown", "HTTP/1", "HTTP/2", "gRPC", "opaque", "TLS"}).value_or("unknown");
  using P = Server::Protocol;
  out.protocol = protocol == "HTTP/1"   ? P::kHttp1
                 : protocol == "HTTP/2" ? P::kHttp2
                 : protocol == "gRPC"   ? P::kGrpc
                 : protocol == "opaque" ? P::kOpaque
                 : protocol == "TLS"    ? P::kTls
                                        : P::kUnknown;
  out.access_policy = spec.word("accessPolicy", {"deny", "audit", "all-unauthenticated", "all-authenticated",
                                                 "cluster-unauthenticated", "cluster-authenticated"})
                          .value_or("deny");
  return out;
}

}  // namespace tulle::control
