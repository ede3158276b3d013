#include "control/source/fields.h"

#include <algorithm>

#include "libs/base/strings.h"

namespace tulle::control {

std::string Problem::to_string() const {
  std::string out = file;
  if (line > 0) append(out, ":", line);
  if (!resource.empty()) append(out, ": ", resource);
  if (!field.empty()) append(out, ": ", field);
  return cat(out, ": ", message);
}

std::string describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull: return "nothing";
    case YamlNode::Kind::kList: return "a list";
    case YamlNode::Kind::kMap: return "a map";
    case YamlNode::Kind::kScalar: break;
  }
  std::string text = quoted(node.text, 60);
  bool bare = !node.quoted && node.text.size() <= 60;
  return bare ? text.substr(1, text.size() - 2) : text;
}

std::string found(const YamlNode& node, std::string_view accepted) {
  return cat("found ", describe(node), "; accepted: ", accepted);
}

Fields::Fields(const YamlNode* node, std::string path, Report& report) : path_(std::move(path)), report_(report) {
  if (!node) return;
  line_ = node->line;
  if (node->is_null()) return;
  if (!node->is_map()) {
    report_.error(line_, path_, found(*node, "a map"));
    return;
  }
  map_ = node;
  known_.resize(node->keys.size());
}

Fields::~Fields() {
  if (!map_) return;
  for (size_t i = 0; i < known_.size(); ++i) {
    if (known_[i]) continue;
    std::string names;
    for (std::string_view name : accepted_) append(names, names.empty() ? "" : ", ", name);
    report_.error(map_->key_lines[i], path(map_->keys[i]), cat("no such field; accepted: ", names));
  }
}

std::string Fields::path(std::string_view field) const {
  bool plain = field.find_first_of(".[] /") == field.npos && field.size() < 64;
  std::string name = plain ? std::string(field) : quoted(field, 80);
  return path_.empty() ? name : cat(path_, ".", name);
}

const YamlNode* Fields::take(std::string_view field) {
  if (std::find(accepted_.begin(), accepted_.end(), field) == accepted_.end()) accepted_.push_back(field);
  if (!map_) return nullptr;
  for (size_t i = 0; i < map_->keys.size(); ++i) {
    if (map_->keys[i] != field) continue;
    known_[i] = true;
    return map_->items[i].is_null() ? nullptr : &map_->items[i];
  }
  return nullptr;
}

const YamlNode* Fields::require(std::string_view field, std::string_view accepted) {
  const YamlNode* node = take(field);
  if (!node) report_.error(line_of(field), path(field), cat("missing; accepted: ", accepted));
  return node;
}

void Fields::ignore(std::initializer_list<std::string_view> fields) {
  size_t shown = accepted_.size();
  for (std::string_view field : fields) take(field);
  accepted_.resize(shown);
}

void Fields::not_acted_on(std::initializer_list<std::string_view> fields) {
  size_t shown = accepted_.size();
  for (std::string_view field : fields)
    if (take(field)) report_.warn(line_of(field), path(field), "accepted, but not acted on by this version");
  accepted_.resize(shown);
}

int Fields::line_of(std::string_view field) const {
  if (map_)
    for (size_t i = 0; i < map_->keys.size(); ++i)
      if (map_->keys[i] == field) return map_->key_lines[i];
  return line_;
}

void Fields::error(std::string_view field, std::string message) {
  report_.error(line_of(field), path(field), std::move(message));
}

std::optional<std::string> Fields::text(std::string_view field) {
  const YamlNode* node = take(field);
  if (!node) return std::nullopt;
  if (!node->is_scalar()) {
    error(field, found(*node, "text"));
    return std::nullopt;
  }
  return node->text;
}

std::string Fields::text_or(std::string_view field, std::string_view fallback) {
  return text(field).value_or(std::string(fallback));
}

std::string Fields::require_text(std::string_view field, std::string_view accepted) {
  const YamlNode* node = require(field, accepted);
  if (!node) return {};
  if (!node->is_scalar() || node->text.empty()) {
    error(field, found(*node, accepted));
    return {};
  }
  return node->text;
}

std::optional<bool> Fields::boolean(std::string_view field) {
  const YamlNode* node = take(field);
  if (!node) return std::nullopt;
  if (node->is_scalar() && !node->quoted && (node->text == "true" || node->text == "false"))
    return node->text == "true";
  error(field, found(*node, "true or false"));
  return std::nullopt;
}

std::optional<uint32_t> Fields::number(std::string_view field, uint32_t min, uint32_t max) {
  const YamlNode* node = take(field);
  if (!node) return std::nullopt;
  if (node->is_scalar() && !node->quoted)
    if (auto n = parse_number<uint32_t>(node->text); n && *n >= min && *n <= max) return n;
  error(field, found(*node, cat("a whole number from ", min, " to ", max)));
  return std::nullopt;
}

std::optional<std::string> Fields::word(std::string_view field, std::initializer_list<std::string_view> accepted) {
  const YamlNode* node = take(field);
  if (!node) return std::nullopt;
  if (node->is_scalar() && std::find(accepted.begin(), accepted.end(), node->text) != accepted.end()) return node->text;
  std::string words;
  for (std::string_view w : accepted) append(words, words.empty() ? "" : ", ", w);
  error(field, found(*node, words));
  return std::nullopt;
}

std::optional<PortRef> Fields::port_ref(std::string_view field) {
  const YamlNode* node = take(field);
  if (!node) return std::nullopt;
  if (node->is_scalar()) {
    if (auto n = parse_number<uint16_t>(node->text); n && *n > 0 && !node->quoted) return PortRef(*n);
    if (is_port_name(node->text)) return PortRef(node->text);
  }
  error(field, found(*node, "a port from 1 to 65535, or the name of a port"));
  return std::nullopt;
}

Labels Fields::labels(std::string_view field) {
  Labels out;
  const YamlNode* node = take(field);
  if (!node) return out;
  if (!node->is_map()) {
    error(field, found(*node, "a map of text to text"));
    return out;
  }
  for (size_t i = 0; i < node->keys.size(); ++i) {
    const YamlNode& value = node->items[i];
    // Plain true and 8080 are no text to Kubernetes either: what is right here must be right there.
    bool number = value.is_scalar() && !value.quoted &&
                  (value.text == "true" || value.text == "false" || parse_number<uint64_t>(value.text));
    if ((!value.is_scalar() && !value.is_null()) || number) {
      report_.error(value.line, cat(path(field), ".", quoted(node->keys[i])),
                    found(value, number ? "text (put it in quotes)" : "text"));
      continue;
    }
    out[node->keys[i]] = value.text;
  }
  return out;
}

std::vector<std::string> Fields::texts(std::string_view field, size_t max) {
  std::vector<std::string> out;
  each(field, max, [&](const YamlNode& item, const std::string& at) {
    if (item.is_scalar()) out.push_back(item.text);
    else report_.error(item.line, at, found(item, "text"));
  });
  return out;
}

void Fields::each(std::string_view field, size_t max,
                  const std::function<void(const YamlNode&, const std::string&)>& f) {
  const YamlNode* node = take(field);
  if (!node) return;
  if (!node->is_list()) return error(field, found(*node, "a list"));
  if (node->items.size() > max)
    return error(field, cat("found ", node->items.size(), " items; accepted: at most ", max));
  for (size_t i = 0; i < node->items.size(); ++i) f(node->items[i], cat(path(field), "[", i, "]"));
}

namespace {
bool is_lower_alnum(char c) { return (c >= 'a' && c <= 'z') || is_digit(c); }
bool is_alnum(char c) { return is_lower_alnum(lower(c)); }
}  // namespace

bool is_dns_label(std::string_view s) {
  if (s.empty() || s.size() > 63 || !is_lower_alnum(s.front()) || !is_lower_alnum(s.back())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return is_lower_alnum(c) || c == '-'; });
}

bool is_dns_subdomain(std::string_view s) {
  if (s.empty() || s.size() > 253) return false;
  for (std::string_view label : split(s, '.'))
    if (!is_dns_label(label)) return false;
  return true;
}

bool is_port_name(std::string_view s) {
  if (!is_dns_label(s) || s.size() > 15 || s.find("--") != s.npos) return false;
  return std::any_of(s.begin(), s.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

bool is_label_value(std::string_view s) {
  if (s.empty()) return true;
  if (s.size() > 63 || !is_alnum(s.front()) || !is_alnum(s.back())) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

bool is_label_key(std::string_view s) {
  if (size_t slash = s.find('/'); slash != s.npos) {
    if (!is_dns_subdomain(s.substr(0, slash))) return false;
    s.remove_prefix(slash + 1);
  }
  return !s.empty() && is_label_value(s);
}

}  // namespace tulle::control
