#include "control/api/plane.h"

namespace tulle::control {

Plane::Plane(Options options, Authorities authorities)
    : options_(std::move(options)),
      authorities_(std::move(authorities)),
      service_addresses_(local_service_network()),
      pod_addresses_(options_.pod_network, options_.first_pod_address),
      index_(options_.mesh, service_addresses_),
      workloads_(options_.workloads, pod_addresses_, options_.rng) {}

Result<std::unique_ptr<Plane>> Plane::make(Options options, Authorities authorities) {
  std::string saved = std::move(options.saved_addresses);
  std::unique_ptr<Plane> plane(new Plane(std::move(options), std::move(authorities)));
  if (!saved.empty()) TULLE_TRY_VOID(plane->service_addresses_.load(saved));
  return plane;
}

void Plane::apply(const std::vector<Event>& events, int64_t now) {
  if (events.empty()) return;
  for (const Event& event : events) index_.apply(event, now);
  ++generation_;
  if (on_dirty) on_dirty();
}

void Plane::publish() { hub_.changed(index_.take_changed()); }

}  // namespace tulle::control
