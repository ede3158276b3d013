#include "libs/net/dns_message.h"

#include <algorithm>

namespace tulle::net::dns {
namespace {

constexpr size_t kHeader = 12;
constexpr size_t kMaxName = 255;  // on the wire
constexpr size_t kMaxLabel = 63;
constexpr int kMaxJumps = 32;  // compression pointers of one name
constexpr uint16_t kQr = 0x8000, kAa = 0x0400, kTc = 0x0200, kRd = 0x0100, kRa = 0x0080;

// Reads from the front of a message; ok() turns false at the first thing that is wrong, and stays.
class Reader {
 public:
  explicit Reader(Bytes m) : message_(m) {}
  bool ok() const { return ok_; }
  size_t at() const { return at_; }
  size_t left() const { return message_.size() - at_; }
  void fail() { ok_ = false; }

  uint8_t u8() {
    if (left() < 1) fail();
    return ok_ ? static_cast<uint8_t>(message_[at_++]) : 0;
  }
  uint16_t u16() {
    auto high = static_cast<uint16_t>(u8() << 8);
    return static_cast<uint16_t>(high | u8());
  }
  uint32_t u32() {
    uint32_t high = static_cast<uint32_t>(u16()) << 16;
    return high | u16();
  }
  void skip(size_t n) {
    if (n > left()) fail();
    else at_ += n;
  }
  Bytes bytes(size_t n) {
    if (n > left()) fail();
    if (!ok_) return {};
    at_ += n;
    return message_.substr(at_ - n, n);
  }

  // A name, compressed or not (RFC 1035 §4.1.4). Pointers must point backwards, so that a name always ends.
  std::string name() {
    std::string out;
    size_t pos = at_, size = 1, end = 0, jumps = 0;
    size_t limit = at_;  // a pointer must point before the place where this run of labels began
    for (;;) {
      if (pos >= message_.size()) return broken();
      auto len = static_cast<uint8_t>(message_[pos]);
      if ((len & 0xc0) == 0xc0) {
        if (pos + 1 >= message_.size() || ++jumps > kMaxJumps) return broken();
        size_t to = static_cast<size_t>(len & 0x3f) << 8 | static_cast<uint8_t>(message_[pos + 1]);
        if (end == 0) end = pos + 2;
        if (to >= limit || to < kHeader) return broken();
        pos = limit = to;
        continue;
      }
      if (len & 0xc0) return broken();
      if (len == 0) {
        if (end == 0) end = pos + 1;
        break;
      }
      size += len + 1u;
      if (size > kMaxName || pos + 1 + len > message_.size()) return broken();
      if (!out.empty()) out.push_back('.');
      append_label(out, message_.substr(pos + 1, len));
      pos += len + 1u;
    }
    if (!ok_) return {};
    at_ = end;
    return out;
  }

 private:
  static void append_label(std::string& out, Bytes label) {
    for (char c : label) {
      if (is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') || c == '-' || c == '_') {
        out.push_back(c);
        continue;
      }
      auto u = static_cast<uint8_t>(c);
      out.push_back('\\');
      for (int d : {u / 100, u / 10 % 10, u % 10}) out.push_back(static_cast<char>('0' + d));
    }
  }
  std::string broken() {
    fail();
    return {};
  }
  Bytes message_;
  size_t at_ = 0;
  bool ok_ = true;
};

void put16(std::string& out, uint16_t n) {
  out.push_back(static_cast<char>(n >> 8));
  out.push_back(static_cast<char>(n));
}
void put32(std::string& out, uint32_t n) {
  put16(out, static_cast<uint16_t>(n >> 16));
  put16(out, static_cast<uint16_t>(n));
}

// The reverse of Reader::name(); false for a text that is no name.
bool put_name(std::string& out, std::string_view name) {
  size_t start = out.size();
  if (!name.empty()) {
    std::string label;
    auto end_label = [&] {
      if (label.empty() || label.size() > kMaxLabel) return false;
      out.push_back(static_cast<char>(label.size()));
      out.append(label);
      label.clear();
      return true;
    };
    for (size_t i = 0; i < name.size(); ++i) {
      if (name[i] == '.') {
        if (!end_label()) return false;
      } else if (name[i] == '\\') {
        auto code = parse_number<uint8_t>(name.substr(i + 1, 3));
        if (!code || i + 3 >= name.size()) return false;
        label.push_back(static_cast<char>(*code));
        i += 3;
      } else {
        label.push_back(name[i]);
      }
    }
    if (!end_label()) return false;
  }
  out.push_back('\0');
  return out.size() - start <= kMaxName;
}

struct Head {
  uint16_t id, flags, questions, answers, authority, additional;
};
Head read_head(Reader& r) {
  Head h{};
  h.id = r.u16();
  h.flags = r.u16();
  h.questions = r.u16();
  h.answers = r.u16();
  h.authority = r.u16();
  h.additional = r.u16();
  return h;
}
void put_head(std::string& out, const Head& h) {
  for (uint16_t n : {h.id, h.flags, h.questions, h.answers, h.authority, h.additional}) put16(out, n);
}

Question read_question(Reader& r) {
  Question q;
  q.name = r.name();
  q.type = r.u16();
  q.klass = r.u16();
  return q;
}

Record read_record(Reader& r) {
  Record out;
  out.name = r.name();
  out.type = r.u16();
  out.klass = r.u16();
  out.ttl = r.u32();
  size_t size = r.u16();
  size_t end = r.at() + size;
  if (size > r.left()) r.fail();
  if (!r.ok()) return out;
  if (out.type != kTypeOpt && out.ttl > 0x7fffffff) out.ttl = 0;
  auto address = [&](size_t want) {
    if (size != want) r.fail();
    Bytes b = r.bytes(want);
    if (!r.ok()) return;
    if (want == 4) {
      out.ip = IpAddr::v4(static_cast<uint8_t>(b[0]), static_cast<uint8_t>(b[1]), static_cast<uint8_t>(b[2]),
                          static_cast<uint8_t>(b[3]));
    } else {
      std::array<uint8_t, 16> a;
      std::ranges::transform(b, a.begin(), [](char c) { return static_cast<uint8_t>(c); });
      out.ip = IpAddr::v6(a);
    }
  };
  switch (out.type) {
    case kTypeA: address(4); break;
    case kTypeAaaa: address(16); break;
    case kTypeCname:
    case kTypePtr: out.target = r.name(); break;
    case kTypeSrv:
      out.priority = r.u16();
      out.weight = r.u16();
      out.port = r.u16();
      out.target = r.name();
      break;
    case kTypeSoa:
      r.name();
      r.name();
      r.skip(16);
      out.minimum = r.u32();
      break;
    default: r.skip(size);
  }
  if (r.at() != end) r.fail();  // more or less than its size says
  return out;
}

std::unexpected<Error> malformed(std::string_view what) {
  return tulle::fail(Code::kInvalid, cat("DNS message: ", what), Side::kPeer);
}

}  // namespace

std::optional<uint16_t> query_id(Bytes message) {
  Reader r(message);
  Head h = read_head(r);
  if (!r.ok() || (h.flags & kQr)) return std::nullopt;
  return h.id;
}

Result<Query> parse_query(Bytes message) {
  Reader r(message);
  Head h = read_head(r);
  if (!r.ok()) return malformed("shorter than a header");
  if (h.flags & kQr) return malformed("not a query");
  Query q;
  q.id = h.id;
  q.opcode = h.flags >> 11 & 0xf;
  q.recursion_desired = h.flags & kRd;
  if (h.questions != 1) return malformed("not exactly one question");
  if (h.answers != 0 || h.authority != 0) return malformed("a query with records");
  q.question = read_question(r);
  for (uint16_t i = 0; i < h.additional && r.ok(); ++i) {
    Record record = read_record(r);
    if (record.type != kTypeOpt) continue;
    if (q.edns_udp_size) return malformed("more than one OPT record");
    if (!record.name.empty()) return malformed("an OPT record with a name");
    q.edns_udp_size = record.klass;
  }
  if (!r.ok()) return malformed("cut off or malformed");
  if (r.left() != 0) return malformed("bytes after its end");
  return q;
}

Result<Answer> parse_answer(Bytes message) {
  Reader r(message);
  Head h = read_head(r);
  if (!r.ok()) return malformed("shorter than a header");
  if (!(h.flags & kQr)) return malformed("not an answer");
  Answer a;
  a.id = h.id;
  a.truncated = h.flags & kTc;
  a.rcode = static_cast<Rcode>(h.flags & 0xf);
  for (uint16_t i = 0; i < h.questions && r.ok(); ++i) a.questions.push_back(read_question(r));
  for (uint16_t i = 0; i < h.answers && r.ok(); ++i) a.answers.push_back(read_record(r));
  for (uint16_t i = 0; i < h.authority && r.ok(); ++i) a.authority.push_back(read_record(r));
  for (uint16_t i = 0; i < h.additional && r.ok(); ++i) read_record(r);
  if (!r.ok() && !a.truncated) return malformed("cut off or malformed");
  return a;
}

Result<std::string> encode_query(uint16_t id, const Question& question, uint16_t udp_size) {
  std::string out;
  put_head(out, Head{id, kRd, 1, 0, 0, 1});
  if (!put_name(out, question.name))
    return tulle::fail(Code::kInvalid, cat(quoted(question.name), " is not a DNS name"));
  put16(out, question.type);
  put16(out, question.klass);
  out.push_back('\0');  // OPT: the root, its class the size, no flags, no options
  put16(out, kTypeOpt);
  put16(out, udp_size);
  put32(out, 0);
  put16(out, 0);
  return out;
}

std::string encode_answer(const Query& query, Rcode rcode, const std::vector<IpAddr>& addresses, Duration ttl,
                          size_t limit) {
  bool v4 = query.question.type == kTypeA || query.question.type == kTypeAny;
  bool v6 = query.question.type == kTypeAaaa || query.question.type == kTypeAny;
  uint16_t flags = kQr | kAa | kRa | static_cast<uint16_t>(rcode);
  if (query.recursion_desired) flags |= kRd;
  flags |= static_cast<uint16_t>(query.opcode << 11);
  std::string out;
  put_head(out, Head{query.id, flags, 1, 0, 0, static_cast<uint16_t>(query.edns_udp_size ? 1 : 0)});
  if (!put_name(out, query.question.name)) out.push_back('\0');  // cannot be: it was read from a message
  put16(out, query.question.type);
  put16(out, query.question.klass);

  std::string opt;
  if (query.edns_udp_size) {
    opt.push_back('\0');
    put16(opt, kTypeOpt);
    put16(opt, 1232);
    put32(opt, 0);
    put16(opt, 0);
  }
  std::string records;
  uint16_t count = 0;
  auto seconds = static_cast<uint32_t>(std::clamp<int64_t>(ttl / 1s, 0, 0x7fffffff));
  for (const IpAddr& ip : addresses) {
    if (ip.is_v4() ? !v4 : !v6) continue;
    size_t data = ip.is_v4() ? 4 : 16;
    if (out.size() + opt.size() + records.size() + 12 + data > std::min(limit, kMaxMessage)) {
      // Whoever sees TC asks again over TCP and wants no part of this answer (RFC 2181 §9).
      records.clear();
      count = 0;
      flags |= kTc;
      break;
    }
    put16(records, 0xc000 | kHeader);  // the question's name
    put16(records, ip.is_v4() ? kTypeA : kTypeAaaa);
    put16(records, kClassIn);
    put32(records, seconds);
    put16(records, static_cast<uint16_t>(data));
    if (ip.is_v4()) {
      put32(records, ip.v4_bits());
    } else {
      for (uint8_t b : ip.v6_bytes()) records.push_back(static_cast<char>(b));
    }
    ++count;
  }
  out[2] = static_cast<char>(flags >> 8);
  out[3] = static_cast<char>(flags);
  out[6] = static_cast<char>(count >> 8);
  out[7] = static_cast<char>(count);
  return out + records + opt;
}

std::string encode_format_error(uint16_t id) {
  std::string out;
  put_head(out, Head{id, static_cast<uint16_t>(kQr | static_cast<uint16_t>(Rcode::kFormErr)), 0, 0, 0, 0});
  return out;
}

}  // namespace tulle::net::dns
