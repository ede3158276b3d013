#include "libs/observe/metrics.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <array>
#include <thread>

#include "libs/base/sanitized.h"
#include "libs/base/strings.h"
#include "libs/observe/families.h"
#include "libs/observe/http_series.h"
#include "libs/observe/process.h"
#include "libs/observe/scrape.h"

namespace tulle::observe {
namespace {

constexpr Family kRequests = text_counter("a_total", "A things");
constexpr double kBounds[] = {1, 2.5, 10};
constexpr Family kTimes{"times", "Times", Type::kHistogram, Format::kText, kBounds};
constexpr Family kUp = om_gauge("up_seconds", "Up");
constexpr Family kOm = om_counter("om_total", "Things");
constexpr double kOne[] = {1};
constexpr Family kOmTimes = om_histogram("om_times", "Times", kOne);
constexpr TimePoint kStart{};

TEST(Metrics, TextBlockThenOpenMetricsBlock) {
  Registry registry;
  Shard& shard = registry.add_shard();
  CounterRef b = shard.counter(kRequests, Labels().add("x", "b"));
  CounterRef a = shard.counter(kRequests, Labels().add("x", "a"));
  HistogramRef times = shard.histogram(kTimes, Labels().add("x", "a"));
  GaugeRef up = shard.gauge(kUp);
  CounterRef om = shard.counter(kOm);
  HistogramRef om_times = shard.histogram(kOmTimes);
  a->add();
  b->add(7);
  for (double v : {0.5, 1.0, 2.0, 11.0}) times->observe(v);
  up->set(1.5);
  EXPECT_EQ(registry.render(), R"(# HELP a_total A things
# TYPE a_total counter
a_total{x="a"} 1
a_total{x="b"} 7
# HELP times Times
# TYPE times histogram
times_bucket{x="a",le="1"} 2
times_bucket{x="a",le="2.5"} 3
times_bucket{x="a",le="10"} 3
times_bucket{x="a",le="+Inf"} 4
times_count{x="a"} 4
times_sum{x="a"} 14.5
# HELP om_times Times.
# TYPE om_times histogram
om_times_bucket{le="1.0"} 0
om_times_bucket{le="+Inf"} 0
om_times_count 0
om_times_sum 0
# HELP om Things.
# TYPE om counter
om_total 0
# HELP up_seconds Up.
# TYPE up_seconds gauge
# UNIT up_seconds seconds
up_seconds 1.5
# EOF
)");
}

TEST(Metrics, ShardsAreSummed) {
  Registry registry;
  Shard& one = registry.add_shard();
  Shard& two = registry.add_shard();
  CounterRef a = one.counter(kRequests), b = two.counter(kRequests);
  HistogramRef s = one.histogram(kTimes), t = two.histogram(kTimes);
  a->add(2);
  b->add(3);
  s->observe(1);
  t->observe(2);
  std::string text = registry.render();
  EXPECT_NE(text.find("\na_total 5\n"), text.npos) << text;
  EXPECT_NE(text.find("times_bucket{le=\"2.5\"} 2\n"), text.npos) << text;
}

TEST(Metrics, SameLabelsAreTheSameSeries) {
  Registry registry;
  Shard& shard = registry.add_shard();
  CounterRef a = shard.counter(kRequests, Labels().add("x", "1"));
  CounterRef b = shard.counter(kRequests, Labels().add("x", "1"));
  EXPECT_EQ(&*a, &*b);
  EXPECT_EQ(shard.size(), 1u);
}

TEST(Metrics, EachBucketTakesItsBound) {
  for (size_t n = 1; n <= std::size(kLatencyMsBounds); ++n) {
    Histogram h(std::span(kLatencyMsBounds).first(n));
    for (size_t i = 0; i < n; ++i) {
      h.observe(kLatencyMsBounds[i]);         // in bucket i
      h.observe(kLatencyMsBounds[i] + 0.25);  // in the next
    }
    EXPECT_EQ(h.bucket_count(0), 1u);
    for (size_t i = 1; i < n; ++i) EXPECT_EQ(h.bucket_count(i), 2u) << n << ' ' << i;
    EXPECT_EQ(h.bucket_count(n), 1u);
  }
}

TEST(Metrics, IdleSeriesGoAfterTheirTime) {
  Registry registry({.retain_idle = 60s});
  Shard& shard = registry.add_shard();
  CounterRef kept = shard.counter(kRequests, Labels().add("x", "kept"));
  shard.counter(kRequests, Labels().add("x", "idle"))->add(4);
  shard.sweep(kStart);
  shard.sweep(kStart + 59s);
  EXPECT_EQ(shard.size(), 2u);
  EXPECT_NE(registry.render().find("idle"), std::string::npos);
  shard.counter(kRequests, Labels().add("x", "idle"))->add();  // used again: the time starts anew, the count goes on
  shard.sweep(kStart + 61s);
  EXPECT_NE(registry.render().find("a_total{x=\"idle\"} 5\n"), std::string::npos);
  shard.sweep(kStart + 121s);
  EXPECT_EQ(shard.size(), 1u);
  std::string text = registry.render();
  EXPECT_EQ(text.find("idle"), text.npos);
  EXPECT_NE(text.find("kept"), text.npos);
  EXPECT_EQ(shard.counter(kRequests, Labels().add("x", "idle"))->value(), 0u);
}

TEST(Metrics, TheCapGivesOneSharedSeries) {
  Registry registry({.series_per_family = 2});
  Shard& shard = registry.add_shard();
  std::vector<CounterRef> refs;
  for (int i = 0; i < 5; ++i) {
    refs.push_back(shard.counter(kRequests, Labels().add("x", static_cast<uint64_t>(i))));
    refs.back()->add();
  }
  std::string text = registry.render();
  EXPECT_NE(text.find("a_total{tulle_overflow=\"true\"} 3\n"), text.npos) << text;
  EXPECT_NE(text.find("tulle_metrics_dropped_series_total{family=\"a_total\"} 3\n"), text.npos) << text;
  EXPECT_EQ(&*shard.counter(kRequests, Labels().add("x", "1")), &*refs[1]);
}

TEST(Metrics, WhatNobodyRendersStaysBounded) {
  Registry registry({.series_per_family = 100'000, .retain_idle = 0s});
  Shard& shard = registry.add_shard();
  for (uint64_t i = 0; i < 10'000; ++i) shard.counter(kRequests, Labels().add("x", i));
  shard.sweep(kStart);
  EXPECT_GT(shard.size(), 5'000u);
  EXPECT_LT(shard.size(), 6'000u);
  for (int i = 0; i < 2; ++i) {
    registry.render();
    shard.sweep(kStart);
  }
  EXPECT_EQ(shard.size(), 0u);
}

// The worker counts, resolves, drops and sweeps while another thread renders; to be run under TSan and ASan as well.
TEST(Metrics, WorkersAndRendererNeverMeet) {
  Registry registry({.series_per_family = 50, .retain_idle = 0s});
  constexpr uint64_t kTurns = 20'000;
  auto work = [&](Shard& shard) {
    CounterRef steady = shard.counter(kRequests, Labels().add("x", "steady"));
    HistogramRef times = shard.histogram(kTimes);
    for (uint64_t i = 0; i < kTurns; ++i) {
      steady->add();
      times->observe(static_cast<double>(i % 12));
      shard.counter(kRequests, Labels().add("x", i % 70))->add();
      if (i % 7 == 0) shard.sweep(kStart);
    }
  };
  Shard& one = registry.add_shard();
  Shard& two = registry.add_shard();
  std::atomic<int> running{2};
  std::thread a([&] { work(one), --running; });
  std::thread b([&] { work(two), --running; });
  while (running.load() > 0) {
    auto samples = parse_metrics(registry.render());
    ASSERT_TRUE(samples) << samples.error().reason;
  }
  a.join();
  b.join();
  std::string text = registry.render();
  EXPECT_NE(text.find(cat("a_total{x=\"steady\"} ", 2 * kTurns, "\n")), text.npos) << text;
  EXPECT_NE(text.find(cat("times_count ", 2 * kTurns, "\n")), text.npos) << text;
}

TEST(HttpSeries, OutcomesAreResolvedOnceAndCounted) {
  Registry registry;
  Shard& shard = registry.add_shard();
  Labels labels;
  labels.add("direction", "outbound");
  HttpSeries series(shard, labels);
  series.request();
  series.request();
  series.response({.status = 200, .grpc_status = 0}, 1500us);
  series.response({.status = 200, .grpc_status = 99}, 3ms);
  series.response({.status = 503, .success = false, .error = "a longer error text, beyond the small string"}, 7ms);
  series.response({.status = 503, .success = false, .error = "a longer error text, beyond the small string"}, 7ms);
  std::string text = registry.render();
  for (std::string_view line : {"request_total{direction=\"outbound\"} 2\n",
                                "response_total{direction=\"outbound\",status_code=\"200\",classification=\"success\","
                                "grpc_status=\"0\",error=\"\"} 1\n",
                                "response_total{direction=\"outbound\",status_code=\"200\",classification=\"success\","
                                "grpc_status=\"2\",error=\"\"} 1\n",
                                "response_total{direction=\"outbound\",status_code=\"503\",classification=\"failure\","
                                "grpc_status=\"\",error=\"a "
                                "longer error text, beyond the small string\"} 2\n",
                                "response_latency_ms_bucket{direction=\"outbound\",status_code=\"200\",le=\"2\"} 1\n",
                                "response_latency_ms_sum{direction=\"outbound\",status_code=\"200\"} 4.5\n"})
    EXPECT_NE(text.find(line), text.npos) << line << text;
}

TEST(HttpSeries, ManyOutcomesStayBoundedAndCounted) {
  Registry registry;
  Shard& shard = registry.add_shard();
  HttpSeries series(shard, {});
  for (int round = 0; round < 2; ++round)
    for (uint16_t status = 100; status < 1000; ++status) series.response({.status = status}, 1ms);
  auto samples = parse_metrics(registry.render());
  ASSERT_TRUE(samples);
  double total = 0;
  for (const Sample& s : *samples)
    if (s.name == "response_total") total += s.value;
  EXPECT_EQ(total, 1800);
}

TEST(TcpSeries, OpenAndClose) {
  Registry registry;
  Shard& shard = registry.add_shard();
  TcpSeries series(shard, inbound_tcp_destination());
  series.opened();
  series.opened();
  series.opened();
  series.read(10);
  *series.write_meter() += 20;
  series.closed("");
  series.closed("ECONNRESET");
  std::string text = registry.render();
  std::string_view labels = "direction=\"inbound\",peer=\"dst\",tls=\"no_identity\",no_tls_reason=\"loopback\"";
  for (const std::string& line :
       {cat("tcp_open_total{", labels, "} 3\n"), cat("tcp_open_connections{", labels, "} 1\n"),
        cat("tcp_read_bytes_total{", labels, "} 10\n"), cat("tcp_close_total{", labels, ",errno=\"\"} 1\n"),
        cat("tcp_close_total{", labels, ",errno=\"ECONNRESET\"} 1\n")})
    EXPECT_NE(text.find(line), text.npos) << line << text;
}

TEST(ProcessMetrics, TellsOfThisProcess) {
  Registry registry;
  Shard& shard = registry.add_shard();
  WallTime started{std::chrono::seconds(1'700'000'000)};
  ProcessMetrics process(shard, started);
  process.refresh(started + 1500ms);
  auto samples = parse_metrics(registry.render());
  ASSERT_TRUE(samples) << samples.error().reason;
  auto value = [&](std::string_view name) {
    for (const Sample& s : *samples)
      if (s.name == name) return s.value;
    return -1.0;
  };
  EXPECT_EQ(value("process_start_time_seconds"), 1'700'000'000);
  EXPECT_EQ(value("process_uptime_seconds_total"), 1.5);
  EXPECT_GE(value("process_threads"), 1);
  EXPECT_GE(value("process_open_fds"), 3);
  EXPECT_GT(value("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(value("process_virtual_memory_bytes"), 1e6);
  EXPECT_GE(value("process_cpu_seconds_total"), 0);
  EXPECT_GT(value("process_max_fds"), 0);
}

// A proxy that uses thousands of endpoints has a dozen series for each.
TEST(Memory, OfTheSeriesOfAnEndpoint) {
  if (kSanitized) GTEST_SKIP() << "the sanitizers' allocator does not tell";
  constexpr size_t kMany = 1000;
  Registry registry;
  Shard& shard = registry.add_shard();
  std::vector<std::unique_ptr<HttpSeries>> http(kMany);
  std::vector<std::unique_ptr<TcpSeries>> tcp(kMany);
  const std::vector<std::pair<std::string, std::string>> labels = {
      {"control_plane_ns", "linkerd"}, {"namespace", "shop"},    {"pod", "web-5d8f6c7b9d-abcde"}, {"service", "web"},
      {"deployment", "web"},           {"serviceaccount", "web"}};
  size_t before = mallinfo2().uordblks;
  for (size_t i = 0; i < kMany; ++i) {
    std::string ip = cat("10.1.", i / 250, '.', i % 250);
    auto tls = TlsState::mutual("web.shop.serviceaccount.identity.linkerd.cluster.local");
    http[i] =
        std::make_unique<HttpSeries>(shard, outbound_endpoint("web.shop.svc.cluster.local:80", ip, 8080, tls, labels));
    http[i]->request();
    http[i]->response({.status = 200}, 1ms);
    tcp[i] = std::make_unique<TcpSeries>(
        shard, outbound_tcp_destination("web.shop.svc.cluster.local:80", ip, 8080, tls, labels));
    tcp[i]->opened();
  }
  size_t each = (mallinfo2().uordblks - before) / kMany;
  RecordProperty("bytes", static_cast<int>(each));
  EXPECT_LT(each, 6'000u);
}

}  // namespace
}  // namespace tulle::observe
