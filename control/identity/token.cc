#include "control/identity/token.h"

#include <nlohmann/json.hpp>

#include "libs/base/strings.h"
#include "libs/tls/secret.h"

namespace tulle::control {
namespace {

constexpr std::string_view kSubjectPrefix = "system:serviceaccount:";
constexpr size_t kMaxToken = 4096;

std::string base64url(std::string_view in) {
  std::string out = base64(in);
  while (out.ends_with('=')) out.pop_back();
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}

std::optional<std::string> unbase64url(std::string_view in) {
  std::string text(in);
  for (char& c : text) {
    if (c == '+' || c == '/' || c == '=') return std::nullopt;
    c = c == '-' ? '+' : c == '_' ? '/' : c;
  }
  while (text.size() % 4 != 0) text.push_back('=');
  return unbase64(text);
}

int64_t seconds(WallTime t) { return std::chrono::duration_cast<std::chrono::seconds>(t.time_since_epoch()).count(); }

std::unexpected<Error> malformed(std::string_view why) {
  return fail(Code::kInvalid, cat("token: ", why), Side::kClient);
}

}  // namespace

std::string issue_token(std::string_view key, const TokenSubject& subject, Duration lifetime, WallTime now) {
  nlohmann::json claims = {{"iss", "tulle-control"},
                           {"aud", kAudience},
                           {"sub", cat(kSubjectPrefix, subject.ns, ":", subject.service_account)},
                           {"tulle.dev/workload", subject.workload},
                           {"iat", seconds(now)},
                           {"exp", seconds(now + lifetime)}};
  std::string signed_part = cat(base64url(R"({"alg":"HS256","typ":"JWT"})"), ".", base64url(claims.dump()));
  return cat(signed_part, ".", base64url(tls::hmac_sha256(key, signed_part)));
}

Result<TokenSubject> check_token(std::string_view key, std::string_view token, WallTime now) {
  if (token.size() > kMaxToken) return malformed("too long");
  auto parts = split(token, '.');
  if (parts.size() != 3) return malformed("not a JWT");
  auto header = unbase64url(parts[0]), payload = unbase64url(parts[1]), signature = unbase64url(parts[2]);
  if (!header || !payload || !signature) return malformed("not a JWT");
  auto head = nlohmann::json::parse(*header, nullptr, false);
  auto claims = nlohmann::json::parse(*payload, nullptr, false);
  if (!head.is_object() || !claims.is_object()) return malformed("not a JWT");
  if (auto alg = head.find("alg"); alg == head.end() || *alg != "HS256") return malformed("its alg is not HS256");
  auto text = [&](const char* name) -> std::string {
    auto it = claims.find(name);
    return it != claims.end() && it->is_string() ? it->get<std::string>() : "";
  };
  if (text("aud") != kAudience) return malformed(cat("its audience is not ", kAudience));
  auto exp = claims.find("exp");
  std::string subject = text("sub");
  if (exp == claims.end() || !exp->is_number_integer() || !subject.starts_with(kSubjectPrefix))
    return malformed("exp or sub is missing");
  auto names = split(std::string_view(subject).substr(kSubjectPrefix.size()), ':');
  if (names.size() != 2 || names[0].empty() || names[1].empty())
    return malformed("its sub is not that of a service account");

  std::string_view signed_part = token.substr(0, parts[0].size() + 1 + parts[1].size());
  if (!tls::equal_secrets(*signature, tls::hmac_sha256(key, signed_part)))
    return fail(Code::kDenied, "token: not signed by this control plane", Side::kClient);
  if (exp->get<int64_t>() <= seconds(now)) return fail(Code::kDenied, "token: expired", Side::kClient);
  return TokenSubject{std::string(names[0]), std::string(names[1]), text("tulle.dev/workload")};
}

}  // namespace tulle::control
