#include "libs/http/hpack.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "libs/base/check.h"

namespace tulle::http {
namespace {

Bytes text(const nghttp2_vec& v) { return {reinterpret_cast<const char*>(v.base), v.len}; }
uint8_t* bytes(Bytes s) { return const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(s.data())); }

}  // namespace

HpackEncoder::HpackEncoder(uint32_t max_table) : max_table_(max_table) {
  TULLE_CHECK(nghttp2_hd_deflate_new(&deflater_, max_table) == 0);
  // Both ends start at 4,096 bytes (RFC 7541 §4.2), whatever we may use later.
  if (max_table > 4096) TULLE_CHECK(nghttp2_hd_deflate_change_table_size(deflater_, 4096) == 0);
}

HpackEncoder::~HpackEncoder() { nghttp2_hd_deflate_del(deflater_); }

void HpackEncoder::set_peer_table(uint32_t bytes) {
  TULLE_CHECK(nghttp2_hd_deflate_change_table_size(deflater_, std::min(bytes, max_table_)) == 0);
}

void HpackEncoder::encode(const H2Fields& fields, Buffer& out) {
  absl::InlinedVector<nghttp2_nv, 24> nv;
  nv.reserve(fields.size());
  for (const H2Field& f : fields)
    nv.push_back({bytes(f.name), bytes(f.value), f.name.size(), f.value.size(), NGHTTP2_NV_FLAG_NONE});
  size_t bound = nghttp2_hd_deflate_bound(deflater_, nv.data(), nv.size());
  auto* into = reinterpret_cast<uint8_t*>(out.prepare(bound));
  ssize_t n = nghttp2_hd_deflate_hd(deflater_, into, bound, nv.data(), nv.size());
  TULLE_CHECK(n >= 0);  // out of memory, or the bound is wrong
  out.commit(static_cast<size_t>(n));
}

HpackDecoder::HpackDecoder() { TULLE_CHECK(nghttp2_hd_inflate_new(&inflater_) == 0); }

HpackDecoder::~HpackDecoder() { nghttp2_hd_inflate_del(inflater_); }

void HpackDecoder::set_table(uint32_t bytes) {
  TULLE_CHECK(nghttp2_hd_inflate_change_table_size(inflater_, bytes) == 0);
}

HpackDecoder::Next HpackDecoder::next(Bytes& in, bool last, Bytes& name, Bytes& value) {
  for (;;) {
    nghttp2_nv nv;
    int flags = 0;
    ssize_t n = nghttp2_hd_inflate_hd2(inflater_, &nv, &flags, bytes(in), in.size(), last);
    if (n < 0) return Next::kError;
    in.remove_prefix(static_cast<size_t>(n));
    if (flags & NGHTTP2_HD_INFLATE_EMIT) {
      name = text({nv.name, nv.namelen});
      value = text({nv.value, nv.valuelen});
      return Next::kField;
    }
    if (flags & NGHTTP2_HD_INFLATE_FINAL) {
      nghttp2_hd_inflate_end_headers(inflater_);
      return Next::kMore;
    }
    if (in.empty()) return Next::kMore;
  }
}

}  // namespace tulle::http
