// Reads the bytes as a question and as an answer; what was read as a question is answered, and the answer read back.
#include "libs/base/check.h"
#include "libs/net/dns_message.h"

using namespace tulle;
using namespace tulle::net;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Bytes in(reinterpret_cast<const char*>(data), size);
  if (auto q = dns::parse_query(in)) {
    std::vector<IpAddr> ips{IpAddr::v4(127, 96, 0, 1), IpAddr::v6(1, 2)};
    for (size_t limit : {dns::kMaxUdp, dns::kMaxMessage}) {
      std::string answer = dns::encode_answer(*q, dns::Rcode::kNoError, ips, 5s, limit);
      TULLE_CHECK(answer.size() <= limit);
      auto back = dns::parse_answer(answer);
      TULLE_CHECK(back.has_value());
      TULLE_CHECK(back->id == q->id && back->questions.size() == 1 && back->questions[0].name == q->question.name);
    }
    TULLE_CHECK(dns::query_id(in) == q->id);
    auto again = dns::encode_query(q->id, q->question);
    TULLE_CHECK(again.has_value());
    auto same = dns::parse_query(*again);
    TULLE_CHECK(same && same->question.name == q->question.name);
  }
  (void)dns::parse_answer(in);
  return 0;
}
