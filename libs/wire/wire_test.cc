#include <gtest/gtest.h>

#include <cmath>

#include "destination.pb.h"
#include "identity.pb.h"
#include "inbound.pb.h"
#include "libs/wire/samples.h"
#include "outbound.pb.h"
#include "tap.pb.h"
#include "tulle.pb.h"

namespace tulle::wire {
namespace {

namespace pb = ::io::linkerd::proxy;

template <class V, class Decode>
void expect_round_trip(const V& v, Decode decode) {
  std::string bytes = encode(v);
  auto back = decode(bytes);
  ASSERT_TRUE(back) << back.error().reason;
  EXPECT_TRUE(*back == v);
  EXPECT_EQ(encode(*back), bytes) << "equal values have equal bytes";
}

TEST(RoundTrip, Outbound) {
  for (int kind = 0; kind <= 5; ++kind)
    expect_round_trip(samples::outbound(static_cast<OutboundPolicy::Kind>(kind)), decode_outbound_policy);
  expect_round_trip(samples::streams(OutboundPolicy::Kind::kOpaque), decode_outbound_policy);
  expect_round_trip(samples::streams(OutboundPolicy::Kind::kTls), decode_outbound_policy);
  expect_round_trip(samples::by_addr(), decode_traffic_spec);
  expect_round_trip(samples::by_name(), decode_traffic_spec);
}
TEST(RoundTrip, Inbound) {
  for (int kind = 0; kind <= 5; ++kind)
    expect_round_trip(samples::server(static_cast<Server::Kind>(kind)), decode_server);
  expect_round_trip(samples::port_spec(), decode_port_spec);
}
TEST(RoundTrip, Destination) {
  expect_round_trip(samples::get_destination(), decode_get_destination);
  expect_round_trip(samples::add(), decode_update);
  expect_round_trip(samples::remove(), decode_update);
  expect_round_trip(samples::no_endpoints(), decode_update);
  expect_round_trip(samples::profile(), decode_profile);
  expect_round_trip(DestinationProfile(), decode_profile);
}
TEST(RoundTrip, Identity) {
  expect_round_trip(samples::certify_request(), decode_certify_request);
  expect_round_trip(samples::certify_response(), decode_certify_response);
}
TEST(RoundTrip, Tap) {
  expect_round_trip(samples::observe(), decode_observe_request);
  for (int i = 0; i < 4; ++i) expect_round_trip(samples::tap_event(i), decode_tap_event);
}
TEST(RoundTrip, Tulle) {
  expect_round_trip(WatchNamesRequest{"w"}, decode_watch_names_request);
  expect_round_trip(samples::names(), decode_name_table);
  expect_round_trip(WatchTrustBundleRequest{"w"}, decode_watch_trust_bundle_request);
  expect_round_trip(samples::trust_bundle(), decode_trust_bundle);
  expect_round_trip(samples::digests(), decode_check_digests_request);
  expect_round_trip(CheckDigestsResponse{{0, 7}}, decode_check_digests_response);
}

// The error of decoding a message that `edit` has spoilt.
template <class M, class Decode, class Edit>
std::string error_of(const std::string& good, Decode decode, Edit edit) {
  M m;
  EXPECT_TRUE(m.ParseFromString(good));
  edit(m);
  auto r = decode(m.SerializeAsString());
  if (!r) {
    EXPECT_EQ(r.error().code, Code::kInvalid);
    EXPECT_EQ(r.error().side, Side::kPeer);
  }
  return r ? "" : r.error().reason;
}

TEST(Hostile, Outbound) {
  using P = pb::outbound::OutboundPolicy;
  std::string good = encode(samples::outbound(OutboundPolicy::Kind::kDetect));
  auto error = [&](auto edit) {
    return error_of<P>(good, decode_outbound_policy, [&](P& p) { edit(*p.mutable_protocol()->mutable_detect(), p); });
  };
  auto rule = [](auto& d) -> auto& { return *d.mutable_http1()->mutable_routes(0)->mutable_rules(0); };
  using D = pb::outbound::ProxyProtocol::Detect;

  EXPECT_EQ(error([](D&, P&) {}), "");
  EXPECT_EQ(error([](D& d, P&) { d.mutable_timeout()->set_nanos(-1); }),
            "OutboundPolicy: protocol.detect.timeout: a duration must not be negative");
  EXPECT_NE(error([](D& d, P&) { d.mutable_timeout()->set_seconds(INT64_MAX); }), "");
  EXPECT_NE(error([](D& d, P&) { d.mutable_timeout()->set_nanos(1'000'000'000); }), "");
  EXPECT_EQ(error([](D& d, P&) { d.clear_http2(); }),
            "OutboundPolicy: protocol.detect: one of opaque, http1 and http2 is missing");
  EXPECT_EQ(error([](D&, P& p) { p.clear_protocol(); }), "OutboundPolicy: protocol: no protocol that is known");
  EXPECT_EQ(error([&](D& d, P&) { rule(d).clear_backends(); }),
            "OutboundPolicy: protocol.detect.http1.routes[0].rules[0].backends: missing");
  EXPECT_EQ(error([&](D& d, P&) { rule(d).mutable_backends()->mutable_random_available()->clear_backends(); }),
            "OutboundPolicy: protocol.detect.http1.routes[0].rules[0].backends: no backend");
  EXPECT_EQ(
      error([&](D& d, P&) {
        rule(d)
            .mutable_backends()
            ->mutable_random_available()
            ->mutable_backends(1)
            ->mutable_backend()
            ->mutable_backend()
            ->mutable_balancer()
            ->mutable_discovery()
            ->mutable_dst()
            ->set_path("web");
      }),
      "OutboundPolicy: protocol.detect.http1.routes[0].rules[0].backends.random_available.backends[1].backend.backend."
      "balancer.discovery.dst.path: \"web\" is not name:port");
  EXPECT_EQ(error([&](D& d, P&) { rule(d).mutable_filters(0)->mutable_failure_injector()->set_status(1000); }),
            "OutboundPolicy: protocol.detect.http1.routes[0].rules[0].filters[0].failure_injector.status: 1000 is not "
            "an HTTP "
            "status from 100 to 999");
  EXPECT_NE(error([&](D& d, P&) {
              rule(d).mutable_filters(0)->mutable_failure_injector()->mutable_ratio()->set_denominator(0);
            }),
            "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_filters(2)->mutable_redirect()->set_status(200); }), "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_filters(2)->mutable_redirect()->set_port(70000); }), "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_filters(2)->mutable_redirect()->set_host("a\r\nb"); }), "");
  EXPECT_NE(
      error([&](D& d, P&) {
        rule(d).mutable_filters(1)->mutable_request_header_modifier()->mutable_set()->mutable_headers(0)->set_value(
            "a\r\nx: y");
      }),
      "");
  EXPECT_NE(
      error([&](D& d, P&) {
        rule(d).mutable_filters(1)->mutable_request_header_modifier()->mutable_set()->mutable_headers(0)->set_name(
            "a b");
      }),
      "");
  EXPECT_NE(
      error([&](D& d, P&) { rule(d).mutable_filters(1)->mutable_request_header_modifier()->set_remove(0, ":path"); }),
      "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_matches(0)->mutable_path()->clear_kind(); }), "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_matches(0)->mutable_headers(0)->set_name(""); }), "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_matches(0)->mutable_headers(0)->clear_value(); }), "");
  EXPECT_NE(error([&](D& d, P&) {
              rule(d).mutable_matches(0)->mutable_method()->set_registered(
                  static_cast<pb::http_types::HttpMethod::Registered>(99));
            }),
            "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_matches(0)->mutable_method()->set_unregistered("GET /"); }), "");
  EXPECT_NE(error([&](D& d, P&) { rule(d).mutable_retry()->set_max_retries(65536); }), "");
  EXPECT_NE(
      error([&](D& d, P&) { rule(d).mutable_retry()->mutable_conditions()->mutable_status_ranges(0)->set_end(400); }),
      "");
  EXPECT_NE(error([](D& d, P&) { d.mutable_http1()->mutable_routes(0)->mutable_hosts(0)->set_exact(""); }), "");
  EXPECT_NE(error([](D& d, P&) {
              d.mutable_http1()->mutable_routes(0)->mutable_hosts(1)->mutable_suffix()->add_reverse_labels("");
            }),
            "");
}

// client-policy's tests of failure accrual.
TEST(Hostile, FailureAccrual) {
  using P = pb::outbound::OutboundPolicy;
  auto error = [](OutboundPolicy::Kind kind, auto edit) {
    return error_of<P>(encode(samples::outbound(kind)), decode_outbound_policy, [&](P& p) {
      auto& m = *p.mutable_protocol();
      edit(kind == OutboundPolicy::Kind::kHttp1 ? *m.mutable_http1()->mutable_failure_accrual()
                                                : *m.mutable_http2()->mutable_failure_accrual());
    });
  };
  using A = pb::outbound::FailureAccrual;
  auto consecutive = [&](auto edit) { return error(OutboundPolicy::Kind::kHttp1, edit); };
  auto unified = [&](auto edit) { return error(OutboundPolicy::Kind::kHttp2, edit); };
  EXPECT_EQ(consecutive([](A& a) { a.clear_kind(); }),
            "OutboundPolicy: protocol.http1.failure_accrual: no kind that is known");
  EXPECT_EQ(consecutive([](A& a) { a.mutable_consecutive_failures()->clear_backoff(); }),
            "OutboundPolicy: protocol.http1.failure_accrual.consecutive_failures.backoff: missing");
  EXPECT_NE(consecutive([](A& a) { a.mutable_consecutive_failures()->mutable_backoff()->clear_max_backoff(); }), "");
  EXPECT_NE(consecutive([](A& a) { a.mutable_consecutive_failures()->mutable_backoff()->set_jitter_ratio(NAN); }), "");
  EXPECT_NE(consecutive([](A& a) { a.mutable_consecutive_failures()->mutable_backoff()->set_jitter_ratio(101); }), "");
  EXPECT_NE(consecutive([](A& a) {
              a.mutable_consecutive_failures()->mutable_backoff()->mutable_min_backoff()->set_seconds(9);
            }),
            "");
  EXPECT_EQ(unified([](A& a) { a.mutable_unified()->set_success_rate_threshold(1); }), "");
  EXPECT_EQ(unified([](A& a) { a.mutable_unified()->set_min_requests(0); }), "");
  EXPECT_NE(unified([](A& a) { a.mutable_unified()->set_success_rate_threshold(1.01); }), "");
  EXPECT_NE(unified([](A& a) { a.mutable_unified()->set_success_rate_threshold(-0.01); }), "");
  EXPECT_NE(unified([](A& a) { a.mutable_unified()->set_success_rate_threshold(NAN); }), "");
  auto window = [](A& a, int ms) {
    a.mutable_unified()->mutable_decay()->set_seconds(0);
    a.mutable_unified()->mutable_decay()->set_nanos(ms * 1'000'000);
  };
  EXPECT_NE(unified([&](A& a) { window(a, 9); }), "");
  EXPECT_EQ(unified([&](A& a) { window(a, 10); }), "");
  EXPECT_EQ(unified([&](A& a) { window(a, 9), a.mutable_unified()->set_success_rate_threshold(0); }), "");
  EXPECT_NE(unified([](A& a) { a.mutable_unified()->set_min_requests(1'000'001); }), "");
  EXPECT_EQ(unified([](A& a) { a.mutable_unified()->clear_decay(); }), "") << "the window defaults";
}

TEST(Destination, BadEndpointsAreLeftOutAndNamed) {
  pb::destination::Update m;
  ASSERT_TRUE(m.ParseFromString(encode(samples::add())));
  m.mutable_add()->mutable_addrs(0)->mutable_addr()->set_port(0);
  auto u = decode_update(m.SerializeAsString());
  ASSERT_TRUE(u);
  ASSERT_EQ(u->add.size(), 1u);
  EXPECT_EQ(u->add[0], samples::uri_endpoint());
  ASSERT_EQ(u->ignored.size(), 1u);
  EXPECT_EQ(u->ignored[0], "add.addrs[0].addr.port: 0 is not a port from 1 to 65535");
  for (int i = 0; i < 1000; ++i) m.mutable_add()->add_addrs();
  EXPECT_LE(decode_update(m.SerializeAsString())->ignored.size(), 20u);
  EXPECT_FALSE(decode_update(""));
}

TEST(Destination, TlsIdentity) {
  auto decoded = [](auto edit) {
    pb::destination::Update m;
    auto& a = *m.mutable_add()->add_addrs();
    a.mutable_addr()->mutable_ip()->set_ipv4(1);
    a.mutable_addr()->set_port(1);
    edit(*a.mutable_tls_identity());
    return *decode_update(m.SerializeAsString());
  };
  using T = pb::destination::TlsIdentity;
  EXPECT_EQ(decoded([](T& t) { t.mutable_dns_like_identity()->set_name("a.b"); }).add[0].tls->server_name, "a.b");
  EXPECT_EQ(decoded([](T& t) { t.mutable_uri_like_identity()->set_uri("spiffe://a"); }).add[0].tls, std::nullopt);
  // Going on in plaintext where an identity was wanted would be wrong: such an endpoint is not used at all.
  EXPECT_TRUE(decoded([](T&) {}).add.empty());
  EXPECT_TRUE(decoded([](T& t) { t.mutable_dns_like_identity(); }).add.empty());
}

TEST(Destination, ProfileIgnoresWhatItMust) {
  using M = pb::destination::DestinationProfile;
  auto decoded = [](auto edit) {
    M m;
    EXPECT_TRUE(m.ParseFromString(encode(samples::profile())));
    edit(m);
    auto p = decode_profile(m.SerializeAsString());
    EXPECT_TRUE(p) << p.error().reason;
    return *p;
  };
  // ignores_invalid_retry_budget_ttl / _ratio / _negative_ratio
  for (auto edit : {+[](M& m) { m.mutable_retry_budget()->mutable_ttl()->set_seconds(61); },
                    +[](M& m) { m.mutable_retry_budget()->set_retry_ratio(1001); },
                    +[](M& m) { m.mutable_retry_budget()->set_retry_ratio(-1); },
                    +[](M& m) { m.mutable_retry_budget()->set_retry_ratio(NAN); },
                    +[](M& m) { m.mutable_retry_budget()->clear_ttl(); }}) {
    auto p = decoded(edit);
    EXPECT_FALSE(p.retry_budget);
    EXPECT_EQ(p.ignored.size(), 1u);
    EXPECT_EQ(p.routes.size(), 1u);
  }
  auto p = decoded([](M& m) { m.add_routes(); });
  EXPECT_EQ(p.routes.size(), 1u);
  EXPECT_EQ(p.ignored.at(0), "routes[1].condition: no kind of match that is known");
  p = decoded([](M& m) {
    auto* match = m.mutable_routes(0)->mutable_condition();
    for (int i = 0; i < 40; ++i) match = match->mutable_not_();
    match->mutable_path();
  });
  EXPECT_TRUE(p.routes.empty()) << "nested too deep";
  M broken;
  broken.add_dst_overrides()->set_authority("no-port");
  EXPECT_FALSE(decode_profile(broken.SerializeAsString()));
}

TEST(Hostile, Inbound) {
  using S = pb::inbound::Server;
  auto error = [](auto edit) {
    return error_of<S>(encode(samples::server(Server::Kind::kHttp1)), decode_server, edit);
  };
  EXPECT_EQ(error([](S& s) { s.clear_protocol(); }), "Server: protocol: no protocol that is known");
  EXPECT_EQ(error([](S& s) { s.mutable_authorizations(0)->mutable_networks(0)->mutable_net()->set_prefix_len(33); }),
            "Server: authorizations[0].networks[0].net.prefix_len: 33 is too long for 10.0.0.0");
  EXPECT_NE(error([](S& s) { s.mutable_authorizations(0)->mutable_networks(0)->mutable_net()->clear_ip(); }), "");
  EXPECT_NE(error([](S& s) { s.add_server_ips(); }), "");

  // An authentication that is not known allows nobody; suffix parts must not be empty, or ["", ""] would allow any.
  S s;
  ASSERT_TRUE(s.ParseFromString(encode(samples::server(Server::Kind::kHttp1))));
  s.mutable_authorizations(1)->mutable_authentication()->Clear();
  EXPECT_EQ(decode_server(s.SerializeAsString())->authorizations[1].authn, Authz::Authn::kUnknown);
  s.mutable_authorizations(1)->mutable_authentication()->mutable_meshtls();
  EXPECT_EQ(decode_server(s.SerializeAsString())->authorizations[1].authn, Authz::Authn::kUnknown);
  EXPECT_NE(error([](S& x) {
              x.mutable_authorizations(1)
                  ->mutable_authentication()
                  ->mutable_meshtls()
                  ->mutable_identities()
                  ->mutable_suffixes(0)
                  ->add_parts("");
            }),
            "");
  for (uint32_t port : {0u, 65536u}) {
    pb::inbound::PortSpec p;
    p.set_port(port);
    EXPECT_FALSE(decode_port_spec(p.SerializeAsString()));
  }
}

TEST(Inbound, MetadataFromLabelsOfOldControlPlanes) {
  Authz a = samples::authz(Authz::Authn::kUnauthenticated);
  a.metadata = {};
  Server s = samples::server(Server::Kind::kOpaque);
  s.authorizations = {a};
  EXPECT_EQ(decode_server(encode(s))->authorizations[0].metadata,
            (Metadata{"policy.linkerd.io", "authorizationpolicy", "web", "", "", 0}));
}

TEST(Inbound, MappedNetworks) {
  pb::inbound::Server s;
  s.mutable_protocol()->mutable_opaque();
  auto& net = *s.add_authorizations()->add_networks()->mutable_net();
  net.mutable_ip()->mutable_ipv6()->set_first(0);
  net.mutable_ip()->mutable_ipv6()->set_last(0xffff'0a00'0000);
  net.set_prefix_len(104);
  EXPECT_EQ(decode_server(s.SerializeAsString())->authorizations[0].networks[0].net.to_string(), "10.0.0.0/8");
  net.set_prefix_len(90);
  EXPECT_FALSE(decode_server(s.SerializeAsString()));
}

TEST(Outbound, NewKindsOfFilterAreCarried) {
  pb::outbound::OutboundPolicy m;
  ASSERT_TRUE(m.ParseFromString(encode(samples::outbound(OutboundPolicy::Kind::kHttp1))));
  m.mutable_protocol()->mutable_http1()->mutable_routes(0)->mutable_rules(0)->mutable_filters(0)->Clear();
  auto p = decode_outbound_policy(m.SerializeAsString());
  ASSERT_TRUE(p);
  EXPECT_TRUE(std::holds_alternative<UnknownFilter>(p->http1.routes[0].rules[0].filters[0]));
}

TEST(Outbound, OldRequestTimeoutCounts) {
  pb::outbound::OutboundPolicy m;
  ASSERT_TRUE(m.ParseFromString(encode(samples::outbound(OutboundPolicy::Kind::kHttp1))));
  m.mutable_protocol()->mutable_http1()->mutable_routes(0)->mutable_rules(0)->clear_timeouts();
  EXPECT_EQ(decode_outbound_policy(m.SerializeAsString())->http1.routes[0].rules[0].timeouts.request, 2s);
}

TEST(Hostile, Sizes) {
  auto too_long = decode_outbound_policy(std::string(kTransportHeaderMax + (16u << 20), 'x'));
  EXPECT_EQ(too_long.error().code, Code::kTooLarge);
  // Two bytes each on the wire, hundreds in memory.
  pb::outbound::OutboundPolicy p;
  auto& rules = *p.mutable_protocol()->mutable_opaque()->add_routes()->mutable_rules();
  for (int i = 0; i < 1'000'000; ++i) rules.Add();
  auto r = decode_outbound_policy(p.SerializeAsString());
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().reason, "OutboundPolicy: protocol.opaque.routes[0].rules: too many values in one message");
}

TEST(Hostile, TruncationsNeverCrash) {
  std::string policy = encode(samples::outbound(OutboundPolicy::Kind::kDetect));
  std::string profile = encode(samples::profile());
  for (size_t i = 0; i < policy.size(); ++i) (void)decode_outbound_policy(policy.substr(0, i));
  for (size_t i = 0; i < profile.size(); ++i) (void)decode_profile(profile.substr(0, i));
}

TEST(Hostile, IdentityAndOurOwn) {
  EXPECT_FALSE(decode_certify_request(encode(CertifyRequest{"", "t", "c"})));
  EXPECT_FALSE(decode_certify_request(encode(CertifyRequest{"i", "", "c"})));
  EXPECT_FALSE(decode_certify_request(encode(CertifyRequest{"i", "t", ""})));
  EXPECT_FALSE(decode_certify_request(encode(CertifyRequest{"i", std::string(70'000, 't'), "c"})));
  EXPECT_FALSE(decode_certify_response(encode(CertifyResponse{"", {}, {}})));
  EXPECT_FALSE(decode_certify_response(encode(CertifyResponse{"l", std::vector<std::string>(33, "c"), {}})));
  pb::identity::CertifyResponse c;
  c.set_leaf_certificate("l");
  EXPECT_FALSE(decode_certify_response(c.SerializeAsString())) << "no valid_until";
  c.mutable_valid_until()->set_seconds(INT64_MAX);
  EXPECT_FALSE(decode_certify_response(c.SerializeAsString()));

  for (std::string bad : {"", "Web", "web.", ".web", "a..b", "a b"}) {
    NameTable t;
    t.names = {{bad, {}}};
    EXPECT_FALSE(decode_name_table(encode(t))) << bad;
  }
  EXPECT_FALSE(decode_trust_bundle(encode(TrustBundle{"", {}})));
  EXPECT_FALSE(decode_trust_bundle(encode(TrustBundle{"pem", {"short"}})));
  EXPECT_FALSE(
      decode_check_digests_request(encode(CheckDigestsRequest{"", "", {{static_cast<SetDigest::Kind>(9), "k", 1}}})));
  ObserveRequest o = samples::observe();
  o.limit = 0;
  EXPECT_FALSE(decode_observe_request(encode(o)));
}

TEST(TransportHeader, RoundTripsInSmallReads) {
  using S = TransportHeader::Session;
  for (const TransportHeader& h :
       {TransportHeader{8080, "", S::kOpaque}, {1, "web.shop", S::kHttp1}, {65535, "x", S::kHttp2}}) {
    std::string bytes = encode(h);
    EXPECT_TRUE(bytes.starts_with(kTransportPreface));
    for (size_t n = 0; n < bytes.size(); ++n) {
      auto partial = parse_transport_header(bytes.substr(0, n));
      ASSERT_TRUE(partial);
      EXPECT_FALSE(*partial);
    }
    auto whole = parse_transport_header(bytes + "payload");
    ASSERT_TRUE(whole && *whole);
    EXPECT_EQ((*whole)->header, h);
    EXPECT_EQ((*whole)->size, bytes.size());
  }
}

TEST(TransportHeader, KnownBytes) {
  EXPECT_EQ(encode(TransportHeader{8080, "", TransportHeader::Session::kHttp2}),
            std::string("transport.l5d.io/v1\r\n\r\n\0\0\0\x07\x08\x90\x3f\x1a\x02\x12\x00", 34));
}

TEST(TransportHeader, Hostile) {
  for (std::string bytes :
       {std::string("GET / HTTP/1.1\r\n"), std::string("transport.l5d.io/v2\r\n\r\n"),
        cat(kTransportPreface, std::string("\xff\xff\xff\xff", 4)), cat(kTransportPreface, std::string("\0\1\0\0", 4)),
        cat(kTransportPreface, std::string("\0\0\0\0", 4)), cat(kTransportPreface, std::string("\0\0\0\1x", 5)),
        cat(kTransportPreface, std::string("\0\0\0\2\x08\0", 6))}) {
    auto r = parse_transport_header(bytes);
    ASSERT_FALSE(r) << quoted(bytes);
    EXPECT_EQ(r.error().code, Code::kProtocol);
    EXPECT_EQ(r.error().side, Side::kClient);
  }
}

TEST(Digest, CountsWhatDecides) {
  Endpoint a = samples::endpoint(1);
  Endpoint b = a;
  EXPECT_EQ(endpoint_digest(a), endpoint_digest(b));
  b.labels["zone"] = "other";
  EXPECT_EQ(endpoint_digest(a), endpoint_digest(b));
  auto differs = [&](auto edit) {
    Endpoint c = a;
    edit(c);
    return endpoint_digest(c) != endpoint_digest(a);
  };
  EXPECT_TRUE(differs([](Endpoint& e) { e.addr.port = 1; }));
  EXPECT_TRUE(differs([](Endpoint& e) { e.weight = 1; }));
  EXPECT_TRUE(differs([](Endpoint& e) { e.tls.reset(); }));
  EXPECT_TRUE(differs([](Endpoint& e) { e.hint = ProtocolHint::kNone; }));
  EXPECT_TRUE(differs([](Endpoint& e) { e.opaque_transport_port = 0; }));
  EXPECT_TRUE(differs([](Endpoint& e) { e.authority_override.clear(); }));
  EXPECT_NE(message_digest("a"), message_digest("b"));
}

}  // namespace
}  // namespace tulle::wire
