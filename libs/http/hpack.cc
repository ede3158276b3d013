#include "libs/http/hpack.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "libs/base/check.h"
#include "libs/http/h2_head.h"
#include "libs/http/hpack_huffman.h"
#include "libs/http/hpack_tables.h"

namespace tulle::http {
namespace {

constexpr uint32_t kSlots = 256;

// The first static index of each well-known name; 0: none.
constexpr auto kNameIndex = [] {
  std::array<uint8_t, std::size(kHeaderNames)> t{};
  for (uint8_t i = kHpackStaticSize; i > 0; --i)
    for (size_t id = 1; id < t.size(); ++id)
      if (kHpackStatic[i].name == kHeaderNames[id]) t[id] = i;
  return t;
}();

// The id of each field of the static table.
constexpr auto kStaticIds = [] {
  std::array<HeaderId, kHpackStaticSize + 1> t{};
  for (size_t i = 1; i <= kHpackStaticSize; ++i)
    for (size_t id = 1; id < std::size(kHeaderNames); ++id)
      if (kHpackStatic[i].name == kHeaderNames[id]) t[i] = static_cast<HeaderId>(id);
  return t;
}();

uint64_t load64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

// Good enough for a table that forgives: whoever makes collisions spoils his own compression.
uint64_t mix(uint64_t h, std::string_view s) {
  constexpr uint64_t kPrime = 0x9e3779b97f4a7c15;
  h = (h ^ s.size()) * kPrime;
  size_t i = 0;
  for (; i + 8 <= s.size(); i += 8) h = std::rotl((h ^ load64(s.data() + i)) * kPrime, 29);
  uint64_t rest = 0;
  if (i < s.size()) std::memcpy(&rest, s.data() + i, s.size() - i);
  h = (h ^ rest) * kPrime;
  return h ^ h >> 32;
}

char* put_int(char* to, uint8_t pattern, unsigned bits, uint32_t n) {
  uint32_t max = (1u << bits) - 1;
  if (n < max) {
    *to++ = static_cast<char>(pattern | n);
    return to;
  }
  *to++ = static_cast<char>(pattern | max);
  for (n -= max; n >= 128; n >>= 7) *to++ = static_cast<char>(n | 128);
  *to++ = static_cast<char>(n);
  return to;
}

char* put_string(char* to, std::string_view s) {
  to = put_int(to, 0, 7, static_cast<uint32_t>(s.size()));
  if (!s.empty()) std::memcpy(to, s.data(), s.size());
  return to + s.size();
}

bool take_int(Bytes& in, unsigned bits, uint32_t& n) {
  uint32_t max = (1u << bits) - 1;
  n = static_cast<uint8_t>(in[0]) & max;
  in.remove_prefix(1);
  if (n < max) return true;
  for (unsigned shift = 0; shift <= 21 && !in.empty(); shift += 7) {
    auto byte = static_cast<uint8_t>(in[0]);
    in.remove_prefix(1);
    n += static_cast<uint32_t>(byte & 127) << shift;
    if (!(byte & 128)) return true;
  }
  return false;
}

enum class Keep : uint8_t { kYes, kNo, kNever };

// What is worth a place in the table, and what must not have one.
Keep keep(const H2Field& f) {
  switch (f.id) {
    case HeaderId::kContentLength:
    case HeaderId::kGrpcTimeout:
    case HeaderId::kTraceparent: return Keep::kNo;
    case HeaderId::kCookie: return f.value.size() < 20 ? Keep::kNever : Keep::kYes;
    case HeaderId::kOther: break;
    default: return Keep::kYes;
  }
  switch (f.name.size()) {
    case 5: return f.name == ":path" && f.value.size() > 256 ? Keep::kNo : Keep::kYes;
    case 10: return f.name == "set-cookie" ? Keep::kNo : Keep::kYes;
    case 13: return f.name == "authorization" ? Keep::kNever : Keep::kYes;
    case 19: return f.name == "proxy-authorization" ? Keep::kNever : Keep::kYes;
    default: return Keep::kYes;
  }
}

uint8_t name_index(const H2Field& f) {
  if (f.id != HeaderId::kOther) return kNameIndex[static_cast<size_t>(f.id)];
  if (f.name[0] != ':') return 0;
  switch (f.name[1]) {
    case 'a': return 1;
    case 'm': return 2;
    case 'p': return 4;
    case 's': return f.name[2] == 'c' ? 6 : 8;
    default: return 0;
  }
}

}  // namespace

// ---- The dynamic table

void HpackTable::set_limit(uint32_t bytes) {
  limit_ = bytes;
  evict();
}

void HpackTable::evict() {
  while (used_ > limit_) {
    used_ -= cost(entry(count_ - 1));
    --count_;
  }
}

void HpackTable::insert(HeaderId id, bool good, std::string_view name, std::string_view value) {
  size_t cost = name.size() + value.size() + 32;
  if (cost > limit_) {  // empties the table (RFC 7541 §4.4)
    used_ = count_ = 0;
    return;
  }
  std::string_view stored = id == HeaderId::kOther ? name : std::string_view();
  auto size = static_cast<uint32_t>(stored.size() + value.size());
  std::unique_ptr<char[]> old;  // what is inserted may lie in it
  while (used_ + cost > limit_) {
    used_ -= this->cost(entry(count_ - 1));
    --count_;
  }
  if (count_ == ring_.size()) {
    std::vector<Entry> larger(std::max<size_t>(8, 2 * ring_.size()));
    for (uint32_t i = 0; i < count_; ++i) larger[(inserted_ - 1 - i) & (larger.size() - 1)] = entry(i);
    ring_.swap(larger);
  }
  if (capacity_ - end_ < size) {
    // The bytes of those that left go, and room is made for as much again as the table may hold.
    uint32_t begin = count_ ? entry(count_ - 1).at : end_;
    uint32_t live = end_ - begin;
    capacity_ = std::max(live + size, std::min(2 * (live + size) + 256, 2 * limit_));
    old = std::move(bytes_);
    bytes_ = std::make_unique_for_overwrite<char[]>(capacity_);
    if (live) std::memcpy(bytes_.get(), old.get() + begin, live);
    for (uint32_t i = 0; i < count_; ++i) ring_[(inserted_ - 1 - i) & (ring_.size() - 1)].at -= begin;
    end_ = live;
  }
  char* to = bytes_.get() + end_;
  if (!stored.empty()) std::memcpy(to, stored.data(), stored.size());
  if (!value.empty()) std::memcpy(to + stored.size(), value.data(), value.size());
  ring_[inserted_ & (ring_.size() - 1)] = {id, good, end_, static_cast<uint32_t>(name.size()),
                                           static_cast<uint32_t>(value.size())};
  end_ += size;
  used_ += static_cast<uint32_t>(cost);
  ++inserted_;
  ++count_;
}

// ---- Encoder

// Both ends start at 4,096 bytes (RFC 7541 §4.2), whatever we may use later.
HpackEncoder::HpackEncoder(uint32_t max_table)
    : max_table_(max_table), smallest_(std::min(max_table, 4096u)), wanted_(smallest_) {}

void HpackEncoder::set_peer_table(uint32_t bytes) {
  wanted_ = std::min(bytes, max_table_);
  smallest_ = std::min(smallest_, wanted_);
}

void HpackEncoder::encode(const H2Fields& fields, Buffer& out) {
  size_t bound = 2 * 6;
  for (const H2Field& f : fields) bound += f.name.size() + f.value.size() + 3 * 6;
  char* start = out.prepare(bound);
  char* to = start;
  if (smallest_ != table_.limit()) {
    table_.set_limit(smallest_);
    to = put_int(to, 0x20, 5, smallest_);
  }
  if (wanted_ != table_.limit()) {
    table_.set_limit(wanted_);
    to = put_int(to, 0x20, 5, wanted_);
  }
  smallest_ = wanted_;
  if (!slots_) slots_ = std::make_unique<Slot[]>(kSlots);
  for (const H2Field& f : fields) to = put(to, f);
  out.commit(static_cast<size_t>(to - start));
}

char* HpackEncoder::put(char* to, const H2Field& f) {
  if (f.exact) return put_int(to, 0x80, 7, f.exact);
  uint64_t h = f.id != HeaderId::kOther ? static_cast<uint64_t>(f.id) + 1 : mix(0, f.name);
  auto hash = static_cast<uint32_t>(mix(h, f.value));
  Slot& slot = slots_[hash % kSlots];
  bool seen = slot.hash == hash;
  if (seen && slot.entry) {
    uint32_t age = static_cast<uint32_t>(table_.inserted()) - slot.entry;
    if (age < table_.size()) {
      const HpackTable::Entry& e = table_.entry(age);
      if (e.id == f.id && table_.value(e) == f.value && table_.name(e) == f.name)
        return put_int(to, 0x80, 7, kHpackStaticSize + 1 + age);
    }
  }
  uint8_t name = name_index(f);
  Keep kept = keep(f);
  bool enters = seen && kept == Keep::kYes && f.name.size() + f.value.size() + 32 <= table_.limit();
  if (enters) to = put_int(to, 0x40, 6, name);
  else to = put_int(to, kept == Keep::kNever ? 0x10 : 0, 4, name);
  if (!name) to = put_string(to, f.name);
  to = put_string(to, f.value);
  if (kept == Keep::kYes) slot = {hash, 0};
  if (enters) {
    table_.insert(f.id, true, f.name, f.value);
    slot.entry = static_cast<uint32_t>(table_.inserted());
  }
  return to;
}

// ---- Decoder

void HpackDecoder::set_table(uint32_t bytes) {
  max_table_ = bytes;
  smaller_due_ = bytes < table_.limit();
}

HpackDecoder::Next HpackDecoder::next(Bytes& block, HpackField& field) {
  while (!block.empty()) {
    auto byte = static_cast<uint8_t>(block[0]);
    if ((byte & 0xe0) == 0x20) {
      if (!resize(block)) return Next::kError;
      continue;
    }
    if (smaller_due_) return Next::kError;
    at_start_ = false;
    uint32_t index;
    if (byte & 0x80) {
      if (!take_int(block, 7, index) || !indexed(index, field)) return Next::kError;
      return Next::kField;
    }
    bool keep = byte & 0x40;
    if (!take_int(block, keep ? 6 : 4, index) || !literal(block, index, keep, field)) return Next::kError;
    return Next::kField;
  }
  at_start_ = true;
  return Next::kEnd;
}

// Only before the first field (RFC 7541 §4.2).
bool HpackDecoder::resize(Bytes& block) {
  uint32_t bytes;
  if (!at_start_ || !take_int(block, 5, bytes) || bytes > max_table_) return false;
  table_.set_limit(bytes);
  smaller_due_ = false;
  return true;
}

bool HpackDecoder::indexed(uint32_t index, HpackField& field) const {
  if (index == 0) return false;
  if (index <= kHpackStaticSize) {
    const HpackStaticField& s = kHpackStatic[index];
    field = {kStaticIds[index], true, s.name, s.value};
    return true;
  }
  index -= kHpackStaticSize + 1;
  if (index >= table_.size()) return false;
  const HpackTable::Entry& e = table_.entry(index);
  field = {e.id, e.good, table_.name(e), table_.value(e)};
  return true;
}

bool HpackDecoder::literal(Bytes& block, uint32_t name_index, bool keep, HpackField& field) {
  bool good_name = false;
  if (name_index) {
    HpackField named;
    if (!indexed(name_index, named)) return false;
    field.id = named.id;
    field.name = named.name;
    good_name = named.good;
  } else {
    if (!string(block, name_, field.name)) return false;
    field.id = header_id(field.name);
  }
  if (!string(block, value_, field.value)) return false;
  field.good = false;
  if (!keep) return true;
  good_name = good_name || (!field.name.empty() && field.name[0] == ':') || is_h2_name(field.name);
  field.good = good_name && is_h2_value(field.value);
  table_.insert(field.id, field.good, field.name, field.value);
  // The table may have thrown out the entry that the name came from: what is passed on lies in the new one.
  if (table_.size() && name_index) {
    const HpackTable::Entry& e = table_.entry(0);
    field.name = table_.name(e);
    field.value = table_.value(e);
  }
  return true;
}

bool HpackDecoder::string(Bytes& block, Buffer& scratch, Bytes& text) {
  if (block.empty()) return false;
  bool huffman = static_cast<uint8_t>(block[0]) & 0x80;
  uint32_t size;
  if (!take_int(block, 7, size) || size > block.size()) return false;
  text = block.substr(0, size);
  block.remove_prefix(size);
  if (!huffman) return true;
  scratch.clear();
  if (!huffman_decode(text, scratch)) return false;
  text = scratch.view();
  return true;
}

}  // namespace tulle::http
