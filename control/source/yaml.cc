#include "control/source/yaml.h"

#include <yaml-cpp/depthguard.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "libs/base/strings.h"

namespace tulle::control {
namespace {

struct Refused {
  YamlError error;
};

size_t count_nodes(const YamlNode& node) {
  size_t n = 1;
  for (const YamlNode& item : node.items) n += count_nodes(item);
  return n;
}

size_t depth_of(const YamlNode& node) {
  size_t deepest = 0;
  for (const YamlNode& item : node.items) deepest = std::max(deepest, depth_of(item));
  return deepest + 1;
}

// Builds the tree from yaml-cpp's events. A map's keys arrive as nodes of their own, in turn with the values.
class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(const YamlLimits& limits) : limits_(limits) {}

  std::vector<YamlNode> take_documents() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark&) override {
    open_.clear();
    anchors_.clear();
    root_ = YamlNode{};
  }
  void OnDocumentEnd() override {
    if (!root_.is_null()) documents_.push_back(std::move(root_));
    root_ = YamlNode{};
  }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(leaf(mark, YamlNode::Kind::kNull), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = leaf(mark, YamlNode::Kind::kScalar);
    node.quoted = tag == "!" || tag == "tag:yaml.org,2002:str";
    node.text = value;
    add(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto it = anchors_.find(anchor);
    if (it == anchors_.end()) throw Refused{{line(mark), "an alias inside what it stands for"}};
    count(line(mark), count_nodes(it->second));
    if (open_.size() + depth_of(it->second) > limits_.depth) too_deep(line(mark));
    place(YamlNode(it->second));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(leaf(mark, YamlNode::Kind::kList), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(leaf(mark, YamlNode::Kind::kMap), anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor;
    bool has_key = false;
  };

  static int line(const YAML::Mark& mark) { return mark.line + 1; }
  YamlNode leaf(const YAML::Mark& mark, YamlNode::Kind kind) {
    count(line(mark), 1);
    YamlNode node;
    node.kind = kind;
    node.line = line(mark);
    return node;
  }
  void count(int at, size_t more) {
    nodes_ += more;
    if (nodes_ > limits_.nodes) throw Refused{{at, cat("more than ", limits_.nodes, " values in one file")}};
  }
  [[noreturn]] void too_deep(int at) { throw Refused{{at, cat("nested deeper than ", limits_.depth, " levels")}}; }
  void open(YamlNode node, YAML::anchor_t anchor) {
    if (open_.size() >= limits_.depth) too_deep(node.line);
    open_.push_back({std::move(node), anchor});
  }
  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    add(std::move(done.node), done.anchor);
  }
  void add(YamlNode node, YAML::anchor_t anchor) {
    if (anchor != 0) {
      count(node.line, count_nodes(node));
      anchors_[anchor] = node;
    }
    place(std::move(node));
  }
  void place(YamlNode node) {
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.is_list()) {
      parent.node.items.push_back(std::move(node));
    } else if (parent.has_key) {
      parent.node.items.push_back(std::move(node));
      parent.has_key = false;
    } else {
      take_key(parent, std::move(node));
    }
  }
  void take_key(Open& map, YamlNode key) {
    if (!key.is_scalar()) throw Refused{{key.line, "a key of a map must be text"}};
    if (key.text == "<<" && !key.quoted) throw Refused{{key.line, "merge keys (<<) are not accepted"}};
    auto& keys = map.node.keys;
    if (std::find(keys.begin(), keys.end(), key.text) != keys.end())
      throw Refused{{key.line, cat("the key ", quoted(key.text), " twice in one map")}};
    if (keys.size() >= 1000) throw Refused{{key.line, "more than 1000 keys in one map"}};
    keys.push_back(std::move(key.text));
    map.node.key_lines.push_back(key.line);
    map.has_key = true;
  }

  YamlLimits limits_;
  size_t nodes_ = 0;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  YamlNode root_;
  std::vector<YamlNode> documents_;
};

// Control characters have no place in a manifest, and keep yaml-cpp from guessing at UTF-16.
int line_of_bad_byte(std::string_view text) {
  int line = 1;
  for (char c : text) {
    unsigned char b = static_cast<unsigned char>(c);
    if (b == '\n') ++line;
    if ((b < 0x20 && b != '\n' && b != '\r' && b != '\t') || b == 0x7f || b == 0xfe || b == 0xff) return line;
  }
  return 0;
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (size_t i = 0; i < keys.size(); ++i)
    if (keys[i] == key) return &items[i];
  return nullptr;
}

YamlDocuments parse_yaml(std::string_view text, const YamlLimits& limits) {
  YamlDocuments out;
  auto refuse = [&](YamlError error) {
    out.failed = true;
    out.error = std::move(error);
  };
  if (text.size() > limits.bytes) {
    refuse({0, cat("the file has ", text.size(), " bytes; accepted: at most ", limits.bytes)});
    return out;
  }
  if (int line = line_of_bad_byte(text)) {
    refuse({line, "a byte that is not text; accepted: UTF-8 without control characters"});
    return out;
  }
  Builder builder(limits);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& r) {
    refuse(r.error);
  } catch (const YAML::Exception& e) {
    refuse({e.mark.line >= 0 ? e.mark.line + 1 : 0, cat("not YAML: ", e.msg)});
  } catch (const std::exception& e) {
    refuse({0, cat("not YAML: ", e.what())});
  }
  out.documents = builder.take_documents();
  return out;
}

}  // namespace tulle::control
