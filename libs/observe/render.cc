// The exposition: Registry::render.
#include <algorithm>
#include <cmath>
#include <vector>

#include "libs/base/strings.h"
#include "libs/observe/metrics.h"

namespace tulle::observe {
namespace {

using detail::Series;
using detail::SeriesOf;

// One series of one shard, read.
struct Row {
  const Family* family;
  std::string_view labels;  // the series' own; it is not freed while rendering
  bool whole;               // count, not value
  uint64_t count;
  double value;  // of a histogram: its sum
  const Histogram* histogram;
};

Row read(const Series& series) {
  Row row{series.family, series.labels, false, 0, 0, nullptr};
  if (auto* counter = dynamic_cast<const SeriesOf<Counter>*>(&series)) {
    row.whole = true;
    row.count = counter->value.value();
  } else if (auto* gauge = dynamic_cast<const SeriesOf<Gauge>*>(&series)) {
    row.value = gauge->value.value();
  } else {
    row.histogram = &static_cast<const SeriesOf<Histogram>&>(series).value;
    row.value = row.histogram->sum();
  }
  return row;
}

bool before(const Row& a, const Row& b) {
  if (a.family->format != b.family->format) return a.family->format < b.family->format;
  if (int c = a.family->name.compare(b.family->name)) return c < 0;
  return a.labels < b.labels;
}

bool same_series(const Row& a, const Row& b) { return a.family->name == b.family->name && a.labels == b.labels; }

std::string number(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  return cat(v);
}

// A bound as the value of `le`: Linkerd writes "1" in its first block and "1.0" in its second.
std::string bound_text(double v, Format format) {
  std::string text = number(v);
  if (format == Format::kOpenMetrics && text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

void write_head(std::string& out, const Family& family) {
  std::string_view name = family.name;
  bool open_metrics = family.format == Format::kOpenMetrics;
  if (open_metrics && family.type == Type::kCounter && name.ends_with("_total")) name.remove_suffix(6);
  std::string_view type = family.type == Type::kCounter ? "counter"
                          : family.type == Type::kGauge ? "gauge"
                                                        : "histogram";
  append(out, "# HELP ", name, ' ', family.help, open_metrics ? ".\n" : "\n", "# TYPE ", name, ' ', type, '\n');
  for (std::string_view unit : {"seconds", "bytes"})
    if (open_metrics && name.ends_with(unit)) append(out, "# UNIT ", name, ' ', unit, '\n');
}

void write_sample(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                  std::string_view value) {
  append(out, name, suffix);
  if (!labels.empty()) append(out, '{', labels, '}');
  append(out, ' ', value, '\n');
}

void write_histogram(std::string& out, std::span<const Row> rows) {
  const Family& family = *rows[0].family;
  std::string_view labels = rows[0].labels;
  uint64_t total = 0;
  double sum = 0;
  for (const Row& row : rows) sum += row.value;
  std::string with_le;
  for (size_t i = 0; i <= family.bounds.size(); ++i) {
    for (const Row& row : rows) total += row.histogram->bucket_count(i);
    with_le.assign(labels);
    if (!labels.empty()) with_le += ',';
    append(with_le, "le=\"", i < family.bounds.size() ? bound_text(family.bounds[i], family.format) : "+Inf", '"');
    write_sample(out, family.name, "_bucket", with_le, cat(total));
  }
  write_sample(out, family.name, "_count", labels, cat(total));
  write_sample(out, family.name, "_sum", labels, number(sum));
}

// `rows`: one series, from one or more shards.
void write_series(std::string& out, std::span<const Row> rows) {
  const Family& family = *rows[0].family;
  if (family.type == Type::kHistogram) return write_histogram(out, rows);
  bool whole = true;
  uint64_t count = 0;
  double value = 0;
  for (const Row& row : rows) {
    whole = whole && row.whole;
    count += row.count;
    value += row.value + static_cast<double>(row.count);
  }
  write_sample(out, family.name, "", rows[0].labels, whole ? cat(count) : number(value));
}

}  // namespace

std::string Registry::render() {
  std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  for (Shard& shard : shards_) {
    shard.free_dead();
    for (const Series* s = shard.head_.load(std::memory_order_acquire); s; s = s->next.load(std::memory_order_acquire))
      rows.push_back(read(*s));
  }
  std::ranges::sort(rows, before);

  std::string out;
  std::string_view family;
  for (size_t i = 0; i < rows.size();) {
    size_t end = i + 1;
    while (end < rows.size() && same_series(rows[i], rows[end])) ++end;
    if (rows[i].family->name != family) write_head(out, *rows[i].family);
    family = rows[i].family->name;
    write_series(out, std::span(rows).subspan(i, end - i));
    i = end;
  }
  out += "# EOF\n";
  return out;
}

}  // namespace tulle::observe
