#include "libs/observe/scrape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tulle::observe {
namespace {

TEST(Scrape, ReadsWhatProxiesExpose) {
  auto samples = parse_metrics(
      "# HELP a_total A\n# TYPE a_total counter\n"
      "a_total{x=\"1\",y=\"q\\\"\\\\\\n\"} 7\n"
      "b 1.5e3 1700000000\r\n"
      "c{} +Inf\n d { le = \"+Inf\" , } -2\n"
      "e_bucket{le=\"1\"} 3 # {trace=\"x\"} 0.5\n"
      "f NaN\ng 1e999\n"
      "# EOF\nnot read");
  ASSERT_TRUE(samples) << samples.error().reason;
  ASSERT_EQ(samples->size(), 7u);
  EXPECT_EQ((*samples)[0].name, "a_total");
  EXPECT_EQ((*samples)[0].label("y"), "q\"\\\n");
  EXPECT_EQ((*samples)[0].label("z"), "");
  EXPECT_EQ((*samples)[0].value, 7);
  EXPECT_EQ((*samples)[1].value, 1500);
  EXPECT_EQ((*samples)[2].value, std::numeric_limits<double>::infinity());
  EXPECT_EQ((*samples)[3].label("le"), "+Inf");
  EXPECT_EQ((*samples)[3].value, -2);
  EXPECT_EQ((*samples)[4].value, 3);
  EXPECT_TRUE(std::isnan((*samples)[5].value));
  EXPECT_EQ((*samples)[6].value, std::numeric_limits<double>::infinity());
}

TEST(Scrape, NamesTheLineThatIsWrong) {
  for (std::string_view bad : {"9a 1", "a{x} 1", "a{x=1} 1", "a{x=\"1} 1", "a{x=\"1\"", "a", "a x", "a 1 2 3", "a --1",
                               "a{x=\"1\" y=\"2\"} 1", "{} 1", "a 1x"}) {
    auto samples = parse_metrics(std::string("ok 1\n") + std::string(bad));
    ASSERT_FALSE(samples) << bad;
    EXPECT_TRUE(samples.error().reason.starts_with("metrics, line 2: ")) << samples.error().reason;
  }
  EXPECT_EQ(parse_metrics("a 1\nb 2", 1).error().code, Code::kTooLarge);
}

TEST(Quantile, AsPrometheusReckonsIt) {
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<Bucket> buckets{{1, 10}, {2, 20}, {5, 20}, {10, 40}, {inf, 50}};
  EXPECT_DOUBLE_EQ(histogram_quantile(0.1, buckets), 0.5);
  EXPECT_DOUBLE_EQ(histogram_quantile(0.3, buckets), 1.5);
  EXPECT_DOUBLE_EQ(histogram_quantile(0.4, buckets), 2);
  EXPECT_DOUBLE_EQ(histogram_quantile(0.6, buckets), 7.5);
  EXPECT_DOUBLE_EQ(histogram_quantile(0.99, buckets), 10);
  EXPECT_TRUE(std::isnan(histogram_quantile(0.5, {})));
  EXPECT_TRUE(std::isnan(histogram_quantile(0.5, std::vector<Bucket>{{1, 0}, {inf, 0}})));
}

}  // namespace
}  // namespace tulle::observe
