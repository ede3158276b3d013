#include "libs/observe/metrics.h"

#include "libs/base/check.h"
#include "libs/base/strings.h"
#include "libs/observe/families.h"

namespace tulle::observe {

using detail::Series;
using detail::SeriesOf;

// While nobody renders, nothing frees the dropped series: dropping stops at this many.
static constexpr size_t kMaxDead = 4096;
static constexpr std::string_view kOverflowLabels = "tulle_overflow=\"true\"";

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds), counts_(std::make_unique<Counter[]>(bounds.size() + 1)) {
  TULLE_CHECK(!bounds.empty());
}

template <class T, class... A>
Ref<T> Shard::resolve(const Family& family, const Labels& labels, A&&... a) {
  std::string text = labels.text();
  auto found = series_.find(Key(family.name, text));
  if (found == series_.end() && !take_place(family)) {
    text = kOverflowLabels;
    found = series_.find(Key(family.name, text));
  }
  if (found != series_.end()) {
    auto* series = dynamic_cast<SeriesOf<T>*>(*found);
    TULLE_CHECK(series);  // a counter's family holds whole numbers or a gauge's values, not both
    return Ref<T>(series);
  }
  auto* series = new SeriesOf<T>(this, family, std::move(text), std::forward<A>(a)...);
  add(series);
  return Ref<T>(series);
}

CounterRef Shard::counter(const Family& family, const Labels& labels) {
  TULLE_CHECK(family.type == Type::kCounter);
  return resolve<Counter>(family, labels);
}

GaugeRef Shard::gauge(const Family& family, const Labels& labels) {
  TULLE_CHECK(family.type != Type::kHistogram);
  return resolve<Gauge>(family, labels);
}

HistogramRef Shard::histogram(const Family& family, const Labels& labels) {
  TULLE_CHECK(family.type == Type::kHistogram);
  return resolve<Histogram>(family, labels, family.bounds);
}

bool Shard::take_place(const Family& family) {
  if (family_sizes_[family.name] < limits_.series_per_family) return true;
  if (family.name != kMetricsDroppedSeriesTotal.name)
    counter(kMetricsDroppedSeriesTotal, Labels().add("family", family.name))->add();
  return false;
}

void Shard::add(Series* series) {
  series_.insert(series);
  ++family_sizes_[series->family->name];
  Series* first = head_.load(std::memory_order_relaxed);
  series->next.store(first, std::memory_order_relaxed);
  if (first) first->previous = series;
  head_.store(series, std::memory_order_release);  // the renderer sees it whole
}

void Shard::hold(Series* series) {
  if (series->refs++ == 0) series->unlink();
}

void Shard::release(Series* series) {
  TULLE_CHECK(series->refs > 0);
  if (--series->refs > 0) return;
  series->idle_since = kNever;
  idle_.push_back(*series);
}

void Shard::sweep(TimePoint now) {
  if (!dead_.load(std::memory_order_acquire)) dead_count_ = 0;
  idle_.for_each([&](Series& series) {
    if (series.idle_since == kNever) series.idle_since = now;
    if (now - series.idle_since >= limits_.retain_idle && dead_count_ < kMaxDead) bury(&series);
  });
}

// Takes it out of the list. The renderer may stand on it at this moment and goes on by its `next`, so its memory stays
// until the renderer itself frees it, between two walks.
void Shard::bury(Series* series) {
  series->unlink();
  series_.erase(series);
  --family_sizes_[series->family->name];
  Series* next = series->next.load(std::memory_order_relaxed);
  if (next) next->previous = series->previous;
  (series->previous ? series->previous->next : head_).store(next, std::memory_order_release);
  series->next_dead = dead_.load(std::memory_order_relaxed);
  while (!dead_.compare_exchange_weak(series->next_dead, series, std::memory_order_acq_rel)) {
  }
  ++dead_count_;
}

void Shard::free_dead() {
  for (Series* series = dead_.exchange(nullptr, std::memory_order_acq_rel); series;)
    delete std::exchange(series, series->next_dead);
}

Shard::~Shard() {
  free_dead();
  for (Series* series = head_.load(std::memory_order_acquire); series;)
    delete std::exchange(series, series->next.load(std::memory_order_relaxed));
}

Shard& Registry::add_shard() {
  std::lock_guard lock(mutex_);
  return shards_.emplace_back(limits_);
}

}  // namespace tulle::observe
