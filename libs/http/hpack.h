// Field compression (RFC 7541) by nghttp2: one encoder and one decoder for each connection. Sans-I/O, one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "libs/base/buffer.h"
#include "libs/http/h2_head.h"

struct nghttp2_hd_deflater;
struct nghttp2_hd_inflater;

namespace tulle::http {

class HpackEncoder {
 public:
  // `max_table`: bytes of dynamic table that are used at most, whatever the peer allows.
  explicit HpackEncoder(uint32_t max_table);
  ~HpackEncoder();
  HpackEncoder(const HpackEncoder&) = delete;
  HpackEncoder& operator=(const HpackEncoder&) = delete;

  // What the peer's SETTINGS_HEADER_TABLE_SIZE allows; the next block tells of the change.
  void set_peer_table(uint32_t bytes);
  // Appends one header block. Blocks must reach the peer in the order in which they were made.
  void encode(const H2Fields& fields, Buffer& out);

 private:
  nghttp2_hd_deflater* deflater_ = nullptr;
  uint32_t max_table_;
};

class HpackDecoder {
 public:
  HpackDecoder();
  ~HpackDecoder();
  HpackDecoder(const HpackDecoder&) = delete;
  HpackDecoder& operator=(const HpackDecoder&) = delete;

  // What our SETTINGS_HEADER_TABLE_SIZE allows; a smaller one than before only once the peer has acknowledged it.
  void set_table(uint32_t bytes);

  enum class Next : uint8_t { kField, kMore, kError };
  // Takes bytes of a block off the front of `in` until a field is complete (its views hold until the next call), or
  // all are taken: kMore, which is the end of the block if `last`. kError: the block is not HPACK; give up the
  // connection, for the tables no longer agree (RFC 9113 §4.3).
  Next next(Bytes& in, bool last, Bytes& name, Bytes& value);

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
};

}  // namespace tulle::http
