// tulle diagnostics: what the control plane tells proxies, and what proxies count.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command/api.h"
#include "cli/command/commands.h"
#include "cli/render/text.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using Json = nlohmann::json;

std::string text_of(const Json& object, std::string_view key) {
  auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

Table endpoint_table(const Json& endpoints) {
  Table table;
  table.columns = {{"NAMESPACE", "namespace"},
                   {"IP", "ip"},
                   {"PORT", "port"},
                   {"POD", "pod"},
                   {"SERVICE", "service"},
                   {"WEIGHT", "weight", true, true},
                   {"IDENTITY", "identity", false, true}};
  table.empty = "No endpoints found.";
  for (const Json& e : endpoints) {
    std::vector<Cell> row;
    for (std::string_view key : {"namespace", "ip", "port", "pod", "service", "weight", "identity"})
      row.push_back(text_cell(text_of(e, key)));
    table.rows.push_back(std::move(row));
  }
  return table;
}

int endpoints(const Context& context, const std::vector<std::string>& authorities) {
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  Json all = Json::array();
  int code = kExitOk;
  for (const std::string& authority : authorities) {
    auto text = ask_control(*mesh, cat("/v1/endpoints?target=", url_escape(authority)));
    if (!text) {
      code = report(text.error());  // it names what was asked for
      continue;
    }
    Json answer = Json::parse(*text, nullptr, false);
    Json list = answer.is_object() && answer.contains("endpoints") ? answer["endpoints"] : answer;
    if (!list.is_array())
      return report(Error(Code::kProtocol, "the control plane's answer is not a list of endpoints"));
    for (Json& e : list) all.push_back(std::move(e));
  }
  int written = kExitOk;
  if (context.output == "json") written = write_out(all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  else if (code == kExitOk || !all.empty()) written = write_table(context, endpoint_table(all));
  return code == kExitOk ? written : code;
}

int policy(const Context& context, const std::string& target) {
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  auto text = ask_control(*mesh, cat("/v1/policy?target=", url_escape(target)));
  if (!text) return report(text.error());
  Json answer = Json::parse(*text, nullptr, false);
  if (answer.is_discarded()) return report(Error(Code::kProtocol, "the control plane's answer is not JSON"));
  return write_out(answer.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// What `proxy-metrics` takes for a name now.
std::string metrics_names(const std::vector<PodInfo>& pods) {
  std::set<std::string> names;
  for (const PodInfo& pod : pods) {
    if (!pod.meshed) continue;
    names.insert(pod.name);
    names.insert(pod.services.begin(), pod.services.end());
  }
  if (names.empty()) return "no pod runs in this mesh: `tulle run` starts one";
  return cat("accepted: a meshed pod or a service of one (", join({names.begin(), names.end()}, ", "),
             "), or no name for all");
}

int proxy_metrics(const Context& context, const std::string& name, const std::string& name_space) {
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  auto inventory = take_inventory(*mesh);
  if (!inventory) return report(inventory.error());
  std::vector<PodInfo> pods;
  for (const PodInfo& pod : inventory->pods) {
    bool named = name.empty() || pod.name == name || std::ranges::find(pod.services, name) != pod.services.end();
    if (named && pod.meshed && (name_space.empty() || pod.ns == name_space)) pods.push_back(pod);
  }
  if (pods.empty())
    return report(
        Error(Code::kNotFound,
              cat(name.empty() ? "no metrics to show" : cat("NAME: found ", tulle::quoted(name)),
                  name_space.empty() ? "" : cat(" in namespace ", name_space), "; ", metrics_names(inventory->pods))));
  std::vector<Result<std::string>> answers = read_metrics(pods);
  int code = kExitOk;
  for (size_t i = 0; i < pods.size(); ++i) {
    std::string text;
    if (pods.size() > 1)
      text = cat("#\n# POD ", pods[i].ns, '/', pods[i].name, " (", i + 1, " of ", pods.size(), ")\n#\n");
    if (answers[i]) {
      text += *answers[i];
    } else {
      report(answers[i].error().with(cat(pods[i].ns, '/', pods[i].name)));
      code = kExitFailure;
    }
    if (write_out(text) != kExitOk) return kExitFailure;
  }
  return code;
}

void add_endpoints(CLI::App& group, Context& context) {
  auto authorities = std::make_shared<std::vector<std::string>>();
  CLI::App* command = group.add_subcommand("endpoints", "Show the endpoints that proxies are given for a target.");
  command->alias("ep");
  command
      ->add_option("authority", *authorities,
                   "such as api, api.shop or api.default.svc.cluster.local:80; default: its only port")
      ->required()
      ->type_name("AUTHORITY");
  add_mesh_option(*command, context);
  add_output_option(*command, context);
  command->callback([authorities, &context] { context.exit_code = endpoints(context, *authorities); });
}

void add_policy(CLI::App& group, Context& context) {
  auto target = std::make_shared<std::string>();
  CLI::App* command = group.add_subcommand("policy", "Show the policy that proxies are given, as JSON.");
  command->footer(
      "TARGET is NAME[.NAMESPACE][:PORT] of a Service, svc/NAMESPACE/NAME:PORT, an authority or an address (what\n"
      "clients are told), or\n"
      "pod/NAMESPACE/NAME:PORT (what the server is told).");
  command->add_option("target", *target, "what to ask for")->required()->type_name("TARGET");
  add_mesh_option(*command, context);
  command->callback([target, &context] { context.exit_code = policy(context, *target); });
}

void add_proxy_metrics(CLI::App& group, Context& context) {
  auto name = std::make_shared<std::string>();
  auto name_space = std::make_shared<std::string>();
  CLI::App* command =
      group.add_subcommand("proxy-metrics", "Print the metrics of proxies: of a pod, of a service's pods, or of all.");
  command->add_option("name", *name, "a pod or a service; all without one")->type_name("NAME");
  add_namespace_option(*command, *name_space);
  add_mesh_option(*command, context);
  command->callback([name, name_space, &context] { context.exit_code = proxy_metrics(context, *name, *name_space); });
}

}  // namespace

void add_diagnostics_command(CLI::App& app, Context& context) {
  CLI::App* group = app.add_subcommand("diagnostics", "Look inside: what proxies are told, and what they count.");
  group->alias("dg");
  group->require_subcommand(1);
  add_endpoints(*group, context);
  add_policy(*group, context);
  add_proxy_metrics(*group, context);
}

}  // namespace tulle::cli
