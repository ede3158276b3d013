#include "libs/observe/access_log.h"

#include <gtest/gtest.h>

namespace tulle::observe {
namespace {

AccessRecord record() {
  AccessRecord r;
  r.client_addr = "127.64.0.2:4567";
  r.client_id = "web.default.serviceaccount.identity.linkerd.cluster.local";
  r.at = WallTime(std::chrono::seconds(1'700'000'000));
  r.method = "GET";
  r.uri = "/a?b=\"c\"";
  r.version = "HTTP/1.1";
  r.status = 200;
  r.request_bytes = "3";
  r.total = 1500us;
  r.processing = 30us;
  r.user_agent = "curl\x01\xff";
  r.host = "api";
  return r;
}

TEST(AccessLog, Apache) {
  EXPECT_EQ(access_log_line(record(), AccessLogFormat::kApache),
            "127.64.0.2:4567 web.default.serviceaccount.identity.linkerd.cluster.local - [2023-11-14T22:13:20.000Z] "
            "\"GET /a?b=\\\"c\\\" HTTP/1.1\" 200");
  AccessRecord failed;
  failed.client_addr = "1.2.3.4:5";
  failed.method = "GET";
  failed.uri = "/\r\nfake";
  failed.version = "HTTP/1.1";
  EXPECT_EQ(access_log_line(failed, AccessLogFormat::kApache),
            "1.2.3.4:5 - - [1970-01-01T00:00:00.000Z] \"GET /\\u000d\\u000afake HTTP/1.1\" -");
}

TEST(AccessLog, Json) {
  EXPECT_EQ(access_log_line(record(), AccessLogFormat::kJson),
            "{\"client.addr\":\"127.64.0.2:4567\",\"client.id\":\"web.default.serviceaccount.identity.linkerd.cluster."
            "local\",\"timestamp\":\"2023-11-14T22:13:20.000Z\",\"method\":\"GET\",\"uri\":\"/a?b=\\\"c\\\"\","
            "\"version\":\"HTTP/1.1\",\"trace_id\":\"\",\"request_bytes\":\"3\",\"status\":200,\"response_bytes\":\"\","
            "\"total_ns\":\"1500000\",\"processing_ns\":\"30000\",\"user_agent\":\"curl\\u0001\xef\xbf\xbd\","
            "\"host\":\"api\"}");
}

}  // namespace
}  // namespace tulle::observe
