// HTTP/2 header blocks ↔ heads, with the checks of RFC 9113 §8. Knows nothing of frames.
#pragma once

#include <cstdint>
#include <string_view>

#include "libs/base/result.h"
#include "libs/http/hpack.h"
#include "libs/http/message.h"

namespace tulle::http {

// Collects one header block. One per session is enough, for blocks cannot interleave.
class H2HeadReader {
 public:
  enum class Kind : uint8_t { kRequest, kResponse, kTrailers };

  void begin(Kind kind, uint32_t max_bytes, uint32_t max_fields);
  // Fields in the order of arrival. Cheap once something is wrong or too large.
  void add(const HpackField& field);
  // After the last: empty if the block is well formed, else what is wrong with it.
  std::string_view finish();

  Kind kind() const { return kind_; }
  bool too_large() const { return bytes_ > max_bytes_ || fields_ > max_fields_; }
  uint64_t bytes() const { return bytes_; }  // names, values and 32 a field

  RequestHead request;
  ResponseHead response;
  Headers trailers;

 private:
  enum Seen : uint8_t { kMethod = 1, kScheme = 2, kAuthority = 4, kPath = 8, kStatus = 16 };
  void add_pseudo(std::string_view name, std::string_view value);
  void add_regular(const HpackField& field);
  void finish_request();
  void wrong(std::string_view what) {
    if (wrong_.empty()) wrong_ = what;
  }
  Headers& fields() {
    return kind_ == Kind::kRequest ? request.headers : kind_ == Kind::kResponse ? response.headers : trailers;
  }

  Kind kind_ = Kind::kTrailers;
  uint8_t seen_ = 0;
  bool regular_seen_ = false;
  uint8_t cookies_ = 0;
  uint32_t fields_ = 0, max_fields_ = 0;
  uint64_t bytes_ = 0, max_bytes_ = 0;
  std::string_view wrong_;
};

// What RFC 9113 §8.2 allows: a token in lower case; no control character, and no blank at either end.
bool is_h2_name(std::string_view name);
bool is_h2_value(std::string_view value);

// The fields to send, as views into the head. Connection-specific ones and Host are left out. `status_text`: three
// bytes that live as long as the fields. Errors: kInvalid, naming what cannot be sent.
Result<> h2_fields_of(const RequestHead& head, H2Fields& out);
Result<> h2_fields_of(const ResponseHead& head, char* status_text, H2Fields& out);
Result<> h2_fields_of_trailers(const Headers& trailers, H2Fields& out);

}  // namespace tulle::http
