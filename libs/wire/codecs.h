// Every message by name, for tools that go through all of them: the fuzzer, the test against another implementation.
#pragma once

#include <array>
#include <string>

#include "libs/wire/samples.h"

namespace tulle::wire {

struct Codec {
  std::string_view name;  // of the protobuf message
  // Decodes and encodes again; an error is that of the decoder.
  Result<std::string> (*again)(Bytes bytes);
};

template <auto decode>
Result<std::string> decode_and_encode(Bytes bytes) {
  TULLE_TRY(auto value, decode(bytes));
  return encode(value);
}
inline Result<std::string> transport_again(Bytes bytes) {
  TULLE_TRY(auto parsed, parse_transport_header(bytes));
  if (!parsed) return std::string();
  return encode(parsed->header);
}

// The order is what the corpus of wire_fuzz counts by; add at the end.
inline constexpr std::array kCodecs = {
    Codec{"io.linkerd.proxy.outbound.TrafficSpec", decode_and_encode<decode_traffic_spec>},
    Codec{"io.linkerd.proxy.outbound.OutboundPolicy", decode_and_encode<decode_outbound_policy>},
    Codec{"io.linkerd.proxy.inbound.PortSpec", decode_and_encode<decode_port_spec>},
    Codec{"io.linkerd.proxy.inbound.Server", decode_and_encode<decode_server>},
    Codec{"io.linkerd.proxy.destination.GetDestination", decode_and_encode<decode_get_destination>},
    Codec{"io.linkerd.proxy.destination.Update", decode_and_encode<decode_update>},
    Codec{"io.linkerd.proxy.destination.DestinationProfile", decode_and_encode<decode_profile>},
    Codec{"io.linkerd.proxy.identity.CertifyRequest", decode_and_encode<decode_certify_request>},
    Codec{"io.linkerd.proxy.identity.CertifyResponse", decode_and_encode<decode_certify_response>},
    Codec{"io.linkerd.proxy.tap.ObserveRequest", decode_and_encode<decode_observe_request>},
    Codec{"io.linkerd.proxy.tap.TapEvent", decode_and_encode<decode_tap_event>},
    Codec{"tulle.dev.WatchNamesRequest", decode_and_encode<decode_watch_names_request>},
    Codec{"tulle.dev.NameTable", decode_and_encode<decode_name_table>},
    Codec{"tulle.dev.WatchTrustBundleRequest", decode_and_encode<decode_watch_trust_bundle_request>},
    Codec{"tulle.dev.TrustBundle", decode_and_encode<decode_trust_bundle>},
    Codec{"tulle.dev.CheckDigestsRequest", decode_and_encode<decode_check_digests_request>},
    Codec{"tulle.dev.CheckDigestsResponse", decode_and_encode<decode_check_digests_response>},
    Codec{"transport header", transport_again},
};

// Fully populated samples, encoded: (name of the message, bytes).
inline std::vector<std::pair<std::string, std::string>> encoded_samples() {
  std::vector<std::pair<std::string, std::string>> out;
  auto add = [&](std::string_view name, const auto& value) { out.emplace_back(name, encode(value)); };
  for (int kind = 0; kind <= 5; ++kind) {
    add(kCodecs[1].name, samples::outbound(static_cast<OutboundPolicy::Kind>(kind)));
    add(kCodecs[3].name, samples::server(static_cast<Server::Kind>(kind)));
  }
  add(kCodecs[0].name, samples::by_addr());
  add(kCodecs[0].name, samples::by_name());
  add(kCodecs[2].name, samples::port_spec());
  add(kCodecs[4].name, samples::get_destination());
  add(kCodecs[5].name, samples::add());
  add(kCodecs[5].name, samples::remove());
  add(kCodecs[5].name, samples::no_endpoints());
  add(kCodecs[6].name, samples::profile());
  add(kCodecs[7].name, samples::certify_request());
  add(kCodecs[8].name, samples::certify_response());
  add(kCodecs[9].name, samples::observe());
  for (int i = 0; i < 4; ++i) add(kCodecs[10].name, samples::tap_event(i));
  add(kCodecs[11].name, WatchNamesRequest{"w"});
  add(kCodecs[12].name, samples::names());
  add(kCodecs[13].name, WatchTrustBundleRequest{"w"});
  add(kCodecs[14].name, samples::trust_bundle());
  add(kCodecs[15].name, samples::digests());
  add(kCodecs[16].name, CheckDigestsResponse{{0, 7}});
  add(kCodecs[1].name, samples::streams(OutboundPolicy::Kind::kOpaque));
  add(kCodecs[1].name, samples::streams(OutboundPolicy::Kind::kTls));
  add(kCodecs[17].name, TransportHeader{8080, "web", TransportHeader::Session::kHttp2});
  return out;
}

}  // namespace tulle::wire
