#include "control/api/query.h"

#include <nlohmann/json.hpp>

#include "control/source/fields.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

using Json = nlohmann::json;

std::unexpected<Error> invalid(std::string_view field, const Json& found, std::string_view accepted) {
  // Writing a list or an object would recurse as deep as it is nested.
  std::string shown = found.is_array()    ? "a list"
                      : found.is_object() ? "an object"
                                          : found.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 100);
  return fail(Code::kInvalid, cat(field, ": found ", shown, "; accepted: ", accepted), Side::kClient);
}

Result<Json> parse_object(std::string_view body) {
  // Depth first: nlohmann's own parser is not recursive, so nesting costs no stack.
  Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return fail(Code::kInvalid, "the body is not a JSON object", Side::kClient);
  return json;
}

Result<> read_text(const Json& object, const char* field, std::string& out) {
  auto it = object.find(field);
  if (it == object.end() || it->is_null()) return {};
  if (!it->is_string()) return invalid(field, *it, "text");
  out = it->get<std::string>();
  return {};
}

Result<> read_labels(const Json& object, const char* field, Labels& out) {
  auto it = object.find(field);
  if (it == object.end() || it->is_null()) return {};
  if (!it->is_object()) return invalid(field, *it, "an object of text");
  for (const auto& [key, value] : it->items()) {
    if (!value.is_string()) return invalid(cat(field, ".", key), value, "text");
    out[key] = value.get<std::string>();
  }
  return {};
}

Result<uint16_t> read_port(const Json& object, const char* field, bool required) {
  auto it = object.find(field);
  if (it == object.end() || it->is_null()) {
    if (!required) return uint16_t{0};
    return fail(Code::kInvalid, cat("ports.", field, ": missing; accepted: 1 to 65535"), Side::kClient);
  }
  if (!it->is_number_unsigned() || it->get<uint64_t>() == 0 || it->get<uint64_t>() > 65535)
    return invalid(cat("ports.", field), *it, "1 to 65535");
  return it->get<uint16_t>();
}

Result<> read_ports(const Json& object, std::vector<PodPort>& out) {
  auto it = object.find("ports");
  if (it == object.end() || it->is_null()) return {};
  if (!it->is_array()) return invalid("ports", *it, "a list of {name, port}");
  for (const Json& item : *it) {
    if (!item.is_object()) return invalid("ports", item, "a list of {name, port}");
    PodPort port;
    TULLE_TRY_VOID(read_text(item, "name", port.name));
    TULLE_TRY(port.port, read_port(item, "port", true));
    TULLE_TRY(port.served, read_port(item, "served", false));
    out.push_back(std::move(port));
  }
  return {};
}

Result<IpAddr> read_address(std::string_view field, const Json& value) {
  if (value.is_string())
    if (auto ip = IpAddr::parse(value.get<std::string>())) return *ip;
  return invalid(field, value, "an IPv4 address");
}

}  // namespace

PathAndQuery split_query(std::string_view target) {
  size_t mark = target.find('?');
  if (mark == target.npos) return {target, {}};
  return {target.substr(0, mark), target.substr(mark + 1)};
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  for (std::string_view part : split(query, '&')) {
    size_t equals = part.find('=');
    if (part.substr(0, equals) != name || equals == part.npos) continue;
    std::string out;
    std::string_view text = part.substr(equals + 1);
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%') {
        out.push_back(text[i] == '+' ? ' ' : text[i]);
        continue;
      }
      if (i + 2 >= text.size()) return std::nullopt;
      unsigned value = 0;
      auto [end, err] = std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      if (err != std::errc{} || end != text.data() + i + 3) return std::nullopt;
      out.push_back(static_cast<char>(value));
      i += 2;
    }
    return out;
  }
  return std::nullopt;
}

Result<RegisterBody> parse_register_request(std::string_view body) {
  TULLE_TRY(Json json, parse_object(body));
  RegisterBody out;
  RegisterRequest& r = out.value;
  TULLE_TRY_VOID(read_text(json, "name", r.name));
  TULLE_TRY_VOID(read_text(json, "namespace", r.ns));
  TULLE_TRY_VOID(read_text(json, "service", r.service));
  TULLE_TRY_VOID(read_text(json, "service_account", r.service_account));
  TULLE_TRY_VOID(read_labels(json, "labels", r.labels));
  TULLE_TRY_VOID(read_labels(json, "annotations", r.annotations));
  TULLE_TRY_VOID(read_ports(json, r.ports));
  if (auto it = json.find("address"); it != json.end() && !it->is_null()) {
    TULLE_TRY(IpAddr ip, read_address("address", *it));
    r.address = ip;
  }
  if (auto it = json.find("refused_addresses"); it != json.end() && !it->is_null()) {
    if (!it->is_array() || it->size() > 1000)
      return invalid("refused_addresses", *it, "a list of at most 1000 addresses");
    for (const Json& item : *it) {
      TULLE_TRY(IpAddr ip, read_address("refused_addresses", item));
      out.refused.push_back(ip);
    }
  }
  if (auto it = json.find("ready"); it != json.end() && !it->is_null()) {
    if (!it->is_boolean()) return invalid("ready", *it, "true or false");
    r.ready = it->get<bool>();
  }
  if (auto it = json.find("pid"); it != json.end() && !it->is_null()) {
    if (!it->is_number_unsigned() || it->get<uint64_t>() > INT32_MAX) return invalid("pid", *it, "a process id");
    r.pid = it->get<int64_t>();
  }
  return out;
}

Result<bool> parse_ready(std::string_view body) {
  TULLE_TRY(Json json, parse_object(body));
  auto it = json.find("ready");
  if (it == json.end() || !it->is_boolean())
    return fail(Code::kInvalid, "ready: missing; accepted: true or false", Side::kClient);
  return it->get<bool>();
}

Result<std::string> whole_target(const Snapshot& snapshot, std::string_view text) {
  const std::string domain = snapshot.mesh().cluster_domain;
  std::string as_it_is(text);
  auto parts = split_host_port(text);
  if (!parts || IpAddr::parse(parts->host)) return as_it_is;
  std::string_view host = parts->host;
  if (host.ends_with('.')) host.remove_suffix(1);
  for (const std::string& end : {cat(".svc.", domain), std::string(".svc")})
    if (host.ends_with(end)) {
      host.remove_suffix(end.size());
      break;
    }
  auto labels = split(host, '.');
  if (labels.size() > 2) return as_it_is;
  Ref ref{labels.size() == 2 ? std::string(labels[1]) : "default", std::string(labels[0])};
  const ServiceEntry* entry = snapshot.service(ref);
  if (!entry) return as_it_is;
  uint16_t port = parts->port;
  if (port == 0) {
    // The port 80 that `tulle run` adds leads where another does.
    const std::vector<ServicePort>& ports = entry->spec->ports;
    std::string numbers;
    for (const ServicePort& p : ports) append(numbers, numbers.empty() ? "" : ", ", p.port);
    if (ports.empty()) return as_it_is;
    for (const ServicePort& p : ports)
      if (p.target != ports[0].target)
        return fail(Code::kInvalid,
                    cat("found ", tulle::quoted(text), ", and Service ", ref.to_string(), " has the ports ", numbers,
                        "; accepted: ", ref.name, labels.size() == 2 ? cat(".", ref.ns) : std::string(), ":PORT"),
                    Side::kClient);
    port = ports[0].port;
  }
  return cat(ref.name, ".", ref.ns, ".svc.", domain, ":", port);
}

Result<std::variant<wire::TrafficSpec, wire::PortSpec>> parse_policy_target(std::string_view text,
                                                                            std::string_view domain,
                                                                            std::string_view client_ns) {
  auto bad = [&] {
    return fail(Code::kInvalid, cat("found ", tulle::quoted(text), "; accepted: ", kPolicyTargets), Side::kClient);
  };
  auto parts = split(text, '/');
  if (parts.size() == 1) {
    auto addr = SocketAddr::parse(text);
    std::string source = cat(client_ns.empty() ? "default" : client_ns, ":diagnostics");
    if (addr) return wire::TrafficSpec{source, *addr};
    if (client_ns.empty())
      if (auto labels = split(text, '.'); labels.size() > 1) source = cat(labels[1], ":diagnostics");
    return wire::TrafficSpec{source, std::string(text)};
  }
  if (parts.size() != 3 || !is_dns_label(parts[1])) return bad();
  auto name = split_host_port(parts[2]);
  if (!name || name->port == 0 || !is_dns_label(name->host)) return bad();
  if (parts[0] == "pod")
    return wire::PortSpec{cat(R"({"ns":")", parts[1], R"(","pod":")", name->host, R"("})"), name->port};
  if (parts[0] != "svc") return bad();
  return wire::TrafficSpec{cat(client_ns.empty() ? parts[1] : client_ns, ":diagnostics"),
                           cat(name->host, ".", parts[1], ".svc.", domain, ":", name->port)};
}

wire::TrafficSpec as_a_proxy_asks(const Snapshot& snapshot, wire::TrafficSpec question) {
  auto* authority = std::get_if<std::string>(&question.target);
  auto parts = authority ? split_host_port(*authority) : fail(Code::kInvalid, "");
  if (!parts) return question;
  std::string_view host = parts->host;
  if (host.ends_with('.')) host.remove_suffix(1);
  if (std::string domain = cat(".", snapshot.mesh().cluster_domain); host.ends_with(domain))
    host.remove_suffix(domain.size());
  auto labels = split(host, '.');
  if (labels.size() != 3 || labels[2] != "svc") return question;
  const ServiceEntry* entry = snapshot.service(Ref{std::string(labels[1]), std::string(labels[0])});
  if (entry && entry->address)
    question.target = SocketAddr(*entry->address, parts->port == 0 ? uint16_t{80} : parts->port);
  return question;
}

}  // namespace tulle::control
