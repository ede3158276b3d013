#include "libs/observe/labels.h"

#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle::observe {

static void append_name(std::string& out, std::string_view name) {
  if (name.empty() || is_digit(name[0])) out += '_';
  for (char c : name) {
    bool fine = is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '_';
    out += fine ? c : '_';
  }
}

Labels& Labels::add(std::string_view name, std::string_view value) {
  if (!text_.empty()) text_ += ',';
  append_name(text_, name);
  text_ += "=\"";
  if (value.size() > kMaxValue) value = value.substr(0, kMaxValue);
  while (!value.empty()) {
    size_t size = utf8_size(value);
    char c = value[0];
    if (size == 0) text_ += "\xef\xbf\xbd";  // U+FFFD
    else if (c == '\n') text_ += "\\n";
    else if (c == '"' || c == '\\') append(text_, '\\', c);
    else append(text_, value.substr(0, size));
    value.remove_prefix(size == 0 ? 1 : size);
  }
  text_ += '"';
  return *this;
}

Labels& Labels::add(std::string_view name, uint64_t value) { return add(name, std::string_view(cat(value))); }

static void add_tls(Labels& labels, const TlsState& tls, std::string_view id_label) {
  switch (tls.kind) {
    case TlsState::Kind::kMutual: labels.add("tls", "true").add(id_label, tls.detail); break;
    case TlsState::Kind::kNoIdentity: labels.add("tls", "no_identity").add("no_tls_reason", tls.detail); break;
    case TlsState::Kind::kOpaque: labels.add("tls", "opaque").add("sni", tls.detail); break;
    case TlsState::Kind::kDisabled: labels.add("tls", "disabled"); break;
  }
}

void add_tls_client(Labels& labels, const TlsState& tls) { add_tls(labels, tls, "client_id"); }
void add_tls_server(Labels& labels, const TlsState& tls) { add_tls(labels, tls, "server_id"); }

void add_target(Labels& labels, std::string_view ip, uint16_t port) {
  bool v6 = ip.find(':') != std::string_view::npos;
  labels.add("target_addr", v6 ? cat('[', ip, "]:", port) : cat(ip, ':', port)).add("target_ip", ip);
  labels.add("target_port", port);
}

static std::string port_text(uint16_t port) { return port ? cat(port) : ""; }

void add_resource(Labels& labels, std::string_view prefix, const ResourceRef& ref) {
  labels.add(cat(prefix, "_group"), ref.group).add(cat(prefix, "_kind"), ref.kind).add(cat(prefix, "_name"), ref.name);
}

void add_server(Labels& labels, const ResourceRef& server) {
  add_resource(labels, "srv", server);
  labels.add("srv_port", port_text(server.port));
}

static void add_namespaced(Labels& labels, std::string_view prefix, const ResourceRef& ref) {
  labels.add(cat(prefix, "_group"), ref.group).add(cat(prefix, "_kind"), ref.kind);
  labels.add(cat(prefix, "_namespace"), ref.name_space).add(cat(prefix, "_name"), ref.name);
}

static void add_target_resource(Labels& labels, std::string_view prefix, const ResourceRef& ref) {
  add_namespaced(labels, prefix, ref);
  labels.add(cat(prefix, "_port"), port_text(ref.port)).add(cat(prefix, "_section_name"), ref.section_name);
}

void add_parent(Labels& labels, const ResourceRef& parent) { add_target_resource(labels, "parent", parent); }
void add_route(Labels& labels, const ResourceRef& route) { add_namespaced(labels, "route", route); }
void add_backend(Labels& labels, const ResourceRef& backend) { add_target_resource(labels, "backend", backend); }

Labels inbound_endpoint(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                        const ResourceRef& server, const ResourceRef& route, const ResourceRef& authz) {
  Labels labels;
  labels.add("direction", "inbound");
  if (!authority.empty()) labels.add("authority", authority);
  add_target(labels, ip, port);
  add_tls_client(labels, tls);
  add_server(labels, server);
  add_resource(labels, "route", route);
  add_resource(labels, "authz", authz);
  return labels;
}

static void add_outbound_endpoint(Labels& labels, std::string_view authority, std::string_view ip, uint16_t port,
                                  const TlsState& tls, const std::vector<std::pair<std::string, std::string>>& dst) {
  labels.add("authority", authority);
  add_target(labels, ip, port);
  add_tls_server(labels, tls);
  for (const auto& [key, value] : dst) labels.add(cat("dst_", key), value);
}

Labels outbound_endpoint(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                         const std::vector<std::pair<std::string, std::string>>& dst) {
  Labels labels;
  labels.add("direction", "outbound");
  add_outbound_endpoint(labels, authority, ip, port, tls, dst);
  return labels;
}

Labels outbound_tcp_source(std::string_view ip, uint16_t port) {
  Labels labels;
  labels.add("direction", "outbound").add("peer", "src");
  add_target(labels, ip, port);
  add_tls_client(labels, TlsState::no_identity("loopback"));
  return labels;
}

Labels outbound_tcp_destination(std::string_view authority, std::string_view ip, uint16_t port, const TlsState& tls,
                                const std::vector<std::pair<std::string, std::string>>& dst) {
  Labels labels;
  labels.add("direction", "outbound").add("peer", "dst");
  add_outbound_endpoint(labels, authority, ip, port, tls, dst);
  return labels;
}

Labels inbound_tcp_source(std::string_view ip, uint16_t port, const TlsState& tls, const ResourceRef& server) {
  Labels labels;
  labels.add("direction", "inbound").add("peer", "src");
  add_target(labels, ip, port);
  add_tls_client(labels, tls);
  add_server(labels, server);
  return labels;
}

Labels inbound_tcp_destination() {
  Labels labels;
  labels.add("direction", "inbound").add("peer", "dst");
  add_tls_client(labels, TlsState::no_identity("loopback"));
  return labels;
}

}  // namespace tulle::observe
