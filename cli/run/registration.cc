#include "cli/run/registration.h"

#include <nlohmann/json.hpp>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using nlohmann::json;

const json* find(const json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<std::string> text_of(const json& object, const char* key) {
  const json* v = find(object, key);
  if (!v || !v->is_string() || v->get_ref<const std::string&>().empty())
    return fail(Code::kProtocol, cat("the control plane's answer has no ", key));
  return v->get<std::string>();
}

Result<uint16_t> port_of(const json& object, const char* key) {
  const json* v = find(object, key);
  if (!v || !v->is_number_unsigned() || v->get<uint64_t>() == 0 || v->get<uint64_t>() > 65535)
    return fail(Code::kProtocol, cat("the control plane's answer has a port without a valid ", key));
  return v->get<uint16_t>();
}

}  // namespace

std::string registration_request(const RunOptions& options, int pid, const Registration* known, bool ready,
                                 const std::vector<std::string>& refused, const std::map<uint16_t, uint16_t>& served) {
  json body = {{"namespace", options.ns}, {"pid", pid}, {"labels", json::object()}, {"ports", json::array()}};
  std::string name = known ? known->name : options.name;
  if (!name.empty()) body["name"] = name;
  if (!options.service.empty()) body["service"] = options.service;
  if (!options.service_account.empty()) body["service_account"] = options.service_account;
  if (!options.ready_path.empty()) body["ready_path"] = options.ready_path;
  for (const auto& [key, value] : options.labels) body["labels"][key] = value;
  for (const NamedPort& p : options.ports) {
    json port = {{"name", p.name}, {"port", p.number}};
    if (auto it = served.find(p.number); it != served.end()) port["served"] = it->second;
    body["ports"].push_back(std::move(port));
  }
  if (ready) body["ready"] = true;
  if (known) body["address"] = known->address.to_string();
  if (!refused.empty()) body["refused_addresses"] = refused;
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Registration> parse_registration(std::string_view text) {
  json body = json::parse(text, nullptr, false);
  if (!body.is_object()) return fail(Code::kProtocol, "the control plane's answer is not a JSON object");
  Registration out;
  TULLE_TRY(out.id, text_of(body, "id"));
  TULLE_TRY(out.name, text_of(body, "name"));
  TULLE_TRY(out.ns, text_of(body, "namespace"));
  TULLE_TRY(std::string address, text_of(body, "address"));
  auto ip = IpAddr::parse(address);
  if (!ip || !ip->is_v4())
    return fail(Code::kProtocol, cat("the control plane's answer has no valid address: ", tulle::quoted(address)));
  out.address = *ip;
  if (const json* ports = find(body, "ports"); ports && ports->is_array()) {
    for (const json& p : *ports) {
      ServedPort port;
      TULLE_TRY(port.port, port_of(p, "port"));
      TULLE_TRY(port.served, port_of(p, "served"));
      out.ports.push_back(port);
    }
  }
  if (const json* env = find(body, "env"); env && env->is_object()) {
    for (const auto& [key, value] : env->items())
      if (value.is_string()) out.environment[key] = value.get<std::string>();
  }
  if (const json* warnings = find(body, "warnings"); warnings && warnings->is_array()) {
    for (const json& w : *warnings)
      if (w.is_string()) out.warnings.push_back(w.get<std::string>());
  }
  if (const json* anchors = find(body, "trust_anchors_pem"); anchors && anchors->is_string())
    out.environment.emplace("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS", anchors->get<std::string>());
  if (const json* token = find(body, "token_path"); token && token->is_string())
    out.environment.emplace("LINKERD2_PROXY_IDENTITY_TOKEN_FILE", token->get<std::string>());
  if (const json* identity = find(body, "identity"); identity && identity->is_string())
    out.environment.emplace("LINKERD2_PROXY_IDENTITY_LOCAL_NAME", identity->get<std::string>());
  return out;
}

std::string Registration::control_addresses() const {
  std::string out;
  for (const auto& [key, value] : environment)
    if (key.ends_with("_SVC_ADDR")) append(out, key, "=", value, " ");
  return out;
}

std::vector<std::string> proxy_environment(const Registration& registration, const std::vector<std::string>& own) {
  const std::string ip = registration.address.to_string();
  std::map<std::string, std::string> env = {
      {"LINKERD2_PROXY_LOG", "warn"},
      {"LINKERD2_PROXY_ADMIN_LISTEN_ADDR", ip + ":4191"},
      {"LINKERD2_PROXY_INBOUND_LISTEN_ADDR", ip + ":4143"},
      {"LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR", "127.0.0.1:4140"},
      {"LINKERD2_PROXY_INBOUND_IPS", ip},
  };
  for (const auto& [key, value] : registration.environment) env[key] = value;
  for (const std::string& line : own) {
    if (!line.starts_with("LINKERD2_PROXY_") && !line.starts_with("TULLE_PROXY_")) continue;
    size_t equals = line.find('=');
    if (equals != line.npos) env[line.substr(0, equals)] = line.substr(equals + 1);
  }
  env["TULLE_PROXY_POD_IP"] = ip;
  std::string ports;
  for (const ServedPort& p : registration.ports) append(ports, ports.empty() ? "" : ",", p.served, ":", p.port);
  env["TULLE_PROXY_POD_PORTS"] = ports;
  std::vector<std::string> out;
  for (const auto& [key, value] : env) out.push_back(cat(key, "=", value));
  return out;
}

std::string error_of(std::string_view body) {
  json j = json::parse(body, nullptr, false);
  if (const json* e = find(j, "error"); e && e->is_string()) return e->get<std::string>();
  return std::string(trim(split(body, '\n')[0]).substr(0, 300));
}

}  // namespace tulle::cli
