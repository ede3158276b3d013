#include "control/source/manifest.h"

#include <algorithm>
#include <map>

#include "control/source/decode.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

// Which kinds there are, and what becomes of them.
enum class Use : uint8_t {
  kRead,
  kLater,     // its absence takes nothing from safety
  kRestricts  // it says who may do what: whoever wrote it must know that it is not acted on
};
struct KnownKind {
  std::string_view group;
  std::string_view kind;
  Use use;
  std::string_view versions;  // for kRead: those accepted, with spaces between
};
constexpr KnownKind kKinds[] = {
    {"", "Namespace", Use::kRead, "v1"},
    {"", "Service", Use::kRead, "v1"},
    {"discovery.k8s.io", "EndpointSlice", Use::kRead, "v1 v1beta1"},
    {"policy.linkerd.io", "Server", Use::kRead, "v1beta3 v1beta2 v1beta1 v1alpha1"},
    {"policy.linkerd.io", "HTTPRoute", Use::kRead, "v1beta3 v1beta2 v1beta1 v1alpha1"},
    {"gateway.networking.k8s.io", "HTTPRoute", Use::kRead, "v1 v1beta1"},
    {"gateway.networking.k8s.io", "GRPCRoute", Use::kLater, ""},
    {"gateway.networking.k8s.io", "TLSRoute", Use::kLater, ""},
    {"gateway.networking.k8s.io", "TCPRoute", Use::kLater, ""},
    {"policy.linkerd.io", "ServerAuthorization", Use::kRestricts, ""},
    {"policy.linkerd.io", "AuthorizationPolicy", Use::kRestricts, ""},
    {"policy.linkerd.io", "MeshTLSAuthentication", Use::kRestricts, ""},
    {"policy.linkerd.io", "NetworkAuthentication", Use::kRestricts, ""},
    {"policy.linkerd.io", "HTTPLocalRateLimitPolicy", Use::kRestricts, ""},
    {"policy.linkerd.io", "EgressNetwork", Use::kRestricts, ""},
    {"linkerd.io", "ServiceProfile", Use::kLater, ""},
    {"workload.linkerd.io", "ExternalWorkload", Use::kLater, ""},
    {"multicluster.linkerd.io", "Link", Use::kLater, ""},
};

const KnownKind* known_kind(std::string_view group, std::string_view kind) {
  for (const KnownKind& k : kKinds)
    if (k.group == group && k.kind == kind) return &k;
  return nullptr;
}

std::string kinds_read() {
  std::string out;
  for (const KnownKind& k : kKinds)
    if (k.use == Use::kRead) append(out, out.empty() ? "" : ", ", k.group, k.group.empty() ? "" : "/", k.kind);
  return out;
}

class Reader {
 public:
  Reader(std::string_view file, Parsed& out) : file_(file), out_(out) {}

  void read(const YamlNode& document) {
    Report report(std::string(file_), out_.problems);
    if (!document.is_map()) {
      report.error(document.line, "", found(document, "a map with apiVersion, kind and metadata"));
    } else if (const YamlNode* kind = document.find("kind"); kind && kind->is_scalar() && kind->text == "List") {
      return read_list(document, report);
    } else {
      read_resource(document, report);
    }
    out_.failed |= report.failed();
  }

 private:
  void read_list(const YamlNode& document, Report& report) {
    {
      Fields list(&document, "", report);
      list.ignore({"apiVersion", "kind", "metadata"});
      list.each("items", 10'000, [&](const YamlNode& item, const std::string&) {
        const YamlNode* kind = item.find("kind");
        if (kind && kind->text == "List") report.error(item.line, "items", "a List inside a List");
        else read(item);
      });
    }
    out_.failed |= report.failed();
  }

  void read_resource(const YamlNode& document, Report& report) {
    Resource resource;
    bool decoded = false;
    {
      Fields fields(&document, "", report);
      std::string version = fields.require_text("apiVersion", "text such as v1");
      std::string kind = fields.require_text("kind", kinds_read());
      if (report.failed()) {
        for (const std::string& key : document.keys) fields.take(key);
        return;
      }
      report.name_resource(resource_name(document, kind));
      std::string group;
      if (size_t slash = version.find('/'); slash != version.npos) {
        group = version.substr(0, slash);
        version.erase(0, slash + 1);
      }
      const KnownKind* known = known_kind(group, kind);
      if (!known || known->use != Use::kRead) {
        for (const std::string& key : document.keys) fields.take(key);
        if (known && known->use == Use::kRestricts)
          return report.leave_out(document.line, "kind",
                                  cat(kind,
                                      " is not acted on by this version: left out, so it neither allows nor "
                                      "restricts anything; what a Server's accessPolicy says holds"));
        report.warn(document.line, "kind",
                    known ? cat(kind, " is not acted on by this version: left out")
                          : cat(quoted(kind), " of ", group.empty() ? "v1" : quoted(group),
                                " is not a kind of the mesh: left out; read are: ", kinds_read()));
        return;
      }
      auto versions = split(known->versions, ' ');
      if (std::find(versions.begin(), versions.end(), version) == versions.end())
        fields.error("apiVersion", cat("found version ", quoted(version), "; accepted: ", known->versions));
      resource = decode(fields, kind, group);
      std::visit([&](auto& r) { r.meta.origin = cat(file_, ":", document.line); }, resource);
      decoded = true;
    }
    if (decoded && !report.failed()) keep(std::move(resource), document.line, report);
  }

  static Resource decode(Fields& fields, std::string_view kind, std::string_view group) {
    if (kind == "Namespace") return decode_namespace(fields);
    if (kind == "Service") return decode_service(fields);
    if (kind == "EndpointSlice") return decode_endpoint_slice(fields);
    if (kind == "Server") return decode_server(fields);
    return decode_http_route(fields, group);
  }

  void keep(Resource resource, int line, Report& report) {
    auto [it, fresh] = lines_.emplace(key_of(resource), line);
    if (!fresh) return report.error(line, "metadata.name", cat("declared already on line ", it->second));
    out_.resources.push_back(std::move(resource));
  }

  static std::string resource_name(const YamlNode& document, const std::string& kind) {
    const YamlNode* meta = document.find("metadata");
    const YamlNode* name = meta ? meta->find("name") : nullptr;
    const YamlNode* ns = meta ? meta->find("namespace") : nullptr;
    if (!name || !name->is_scalar()) return kind;
    std::string where = kind == "Namespace" ? "" : cat(ns && ns->is_scalar() ? ns->text : "default", "/");
    return cat(kind, " ", where, name->text).substr(0, 200);
  }

  std::string_view file_;
  Parsed& out_;
  std::map<ResourceKey, int> lines_;
};

}  // namespace

Parsed parse_manifest(std::string_view file, std::string_view text) {
  Parsed out;
  YamlDocuments yaml = parse_yaml(text);
  Reader reader(file, out);
  for (const YamlNode& document : yaml.documents) reader.read(document);
  if (yaml.failed) {
    Report report(std::string(file), out.problems);
    report.error(yaml.error.line, "", yaml.error.message);
    out.failed = true;
  }
  return out;
}

}  // namespace tulle::control
