#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/run/listening.h"
#include "cli/run/options.h"
#include "cli/run/registration.h"

namespace tulle::cli {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(RunOptions, Ports) {
  EXPECT_EQ(parse_port("http=8080")->name, "http");
  EXPECT_EQ(parse_port("http=8080")->number, 8080);
  EXPECT_EQ(parse_port("80")->name, "");
  for (const char* bad :
       {"", "0", "65536", "http=", "=80", "HTTP=80", "80=80", "-a=80", "a--b=80", "abcdefghijklmnop=80", "http=80x"})
    EXPECT_FALSE(parse_port(bad)) << bad;
}

TEST(RunOptions, LabelsAndExposes) {
  EXPECT_EQ(parse_label("a/b=c=d")->second, "c=d");
  EXPECT_FALSE(parse_label("=x"));
  EXPECT_FALSE(parse_label("x"));
  EXPECT_EQ(parse_expose("127.0.0.1:9000:8080")->at.to_string(), "127.0.0.1:9000");
  EXPECT_EQ(parse_expose("9000:8080")->at.to_string(), "127.0.0.1:9000");
  EXPECT_EQ(parse_expose("[::1]:9000:8080")->at.to_string(), "[::1]:9000");
  EXPECT_EQ(parse_expose("9000:8080")->pod_port, 8080);
  for (const char* bad : {"", "8080", "x:1:2", "1:0", "0:1", "127.0.0.1:1:", ":1:2"})
    EXPECT_FALSE(parse_expose(bad)) << bad;
}

TEST(RunOptions, WhatContradictsItself) {
  RunOptions o;
  EXPECT_TRUE(check_options(o));
  o.ports = {{"", 80}};
  EXPECT_TRUE(check_options(o));
  o.ports = {{"a", 80}, {"", 81}};
  EXPECT_THAT(check_options(o).error().reason, HasSubstr("--port NAME=81"));
  o.ports = {{"a", 80}, {"a", 81}};
  EXPECT_FALSE(check_options(o));
  o.ports = {{"a", 80}, {"b", 80}};
  EXPECT_FALSE(check_options(o));
  o.ports.clear();
  o.ready_path = "/x";
  EXPECT_FALSE(check_options(o));
  o.ports = {{"a", 80}};
  EXPECT_TRUE(check_options(o));
  o.ready_path = "x";
  EXPECT_FALSE(check_options(o));
}

TEST(Registration, Request) {
  RunOptions o;
  o.service = "api";
  o.ports = {{"http", 80}};
  o.labels = {{"version", "v1"}};
  EXPECT_EQ(
      registration_request(o, 42, nullptr, false, {"127.64.0.1"}, {{80, 8000}}),
      R"({"labels":{"version":"v1"},"namespace":"default","pid":42,"ports":[{"name":"http","port":80,"served":8000}],)"
      R"("refused_addresses":["127.64.0.1"],"service":"api"})");
  Registration known;
  known.name = "api-x";
  known.address = *IpAddr::parse("127.64.0.9");
  EXPECT_EQ(
      registration_request({}, 1, &known, true, {}, {}),
      R"({"address":"127.64.0.9","labels":{},"name":"api-x","namespace":"default","pid":1,"ports":[],"ready":true})");
}

constexpr const char* kAnswer = R"({"id":"w1","name":"api-1","namespace":"shop","address":"127.64.0.3",
  "ports":[{"name":"http","port":80,"served":20080}],"token_path":"/t","identity":"i","trust_anchors_pem":"PEM","warnings":["w"],
  "env":{"LINKERD2_PROXY_POLICY_SVC_ADDR":"127.0.0.1:1","LINKERD2_PROXY_LOG":"info"}})";

TEST(Registration, AnswerAndEnvironment) {
  auto r = parse_registration(kAnswer);
  ASSERT_TRUE(r) << r.error().reason;
  EXPECT_EQ(r->name, "api-1");
  EXPECT_EQ(r->warnings, std::vector<std::string>{"w"});
  EXPECT_EQ(r->control_addresses(), "LINKERD2_PROXY_POLICY_SVC_ADDR=127.0.0.1:1 ");
  auto env =
      proxy_environment(*r, {"HOME=/x", "LINKERD2_PROXY_LOG=debug", "TULLE_PROXY_POD_IP=evil", "TULLE_PROXY_X=1"});
  for (const char* line :
       {"LINKERD2_PROXY_LOG=debug", "TULLE_PROXY_POD_IP=127.64.0.3", "TULLE_PROXY_POD_PORTS=20080:80",
        "TULLE_PROXY_X=1", "LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS=PEM", "LINKERD2_PROXY_IDENTITY_TOKEN_FILE=/t",
        "LINKERD2_PROXY_ADMIN_LISTEN_ADDR=127.64.0.3:4191", "LINKERD2_PROXY_INBOUND_LISTEN_ADDR=127.64.0.3:4143"})
    EXPECT_THAT(env, Contains(line));
  EXPECT_THAT(env, Not(Contains(HasSubstr("HOME"))));
}

TEST(Registration, WhatIsWrongWithAnAnswerIsSaid) {
  EXPECT_FALSE(parse_registration(""));
  EXPECT_FALSE(parse_registration("[]"));
  EXPECT_THAT(parse_registration(R"({"id":"x","name":"n","namespace":"s"})").error().reason, HasSubstr("address"));
  EXPECT_FALSE(parse_registration(R"({"id":"x","name":"n","namespace":"s","address":"::1"})"));
  EXPECT_FALSE(parse_registration(
      R"({"id":"x","name":"n","namespace":"s","address":"127.64.0.1","ports":[{"port":0,"served":1}]})"));
  EXPECT_FALSE(parse_registration(R"({"id":"x","name":"n","namespace":"s","address":"127.64.0.1","ports":[7]})"));
  EXPECT_EQ(error_of(R"({"error":"no"})"), "no");
  EXPECT_EQ(error_of("plain\nmore"), "plain");
}

TEST(Listening, Tables) {
  const char* tcp =
      "  sl  local_address rem_address   st tx_queue rx_queue\n"
      "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000\n"
      "   1: 0200007F:0050 00000000:0000 0A 00000000:00000000\n"
      "   2: 0100007F:0051 0100007F:9999 01 00000000:00000000\n";
  const char* tcp6 =
      "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n"
      "   1: 00000000000000000000000001000000:0017 00000000000000000000000000000000:0000 0A 0\n";
  EXPECT_TRUE(listens_on(tcp, tcp6, 8080));
  EXPECT_TRUE(listens_on(tcp, tcp6, 22));
  EXPECT_FALSE(listens_on(tcp, tcp6, 80)) << "127.0.0.2 only";
  EXPECT_FALSE(listens_on(tcp, tcp6, 81)) << "connected, not listening";
  EXPECT_FALSE(listens_on(tcp, tcp6, 23)) << "::1 only";
  EXPECT_FALSE(listens_on("", "", 80));
}

}  // namespace
}  // namespace tulle::cli
