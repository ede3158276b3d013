// Reads the fields of a YAML map strictly: each is asked for by name, what was not asked for is a mistake, and every
// mistake says where, what was found and what is accepted. Single-threaded; lives while one document is read.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/source/problem.h"
#include "control/source/resource.h"
#include "control/source/yaml.h"

namespace tulle::control {

// Where the mistakes of one document go.
class Report {
 public:
  Report(std::string file, std::vector<Problem>& out) : file_(std::move(file)), out_(out) {}
  void name_resource(std::string resource) { resource_ = std::move(resource); }
  void error(int line, std::string field, std::string message) {
    add(Problem::Severity::kError, line, std::move(field), std::move(message));
    failed_ = true;
  }
  // The document is left out, and that is an error to whoever wrote it; the rest of the file is good.
  void leave_out(int line, std::string field, std::string message) {
    add(Problem::Severity::kError, line, std::move(field), std::move(message));
  }
  void warn(int line, std::string field, std::string message) {
    add(Problem::Severity::kWarning, line, std::move(field), std::move(message));
  }
  bool failed() const { return failed_; }
  const std::string& file() const { return file_; }

 private:
  void add(Problem::Severity severity, int line, std::string field, std::string message) {
    if (out_.size() < kMaxProblems)
      out_.push_back({severity, file_, line, resource_, std::move(field), std::move(message)});
  }
  static constexpr size_t kMaxProblems = 1000;
  std::string file_;
  std::string resource_;
  std::vector<Problem>& out_;
  bool failed_ = false;
};

// How a value in YAML is called in a message: a list, a map, nothing, "text".
std::string describe(const YamlNode& node);

class Fields {
 public:
  // `node` may be null or no map; then nothing is found, and a wrong kind is reported.
  Fields(const YamlNode* node, std::string path, Report& report);
  // Reports what was never asked for.
  ~Fields();
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;

  bool present() const { return map_ != nullptr; }
  int line() const { return line_; }
  Report& report() { return report_; }
  std::string path(std::string_view field) const;

  // The value of a field, marked as known; null when absent or null.
  const YamlNode* take(std::string_view field);
  // The same; its absence is an error.
  const YamlNode* require(std::string_view field, std::string_view accepted);
  // Known fields that have no effect here, silently.
  void ignore(std::initializer_list<std::string_view> fields);
  // Known fields that we do not act on: a warning each.
  void not_acted_on(std::initializer_list<std::string_view> fields);

  std::optional<std::string> text(std::string_view field);
  std::string text_or(std::string_view field, std::string_view fallback);
  std::string require_text(std::string_view field, std::string_view accepted);
  std::optional<bool> boolean(std::string_view field);
  std::optional<uint32_t> number(std::string_view field, uint32_t min, uint32_t max);
  // One of the words, exactly.
  std::optional<std::string> word(std::string_view field, std::initializer_list<std::string_view> accepted);
  std::optional<PortRef> port_ref(std::string_view field);
  // A map of text to text.
  Labels labels(std::string_view field);
  std::vector<std::string> texts(std::string_view field, size_t max);
  // Calls f(item, path of the item) for each item of a list; more than `max` is an error.
  void each(std::string_view field, size_t max, const std::function<void(const YamlNode&, const std::string&)>& f);

  void error(std::string_view field, std::string message);

 private:
  int line_of(std::string_view field) const;

  const YamlNode* map_ = nullptr;
  std::string path_;
  Report& report_;
  int line_ = 0;
  std::vector<bool> known_;
  std::vector<std::string_view> accepted_;
};

// "found X; accepted: Y"
std::string found(const YamlNode& node, std::string_view accepted);

// Kubernetes' forms of names.
bool is_dns_label(std::string_view s);      // a-z 0-9 -, at most 63
bool is_dns_subdomain(std::string_view s);  // labels with dots, at most 253
bool is_port_name(std::string_view s);      // at most 15, a-z 0-9 -, at least one letter
bool is_label_value(std::string_view s);    // at most 63, or empty
bool is_label_key(std::string_view s);      // [prefix/]name

}  // namespace tulle::control
