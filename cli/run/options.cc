#include "cli/run/options.h"

#include <algorithm>

#include "cli/pod/init.h"
#include "cli/pod/network.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

Result<uint16_t> port_number(std::string_view text, std::string_view whole) {
  auto n = parse_number<uint16_t>(text);
  if (!n || *n == 0) return fail(Code::kInvalid, cat(quoted(whole), ": a port is a number from 1 to 65535"));
  return *n;
}

bool is_port_name(std::string_view name) {
  return name.size() <= 15 && name.front() != '-' && name.back() != '-' && !name.contains("--") &&
         std::ranges::all_of(name, [](char c) { return is_digit(c) || c == '-' || (c >= 'a' && c <= 'z'); }) &&
         std::ranges::any_of(name, [](char c) { return c >= 'a' && c <= 'z'; });
}

}  // namespace

Result<NamedPort> parse_port(std::string_view text) {
  NamedPort port;
  size_t equals = text.find('=');
  if (equals != text.npos) {
    port.name = text.substr(0, equals);
    if (port.name.empty() || !is_port_name(port.name))
      return fail(Code::kInvalid, cat(quoted(text), ": a port's name is 1 to 15 of a–z, 0–9 and '-', with a letter"));
    text.remove_prefix(equals + 1);
  }
  TULLE_TRY(port.number, port_number(text, text));
  if (port.number == kDnsPort || port.number == kOutboundPort)
    return fail(Code::kInvalid, cat(port.number, ": the proxy listens on ports ", kDnsPort, " (DNS) and ",
                                    kOutboundPort, " in the pod; accepted: any other"));
  return port;
}

Result<std::pair<std::string, std::string>> parse_label(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == 0 || equals == text.npos) return fail(Code::kInvalid, cat(quoted(text), ": a label is KEY=VALUE"));
  return std::pair(std::string(text.substr(0, equals)), std::string(text.substr(equals + 1)));
}

Result<uint16_t> parse_host_port(std::string_view text) { return port_number(text, text); }

Result<Expose> parse_expose(std::string_view text) {
  size_t last = text.rfind(':');
  if (last == text.npos) return fail(Code::kInvalid, cat(quoted(text), ": accepted is [ADDRESS:]HOST_PORT:POD_PORT"));
  Expose out;
  TULLE_TRY(out.pod_port, port_number(text.substr(last + 1), text));
  std::string_view host = text.substr(0, last);
  if (host.find(':') == host.npos) {
    auto port = parse_number<uint16_t>(host);
    if (!port)
      return fail(Code::kInvalid,
                  cat(quoted(text), ": the host's port is a number from 1 to 65535, or 0 for a free one"));
    out.at = SocketAddr(IpAddr::loopback(), *port);
    return out;
  }
  auto at = SocketAddr::parse(host);
  if (!at) return fail(Code::kInvalid, cat(quoted(text), ": ", quoted(host), " is not ADDRESS:PORT"));
  out.at = *at;
  return out;
}

Result<> check_options(const RunOptions& options) {
  for (size_t i = 0; i < options.ports.size(); ++i) {
    const NamedPort& port = options.ports[i];
    if (port.name.empty() && options.ports.size() > 1)
      return fail(Code::kInvalid,
                  cat("--port ", port.number, ": with several ports each needs a name: --port NAME=", port.number));
    for (size_t k = 0; k < i; ++k) {
      if (options.ports[k].number == port.number)
        return fail(Code::kInvalid, cat("--port ", port.number, " is given twice"));
      if (options.ports[k].name == port.name)
        return fail(Code::kInvalid, cat("two ports are named ", quoted(port.name)));
    }
  }
  if (!options.ready_path.empty() && options.ports.empty())
    return fail(Code::kInvalid, "--ready-path needs a --port to ask");
  if (!options.ready_path.empty() && options.ready_path[0] != '/')
    return fail(Code::kInvalid, cat("--ready-path ", quoted(options.ready_path), ": a path begins with '/'"));
  if (options.host_ports.size() > kMaxHostPorts)
    return fail(Code::kInvalid, cat("at most ", kMaxHostPorts, " ports of the host can be given to a pod"));
  return {};
}

}  // namespace tulle::cli
