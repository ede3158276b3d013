#include "proxy/model/route.h"
#include "re2/re2.h"

namespace tulle::proxy {

struct Pattern::Compiled {
  re2::RE2 regex;
};

Result<Pattern> Pattern::compile(std::string_view regex) {
  re2::RE2::Options options(re2::RE2::Quiet);
  options.set_max_mem(1 << 20);
  Pattern p;
  auto compiled =
      std::shared_ptr<Compiled>(new Compiled{re2::RE2(re2::StringPiece(regex.data(), regex.size()), options)});
  if (!compiled->regex.ok())
    return fail(Code::kInvalid, cat("regular expression ", quoted(regex), ": ", compiled->regex.error()), Side::kPeer);
  p.compiled_ = std::move(compiled);
  return p;
}

bool Pattern::matches(std::string_view text) const {
  return compiled_ && re2::RE2::FullMatch(re2::StringPiece(text.data(), text.size()), compiled_->regex);
}

}  // namespace tulle::proxy
