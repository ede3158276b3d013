// Metrics: families of series with labels, counted without locks and rendered as text.
//
//   Registry (owned by main)  ──has──▶  Shard (one per worker, one for the control thread)  ──has──▶  series
//
// A worker resolves a series once, when a route or an endpoint is built, and keeps the Ref. Updating it is a plain
// load and store of memory that only this worker writes. Rendering, on the control thread, sums the shards; neither
// side ever waits for the other. A series that no Ref holds any more is kept for the idle time, so that a scrape still
// sees its last value, then dropped. Memory of dropped series is freed by the renderer alone, so it reads in safety.
//
// Lifetime: Registry outlives its shards' Refs. A Shard and its Refs are used by one thread at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "libs/base/list.h"
#include "libs/base/time.h"
#include "libs/observe/labels.h"

namespace tulle::observe {

enum class Type : uint8_t { kCounter, kGauge, kHistogram };
// kText: Linkerd's first block, plain Prometheus text. kOpenMetrics: its second block, which ends with "# EOF".
enum class Format : uint8_t { kText, kOpenMetrics };

// What a family is. A constant (families.h) that outlives the registry; two of one name are the same family.
struct Family {
  std::string_view name;  // of the samples: counters end in _total
  std::string_view help;
  Type type = Type::kCounter;
  Format format = Format::kText;
  std::span<const double> bounds{};  // kHistogram: upper bounds, ascending, without +Inf
};

// Values. One thread writes, any reads; all accesses are relaxed, for a scrape needs no order between series.
class Counter {
 public:
  void add(uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  // For totals that are read elsewhere (the kernel, a library).
  void set(uint64_t total) { value_.store(total, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  // For who counts in a place given to him; one writer, as above.
  std::atomic<uint64_t>& cell() { return value_; }

 private:
  std::atomic<uint64_t> value_{0};
};

// Summed over the shards. Also the value of a counter family that is not whole (seconds of CPU).
class Gauge {
 public:
  void set(double v) { value_.store(v, std::memory_order_relaxed); }
  void add(double v) { set(value() + v); }
  void increment() { add(1); }
  void decrement() { add(-1); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds);
  // Counted in the first bucket whose bound is ≥ v.
  void observe(double v) {
    const double* at = bounds_.data();
    size_t n = bounds_.size();
    while (n > 1) {  // without branches: at ends at the last bound < v, or the first bound
      size_t half = n / 2;
      at = at[half - 1] < v ? at + half : at;
      n -= half;
    }
    size_t bucket = static_cast<size_t>(at - bounds_.data()) + (n == 1 && *at < v ? 1 : 0);
    counts_[bucket].add();
    sum_.add(v);
  }
  std::span<const double> bounds() const { return bounds_; }
  uint64_t bucket_count(size_t i) const { return counts_[i].value(); }  // i ≤ bounds().size(); the last is +Inf
  double sum() const { return sum_.value(); }

 private:
  std::span<const double> bounds_;
  std::unique_ptr<Counter[]> counts_;
  Gauge sum_;
};

class Shard;

namespace detail {
struct Series : ListNode {  // ListNode: its place among the idle ones
  Series(Shard* s, const Family& f, std::string text) : shard(s), family(&f), labels(std::move(text)) {}
  virtual ~Series() = default;

  std::atomic<Series*> next{nullptr};  // the shard's list; followed by the renderer
  Series* previous = nullptr;          // worker only
  Series* next_dead = nullptr;
  Shard* shard;
  const Family* family;
  std::string labels;
  uint32_t refs = 0;
  TimePoint idle_since = kNever;  // kNever: not seen idle yet
};
template <class T>
struct alignas(64) SeriesOf final : Series {  // a cache line of its own
  template <class... A>
  SeriesOf(Shard* s, const Family& f, std::string text, A&&... a) : Series(s, f, std::move(text)), value(a...) {}
  T value;
};
}  // namespace detail

// Keeps a series alive and updates it: ref->add(). Copying counts one holder more. Used on its shard's thread only.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(const Ref& o) : Ref(o.series_) {}
  Ref(Ref&& o) noexcept : series_(std::exchange(o.series_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(series_, o.series_);
    return *this;
  }
  ~Ref();

  explicit operator bool() const { return series_ != nullptr; }
  T* operator->() const { return &series_->value; }
  T& operator*() const { return series_->value; }

 private:
  friend class Shard;
  explicit Ref(detail::SeriesOf<T>* series);
  detail::SeriesOf<T>* series_ = nullptr;
};
using CounterRef = Ref<Counter>;
using GaugeRef = Ref<Gauge>;
using HistogramRef = Ref<Histogram>;

struct MetricsLimits {
  size_t series_per_family = 10'000;  // in one shard; a further one is the family's {tulle_overflow="true"}
  Duration retain_idle = 10min;       // LINKERD2_PROXY_METRICS_RETAIN_IDLE
};

// One thread's series.
class Shard {
 public:
  explicit Shard(const MetricsLimits& limits) : limits_(limits) {}
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // The series of that family with those labels, made if there is none. Costs a hash look-up: not for the request path.
  // counter: family.type is kCounter. gauge: kGauge, or kCounter for one that is not whole. histogram: kHistogram.
  CounterRef counter(const Family& family, const Labels& labels = {});
  GaugeRef gauge(const Family& family, const Labels& labels = {});
  HistogramRef histogram(const Family& family, const Labels& labels = {});
  CounterRef counter(const Family&&, const Labels& = {}) = delete;  // a family must outlive its series
  GaugeRef gauge(const Family&&, const Labels& = {}) = delete;
  HistogramRef histogram(const Family&&, const Labels& = {}) = delete;

  // Drops the series that were found idle retain_idle ago or earlier. To be called now and then (each 30 s) by the
  // owner; its interval is the precision of the idle time.
  void sweep(TimePoint now);
  // Series held, idle ones included.
  size_t size() const { return series_.size(); }

 private:
  template <class T>
  friend class Ref;
  friend class Registry;
  template <class T, class... A>
  Ref<T> resolve(const Family& family, const Labels& labels, A&&... a);
  // False, and counted, when the family has its full number of series.
  bool take_place(const Family& family);
  void add(detail::Series* series);
  void bury(detail::Series* series);
  void hold(detail::Series* series);
  void release(detail::Series* series);
  void free_dead();  // renderer only

  MetricsLimits limits_;
  // By name and labels, which are long and stand in the series alone.
  struct Key {
    std::string_view name, labels;
    Key(std::string_view n, std::string_view l) : name(n), labels(l) {}
    Key(const detail::Series* s) : name(s->family->name), labels(s->labels) {}
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(const Key& k) const { return absl::HashOf(k.name, k.labels); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Key& a, const Key& b) const { return a == b; }
  };
  absl::flat_hash_set<detail::Series*, Hash, Equal> series_;
  absl::flat_hash_map<std::string_view, size_t> family_sizes_;  // families are constants
  List<detail::Series> idle_;
  std::atomic<detail::Series*> head_{nullptr};
  std::atomic<detail::Series*> dead_{nullptr};
  size_t dead_count_ = 0;  // upper bound of the length of dead_
};

class Registry {
 public:
  explicit Registry(MetricsLimits limits = {}) : limits_(limits) {}

  // A shard for one thread; lives as long as the registry. Any thread.
  Shard& add_shard();
  // The whole exposition: text families, then OpenMetrics families and "# EOF\n"; families by name, series by labels.
  // Any thread; concurrent calls take turns.
  std::string render();

 private:
  MetricsLimits limits_;
  std::mutex mutex_;  // shards_ and the reading side of every shard
  std::deque<Shard> shards_;
};

template <class T>
Ref<T>::Ref(detail::SeriesOf<T>* series) : series_(series) {
  if (series_) series_->shard->hold(series_);
}
template <class T>
Ref<T>::~Ref() {
  if (series_) series_->shard->release(series_);
}

}  // namespace tulle::observe
