// What a mesh of 1,000 services and 10,000 instances costs the control plane: memory, and the work of one change.
#include <benchmark/benchmark.h>
#include <malloc.h>

#include <filesystem>

#include "control/api/plane.h"
#include "control/policy/outbound.h"
#include "libs/base/strings.h"

namespace tulle::control {
namespace {

constexpr int kServices = 1000;

std::unique_ptr<Plane> make_plane() {
  static const std::string folder = [] {
    std::string name = (std::filesystem::temp_directory_path() / "tulle-bench-XXXXXX").string();
    return std::string(mkdtemp(name.data()));
  }();
  Plane::Options options;
  options.rng = Rng(1);
  auto authorities = open_authorities(folder, "cluster.local", WallTime(1'800'000'000s));
  return *Plane::make(std::move(options), std::move(*authorities));
}

Event pod(int service, int i, bool ready) {
  Pod p;
  p.meta.ns = "shop";
  p.meta.name = cat("svc-", service, "-", i);
  p.meta.labels = {{"app", cat("svc-", service)}, {"linkerd.io/control-plane-ns", "linkerd"}, {"version", "v1"}};
  p.service = cat("svc-", service);
  p.address = IpAddr::v4(0x7f400000u + static_cast<uint32_t>(service) * 64 + static_cast<uint32_t>(i % 64) +
                         static_cast<uint32_t>(i / 64) * 65536);
  p.ports = {{"http", 8080, 8080}};
  p.ready = ready;
  return {{Kind::kPod, "", "shop", p.meta.name}, std::make_shared<const Resource>(std::move(p))};
}

void fill(Plane& plane, int services, int instances) {
  std::vector<Event> events;
  for (int s = 0; s < services; ++s) {
    Service service;
    service.meta.ns = "shop";
    service.meta.name = cat("svc-", s);
    service.ports = {{"http", 80, PortRef("http"), std::nullopt}};
    service.selector = {{"app", cat("svc-", s)}};
    events.push_back(
        {{Kind::kService, "", "shop", service.meta.name}, std::make_shared<const Resource>(std::move(service))});
    for (int i = 0; i < instances; ++i) events.push_back(pod(s, i, true));
  }
  plane.apply(events, 1);
  plane.publish();
}

// One client's stream of a service's instances.
class Client final : public Watcher {
 public:
  Client(Plane& plane, int service) : Watcher(plane.hub()), plane_(plane) {
    target_.service = {"shop", cat("svc-", service)};
    on_change();
  }
  void on_change() override {
    TopicSet read;
    auto now = plane_.endpoints().get(plane_.index(), plane_.generation(), target_, read);
    follow(std::move(read));
    if (*now == sent_) return;
    for (const std::string& m : *plane_.endpoints().messages(target_, sent_, *now)) bytes += m.size();
    sent_ = *now;
  }
  size_t bytes = 0;

 private:
  Plane& plane_;
  ServiceTarget target_;
  EndpointCache::SetPtr sent_;
};

void BM_Memory(benchmark::State& state) {
  double bytes = 0;
  for (auto _ : state) {
    size_t before = mallinfo2().uordblks;
    auto plane = make_plane();
    fill(*plane, kServices, 10);
    std::vector<std::unique_ptr<Client>> clients;  // each instance of the mesh calls five services
    for (int i = 0; i < 5 * 10 * kServices; ++i) clients.push_back(std::make_unique<Client>(*plane, i % kServices));
    bytes = static_cast<double>(mallinfo2().uordblks - before);
  }
  state.counters["MB"] = bytes / 1e6;
}
BENCHMARK(BM_Memory)->Iterations(1)->Unit(benchmark::kMillisecond);

// An instance of one service goes away and comes back; `watchers` clients are told each time.
void change(benchmark::State& state, int services, int instances, int watchers) {
  auto plane = make_plane();
  fill(*plane, services, instances);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < watchers; ++i) clients.push_back(std::make_unique<Client>(*plane, 0));
  for (int s = 1; s < services; ++s) clients.push_back(std::make_unique<Client>(*plane, s));
  bool ready = false;
  for (auto _ : state) {
    plane->apply({pod(0, 1, ready)}, 1);
    plane->publish();
    ready = !ready;
  }
}
void BM_ChangeInAMeshOf1000Services(benchmark::State& state) {
  change(state, kServices, 10, static_cast<int>(state.range(0)));
}
BENCHMARK(BM_ChangeInAMeshOf1000Services)->Arg(1)->Arg(100)->Arg(1000)->Unit(benchmark::kMicrosecond);
void BM_ChangeInASetOf10000(benchmark::State& state) { change(state, 1, 10'000, static_cast<int>(state.range(0))); }
BENCHMARK(BM_ChangeInASetOf10000)->Arg(1)->Arg(1000)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace tulle::control
