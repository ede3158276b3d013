#include "libs/http/message.h"

#include <array>
#include <cstring>

#include "libs/base/check.h"
#include "libs/base/sanitized.h"

namespace tulle::http {
namespace {

constexpr size_t kNames = std::size(kHeaderNames);
constexpr size_t kLongest = 24;

// The well-known ids ordered by the length of their names, and where each length starts.
struct ByLength {
  std::array<HeaderId, kNames> ids{};
  std::array<uint8_t, kLongest + 2> start{};
};
constexpr ByLength order_by_length() {
  ByLength t;
  size_t n = 0;
  for (size_t length = 0; length <= kLongest + 1; ++length) {
    t.start[length] = static_cast<uint8_t>(n);
    for (size_t i = 1; i < kNames; ++i)
      if (kHeaderNames[i].size() == length) t.ids[n++] = static_cast<HeaderId>(i);
  }
  if (n != kNames - 1) throw "a well-known name is longer than kLongest";  // at compile time only
  return t;
}
constexpr ByLength kByLength = order_by_length();

struct Blocks {
  static constexpr size_t kSize = 512, kKeep = kSanitized ? 0 : 64;
  char* kept[kKeep + 1];
  size_t count = 0;
  ~Blocks() {
    while (count) std::free(kept[--count]);
  }
};
thread_local Blocks blocks;

}  // namespace

HeaderId header_id(std::string_view name) {
  if (name.empty() || name.size() > kLongest) return HeaderId::kOther;
  for (size_t i = kByLength.start[name.size()]; i < kByLength.start[name.size() + 1]; ++i) {
    std::string_view known = header_name(kByLength.ids[i]);
    if (known.back() == name.back() && known[0] == name[0] && std::memcmp(known.data(), name.data(), name.size()) == 0)
      return kByLength.ids[i];
  }
  return HeaderId::kOther;
}

void TextBlock::release(char* data, uint32_t capacity) {
  if (capacity == Blocks::kSize && blocks.count < Blocks::kKeep) blocks.kept[blocks.count++] = data;
  else std::free(data);
}

void TextBlock::grow(size_t capacity) {
  TULLE_CHECK(capacity <= UINT32_MAX);
  capacity = std::max(capacity, Blocks::kSize);
  char* data = capacity == Blocks::kSize && blocks.count ? blocks.kept[--blocks.count]
                                                         : static_cast<char*>(std::malloc(capacity));
  TULLE_CHECK(data != nullptr);
  if (size_) std::memcpy(data, data_, size_);
  if (data_) release(data_, capacity_);
  data_ = data;
  capacity_ = static_cast<uint32_t>(capacity);
}

void TextBlock::append_grown(std::string_view a, std::string_view b) {
  // The old block lives until both are copied, for either may point into it.
  TextBlock grown;
  size_t need = size_ + a.size() + b.size();
  grown.grow(size_ ? std::max<size_t>(256, 2 * need) : need);
  grown.put(view());
  grown.put(a);
  grown.put(b);
  swap(grown);
}

inline void Headers::push(HeaderId id, std::string_view name, std::string_view value) {
  size_t at = block_.size();
  block_.append(name, value);
  entries_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(at + name.size()),
                      static_cast<uint32_t>(value.size()), static_cast<uint16_t>(name.size()), id, false});
  ids_ |= 1ull << static_cast<unsigned>(id);
  ++live_;
}

void Headers::add_lower(std::string_view name, std::string_view value) {
  TULLE_CHECK(name.size() <= UINT16_MAX);
  add_known(header_id(name), name, value);
}

void Headers::add_known(HeaderId id, std::string_view name, std::string_view value) {
  push(id, id == HeaderId::kOther ? name : std::string_view(), value);
}

void Headers::add(std::string_view name, std::string_view value) {
  TULLE_CHECK(name.size() <= UINT16_MAX);
  size_t at = block_.size();
  push(HeaderId::kOther, name, value);
  char* text = block_.data() + at;
  for (size_t i = 0; i < name.size(); ++i) text[i] = lower(text[i]);
  HeaderId id = entries_.back().id = header_id({text, name.size()});
  ids_ |= 1ull << static_cast<unsigned>(id);
}

void Headers::add(HeaderId id, std::string_view value) {
  TULLE_CHECK(id != HeaderId::kOther);
  push(id, {}, value);
}

void Headers::set_entry(HeaderId id, std::string_view lower_name, std::string_view value) {
  bool done = false;
  if (maybe(id))
    for (Entry& e : entries_) {
      if (e.removed || e.id != id || (id == HeaderId::kOther && view(e).name != lower_name)) continue;
      if (done) {
        e.removed = true;
        --live_;
        continue;
      }
      done = true;
      size_t at = block_.size();
      block_.append(value, {});
      e.value_at = static_cast<uint32_t>(at);
      e.value_size = static_cast<uint32_t>(value.size());
    }
  if (done) return;
  if (id == HeaderId::kOther) add(lower_name, value);
  else add(id, value);
}

void Headers::set(HeaderId id, std::string_view value) {
  TULLE_CHECK(id != HeaderId::kOther);
  set_entry(id, "", value);
}

void Headers::set(std::string_view name, std::string_view value) {
  std::string lower_name = to_lower(name);
  set_entry(header_id(lower_name), lower_name, value);
}

bool Headers::remove(HeaderId id) {
  if (!maybe(id)) return false;
  size_t before = live_;
  remove_if([&](const Header& h) { return h.id == id && id != HeaderId::kOther; });
  return live_ != before;
}

bool Headers::remove(std::string_view lower_name) {
  HeaderId id = header_id(lower_name);
  if (id != HeaderId::kOther) return remove(id);
  size_t before = live_;
  remove_if([&](const Header& h) { return h.id == id && h.name == lower_name; });
  return live_ != before;
}

void Headers::clear() {
  block_.clear();
  entries_.clear();
  ids_ = 0;
  live_ = 0;
}

std::optional<std::string_view> Headers::get(HeaderId id) const {
  if (id == HeaderId::kOther || !maybe(id)) return std::nullopt;
  for (const Entry& e : entries_)
    if (e.id == id && !e.removed) return view(e).value;
  return std::nullopt;
}

std::optional<std::string_view> Headers::get(std::string_view lower_name) const {
  HeaderId id = header_id(lower_name);
  if (id != HeaderId::kOther) return get(id);
  for (const Entry& e : entries_)
    if (e.id == id && !e.removed && view(e).name == lower_name) return view(e).value;
  return std::nullopt;
}

size_t Headers::count(HeaderId id) const {
  size_t n = 0;
  if (!maybe(id)) return n;
  for (const Entry& e : entries_) n += e.id == id && !e.removed;
  return n;
}

size_t Headers::byte_size() const {
  size_t n = 0;
  for_each([&](const Header& h) { n += h.name.size() + h.value.size() + 32; });
  return n;
}

Method method_id(std::string_view m) {
  auto is = [&](std::string_view name, Method id) { return m == name ? id : Method::kOther; };
  switch (m.size()) {
    case 3: return m[0] == 'G' ? is("GET", Method::kGet) : is("PUT", Method::kPut);
    case 4: return m[0] == 'P' ? is("POST", Method::kPost) : is("HEAD", Method::kHead);
    case 5: return m[0] == 'P' ? is("PATCH", Method::kPatch) : is("TRACE", Method::kTrace);
    case 6: return is("DELETE", Method::kDelete);
    case 7: return m[0] == 'C' ? is("CONNECT", Method::kConnect) : is("OPTIONS", Method::kOptions);
    default: return Method::kOther;
  }
}

bool is_idempotent(Method method) {
  switch (method) {
    case Method::kGet:
    case Method::kHead:
    case Method::kOptions:
    case Method::kTrace:
    case Method::kPut:
    case Method::kDelete: return true;
    default: return false;
  }
}

bool is_grpc(const Headers& headers) {
  constexpr std::string_view kType = "application/grpc";
  auto type = headers.get(HeaderId::kContentType);
  if (!type || type->size() < kType.size() || !iequals(type->substr(0, kType.size()), kType)) return false;
  std::string_view rest = type->substr(kType.size());
  return rest.empty() || rest[0] == '+' || rest[0] == ';' || rest[0] == ' ';
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100: return "Continue";
    case 101: return "Switching Protocols";
    case 103: return "Early Hints";
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 203: return "Non-Authoritative Information";
    case 204: return "No Content";
    case 205: return "Reset Content";
    case 206: return "Partial Content";
    case 300: return "Multiple Choices";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 305: return "Use Proxy";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 402: return "Payment Required";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 411: return "Length Required";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 415: return "Unsupported Media Type";
    case 416: return "Range Not Satisfiable";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 422: return "Unprocessable Content";
    case 425: return "Too Early";
    case 426: return "Upgrade Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "";
  }
}

}  // namespace tulle::http
