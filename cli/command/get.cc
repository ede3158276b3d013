// tulle get: resources, as the control plane has them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command/api.h"
#include "cli/command/commands.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

using Json = nlohmann::json;

struct KindName {
  std::string_view plural;
  std::vector<std::string_view> others;
};
const std::vector<KindName>& kinds() {
  static const std::vector<KindName> all{
      {"pods", {"pod", "po"}},
      {"services", {"service", "svc"}},
      {"endpointslices", {"endpointslice"}},
      {"namespaces", {"namespace", "ns"}},
      {"servers", {"server", "srv"}},
      {"httproutes", {"httproute"}},
  };
  return all;
}

// "pod" → "pods"; "" for what is no kind.
std::string plural_of(std::string_view kind) {
  std::string asked = to_lower(kind);
  for (const KindName& k : kinds())
    if (asked == k.plural || std::ranges::find(k.others, asked) != k.others.end()) return std::string(k.plural);
  return "";
}

// "pods" → "pod", for what is said of one.
std::string singular_of(std::string_view plural) {
  for (const KindName& k : kinds())
    if (k.plural == plural) return std::string(k.others.front());
  return std::string(plural);
}

std::string kind_list() {
  std::vector<std::string> names;
  for (const KindName& k : kinds()) names.emplace_back(k.plural);
  return join(names, ", ");
}

// The value at a path of names such as "metadata.name", as text; "" where there is none.
std::string at(const Json& item, std::string_view path) {
  const Json* value = &item;
  for (std::string_view name : split(path, '.')) {
    auto found = value->is_object() ? value->find(name) : value->end();
    if (!value->is_object() || found == value->end()) return "";
    value = &*found;
  }
  return value->is_string() ? value->get<std::string>() : value->dump();
}

const Json* array_at(const Json& item, std::string_view outer, std::string_view inner) {
  auto found = item.find(outer);
  if (found == item.end() || !found->is_object()) return nullptr;
  auto list = found->find(inner);
  return list != found->end() && list->is_array() ? &*list : nullptr;
}

std::string service_ports(const Json& item) {
  std::vector<std::string> out;
  if (const Json* ports = array_at(item, "spec", "ports"))
    for (const Json& p : *ports) {
      std::string name = at(p, "name");
      out.push_back(cat(name, name.empty() ? "" : ":", at(p, "port")));
    }
  return join(out, ",");
}

std::string slice_ports(const Json& item) {
  std::vector<std::string> out;
  if (auto ports = item.find("ports"); ports != item.end() && ports->is_array())
    for (const Json& p : *ports) out.push_back(at(p, "port"));
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return join(out, ",");
}

// The ready ones.
std::string slice_addresses(const Json& item) {
  std::vector<std::string> out;
  if (auto endpoints = item.find("endpoints"); endpoints != item.end() && endpoints->is_array())
    for (const Json& e : *endpoints)
      if (auto list = e.find("addresses"); list != e.end() && list->is_array() && at(e, "conditions.ready") == "true")
        for (const Json& a : *list)
          if (a.is_string()) out.push_back(a.get<std::string>());
  return join(out, ",");
}

std::string pod_ports(const Json& item) {
  std::vector<std::string> out;
  if (const Json* containers = array_at(item, "spec", "containers"))
    for (const Json& c : *containers)
      if (auto ports = c.find("ports"); ports != c.end() && ports->is_array())
        for (const Json& p : *ports) {
          std::string name = at(p, "name");
          out.push_back(cat(name, name.empty() ? "" : ":", at(p, "containerPort")));
        }
  return join(out, ",");
}

bool pod_ready(const Json& item) {
  const Json* conditions = array_at(item, "status", "conditions");
  return conditions && std::ranges::any_of(*conditions, [](const Json& c) {
           return at(c, "type") == "Ready" && at(c, "status") == "True";
         });
}

std::string labels_text(const Json& item) {
  auto meta = item.find("metadata");
  if (meta == item.end() || !meta->is_object() || !meta->contains("labels")) return "";
  std::vector<std::string> out;
  for (const auto& [key, value] : (*meta)["labels"].items())
    out.push_back(cat(key, '=', value.is_string() ? value.get<std::string>() : value.dump()));
  return join(out, ",");
}

Table table_of(const std::string& kind, const std::vector<Json>& items, std::string_view empty) {
  Table table;
  table.empty = empty;
  table.columns = {{"NAMESPACE", ""}, {"NAME", ""}};
  if (kind == "pods")
    table.columns.insert(table.columns.end(),
                         {{"READY", ""}, {"ADDRESS", ""}, {"PORTS", ""}, {"SERVICE_ACCOUNT", "", false, true}});
  if (kind == "services") table.columns.insert(table.columns.end(), {{"ADDRESS", ""}, {"PORTS", ""}});
  if (kind == "endpointslices") table.columns.insert(table.columns.end(), {{"PORTS", ""}, {"READY", ""}});
  if (kind == "servers")
    table.columns.insert(table.columns.end(), {{"PORT", ""}, {"PROTOCOL", ""}, {"ACCESS_POLICY", ""}});
  table.columns.push_back({"LABELS", "", false, true});
  for (const Json& item : items) {
    std::vector<Cell> cells{text_cell(at(item, "metadata.namespace")), text_cell(at(item, "metadata.name"))};
    if (kind == "pods") {
      bool ready = pod_ready(item);
      cells.push_back(bool_cell(ready, ready ? "yes" : "no").styled(ready ? Style::kGood : Style::kWarn));
      for (const std::string& s : {at(item, "status.podIP"), pod_ports(item), at(item, "spec.serviceAccountName")})
        cells.push_back(text_cell(s));
    }
    if (kind == "services") {
      std::string address = at(item, "spec.clusterIP");
      cells.push_back(text_cell(address.empty() ? "-" : address));
      cells.push_back(text_cell(service_ports(item)));
    }
    if (kind == "endpointslices")
      for (const std::string& s : {slice_ports(item), slice_addresses(item)}) cells.push_back(text_cell(s));
    if (kind == "servers")
      for (std::string_view path : {"spec.port", "spec.proxyProtocol", "spec.accessPolicy"})
        cells.push_back(text_cell(at(item, path)));
    cells.push_back(text_cell(labels_text(item)));
    table.rows.push_back(std::move(cells));
  }
  return table;
}

struct GetOptions {
  std::string kind, name, name_space;
};

int get(const Context& context, const GetOptions& options) {
  std::string kind = plural_of(options.kind);
  if (kind.empty())
    return report(Error(Code::kInvalid, cat("KIND: found ", tulle::quoted(options.kind), "; accepted: ", kind_list())));
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  auto text = ask_control(*mesh, cat("/v1/resources/", kind));
  if (!text) return report(text.error());
  Json list = Json::parse(*text, nullptr, false);
  if (!list.is_object() || !list["items"].is_array())
    return report(Error(Code::kProtocol, "the control plane's answer is not a list: is it of another version?"));
  std::vector<Json> items;
  for (Json& item : list["items"])
    if ((options.name.empty() || at(item, "metadata.name") == options.name) &&
        (options.name_space.empty() || at(item, "metadata.namespace") == options.name_space))
      items.push_back(std::move(item));
  if (!options.name.empty() && items.empty())
    return report(
        Error(Code::kNotFound, cat("there is no ", singular_of(kind), " ", tulle::quoted(options.name),
                                   options.name_space.empty() ? "" : cat(" in namespace ", options.name_space))));
  if (context.output == "json") {
    list["items"] = items;
    bool one = !options.name.empty() && items.size() == 1;
    return write_out((one ? items[0] : list).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  return write_table(context, table_of(kind, items, cat("There are no ", kind, ".")));
}

}  // namespace

void add_get_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<GetOptions>();
  CLI::App* command = app.add_subcommand("get", "Show resources as the control plane has them.");
  command->footer(cat("Kinds: ", kind_list(), ", or their singular.\n",
                      "With -o json: a list of Kubernetes objects, or with a NAME that object alone."));
  command->add_option("kind", options->kind, "what to show, such as pods")->required()->type_name("KIND");
  command->add_option("name", options->name, "only the one of this name")->type_name("NAME");
  add_namespace_option(*command, options->name_space);
  add_mesh_option(*command, context);
  add_output_option(*command, context);
  command->callback([options, &context] { context.exit_code = get(context, *options); });
}

}  // namespace tulle::cli
