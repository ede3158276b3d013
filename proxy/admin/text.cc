#include "proxy/admin/text.h"

#include <zlib.h>

#include <algorithm>

#include "libs/base/check.h"
#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle::proxy {

std::string json_string(std::string_view s) {
  std::string out = "\"";
  while (!s.empty()) {
    size_t n = utf8_size(s);
    auto c = static_cast<unsigned char>(s[0]);
    if (n == 0) {
      out += "\xef\xbf\xbd";
      n = 1;
    } else if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(s[0]);
    } else if (c < 0x20) {
      append(out, "\\u00", hex(s.substr(0, 1)));
    } else {
      out.append(s.substr(0, n));
    }
    s.remove_prefix(n);
  }
  out.push_back('"');
  return out;
}

namespace {
constexpr std::string_view kHidden = "(hidden)";
// Settings of the proxy, none of which holds a secret, and what says where it runs. Others may be anything: what
// started the proxy may have handed its own environment on.
bool is_public(std::string_view name) {
  for (std::string_view prefix : {"LINKERD2_PROXY_", "TULLE_PROXY_", "OTEL_RESOURCE_"})
    if (name.starts_with(prefix)) return true;
  for (std::string_view known : {"HOME", "HOSTNAME", "LANG", "PATH", "PWD", "TZ", "USER"})
    if (name == known) return true;
  return false;
}
}  // namespace

std::optional<std::string> environment_json(const std::vector<std::pair<std::string, std::string>>& environment,
                                            std::string_view query) {
  if (query.contains('=')) return std::nullopt;
  std::string out = "{";
  auto add = [&](std::string_view name, const std::string* value) {
    if (out.size() > 1) out.push_back(',');
    append(out, json_string(name), ":", !value ? "null" : json_string(is_public(name) ? *value : kHidden));
  };
  if (query.empty()) {
    for (auto& [name, value] : environment) add(name, &value);
  } else {
    std::vector<std::string_view> asked = split(query, '&');
    std::erase(asked, "");
    std::ranges::sort(asked);
    asked.erase(std::ranges::unique(asked).begin(), asked.end());
    for (std::string_view name : asked) {
      auto it = std::ranges::find(environment, name, [](auto& e) -> std::string_view { return e.first; });
      add(name, it == environment.end() ? nullptr : &it->second);
    }
  }
  return out + "}";
}

std::string gzip(std::string_view bytes) {
  z_stream z{};
  constexpr int kGzip = 16, kWindow = 15, kMemory = 8;
  TULLE_CHECK(deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, kGzip + kWindow, kMemory, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&z, bytes.size()), '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib does not write there
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  int done = deflate(&z, Z_FINISH);
  TULLE_CHECK(done == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

}  // namespace tulle::proxy
