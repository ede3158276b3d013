// How much of an HTTP/1 message is accepted, and which rule of strictness may be waived. A value, copied into each
// parser. Sizes are bytes.
#pragma once

#include <cstdint>

namespace tulle::http {

struct Limits {
  uint32_t request_line = 8 * 1024;       // without CRLF; above: 414. Also a status line; above: 502
  uint32_t header_block = 64 * 1024;      // all field lines of one head with their CRLFs; above: 431
  uint32_t header_fields = 128;           // field lines of one head; above: 431
  uint32_t trailer_block = 8 * 1024;      // all trailer lines of one message
  uint32_t trailer_fields = 32;           // trailer lines of one message
  uint32_t chunk_extension = 256;         // from ';' to CRLF of one chunk
  uint32_t chunk_extensions = 16 * 1024;  // the sum of them over one message
  uint32_t interim_responses = 16;        // 1xx heads before one final response
  // Linkerd passes an HTTP/1.1 request without Host on to the application; RFC 9112 §3.2 wants 400.
  bool allow_missing_host = false;
};

}  // namespace tulle::http
