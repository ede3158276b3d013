#include <unistd.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/command/api.h"
#include "cli/command/daemon.h"
#include "cli/command/local_mesh.h"
#include "cli/command/mesh_paths.h"
#include "cli/pod/check.h"
#include "cli/render/text.h"
#include "cli/run/certificates.h"
#include "cli/run/commands.h"
#include "libs/base/file.h"
#include "libs/base/strings.h"
#include "libs/net/socket_user.h"
#include "libs/observe/scrape.h"

namespace tulle::cli {
namespace {

constexpr std::string_view kOpenPolicy = "all-unauthenticated";  // the default of --default-inbound-policy

std::string text_of(const std::vector<CheckResult>& results, const Look& look) {
  size_t widest = 0;
  for (const CheckResult& r : results) widest = std::max(widest, text_width(r.name));
  std::string out;
  for (const CheckResult& r : results) {
    const Style style = r.verdict == Verdict::kOk     ? Style::kGood
                        : r.verdict == Verdict::kWarn ? Style::kWarn
                                                      : Style::kBad;
    const char* word = r.verdict == Verdict::kOk ? "ok  " : r.verdict == Verdict::kWarn ? "warn" : "FAIL";
    append(out, paint(word, style, look.colour), "  ", pad(r.name, widest), "  ", printable(r.detail), "\n");
    if (!r.remedy.empty()) append(out, "      ", pad("", widest), "  → ", printable(r.remedy), "\n");
  }
  return out;
}

std::string json_of(const std::vector<CheckResult>& results) {
  static constexpr const char* kVerdicts[] = {"ok", "warn", "fail"};
  auto out = nlohmann::json::array();
  for (const CheckResult& r : results)
    out.push_back({{"name", r.name},
                   {"verdict", kVerdicts[static_cast<int>(r.verdict)]},
                   {"detail", r.detail},
                   {"remedy", r.remedy}});
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

CheckResult check_socket_owners() {
  if (net::can_tell_socket_user()) return {"socket owners", Verdict::kOk, "the kernel tells whose a connection is", ""};
  return {"socket owners", Verdict::kWarn,
          "the kernel does not tell whose a connection is: what a pod's own user may do without mTLS is refused",
          "load the module: sudo modprobe tcp_diag"};
}

// When a proxy's certificate ends, by its metrics.
std::optional<WallTime> expiry_of(const Result<std::string>& metrics) {
  auto samples = metrics ? observe::parse_metrics(*metrics) : fail(metrics.error());
  if (!samples) return std::nullopt;
  for (const observe::Sample& s : *samples)
    if (s.name.ends_with("identity_cert_expiration_timestamp_seconds"))
      return WallTime(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s.value)));
  return std::nullopt;
}

// The certificates of the mesh and of its pods.
void check_expiry(const MeshPaths& paths, std::string_view mesh_json, WallTime now, std::vector<CheckResult>& out) {
  for (CheckResult& r : check_certificates(mesh_json, control_log(paths), now)) out.push_back(std::move(r));
  auto inventory = take_inventory(paths);
  if (!inventory) return;
  std::erase_if(inventory->pods, [](const PodInfo& pod) { return !pod.meshed; });
  if (inventory->pods.empty()) return;
  auto metrics = read_metrics(inventory->pods);
  std::vector<PodCertificate> pods;
  for (size_t i = 0; i < metrics.size(); ++i)
    pods.push_back({cat(inventory->pods[i].ns, '/', inventory->pods[i].name), expiry_of(metrics[i])});
  out.push_back(check_pod_certificates(pods, mesh_json, now));
}

// The command that starts the mesh again as it was, by the mesh.json that its control plane has left.
std::string up_again(const MeshPaths& paths) {
  auto text = read_file(paths.in_runtime("mesh.json"), 1 << 20);
  auto mesh = nlohmann::json::parse(text ? *text : "", nullptr, false);
  auto setting = [&](const char* key, std::string_view otherwise) {
    auto found = mesh.is_object() ? mesh.find(key) : mesh.end();
    return mesh.is_object() && found != mesh.end() && found->is_string() ? found->get<std::string>()
                                                                         : std::string(otherwise);
  };
  std::string command = cat("tulle up --mesh ", paths.name);
  if (auto dir = setting("manifestFolder", ""); !dir.empty()) append(command, " --dir ", dir);
  if (auto policy = setting("defaultInboundPolicy", kOpenPolicy); policy != kOpenPolicy)
    append(command, " --default-inbound-policy ", policy);
  return command;
}

// No mesh answers. What `tulle down` would have removed tells that it has not been ended, but has died.
CheckResult check_mesh_that_is_down(const MeshPaths& paths, std::string name) {
  auto there = [&](std::string_view file) { return ::access(paths.in_runtime(file).c_str(), F_OK) == 0; };
  if (!there("control.pid") && !there("control.sock") && !there("mesh.json"))
    return {std::move(name), Verdict::kOk, cat("not up; `tulle up --mesh ", paths.name, "` starts it"), ""};
  if (auto process = read_pid_file(paths.in_runtime("control.pid")))
    return {std::move(name), Verdict::kWarn,
            cat("its control plane (pid ", process->pid, ") runs, and takes no connections (yet)"),
            silence_remedy(paths)};
  return {std::move(name), Verdict::kWarn, "its control plane has died; pods that still run go on with what they know",
          cat("`", up_again(paths), "` starts it again, and pods join by themselves; ", control_log(paths),
              " may say why")};
}

// The mesh itself, if it is up; that it is not is no fault.
void check_mesh(const MeshPaths& paths, WallTime now, std::vector<CheckResult>& out) {
  CheckResult r{cat("mesh ", paths.name), Verdict::kOk, "", ""};
  auto answer = ask_control(paths, "/v1/mesh");
  if (!answer) {
    if (answer.error().code == Code::kUnavailable) r = check_mesh_that_is_down(paths, r.name);
    else
      r = {r.name, Verdict::kFail, answer.error().reason,
           answer.error().code == Code::kTimeout ? silence_remedy(paths) : "`tulle down`, then `tulle up`"};
    return out.push_back(std::move(r));
  }
  auto mesh = nlohmann::json::parse(*answer, nullptr, false);
  auto number = [&](const char* key) { return mesh.is_object() ? mesh.value(key, uint64_t{0}) : 0; };
  auto counted = [&](const char* key, std::string_view one) {
    return cat(number(key), ' ', one, number(key) == 1 ? "" : "s");
  };
  r.detail = cat("up, with ", counted("workloads", "workload"), " and ", counted("services", "service"));
  if (number("problems") > 0)
    r = {r.name, Verdict::kWarn, cat(r.detail, "; ", counted("problems", "problem"), " in its manifests"),
         cat("`tulle validate --mesh ", paths.name, "` shows them")};
  out.push_back(std::move(r));
  check_expiry(paths, *answer, now, out);
}

int check(const Context& context) {
  auto paths = mesh_paths(context.mesh);
  if (!paths) return report(paths.error());
  const WallTime now = std::chrono::system_clock::now();
  auto results = check_environment(now, {paths->state, paths->runtime});
  results.push_back(check_socket_owners());
  check_mesh(*paths, now, results);
  int code = write_out(context.output == "json" ? json_of(results) : text_of(results, terminal_look()));
  for (const CheckResult& r : results)
    if (r.verdict == Verdict::kFail) code = kExitFailure;
  return code;
}

}  // namespace

void add_check_command(CLI::App& app, Context& context) {
  CLI::App& command =
      *app.add_subcommand("check", "Say whether pods can run on this machine, and if not, what to do about it.");
  command.footer(
      "Looks at the kernel, namespaces, nftables, the clock and the disk and, where the mesh is up, at its manifests "
      "and\n"
      "its certificates. Exit code: 0 when nothing fails, 1 else; a warning is no failure.");
  add_mesh_option(command, context);
  add_output_option(command, context);
  command.callback([&context] { context.exit_code = check(context); });
}

}  // namespace tulle::cli
