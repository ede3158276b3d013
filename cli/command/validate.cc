// tulle validate: manifests, as the mesh would read them.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <set>

#include "cli/command/commands.h"
#include "cli/render/text.h"
#include "control/source/folder.h"
#include "control/source/manifest.h"
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

Table problem_table(const std::vector<Problem>& problems, size_t files) {
  Table table;
  table.columns = {{"", "severity"}, {"", "file"}, {"", "line"}, {"", "resource"}, {"", "field"}, {"", "message"}};
  for (const Problem& p : problems)
    table.rows.push_back({text_cell(p.is_error() ? "error" : "warning"), text_cell(p.file),
                          number_cell(p.line, cat(p.line)), text_cell(p.resource), text_cell(p.field),
                          text_cell(p.message)});
  return table;
}

int validate(const Context& context, const std::vector<std::string>& given) {
  auto files = expand(given);
  if (!files) return report(files.error());
  std::vector<Problem> problems;
  size_t resources = 0, errors = 0;
  std::set<control::ResourceKey> seen;
  for (const std::string& path : *files) {
    auto text = read_file(path);
    if (!text) return report(text.error());
    control::Parsed parsed = control::parse_manifest(path == "-" ? "standard input" : path, *text);
    resources += parsed.resources.size();
    for (Problem& p : parsed.problems) problems.push_back(std::move(p));
    for (const control::Resource& r : parsed.resources)
      if (!seen.insert(control::key_of(r)).second)
        problems.push_back({Problem::Severity::kError, path, 0, control::key_of(r).to_string(), "",
                            "an earlier file has it too: a resource may stand in one file only"});
  }
  for (const Problem& p : problems) errors += p.is_error();
  if (context.output == "json") {
    write_out(table_json(problem_table(problems, files->size())));
    return errors ? kExitFailure : kExitOk;
  }
  Look look = terminal_look();
  for (const Problem& p : problems)
    write_out(
        cat(paint(p.is_error() ? "error:   " : "warning: ", p.is_error() ? Style::kBad : Style::kWarn, look.colour),
            printable(p.to_string()), "\n"));
  write_out(cat(resources, resources == 1 ? " resource" : " resources", " in ", files->size(),
                files->size() == 1 ? " file: " : " files: ", errors, errors == 1 ? " error, " : " errors, ",
                problems.size() - errors, problems.size() - errors == 1 ? " warning\n" : " warnings\n"));
  return errors ? kExitFailure : kExitOk;
}

}  // namespace

void add_validate_command(CLI::App& app, Context& context) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("validate", "Check manifests, by file and line; no mesh is needed.");
  command->footer(
      "Reads manifests as the mesh would. Exit code 1 when there is an error; warnings alone are no failure.");
  command->add_option("files", *files, "files, folders of manifests, or - for standard input")
      ->required()
      ->type_name("FILE");
  add_output_option(*command, context);
  command->callback([files, &context] { context.exit_code = validate(context, *files); });
}

}  // namespace tulle::cli
