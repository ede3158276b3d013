#include "libs/http/hpack_huffman.h"

#include "libs/http/hpack_tables.h"

namespace tulle::http {
namespace {

constexpr unsigned kShort = 9;  // codes of up to so many bits are looked up at once: all letters and digits
constexpr unsigned kLongest = 30;

struct Code {
  std::array<uint32_t, kLongest + 2> first{};   // the first code of each length, at the left of 30 bits
  std::array<uint16_t, kLongest + 2> offset{};  // where its symbols start
  std::array<uint16_t, 257> symbols{};          // by length, then value: the order of a canonical code
  std::array<uint16_t, 1 << kShort> fast{};     // symbol << 4 | bits; 0: a longer code
};

constexpr Code make_code() {
  Code c;
  uint32_t code = 0;
  uint16_t n = 0;
  for (unsigned bits = 1; bits <= kLongest; ++bits) {
    c.first[bits] = code;
    c.offset[bits] = n;
    for (uint16_t symbol = 0; symbol < 257; ++symbol) {
      if (kHuffmanBits[symbol] != bits) continue;
      c.symbols[n++] = symbol;
      if (bits <= kShort) {
        uint32_t from = code >> (kLongest - kShort);
        for (uint32_t i = 0; i < 1u << (kShort - bits); ++i)
          c.fast[from + i] = static_cast<uint16_t>(symbol << 4 | bits);
      }
      code += 1u << (kLongest - bits);
    }
  }
  c.first[kLongest + 1] = code;  // 2^30: the code is complete
  return c;
}
constexpr Code kCode = make_code();
static_assert(kCode.first[kLongest + 1] == 1u << kLongest);

}  // namespace

bool huffman_decode(Bytes in, Buffer& out) {
  char* to = out.prepare(in.size() * 8 / 5 + 1);
  const char* start = to;
  uint64_t bits = 0;  // what is not decoded yet, at the right
  unsigned count = 0;
  size_t at = 0;
  for (;;) {
    while (count <= 56 && at < in.size()) {
      bits = bits << 8 | static_cast<uint8_t>(in[at++]);
      count += 8;
    }
    if (count == 0) break;
    // The next 30 bits; ones where there are none, as the padding is.
    uint32_t next =
        static_cast<uint32_t>(count >= kLongest ? bits >> (count - kLongest)
                                                : (bits << (kLongest - count)) | ((1u << (kLongest - count)) - 1)) &
        ((1u << kLongest) - 1);
    unsigned used;
    uint16_t symbol;
    if (uint16_t hit = kCode.fast[next >> (kLongest - kShort)]) {
      used = hit & 15;
      symbol = hit >> 4;
    } else {
      used = kShort + 1;
      while (next >= kCode.first[used + 1]) ++used;
      symbol = kCode.symbols[kCode.offset[used] + ((next - kCode.first[used]) >> (kLongest - used))];
    }
    if (used > count || symbol == 256) {  // the end of the text: fewer than 8 ones
      bool ones = next == (1u << kLongest) - 1;
      if (count > 7 || !ones) return false;
      break;
    }
    *to++ = static_cast<char>(symbol);
    count -= used;
    bits &= (1ull << count) - 1;
  }
  out.commit(static_cast<size_t>(to - start));
  return true;
}

}  // namespace tulle::http
