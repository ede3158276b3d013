#include "cli/run/certificates.h"

#include <algorithm>
#include <ctime>
#include <limits>
#include <nlohmann/json.hpp>

#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using nlohmann::json;

constexpr Duration kDay = 24h;

// RFC 3339 in UTC, as format_rfc3339 writes it.
std::optional<WallTime> parse_rfc3339(const std::string& text) {
  std::tm tm{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &tm);
  if (!rest || !std::string_view(rest).ends_with('Z')) return std::nullopt;
  // What a clock of nanoseconds cannot say is far away.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 1'000'000'000;
  return WallTime(std::chrono::seconds(std::clamp<int64_t>(::timegm(&tm), 0, kMost)));
}

// "3 days", "17 hours", "5 minutes": what is worth knowing, rounded down.
std::string about(Duration d) {
  auto of = [](auto count, std::string_view unit) { return cat(count, ' ', unit, count == 1 ? "" : "s"); };
  if (d >= 2 * kDay) return of(d / kDay, "day");
  if (d >= 2h) return of(d / 1h, "hour");
  return of(std::max<Duration>(d, 0s) / 1min, "minute");
}

std::string remedy_for(std::string_view name, std::string_view log) {
  if (name == "issuer")
    return cat("the control plane makes a new one by itself within the hour; if it does not, ", log,
               " says why (a trust root that is about to end, an unwritable state folder)");
  return "`tulle down --purge` and `tulle up` make a new trust root; all pods must be started anew after it, so choose "
         "the time";
}

CheckResult check_certificate(const json& item, std::string_view log, WallTime now) {
  auto text = [&](const char* key) {
    auto found = item.is_object() ? item.find(key) : item.end();
    return found != item.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  std::string name = text("name"), expires = text("expires");
  CheckResult r{cat("certificate of the ", name), Verdict::kOk, cat("until ", expires), ""};
  auto end = parse_rfc3339(expires);
  if (!end) return {r.name, Verdict::kFail, "the control plane does not say when it ends", "is it of another version?"};
  const Duration left = *end - now;
  if (left <= 0s) append(r.detail, ": it has ended");
  else append(r.detail, ": ", about(left), " left");
  if (left > 30 * kDay) return r;
  for (int days : {3, 14, 30})
    if (left > 0s && left <= days * kDay) {
      append(r.detail, ", less than ", days);
      break;
    }
  r.verdict = left <= 3 * kDay ? Verdict::kFail : Verdict::kWarn;
  r.remedy = remedy_for(name, log);
  return r;
}

}  // namespace

std::vector<CheckResult> check_certificates(std::string_view mesh_json, std::string_view log, WallTime now) {
  std::vector<CheckResult> out;
  json mesh = json::parse(mesh_json, nullptr, false);
  auto list = mesh.is_object() ? mesh.find("certificates") : mesh.end();
  if (list == mesh.end() || !list->is_array() || list->empty())
    return {{"certificates", Verdict::kFail, "the control plane does not list them", "is it of another version?"}};
  for (const json& item : *list) out.push_back(check_certificate(item, log, now));
  return out;
}

CheckResult check_pod_certificates(const std::vector<PodCertificate>& pods, std::string_view mesh_json, WallTime now) {
  json mesh = json::parse(mesh_json, nullptr, false);
  auto found = mesh.is_object() ? mesh.find("certificateLifetimeSeconds") : mesh.end();
  const double lifetime = found != mesh.end() && found->is_number() ? found->get<double>() : to_seconds(kDay);
  CheckResult r{"certificates of pods", Verdict::kOk, cat(pods.size(), pods.size() == 1 ? " pod" : " pods"), ""};
  std::vector<std::string> silent;
  const PodCertificate* first = nullptr;
  for (const PodCertificate& p : pods) {
    if (!p.expires) silent.push_back(p.pod);
    else if (!first || *p.expires < *first->expires) first = &p;
  }
  if (first) {
    const Duration left = *first->expires - now;
    append(r.detail, left > 0s ? "; the first to end is that of " : "; ended has that of ", first->pod);
    if (left > 0s) append(r.detail, ", in ", about(left));
    if (to_seconds(left) < 0.2 * lifetime) {
      r.verdict = left > 0s ? Verdict::kWarn : Verdict::kFail;
      r.remedy = cat("its proxy should have renewed it: what it writes to standard error says why; starting ",
                     first->pod, " anew gets a new one");
    }
  }
  if (silent.empty()) return r;
  append(r.detail, "; no answer from ",
         join({silent.begin(), silent.begin() + std::min<long>(3, std::ssize(silent))}, ", "),
         silent.size() > 3 ? cat(" and ", silent.size() - 3, " more") : "");
  if (r.verdict == Verdict::kOk) r.verdict = Verdict::kWarn;
  if (r.remedy.empty()) r.remedy = "`tulle diagnostics proxy-metrics POD` says why; starting the pod anew helps";
  return r;
}

}  // namespace tulle::cli
