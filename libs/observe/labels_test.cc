#include "libs/observe/labels.h"

#include <gtest/gtest.h>

namespace tulle::observe {
namespace {

TEST(Labels, ValuesAreEscapedAndMadeValid) {
  EXPECT_EQ(Labels().add("a", "x\"y\\z\nü").text(), "a=\"x\\\"y\\\\z\\nü\"");
  EXPECT_EQ(Labels().add("a", "\xff\xc3").text(), "a=\"\xef\xbf\xbd\xef\xbf\xbd\"");
  EXPECT_EQ(Labels().add("a-b.c/d", "1").add("0", uint64_t{3}).text(), "a_b_c_d=\"1\",_0=\"3\"");
  EXPECT_EQ(Labels().add("a", std::string(10'000, 'x')).text().size(), Labels::kMaxValue + 4);
}

TEST(Labels, InboundEndpoint) {
  EXPECT_EQ(inbound_endpoint("", "10.0.0.1", 8080, TlsState::mutual("c.default"),
                             {.group = "policy.linkerd.io", .kind = "server", .name = "s", .port = 8080},
                             {.group = "", .kind = "default", .name = "default"}, {.kind = "default", .name = "all"})
                .text(),
            "direction=\"inbound\",target_addr=\"10.0.0.1:8080\",target_ip=\"10.0.0.1\",target_port=\"8080\","
            "tls=\"true\",client_id=\"c.default\",srv_group=\"policy.linkerd.io\",srv_kind=\"server\",srv_name=\"s\","
            "srv_port=\"8080\",route_group=\"\",route_kind=\"default\",route_name=\"default\",authz_group=\"\","
            "authz_kind=\"default\",authz_name=\"all\"");
}

TEST(Labels, OutboundEndpoint) {
  EXPECT_EQ(outbound_endpoint("api:80", "::1", 80, TlsState::no_identity("not_provided_by_service_discovery"),
                              {{"deployment", "api"}, {"pod", "api-1"}})
                .text(),
            "direction=\"outbound\",authority=\"api:80\",target_addr=\"[::1]:80\",target_ip=\"::1\",target_port=\"80\","
            "tls=\"no_identity\",no_tls_reason=\"not_provided_by_service_discovery\",dst_deployment=\"api\","
            "dst_pod=\"api-1\"");
  EXPECT_EQ(
      outbound_tcp_source("127.0.0.1", 80).text(),
      "direction=\"outbound\",peer=\"src\",target_addr=\"127.0.0.1:80\",target_ip=\"127.0.0.1\",target_port=\"80\","
      "tls=\"no_identity\",no_tls_reason=\"loopback\"");
}

TEST(Labels, ResourcesAndTls) {
  Labels labels;
  add_parent(labels, {.group = "core", .kind = "Service", .name_space = "default", .name = "api", .port = 80});
  add_route(labels, {.group = "core", .kind = "default", .name_space = "", .name = "http"});
  add_tls_client(labels, TlsState::opaque("a.example"));
  add_tls_server(labels, TlsState::disabled());
  EXPECT_EQ(labels.text(),
            "parent_group=\"core\",parent_kind=\"Service\",parent_namespace=\"default\",parent_name=\"api\","
            "parent_port=\"80\",parent_section_name=\"\",route_group=\"core\",route_kind=\"default\","
            "route_namespace=\"\",route_name=\"http\",tls=\"opaque\",sni=\"a.example\",tls=\"disabled\"");
}

}  // namespace
}  // namespace tulle::observe
