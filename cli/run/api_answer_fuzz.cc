// The control plane's answers as the CLI reads them, and the words of a command line. The first byte says which.
#include <cstdint>

#include "cli/command/api.h"
#include "cli/command/daemon.h"
#include "cli/run/certificates.h"
#include "cli/run/options.h"
#include "cli/run/registration.h"
#include "libs/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tulle;
  using namespace tulle::cli;
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto says_why = [](const auto& r) { TULLE_CHECK(r || !r.error().reason.empty()); };
  switch (data[0] % 7) {
    case 0:
      if (auto r = parse_registration(text)) (void)proxy_environment(*r, {"LINKERD2_PROXY_LOG=info"});
      else says_why(r);
      break;
    case 1: {
      size_t half = text.find('\0');
      says_why(parse_pods(text.substr(0, half), half == text.npos ? R"({"items":[]})" : text.substr(half + 1)));
      break;
    }
    case 2: says_why(parse_names(text)); break;
    case 3: says_why(parse_ended(text)); break;
    case 4: says_why(parse_problems(text)); break;
    case 5: {
      size_t half = text.find('\0');
      (void)check_certificates(text.substr(0, half), half == text.npos ? "" : text.substr(half + 1),
                               WallTime(std::chrono::seconds(1'800'000'000)));
      break;
    }
    default:
      says_why(parse_port(text));
      says_why(parse_label(text));
      says_why(parse_host_port(text));
      says_why(parse_expose(text));
      (void)ProcessId::parse(text);
      (void)error_of(text);
  }
  return 0;
}
