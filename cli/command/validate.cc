// tulle validate: manifests, as the mesh would read them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>

#include "cli/command/api.h"
#include "cli/command/commands.h"
#include "cli/render/text.h"
#include "control/source/folder.h"
#include "control/source/manifest.h"
#include "control/source/references.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

namespace fs = std::filesystem;
using control::Problem;

constexpr size_t kMaxFile = 1 << 20;

// The files that are meant: a folder's manifests, "-" for standard input.
Result<std::vector<std::string>> expand(const std::vector<std::string>& given) {
  std::vector<std::string> files;
  for (const std::string& path : given) {
    std::error_code ec;
    if (path == "-" || !fs::is_directory(path, ec)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(path, ec))
      if (control::Folder::is_manifest(entry.path().filename().string())) inside.push_back(entry.path().string());
    if (ec) return fail(Code::kIo, cat(path, ": ", ec.message()));
    if (inside.empty()) return fail(Code::kNotFound, cat(path, " holds no manifest (*.yaml, *.yml, *.json)"));
    std::ranges::sort(inside);
    files.insert(files.end(), inside.begin(), inside.end());
  }
  return files;
}

Result<std::string> read_file(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    std::error_code ec;
    if (fs::is_directory(path, ec)) return fail(Code::kIo, cat(path, " is a folder"));
    file.open(path, std::ios::binary);
    if (!file) return fail(sys_error(path, errno));
  }
  std::istream& in = path == "-" ? std::cin : file;
  std::string text;
  for (std::istreambuf_iterator<char> at(in), end; at != end && text.size() <= kMaxFile; ++at) text += *at;
  return text;
}

Table problem_table(const std::vector<Problem>& problems) {
  Table table;
  table.columns = {{"", "severity"}, {"", "file"}, {"", "line"}, {"", "resource"}, {"", "field"}, {"", "message"}};
  for (const Problem& p : problems)
    table.rows.push_back({text_cell(p.is_error() ? "error" : "warning"), text_cell(p.file),
                          number_cell(p.line, cat(p.line)), text_cell(p.resource), text_cell(p.field),
                          text_cell(p.message)});
  return table;
}

// Shows them, and how many there are in `what`; returns the exit code.
int show(const Context& context, const std::vector<Problem>& problems, std::string_view what) {
  auto errors = static_cast<size_t>(std::ranges::count_if(problems, &Problem::is_error));
  size_t warnings = problems.size() - errors;
  int code = errors ? kExitFailure : kExitOk;
  if (context.output == "json") return std::max(code, write_out(table_json(problem_table(problems))));
  bool colour = terminal_look().colour;
  std::string text;
  for (const Problem& p : problems)
    append(text, paint(p.is_error() ? "error:   " : "warning: ", p.is_error() ? Style::kBad : Style::kWarn, colour),
           printable(p.to_string()), "\n");
  append(text, what, ": ", errors, errors == 1 ? " error, " : " errors, ", warnings,
         warnings == 1 ? " warning\n" : " warnings\n");
  return std::max(code, write_out(text));
}

void add_missing_references(const std::map<control::ResourceKey, control::Resource>& all,
                            std::vector<Problem>& problems) {
  auto find = [&](const control::Ref& ref) -> const control::Service* {
    auto found = all.find({control::Kind::kService, "", ref.ns, ref.name});
    return found == all.end() ? nullptr : std::get_if<control::Service>(&found->second);
  };
  for (const auto& [key, resource] : all)
    if (const auto* route = std::get_if<control::HttpRoute>(&resource))
      for (Problem& p : control::missing_references(*route, find)) problems.push_back(std::move(p));
}

int validate(const Context& context, const std::vector<std::string>& given) {
  auto files = expand(given);
  if (!files) return report(files.error());
  std::vector<Problem> problems;
  size_t resources = 0;
  std::map<control::ResourceKey, control::Resource> all;
  for (const std::string& path : *files) {
    auto text = read_file(path);
    if (!text) return report(text.error());
    control::Parsed parsed = control::parse_manifest(path == "-" ? "standard input" : path, *text);
    resources += parsed.resources.size();
    for (Problem& p : parsed.problems) problems.push_back(std::move(p));
    for (control::Resource& r : parsed.resources) {
      control::ResourceKey key = control::key_of(r);
      if (!all.try_emplace(key, std::move(r)).second)
        problems.push_back({Problem::Severity::kError, path, 0, key.to_string(), "",
                            "an earlier file has it too: a resource may stand in one file only"});
    }
  }
  add_missing_references(all, problems);
  std::string what = cat(resources, resources == 1 ? " resource" : " resources", " in ", files->size(),
                         files->size() == 1 ? " file" : " files");
  return show(context, problems, what);
}

// What the running mesh finds wrong with its manifests now.
int validate_mesh(const Context& context) {
  auto mesh = mesh_paths(context.mesh);
  if (!mesh) return report(mesh.error());
  auto text = ask_control(*mesh, "/v1/problems");
  if (!text) return report(text.error());
  auto problems = parse_problems(*text);
  if (!problems) return report(problems.error());
  return show(context, *problems, cat("manifests of mesh ", mesh->name));
}

}  // namespace

void add_validate_command(CLI::App& app, Context& context) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("validate", "Check manifests, by file and line.");
  command->footer(
      "Reads manifests as the mesh would; no mesh is needed. Without a FILE it says what a running mesh finds wrong "
      "with\n"
      "the manifests it has. Exit code 1 when there is an error; warnings alone are no failure.");
  command
      ->add_option("files", *files,
                   "files, folders of manifests, or - for standard input; without any: those of the mesh")
      ->type_name("FILE");
  add_mesh_option(*command, context);
  add_output_option(*command, context);
  command->callback(
      [files, &context] { context.exit_code = files->empty() ? validate_mesh(context) : validate(context, *files); });
}

}  // namespace tulle::cli
