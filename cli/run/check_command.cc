#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/command/api.h"
#include "cli/command/mesh_paths.h"
#include "cli/pod/check.h"
#include "cli/render/text.h"
#include "cli/run/commands.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

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

// The mesh itself, if it is up; that it is not is no fault.
CheckResult check_mesh(const MeshPaths& paths) {
  CheckResult r{cat("mesh ", paths.name), Verdict::kOk, cat("not up; `tulle up --mesh ", paths.name, "` starts it"),
                ""};
  auto answer = ask_control(paths, "/v1/mesh");
  if (!answer) {
    if (answer.error().code != Code::kUnavailable)
      r = {r.name, Verdict::kFail, answer.error().reason, "tulle down, then tulle up"};
    return r;
  }
  auto mesh = nlohmann::json::parse(*answer, nullptr, false);
  auto number = [&](const char* key) { return mesh.is_object() ? mesh.value(key, uint64_t{0}) : 0; };
  r.detail = cat("up, with ", number("workloads"), " workloads and ", number("services"), " services");
  if (number("problems") > 0)
    r = {r.name, Verdict::kWarn, cat(r.detail, "; ", number("problems"), " problems in its manifests"),
         "tulle validate FOLDER shows them"};
  return r;
}

int check(const Context& context) {
  auto paths = mesh_paths(context.mesh);
  if (!paths) return report(paths.error());
  auto results = check_environment(std::chrono::system_clock::now(), {paths->state, paths->runtime});
  results.push_back(check_mesh(*paths));
  write_out(context.output == "json" ? json_of(results) : text_of(results, terminal_look()));
  for (const CheckResult& r : results)
    if (r.verdict == Verdict::kFail) return kExitFailure;
  return kExitOk;
}

}  // namespace

void add_check_command(CLI::App& app, Context& context) {
  CLI::App& command =
      *app.add_subcommand("check", "Say whether pods can run on this machine, and if not, what to do about it.");
  command.footer("Exit code: 0 when nothing fails, 1 else.");
  add_mesh_option(command, context);
  add_output_option(command, context);
  command.callback([&context] { context.exit_code = check(context); });
}

}  // namespace tulle::cli
