#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cli/run/certificates.h"
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
  EXPECT_EQ(parse_expose("0:8080")->at.to_string(), "127.0.0.1:0");
  EXPECT_EQ(parse_expose("127.0.0.1:0:8080")->at.to_string(), "127.0.0.1:0");
  EXPECT_EQ(*parse_host_port("5432"), 5432);
  for (const char* bad : {"", "0", "65536", "x", "5432:1", "-1"}) EXPECT_FALSE(parse_host_port(bad)) << bad;
  for (const char* bad : {"", "8080", "x:1:2", "1:0", "127.0.0.1:1:", ":1:2", "65536:1", "-1:1"})
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

constexpr WallTime kNow = WallTime(1'800'000'000s);  // 2027-01-15T08:00:00Z

std::vector<CheckResult> certificates(std::string_view root, std::string_view issuer) {
  nlohmann::json mesh = {
      {"certificates", {{{"name", "trust root"}, {"expires", root}}, {{"name", "issuer"}, {"expires", issuer}}}}};
  return check_certificates(mesh.dump(), "/log", kNow);
}

TEST(Certificates, EachHasAVerdictAndARemedy) {
  auto good = certificates("2037-01-12T08:00:00.000Z", "2027-02-14T08:00:01Z");
  ASSERT_EQ(good.size(), 2u);
  EXPECT_EQ(good[0].name, "certificate of the trust root");
  EXPECT_EQ(good[0].detail, "until 2037-01-12T08:00:00.000Z: 3650 days left");
  for (const CheckResult& r : good) EXPECT_TRUE(r.verdict == Verdict::kOk && r.remedy.empty()) << r.detail;
  for (const CheckResult& r : certificates("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"))
    EXPECT_EQ(r.verdict, Verdict::kOk) << r.detail << ": later than a clock of nanoseconds can say";
  struct Case {
    const char* expires;
    Verdict verdict;
    const char* detail;
  };
  for (Case c : {Case{"2027-02-14T07:59:59.000Z", Verdict::kWarn, ": 29 days left, less than 30"},
                 Case{"2027-01-29T07:59:59.000Z", Verdict::kWarn, ": 13 days left, less than 14"},
                 Case{"2027-01-18T07:59:59.000Z", Verdict::kFail, ": 2 days left, less than 3"},
                 Case{"2027-01-15T09:00:00.000Z", Verdict::kFail, ": 60 minutes left, less than 3"},
                 Case{"2027-01-15T07:00:00.000Z", Verdict::kFail, ": it has ended"},
                 Case{"tomorrow", Verdict::kFail, "does not say when it ends"}})
    for (const CheckResult& r : certificates(c.expires, c.expires)) {
      EXPECT_EQ(r.verdict, c.verdict) << r.detail;
      EXPECT_THAT(r.detail, HasSubstr(c.detail));
      EXPECT_FALSE(r.remedy.empty());
    }
  EXPECT_THAT(certificates("2027-01-20T00:00:00Z", "2027-01-20T00:00:00Z")[1].remedy, HasSubstr("/log"));
  for (const char* bad : {"", "{}", "[]", R"({"certificates":[]})", R"({"certificates":5})"})
    EXPECT_EQ(check_certificates(bad, "", kNow).at(0).verdict, Verdict::kFail) << bad;
}

TEST(Certificates, OfPods) {
  constexpr std::string_view kMesh = R"({"certificateLifetimeSeconds":86400})";
  auto check = [&](std::vector<PodCertificate> pods) { return check_pod_certificates(pods, kMesh, kNow); };
  CheckResult r = check({{"a/x", kNow + 20h}, {"a/y", kNow + 10h}});
  EXPECT_EQ(r.verdict, Verdict::kOk);
  EXPECT_EQ(r.detail, "2 pods; the first to end is that of a/y, in 10 hours");
  r = check({{"a/x", kNow + 4h}});
  EXPECT_EQ(r.verdict, Verdict::kWarn);
  EXPECT_THAT(r.remedy, HasSubstr("a/x"));
  r = check({{"a/x", kNow - 1s}});
  EXPECT_EQ(r.verdict, Verdict::kFail);
  EXPECT_THAT(r.detail, HasSubstr("ended has that of a/x"));
  r = check({{"a/x", {}}, {"a/y", kNow + 20h}});
  EXPECT_EQ(r.verdict, Verdict::kWarn);
  EXPECT_THAT(r.detail, HasSubstr("no answer from a/x"));
  EXPECT_FALSE(r.remedy.empty());
}

}  // namespace
}  // namespace tulle::cli
