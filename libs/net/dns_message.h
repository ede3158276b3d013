// DNS messages (RFC 1035; EDNS0: RFC 6891): reading questions and answers, writing both. Pure functions over bytes;
// what is read is bounded by the message, and a name by the 255 bytes of RFC 1035 §3.1.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/addr.h"
#include "libs/base/result.h"
#include "libs/base/strings.h"
#include "libs/base/time.h"

namespace tulle::net::dns {

inline constexpr uint16_t kTypeA = 1, kTypeCname = 5, kTypeSoa = 6, kTypePtr = 12, kTypeAaaa = 28, kTypeSrv = 33,
                          kTypeOpt = 41, kTypeAny = 255;
inline constexpr uint16_t kClassIn = 1;
inline constexpr size_t kMaxUdp = 512;  // without EDNS0
inline constexpr size_t kMaxMessage = 65535;

enum class Rcode : uint8_t { kNoError, kFormErr, kServFail, kNxDomain, kNotImp, kRefused };

// Names as text: labels in the case in which they came, dots between, none at the end; the root is "". A byte that is
// not a letter, digit, '-' or '_' is written \DDD, so that a dot inside a label is no separator.
struct Question {
  std::string name;
  uint16_t type = kTypeA;
  uint16_t klass = kClassIn;
  Question() = default;
  explicit Question(std::string n, uint16_t t = kTypeA, uint16_t k = kClassIn)
      : name(std::move(n)), type(t), klass(k) {}
};

struct Query {
  Query() = default;
  uint16_t id = 0;
  bool recursion_desired = false;
  uint8_t opcode = 0;  // 0: a standard query
  Question question;
  std::optional<uint16_t> edns_udp_size;  // the sender takes EDNS0, and answers of that size over UDP
  // How long an answer over UDP may be; also with EDNS0 no longer than 4096 (what resolvers ask for at most).
  size_t udp_limit() const { return edns_udp_size ? std::clamp<size_t>(*edns_udp_size, kMaxUdp, 4096) : kMaxUdp; }
};

// A message with the QR bit off, exactly one question and additional records at most, of which OPT is read. Error:
// kInvalid; when at least the header of a query came, query_id() gives its id for a FORMERR.
Result<Query> parse_query(Bytes message);
// The id when the message has a header and is a query.
std::optional<uint16_t> query_id(Bytes message);

struct Record {
  std::string name;
  uint16_t type = 0;
  uint16_t klass = 0;
  uint32_t ttl = 0;  // seconds; RFC 2181 §8: above 2^31-1 it counts as 0
  // By type:
  IpAddr ip;                                    // A, AAAA
  std::string target;                           // CNAME, PTR, SRV
  uint16_t port = 0, priority = 0, weight = 0;  // SRV
  uint32_t minimum = 0;                         // SOA: for how long a name's absence may be remembered
};

struct Answer {
  uint16_t id = 0;
  bool truncated = false;
  Rcode rcode = Rcode::kNoError;  // the lower four bits; others are kept as they are
  std::vector<Question> questions;
  std::vector<Record> answers, authority;  // in order, of all types; additional records are checked and dropped
};
// A message with the QR bit on. One with TC may be cut off inside its records.
Result<Answer> parse_answer(Bytes message);

// A question as a client sends it, with EDNS0 of `udp_size`. Error: kInvalid for a name that cannot be sent.
Result<std::string> encode_query(uint16_t id, const Question& question, uint16_t udp_size = 1232);

// The answer to `query`: the addresses that fit its type (A or AAAA), with `ttl`. Over `limit` bytes: no records, TC.
std::string encode_answer(const Query& query, Rcode rcode, const std::vector<IpAddr>& addresses, Duration ttl,
                          size_t limit);
// The answer to something that cannot be read.
std::string encode_format_error(uint16_t id);

}  // namespace tulle::net::dns
