#include "cli/command/traffic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cli/command/observe_view.h"
#include "libs/base/strings.h"

namespace tulle::cli {
namespace {

constexpr std::string_view kSuffix = ".default.serviceaccount.identity.linkerd.cluster.local";

std::vector<observe::Sample> samples(const std::string& text) {
  auto out = observe::parse_metrics(text);
  EXPECT_TRUE(out) << (out ? "" : out.error().reason);
  return out.value_or(std::vector<observe::Sample>());
}

// What a client's proxy says after `good` and `bad` requests to api-1, all between 5 and 10 ms.
std::string client_metrics(int good, int bad) {
  std::string ep =
      cat("direction=\"outbound\",authority=\"api:80\",target_addr=\"127.64.0.3:8080\",target_ip=\"127.64.0.3\","
          "target_port=\"8080\",tls=\"true\",server_id=\"api",
          kSuffix, "\",dst_namespace=\"default\",dst_service=\"api\",dst_pod=\"api-1\"");
  std::string tcp = cat("direction=\"outbound\",peer=\"dst\",", ep.substr(ep.find("authority")));
  return cat("response_total{", ep, ",status_code=\"200\",classification=\"success\"} ", good, "\n", "response_total{",
             ep, ",status_code=\"500\",classification=\"failure\"} ", bad, "\n", "response_latency_ms_bucket{", ep,
             ",status_code=\"200\",le=\"5\"} 0\n", "response_latency_ms_bucket{", ep,
             ",status_code=\"200\",le=\"10\"} ", good + bad, "\n", "response_latency_ms_bucket{", ep,
             ",status_code=\"200\",le=\"+Inf\"} ", good + bad, "\n", "tcp_open_total{", tcp, "} 3\n",
             "tcp_open_connections{", tcp, "} 2\n", "tcp_read_bytes_total{", tcp, "} ", (good + bad) * 1000, "\n",
             "tcp_write_bytes_total{", tcp, "} ", (good + bad) * 10, "\n");
}

std::string server_metrics(int good, std::string_view tls) {
  std::string in = cat("direction=\"inbound\",target_addr=\"0.0.0.0:8080\",target_port=\"8080\",", tls);
  return cat("response_total{", in, ",status_code=\"200\",classification=\"success\"} ", good, "\n",
             "tcp_open_total{direction=\"inbound\",peer=\"src\",target_port=\"8080\",", tls, "} 1\n",
             "tcp_read_bytes_total{direction=\"inbound\",peer=\"src\",target_port=\"8080\",", tls, "} 50\n",
             "response_total{direction=\"inbound\",target_port=\"4191\",", tls, ",classification=\"success\"} 99\n");
}

std::string client_id(std::string_view account) { return cat("tls=\"true\",client_id=\"", account, kSuffix, '"'); }

PodInfo pod(std::string name, std::vector<std::string> services, std::string account) {
  return {"default", std::move(name), std::move(services), std::move(account), "127.64.0.2", true, true};
}

TEST(Edges, ClientsView) {
  Scrape web{pod("web-1", {"web"}, "web"), samples(client_metrics(100, 0)), samples(client_metrics(290, 10)), 2};
  Scrape api{pod("api-1", {"api"}, "api"), {}, samples(server_metrics(300, client_id("web"))), 2};
  auto rows = edge_rows({web, api}, Grain::kService);
  ASSERT_EQ(rows.size(), 1u);  // the server's view tells the same edge
  EXPECT_EQ(rows[0].src, "web");
  EXPECT_EQ(rows[0].dst, "api");
  EXPECT_EQ(rows[0].dst_ns, "default");
  EXPECT_TRUE(rows[0].secured);
  EXPECT_EQ(rows[0].client_id, cat("web", kSuffix));
  EXPECT_EQ(rows[0].server_id, cat("api", kSuffix));
  EXPECT_DOUBLE_EQ(rows[0].traffic.rps(), 100);
  EXPECT_DOUBLE_EQ(rows[0].traffic.success(), 0.95);
  EXPECT_DOUBLE_EQ(rows[0].traffic.latency_ms(0.5), 7.5);
  EXPECT_EQ(rows[0].traffic.connections, 2);
  EXPECT_DOUBLE_EQ(rows[0].traffic.to_client, 100'000);
  EXPECT_DOUBLE_EQ(rows[0].traffic.to_server, 1'000);

  rows = edge_rows({web, api}, Grain::kPod);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].src, "web-1");
  EXPECT_EQ(rows[0].dst, "api-1");
}

TEST(Edges, ServersViewOfWhoCannotBeAsked) {
  Scrape api{pod("api-1", {"api"}, "api"), {}, samples(server_metrics(4, client_id("gone"))), 1};
  Scrape store{pod("store", {}, "default"),
               {},
               samples(server_metrics(2, "tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"")),
               1};
  auto rows = edge_rows({api, store}, Grain::kService);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].src, "(unmeshed)");
  EXPECT_EQ(rows[0].dst, "store");
  EXPECT_FALSE(rows[0].secured);
  EXPECT_EQ(rows[0].reason, "no_tls_from_remote");
  EXPECT_EQ(rows[1].src, "gone");
  EXPECT_EQ(rows[1].src_ns, "default");
  EXPECT_TRUE(rows[1].secured);
  EXPECT_EQ(rows[1].server_id, cat("api", kSuffix));
  EXPECT_DOUBLE_EQ(rows[1].traffic.rps(), 4);
  EXPECT_DOUBLE_EQ(rows[1].traffic.to_server, 50);
}

TEST(Edges, AClientThatHasEndedKeepsItsName) {
  Scrape api{pod("api-1", {"api"}, "api"), {}, samples(server_metrics(4, client_id("acct"))), 1};
  auto edge = [&](Grain grain, const std::vector<EndedPod>& ended, std::vector<Scrape> more = {}) {
    more.push_back(api);
    auto rows = edge_rows(more, grain, ended);
    EXPECT_EQ(rows.size(), 1u);
    return rows.at(0);
  };
  std::vector<EndedPod> one{
      {"default", "web-1", "web", "acct"}, {"other", "x", "", "acct"}, {"default", "y", "", "else"}};
  EXPECT_EQ(edge(Grain::kService, one).src, "web");
  EXPECT_EQ(edge(Grain::kService, one).src_text, "web (ended)");
  EXPECT_TRUE(edge(Grain::kService, one).src_ended);
  EXPECT_EQ(edge(Grain::kPod, one).src, "web-1");
  EXPECT_FALSE(edge(Grain::kPod, {}).src_ended);
  EXPECT_EQ(edge(Grain::kPod, {}).src, "acct");
  EXPECT_EQ(edge(Grain::kPod, {}).src_text, "");
  // Two had the account: it is one of them.
  std::vector<EndedPod> two = one;
  two.push_back({"default", "web-2", "web", "acct"});
  EXPECT_EQ(edge(Grain::kService, two).src, "web");
  EXPECT_EQ(edge(Grain::kPod, two).src, "acct");
  EXPECT_EQ(edge(Grain::kPod, two).src_text, "web-1 or web-2 (ended)");
  for (const char* name : {"web-3", "web-4"}) two.push_back({"default", name, "web", "acct"});
  EXPECT_EQ(edge(Grain::kPod, two).src_text, "acct (ended)");
  // A pod with the account runs and was not heard: it may be that one.
  EXPECT_FALSE(edge(Grain::kPod, one, {{pod("web-9", {"web"}, "acct"), {}, {}, 0}}).src_ended);
}

TEST(Edges, WhatHasNoNameGoesByItsAddress) {
  Scrape web{pod("web-1", {}, "default"),
             {},
             samples("tcp_open_total{direction=\"outbound\",peer=\"dst\",authority=\"\",target_addr=\"1.2.3.4:443\","
                     "tls=\"no_identity\",no_tls_reason=\"not_provided_by_service_discovery\"} 1"),
             1};
  auto rows = edge_rows({web}, Grain::kService);
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].src, "web-1");
  EXPECT_EQ(rows[0].dst, "1.2.3.4:443");
  EXPECT_EQ(rows[0].reason, "not_provided_by_service_discovery");
  EXPECT_TRUE(std::isnan(rows[0].traffic.success()));
}

TEST(Edges, AProxyStartedAnewCountsFromZero) {
  Scrape web{pod("web-1", {"web"}, "web"), samples(client_metrics(1000, 0)), samples(client_metrics(50, 0)), 1};
  EXPECT_DOUBLE_EQ(edge_rows({web}, Grain::kService)[0].traffic.rps(), 50);
}

TEST(Stat, ServicesByTheirClientsPodsByTheirOwnProxies) {
  Scrape web{pod("web-1", {"web"}, "web"), samples(client_metrics(0, 0)), samples(client_metrics(19, 1)), 1};
  Scrape api{pod("api-1", {"api", "api-v1"}, "api"), {}, samples(server_metrics(20, client_id("web"))), 1};
  Scrape bare{{"default", "bare", {"api"}, "default", "10.0.0.1", false, false}, {}, {}, 0};
  auto rows = stat_rows({web, api, bare}, Grain::kService, {{"default", "idle"}});
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].name, "api");
  EXPECT_EQ(rows[0].meshed, 1);
  EXPECT_EQ(rows[0].pods, 2);
  EXPECT_DOUBLE_EQ(rows[0].traffic.success(), 0.95);
  EXPECT_EQ(rows[1].name, "api-v1");
  EXPECT_EQ(rows[2].name, "idle");
  EXPECT_EQ(rows[3].name, "web");

  rows = stat_rows({web, api, bare}, Grain::kPod);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].name, "api-1");
  EXPECT_DOUBLE_EQ(rows[0].traffic.rps(), 20);  // the admin port's requests are not counted
  EXPECT_EQ(rows[2].traffic.rps(), 0);
}

TEST(Views, Tables) {
  Scrape web{pod("web-1", {"web"}, "web"), samples(client_metrics(0, 0)), samples(client_metrics(190, 10)), 2};
  Scrape api{pod("api-1", {"api"}, "api"),
             {},
             samples(server_metrics(4, "tls=\"no_identity\",no_tls_reason=\"no_tls_from_remote\"")),
             1};
  EXPECT_EQ(table_text(edge_table(edge_rows({web, api}, Grain::kService)), {}),
            "SRC          DST   SECURED              SUCCESS        RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   "
            "TCP_CONN\n"
            "(unmeshed)   api   no_tls_from_remote   100.00%     4.0rps             -             -             -      "
            "    0\n"
            "web          api   √                     95.00%   100.0rps         7.5ms         9.8ms         9.9ms      "
            "    2\n");
  EXPECT_EQ(table_text(stat_table(stat_rows({web, api}, Grain::kService), Grain::kService), {}),
            "SERVICE   MESHED   SUCCESS        RPS   LATENCY_P50   LATENCY_P95   LATENCY_P99   TCP_CONN\n"
            "api          1/1    95.00%   100.0rps         7.5ms         9.8ms         9.9ms          2\n"
            "web          1/1         -          -             -             -             -          0\n");
  EXPECT_EQ(
      table_json(stat_table(stat_rows({api}, Grain::kPod), Grain::kPod)),
      "[\n  {\"namespace\": \"default\", \"name\": \"api-1\", \"meshed\": 1, \"ready\": 1, \"pods\": 1, \"success\": "
      "1, "
      "\"rps\": 4, \"latency_p50_ms\": null, \"latency_p95_ms\": null, \"latency_p99_ms\": null, \"tcp_conn\": 0, "
      "\"read_bytes_per_second\": 50, \"write_bytes_per_second\": 0}\n]\n");
}

}  // namespace
}  // namespace tulle::cli
