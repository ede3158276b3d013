// The message model of HTTP, the same for HTTP/1 and HTTP/2 (RFC 9110). Values only: no I/O, no clock.
//
// All text of a message's fields lives in one block (Headers), with an enum for the well-known names, so that the
// request path never compares names as text.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "libs/base/strings.h"

namespace tulle::http {

// Well-known field names, in lower case. kOther: any other.
#define TULLE_HTTP_HEADERS(X)                       \
  X(kHost, "host")                                  \
  X(kContentLength, "content-length")               \
  X(kTransferEncoding, "transfer-encoding")         \
  X(kConnection, "connection")                      \
  X(kUpgrade, "upgrade")                            \
  X(kKeepAlive, "keep-alive")                       \
  X(kProxyConnection, "proxy-connection")           \
  X(kTe, "te")                                      \
  X(kTrailer, "trailer")                            \
  X(kExpect, "expect")                              \
  X(kContentType, "content-type")                   \
  X(kDate, "date")                                  \
  X(kCookie, "cookie")                              \
  X(kUserAgent, "user-agent")                       \
  X(kAccept, "accept")                              \
  X(kRetryAfter, "retry-after")                     \
  X(kHttp2Settings, "http2-settings")               \
  X(kGrpcStatus, "grpc-status")                     \
  X(kGrpcMessage, "grpc-message")                   \
  X(kGrpcTimeout, "grpc-timeout")                   \
  X(kGrpcRetryPushbackMs, "grpc-retry-pushback-ms") \
  X(kTraceparent, "traceparent")                    \
  X(kL5dClientId, "l5d-client-id")                  \
  X(kL5dRequireId, "l5d-require-id")                \
  X(kL5dOrigProto, "l5d-orig-proto")                \
  X(kL5dDstCanonical, "l5d-dst-canonical")          \
  X(kL5dDstOverride, "l5d-dst-override")            \
  X(kL5dProxyError, "l5d-proxy-error")              \
  X(kL5dProxyConnection, "l5d-proxy-connection")

enum class HeaderId : uint8_t {
  kOther,
#define TULLE_X(id, name) id,
  TULLE_HTTP_HEADERS(TULLE_X)
#undef TULLE_X
};

// The id of a name given in lower case; kOther for one that is not well known.
HeaderId header_id(std::string_view lower_name);

inline constexpr std::string_view kHeaderNames[] = {"",
#define TULLE_X(id, name) name,
                                                    TULLE_HTTP_HEADERS(TULLE_X)
#undef TULLE_X
};
// "" for kOther.
constexpr std::string_view header_name(HeaderId id) { return kHeaderNames[static_cast<uint8_t>(id)]; }

struct Header {
  HeaderId id;
  std::string_view name;   // lower case
  std::string_view value;  // no space at either end
};

// Bytes that grow at their end, in one allocation.
class TextBlock {
 public:
  TextBlock() = default;
  ~TextBlock() {
    if (data_) release(data_, capacity_);
  }
  TextBlock(TextBlock&& o) noexcept { swap(o); }
  TextBlock& operator=(TextBlock&& o) noexcept {
    swap(o);
    return *this;
  }
  TextBlock(const TextBlock& o) { append(o.view(), {}); }
  TextBlock& operator=(const TextBlock& o) {
    if (this != &o) {
      size_ = 0;
      append(o.view(), {});
    }
    return *this;
  }

  std::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }
  void clear() { size_ = 0; }
  void reserve(size_t n) {
    if (n > capacity_) grow(n);
  }
  // Appends both; either may be a view into this block.
  void append(std::string_view a, std::string_view b) {
    if (capacity_ - size_ < a.size() + b.size()) return append_grown(a, b);
    put(a);
    put(b);
  }
  char* data() { return data_; }

 private:
  void put(std::string_view s) {
    if (!s.empty()) std::memcpy(data_ + size_, s.data(), s.size());
    size_ += static_cast<uint32_t>(s.size());
  }
  void swap(TextBlock& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    std::swap(capacity_, o.capacity_);
  }
  // Blocks of one common size are kept per thread: each message needs one.
  static void release(char* data, uint32_t capacity);
  void grow(size_t capacity);
  void append_grown(std::string_view a, std::string_view b);

  char* data_ = nullptr;
  uint32_t size_ = 0;
  uint32_t capacity_ = 0;
};

// The fields of one message, in order. Names are stored in lower case. Views into it hold until the next change.
// Adding copies into one block; removing leaves a hole, so a message is edited in place as it passes through.
class Headers {
 public:
  // `name` may be of any case, below 64 KiB; `value` is stored as it is. Either may be a view into this list.
  void add(std::string_view name, std::string_view value);
  void add(HeaderId id, std::string_view value);  // id ≠ kOther
  void add_lower(std::string_view lower_name, std::string_view value);
  // `id` is header_id(lower_name).
  void add_known(HeaderId id, std::string_view lower_name, std::string_view value);
  // Replaces all fields of that name by one, in the place of the first.
  void set(HeaderId id, std::string_view value);
  void set(std::string_view name, std::string_view value);
  // Removes all fields of that name; true if there was one.
  bool remove(HeaderId id);
  bool remove(std::string_view lower_name);
  void clear();
  // Room for so many bytes of text, in one allocation.
  void reserve(size_t bytes) { block_.reserve(bytes); }

  // The first field of that name.
  std::optional<std::string_view> get(HeaderId id) const;
  std::optional<std::string_view> get(std::string_view lower_name) const;
  bool has(HeaderId id) const { return maybe(id) && get(id).has_value(); }
  // False: there is no field of that name. Most questions are about names that are not there, and end here.
  bool maybe(HeaderId id) const { return ids_ >> static_cast<unsigned>(id) & 1; }
  size_t count(HeaderId id) const;
  size_t size() const { return live_; }
  bool empty() const { return live_ == 0; }
  // Bytes of names and values, with the 32 a field that HTTP/2 counts (RFC 9113 §6.5.2).
  size_t byte_size() const;

  // Calls f(const Header&) for each field in order.
  template <class F>
  void for_each(F&& f) const {
    for (const Entry& e : entries_)
      if (!e.removed) f(view(e));
  }
  // Removes each field for which f(const Header&) is true.
  template <class F>
  void remove_if(F&& f) {
    for (Entry& e : entries_) {
      if (e.removed || !f(view(e))) continue;
      e.removed = true;
      --live_;
    }
  }

 private:
  struct Entry {
    uint32_t name_at;
    uint32_t value_at;
    uint32_t value_size;
    uint16_t name_size;
    HeaderId id;
    bool removed;
  };
  void push(HeaderId id, std::string_view name, std::string_view value);
  void set_entry(HeaderId id, std::string_view lower_name, std::string_view value);
  Header view(const Entry& e) const {
    std::string_view block = block_.view();
    return {e.id, e.id == HeaderId::kOther ? block.substr(e.name_at, e.name_size) : header_name(e.id),
            block.substr(e.value_at, e.value_size)};
  }

  TextBlock block_;
  absl::InlinedVector<Entry, 12> entries_;
  uint64_t ids_ = 0;  // of all that were ever added
  size_t live_ = 0;
};
static_assert(std::size(kHeaderNames) <= 64);

enum class Version : uint8_t { kHttp10, kHttp11, kHttp2 };

// Methods are kept as text, for any token is a method (RFC 9110 §9.1); these are the ones code asks about.
enum class Method : uint8_t { kOther, kGet, kHead, kPost, kPut, kDelete, kConnect, kOptions, kTrace, kPatch };
Method method_id(std::string_view method);
// Safe or idempotent as RFC 9110 §9.2.2 defines it: doing it twice is doing it once.
bool is_idempotent(Method method);

// How an HTTP/1 request named its target (RFC 9112 §3.2). HTTP/2 requests are kOrigin, or kAuthority for CONNECT.
enum class TargetForm : uint8_t { kOrigin, kAbsolute, kAuthority, kAsterisk };

struct RequestHead {
  Version version = Version::kHttp11;
  Method method_kind = Method::kGet;
  TargetForm form = TargetForm::kOrigin;
  std::string method = "GET";
  std::string scheme;      // "" unless the target or :scheme says
  std::string authority;   // of the target or :authority, else Host; "" where there is none
  std::string path = "/";  // with query; "" for CONNECT, "*" for kAsterisk
  Headers headers;         // HTTP/2: `host` is folded into authority. HTTP/1: Host stays in the list

  void set_method(std::string_view m) {
    method = m;
    method_kind = method_id(m);
  }
};

struct ResponseHead {
  Version version = Version::kHttp11;
  int status = 200;    // 100–999
  std::string reason;  // HTTP/1 only; may be empty
  Headers headers;
};

// True for a media type that is gRPC: application/grpc, application/grpc+proto, … (not grpc-web).
bool is_grpc(const Headers& headers);
// "Reason-Phrase" of RFC 9110 for a status, or "".
std::string_view reason_phrase(int status);

}  // namespace tulle::http
