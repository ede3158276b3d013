// Field compression (RFC 7541): one encoder and one decoder for each connection. Sans-I/O, one thread.
//
// Made for connections that carry the same few fields again and again, as those between proxies do: a field that the
// dynamic table holds costs one hash, or one look-up, and is not checked again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "libs/base/buffer.h"
#include "libs/http/message.h"

namespace tulle::http {

// What is sent. Views hold during the call.
struct H2Field {
  HeaderId id = HeaderId::kOther;
  uint8_t exact = 0;  // the static table's index of this name and value; 0: none that is known
  std::string_view name;
  std::string_view value;
};
using H2Fields = absl::InlinedVector<H2Field, 24>;

// What arrived. Views hold until the next call of the decoder.
struct HpackField {
  HeaderId id = HeaderId::kOther;
  bool good = false;  // is_h2_name (or a pseudo-header) and is_h2_value hold, as was seen when it entered a table
  std::string_view name;
  std::string_view value;
};

// Fields, newest first (RFC 7541 §2.3.2).
class HpackTable {
 public:
  struct Entry {
    HeaderId id;
    bool good;
    uint32_t at;  // of name (unless the id has one) and value, in the bytes
    uint32_t name_size;
    uint32_t value_size;
  };
  // Evicts what no longer fits. `bytes` counts 32 for each field.
  void set_limit(uint32_t bytes);
  uint32_t limit() const { return limit_; }
  // Views into this table are allowed.
  void insert(HeaderId id, bool good, std::string_view name, std::string_view value);
  uint32_t size() const { return count_; }
  uint64_t inserted() const { return inserted_; }
  const Entry& entry(uint32_t i) const { return ring_[(inserted_ - 1 - i) & (ring_.size() - 1)]; }  // i < size()
  std::string_view name(const Entry& e) const {
    return e.id == HeaderId::kOther ? std::string_view(bytes_.get() + e.at, e.name_size) : header_name(e.id);
  }
  std::string_view value(const Entry& e) const {
    return {bytes_.get() + e.at + (e.id == HeaderId::kOther ? e.name_size : 0), e.value_size};
  }

 private:
  void evict();
  static uint32_t cost(const Entry& e) { return e.name_size + e.value_size + 32; }

  std::vector<Entry> ring_;  // a power of two
  std::unique_ptr<char[]> bytes_;
  uint32_t capacity_ = 0;
  uint32_t end_ = 0;  // of the newest in the bytes
  uint32_t used_ = 0;
  uint32_t limit_ = 4096;
  uint32_t count_ = 0;
  uint64_t inserted_ = 0;
};

class HpackEncoder {
 public:
  // `max_table`: bytes of dynamic table that are used at most, whatever the peer allows.
  explicit HpackEncoder(uint32_t max_table);

  // What the peer's SETTINGS_HEADER_TABLE_SIZE allows; the next block tells of the change.
  void set_peer_table(uint32_t bytes);
  // Appends one header block. Blocks must reach the peer in the order in which they were made.
  // A field enters the table when it is seen a second time, so that what never comes again (ids, times) throws nothing
  // out; secrets never do (§7.1.3). Strings are sent as they are: Huffman's code costs both ends more than it saves.
  void encode(const H2Fields& fields, Buffer& out);

 private:
  struct Slot {
    uint32_t hash = 0;
    uint32_t entry = 0;  // low bits of the count of insertions after it; 0: seen once
  };
  char* put(char* to, const H2Field& field);

  HpackTable table_;
  std::unique_ptr<Slot[]> slots_;
  uint32_t max_table_;
  uint32_t smallest_;  // limit since the last block
  uint32_t wanted_;
};

class HpackDecoder {
 public:
  // What our SETTINGS_HEADER_TABLE_SIZE allows; a smaller one than before only once the peer has acknowledged it.
  void set_table(uint32_t bytes);

  enum class Next : uint8_t { kField, kEnd, kError };
  // The next field of a whole block, off the front of `block`. kError: the block is not HPACK; give up the connection,
  // for the tables no longer agree (RFC 9113 §4.3).
  Next next(Bytes& block, HpackField& field);

 private:
  bool resize(Bytes& block);
  bool indexed(uint32_t index, HpackField& field) const;
  bool literal(Bytes& block, uint32_t name_index, bool keep, HpackField& field);
  bool string(Bytes& block, Buffer& scratch, Bytes& text);

  HpackTable table_;
  Buffer name_, value_;  // decoded Huffman text
  uint32_t max_table_ = 4096;
  bool at_start_ = true;
  bool smaller_due_ = false;  // the peer must say that it uses less
};

}  // namespace tulle::http
