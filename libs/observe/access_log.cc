#include "libs/observe/access_log.h"

#include "libs/base/strings.h"
#include "libs/base/utf8.h"

namespace tulle::observe {
namespace {

// Appends bytes from outside in a form that can end neither a quoted string nor a line, in both formats. Bytes that
// are not UTF-8 become U+FFFD.
void append_escaped(std::string& out, std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  while (!bytes.empty()) {
    size_t size = utf8_size(bytes);
    auto c = static_cast<unsigned char>(bytes[0]);
    if (size == 0) out += "\xef\xbf\xbd";
    else if (c == '"' || c == '\\') append(out, '\\', bytes[0]);
    else if (c < 0x20 || c == 0x7f) append(out, "\\u00", kHex[c >> 4], kHex[c & 15]);
    else append(out, bytes.substr(0, size));
    bytes.remove_prefix(size == 0 ? 1 : size);
  }
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  append(out, ",\"", name, "\":\"");
  append_escaped(out, value);
  out += '"';
}

std::string apache(const AccessRecord& r) {
  std::string out = cat(r.client_addr, ' ');
  append_escaped(out, r.client_id.empty() ? "-" : r.client_id);
  append(out, " - [", format_rfc3339(r.at), "] \"");
  append_escaped(out, r.method);
  out += ' ';
  append_escaped(out, r.uri);
  append(out, ' ', r.version, "\" ");
  if (r.status) append(out, *r.status);
  else out += '-';
  return out;
}

std::string json(const AccessRecord& r) {
  std::string out = cat("{\"client.addr\":\"", r.client_addr, '"');
  append_member(out, "client.id", r.client_id.empty() ? "-" : r.client_id);
  append_member(out, "timestamp", format_rfc3339(r.at));
  append_member(out, "method", r.method);
  append_member(out, "uri", r.uri);
  append_member(out, "version", r.version);
  append_member(out, "trace_id", r.trace_id);
  append_member(out, "request_bytes", r.request_bytes);
  if (r.status) append(out, ",\"status\":", *r.status);
  append_member(out, "response_bytes", r.response_bytes);
  append_member(out, "total_ns", cat(r.total.count()));
  append_member(out, "processing_ns", cat(r.processing.count()));
  append_member(out, "user_agent", r.user_agent);
  append_member(out, "host", r.host);
  out += '}';
  return out;
}

}  // namespace

std::string access_log_line(const AccessRecord& record, AccessLogFormat format) {
  return format == AccessLogFormat::kApache ? apache(record) : json(record);
}

}  // namespace tulle::observe
