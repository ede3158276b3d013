#include <nghttp2/nghttp2.h>

#include <string>
#include <vector>

#include "libs/base/check.h"
#include "libs/http/hpack.h"

// Blocks, each after a byte of length, to our decoder and to nghttp2's: both must say the same.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  http::HpackDecoder ours;
  nghttp2_hd_inflater* theirs = nullptr;
  TULLE_CHECK(nghttp2_hd_inflate_new(&theirs) == 0);
  Bytes in(reinterpret_cast<const char*>(data), size);
  bool good = true;
  while (good && !in.empty()) {
    size_t length = std::min<size_t>(static_cast<uint8_t>(in[0]) * 4, in.size() - 1);
    Bytes block = in.substr(1, length);
    in.remove_prefix(1 + length);
    std::vector<std::string> a, b;
    http::HpackField f;
    auto next = http::HpackDecoder::Next::kField;
    for (Bytes rest = block; (next = ours.next(rest, f)) == http::HpackDecoder::Next::kField;) {
      TULLE_CHECK(f.id == http::header_id(f.name));
      a.emplace_back(f.name);
      a.emplace_back(f.value);
    }
    good = next != http::HpackDecoder::Next::kError;
    bool their_good = true;
    for (Bytes rest = block;;) {
      nghttp2_nv nv;
      int flags = 0;
      ssize_t n =
          nghttp2_hd_inflate_hd2(theirs, &nv, &flags, reinterpret_cast<const uint8_t*>(rest.data()), rest.size(), 1);
      if (n < 0) {
        their_good = false;
        break;
      }
      rest.remove_prefix(static_cast<size_t>(n));
      if (flags & NGHTTP2_HD_INFLATE_EMIT) {
        b.emplace_back(reinterpret_cast<char*>(nv.name), nv.namelen);
        b.emplace_back(reinterpret_cast<char*>(nv.value), nv.valuelen);
      }
      if (flags & NGHTTP2_HD_INFLATE_FINAL) {
        nghttp2_hd_inflate_end_headers(theirs);
        break;
      }
    }
    // nghttp2 refuses strings above 64 KiB, which no block here reaches.
    TULLE_CHECK(good == their_good);
    if (good) TULLE_CHECK(a == b);
  }
  nghttp2_hd_inflate_del(theirs);
  return 0;
}
