// A mesh to ask in tests: resources in, an index out. For tests only.
#pragma once

#include <string>
#include <string_view>

#include "control/index/index.h"
#include "control/source/manifest.h"
#include "libs/base/check.h"
#include "libs/base/strings.h"

namespace tulle::control {

struct TestMesh {
  ServiceAddresses addresses{local_service_network()};
  Index index{MeshConfig::local(), addresses};
  int64_t now = 1'000'000;

  // Puts all resources of a manifest, which must be without errors.
  void put(std::string_view yaml) {
    Parsed parsed = parse_manifest("test.yaml", yaml);
    for (const Problem& p : parsed.problems)
      if (p.is_error()) check_failed(p.to_string());
    for (Resource& r : parsed.resources) {
      ResourceKey key = key_of(r);
      index.apply({key, std::make_shared<const Resource>(std::move(r))}, now);
    }
  }
  void service(std::string_view name, std::string_view spec, std::string_view annotations = "") {
    put(cat("apiVersion: v1\nkind: Service\nmetadata: {name: ", name, ", namespace: shop, annotations: {", annotations,
            "}}\nspec: {", spec, "}\n"));
  }
  // 127.64.0.N, listening on `ports`; ports below 1024 are served 20000 higher.
  void pod(std::string_view name, uint8_t n, Labels labels, std::vector<PodPort> ports, bool ready = true,
           std::string_view service = "", Labels annotations = {}) {
    Pod pod;
    pod.meta.ns = "shop";
    pod.meta.name = name;
    pod.meta.labels = std::move(labels);
    pod.meta.annotations = std::move(annotations);
    pod.service = service;
    pod.service_account = "sa";
    pod.address = IpAddr::v4(127, 64, 0, n);
    for (PodPort p : ports) {
      if (p.served == 0) p.served = p.port < 1024 ? static_cast<uint16_t>(p.port + 20000) : p.port;
      pod.ports.push_back(p);
    }
    pod.ready = ready;
    index.apply({{Kind::kPod, "", "shop", pod.meta.name}, std::make_shared<const Resource>(std::move(pod))}, now);
  }
  void remove(Kind kind, std::string_view name, std::string_view group = "") {
    index.apply({{kind, std::string(group), "shop", std::string(name)}, nullptr}, now);
  }
  Snapshot snapshot(TopicSet* read = nullptr) { return index.snapshot(read); }

  static void check_failed(const std::string& what) { detail::check_failed("test.yaml", 0, what.c_str()); }
};

}  // namespace tulle::control
