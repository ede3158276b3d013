#include "libs/wire/destination.h"

#include <cmath>

#include "destination.pb.h"
#include "libs/wire/convert.h"

namespace tulle::wire {
namespace {

using wire::write;

// How deep matches may nest.
constexpr int kMaxDepth = 32;

std::optional<TlsIdentity> read_tls(const pb::destination::TlsIdentity& m, const At& at) {
  TlsIdentity out;
  if (m.has_dns_like_identity()) {
    out = {TlsIdentity::Kind::kDns, m.dns_like_identity().name(), m.server_name().name()};
    if (out.server_name.empty()) out.server_name = out.id;
  } else if (m.has_uri_like_identity()) {
    out = {TlsIdentity::Kind::kUri, m.uri_like_identity().uri(), m.server_name().name()};
    // As in Linkerd, whose controllers send this for workloads that no one can address by TLS.
    if (out.server_name.empty()) return std::nullopt;
  } else {
    at.bad("no strategy that is known");  // going on in plaintext would be wrong
  }
  if (out.id.empty()) at.bad("an empty identity");
  if (out.id.size() > 2048 || out.server_name.size() > 253) at.bad("a name that is too long");
  return out;
}

void write(const TlsIdentity& v, pb::destination::TlsIdentity& m) {
  if (v.kind == TlsIdentity::Kind::kDns) m.mutable_dns_like_identity()->set_name(v.id);
  else m.mutable_uri_like_identity()->set_uri(v.id);
  m.mutable_server_name()->set_name(v.server_name);
}

Http2Params read_http2(const pb::destination::Http2ClientParams& m, const At& at) {
  Http2Params out;
  out.connection_window = m.flow_control().initial_connection_window_size();
  out.stream_window = m.flow_control().initial_stream_window_size();
  out.adaptive_window = m.flow_control().adaptive_flow_control();
  if (out.connection_window > INT32_MAX || out.stream_window > INT32_MAX)
    At(at, "flow_control").bad("a window is at most 2147483647 bytes");
  if (m.has_keep_alive()) {
    auto& k = out.keep_alive.emplace();
    At here(at, "keep_alive");
    if (m.keep_alive().has_interval()) k.interval = read_duration(m.keep_alive().interval(), At(here, "interval"));
    if (m.keep_alive().has_timeout()) k.timeout = read_duration(m.keep_alive().timeout(), At(here, "timeout"));
    k.while_idle = m.keep_alive().while_idle();
  }
  out.max_concurrent_reset_streams = m.internals().max_concurrent_reset_streams();
  out.max_frame_size = m.internals().max_frame_size();
  if (out.max_frame_size != 0 && (out.max_frame_size < 16384 || out.max_frame_size > 16777215))
    At(at, "internals.max_frame_size").bad(cat(out.max_frame_size, " is not from 16384 to 16777215"));
  out.max_send_buffer = m.internals().max_send_buf_size();
  return out;
}

void write(const Http2Params& v, pb::destination::Http2ClientParams& m) {
  if (v.connection_window || v.stream_window || v.adaptive_window) {
    m.mutable_flow_control()->set_initial_connection_window_size(v.connection_window);
    m.mutable_flow_control()->set_initial_stream_window_size(v.stream_window);
    m.mutable_flow_control()->set_adaptive_flow_control(v.adaptive_window);
  }
  if (v.keep_alive) {
    auto& k = *m.mutable_keep_alive();
    if (v.keep_alive->interval) write(*v.keep_alive->interval, *k.mutable_interval());
    if (v.keep_alive->timeout) write(*v.keep_alive->timeout, *k.mutable_timeout());
    k.set_while_idle(v.keep_alive->while_idle);
  }
  if (v.max_concurrent_reset_streams || v.max_frame_size || v.max_send_buffer) {
    m.mutable_internals()->set_max_concurrent_reset_streams(v.max_concurrent_reset_streams);
    m.mutable_internals()->set_max_frame_size(v.max_frame_size);
    m.mutable_internals()->set_max_send_buf_size(v.max_send_buffer);
  }
}

// The nested part of RequestMatch and ResponseMatch; true if the kind was one of these.
template <class V, class M, class F>
bool read_nested(V& out, const M& m, const At& at, int depth, F read) {
  if (depth > kMaxDepth) {
    at.bad(cat("nested more than ", kMaxDepth, " deep"));
    return true;
  }
  auto part = [&](const M& sub, const At& a) { return read(sub, a, depth + 1); };
  if (m.has_all()) {
    out.kind = V::Kind::kAll;
    out.parts = read_list(m.all().matches(), At(at, "all"), "matches", part);
  } else if (m.has_any()) {
    out.kind = V::Kind::kAny;
    out.parts = read_list(m.any().matches(), At(at, "any"), "matches", part);
  } else if (m.has_not_()) {
    out.kind = V::Kind::kNot;
    out.parts.push_back(part(m.not_(), At(at, "not")));
  } else {
    return false;
  }
  return true;
}

RequestMatch read_request_match(const pb::destination::RequestMatch& m, const At& at, int depth) {
  RequestMatch out;
  if (read_nested(out, m, at, depth, read_request_match)) return out;
  if (m.has_path()) {
    out.kind = RequestMatch::Kind::kPath;
    out.text = m.path().regex();
  } else if (m.has_method()) {
    out.kind = RequestMatch::Kind::kMethod;
    out.text = read_method(m.method(), At(at, "method"));
  } else {
    at.bad("no kind of match that is known");
  }
  return out;
}

ResponseMatch read_response_match(const pb::destination::ResponseMatch& m, const At& at, int depth) {
  ResponseMatch out;
  if (read_nested(out, m, at, depth, read_response_match)) return out;
  if (m.has_status()) {
    out.kind = ResponseMatch::Kind::kStatus;
    // Either end may be left out: 0.
    out.min = m.status().min() == 0 ? 100 : read_status(m.status().min(), At(at, "status.min"));
    out.max = m.status().max() == 0 ? 599 : read_status(m.status().max(), At(at, "status.max"));
    if (out.min > out.max) At(at, "status").bad(cat("from ", out.min, " to ", out.max, " is no status"));
  } else {
    at.bad("no kind of match that is known");
  }
  return out;
}

template <class V, class M, class F>
void write_nested(const V& v, M& m, F write_leaf) {
  switch (v.kind) {
    case V::Kind::kAll:
      m.mutable_all();
      for (const auto& p : v.parts) write_nested(p, *m.mutable_all()->add_matches(), write_leaf);
      break;
    case V::Kind::kAny:
      m.mutable_any();
      for (const auto& p : v.parts) write_nested(p, *m.mutable_any()->add_matches(), write_leaf);
      break;
    case V::Kind::kNot:
      m.mutable_not_();
      if (!v.parts.empty()) write_nested(v.parts[0], *m.mutable_not_(), write_leaf);
      break;
    default: write_leaf(v, m);
  }
}

void write(const RequestMatch& v, pb::destination::RequestMatch& m) {
  write_nested(v, m, [](const RequestMatch& leaf, pb::destination::RequestMatch& out) {
    if (leaf.kind == RequestMatch::Kind::kPath) out.mutable_path()->set_regex(leaf.text);
    else write_method(leaf.text, *out.mutable_method());
  });
}
void write(const ResponseMatch& v, pb::destination::ResponseMatch& m) {
  write_nested(v, m, [](const ResponseMatch& leaf, pb::destination::ResponseMatch& out) {
    out.mutable_status()->set_min(leaf.min);
    out.mutable_status()->set_max(leaf.max);
  });
}

// Reads something that may be left out when it is wrong: what is wrong goes to `ignored`.
template <class F>
void read_or_ignore(std::vector<std::string>& ignored, std::string_view name, int index, F read) {
  Reading own;
  read(At(own, name, index));
  constexpr size_t kMostReports = 20;
  if (!own.error.empty() && ignored.size() < kMostReports) ignored.push_back(std::move(own.error));
}

Update read_update(const pb::destination::Update& m, const At& at) {
  Update out;
  if (m.has_add()) {
    out.labels = read_labels(m.add().metric_labels(), at, "add.metric_labels");
    if (!At(at, "add.addrs").take(static_cast<size_t>(m.add().addrs_size()), sizeof(Endpoint))) return out;
    out.add.reserve(static_cast<size_t>(m.add().addrs_size()));
    for (int i = 0; i < m.add().addrs_size(); ++i)
      read_or_ignore(out.ignored, "add.addrs", i, [&](const At& here) {
        Endpoint e = read_endpoint(m.add().addrs(i), here);
        if (here.ok()) out.add.push_back(std::move(e));
      });
  } else if (m.has_remove()) {
    out.kind = Update::Kind::kRemove;
    if (!at.take(static_cast<size_t>(m.remove().addrs_size()), sizeof(SocketAddr))) return out;
    for (int i = 0; i < m.remove().addrs_size(); ++i)
      read_or_ignore(out.ignored, "remove.addrs", i, [&](const At& here) {
        SocketAddr a = read_addr(m.remove().addrs(i), here);
        if (here.ok()) out.remove.push_back(a);
      });
  } else if (m.has_no_endpoints()) {
    out.kind = Update::Kind::kNoEndpoints;
    out.exists = m.no_endpoints().exists();
  } else {
    At(at, "update").bad("none of add, remove and no_endpoints");
  }
  return out;
}

ProfileRoute read_profile_route(const pb::destination::Route& m, const At& at) {
  ProfileRoute out;
  out.condition = read_request_match(m.condition(), At(at, "condition"), 0);
  out.response_classes = read_list(m.response_classes(), at, "response_classes", [](const auto& c, const At& a) {
    return ResponseClass{read_response_match(c.condition(), At(a, "condition"), 0), c.is_failure()};
  });
  out.labels = read_labels(m.metrics_labels(), at, "metrics_labels");
  out.retryable = m.is_retryable();
  if (m.has_timeout()) out.timeout = read_duration(m.timeout(), At(at, "timeout"));
  return out;
}

RetryBudget read_budget(const pb::destination::RetryBudget& m, const At& at) {
  RetryBudget out{m.retry_ratio(), m.min_retries_per_second(), read_duration(m.ttl(), At(at, "ttl"))};
  if (!(out.ratio >= 0 && out.ratio <= 1000)) At(at, "retry_ratio").bad("not a number from 0 to 1000");
  if (out.ttl < 1s || out.ttl > 60s) At(at, "ttl").bad("not from 1 s to 60 s");
  return out;
}

DestinationProfile read_profile(const pb::destination::DestinationProfile& m, const At& at) {
  DestinationProfile out;
  out.name = m.fully_qualified_name();
  out.opaque = m.opaque_protocol();
  if (!at.take(static_cast<size_t>(m.routes_size()), sizeof(ProfileRoute))) return out;
  for (int i = 0; i < m.routes_size(); ++i)
    read_or_ignore(out.ignored, "routes", i, [&](const At& here) {
      ProfileRoute r = read_profile_route(m.routes(i), here);
      if (here.ok()) out.routes.push_back(std::move(r));
    });
  if (m.has_retry_budget())
    read_or_ignore(out.ignored, "retry_budget", -1, [&](const At& here) {
      RetryBudget b = read_budget(m.retry_budget(), here);
      if (here.ok()) out.retry_budget = b;
    });
  out.dst_overrides = read_list(m.dst_overrides(), at, "dst_overrides", [](const auto& d, const At& a) {
    auto target = split_host_port(d.authority());
    if (!target || target->port == 0) At(a, "authority").bad(cat(quoted(d.authority()), " is not name:port"));
    return WeightedDst{d.authority(), d.weight(), read_metadata(d.backend_ref(), At(a, "backend_ref"))};
  });
  if (m.has_endpoint()) out.endpoint = read_endpoint(m.endpoint(), At(at, "endpoint"));
  out.parent = read_metadata(m.parent_ref(), At(at, "parent_ref"));
  out.profile = read_metadata(m.profile_ref(), At(at, "profile_ref"));
  return out;
}

}  // namespace

Endpoint read_endpoint(const pb::destination::WeightedAddr& m, const At& at) {
  Endpoint out;
  out.addr = read_addr(m.addr(), At(at, "addr"));
  out.weight = m.weight();
  out.labels = read_labels(m.metric_labels(), at, "metric_labels");
  if (m.has_tls_identity()) out.tls = read_tls(m.tls_identity(), At(at, "tls_identity"));
  if (m.protocol_hint().has_h2()) out.hint = ProtocolHint::kH2;
  if (m.protocol_hint().has_opaque()) out.hint = ProtocolHint::kOpaque;
  // As in Linkerd, a port that cannot be one is no port.
  uint32_t port = m.protocol_hint().opaque_transport().inbound_port();
  if (port < 65535) out.opaque_transport_port = static_cast<uint16_t>(port);
  out.authority_override = m.authority_override().authority_override();
  if (m.has_authority_override()) {
    auto target = split_host_port(out.authority_override);
    if (!target) At(at, "authority_override").bad(cat(quoted(out.authority_override), " is not an authority"));
  }
  if (m.has_http2()) out.http2 = read_http2(m.http2(), At(at, "http2"));
  out.resource = read_metadata(m.resource_ref(), At(at, "resource_ref"));
  return out;
}

void write(const Endpoint& v, pb::destination::WeightedAddr& m) {
  write(v.addr, *m.mutable_addr());
  m.set_weight(v.weight);
  write_labels(v.labels, m.mutable_metric_labels());
  if (v.tls) write(*v.tls, *m.mutable_tls_identity());
  if (v.hint == ProtocolHint::kH2) m.mutable_protocol_hint()->mutable_h2();
  if (v.hint == ProtocolHint::kOpaque) m.mutable_protocol_hint()->mutable_opaque();
  if (v.opaque_transport_port)
    m.mutable_protocol_hint()->mutable_opaque_transport()->set_inbound_port(v.opaque_transport_port);
  if (!v.authority_override.empty()) m.mutable_authority_override()->set_authority_override(v.authority_override);
  if (v.http2) write(*v.http2, *m.mutable_http2());
  if (v.resource != Metadata()) write(v.resource, *m.mutable_resource_ref());
}

std::string encode(const GetDestination& v) {
  pb::destination::GetDestination m;
  m.set_scheme(v.scheme);
  m.set_path(v.path);
  m.set_context_token(v.context_token);
  return serialize(m);
}

std::string encode(const Update& v) {
  pb::destination::Update m;
  switch (v.kind) {
    case Update::Kind::kAdd:
      for (const auto& e : v.add) write(e, *m.mutable_add()->add_addrs());
      write_labels(v.labels, m.mutable_add()->mutable_metric_labels());
      break;
    case Update::Kind::kRemove:
      m.mutable_remove();
      for (const auto& a : v.remove) write(a, *m.mutable_remove()->add_addrs());
      break;
    case Update::Kind::kNoEndpoints: m.mutable_no_endpoints()->set_exists(v.exists); break;
  }
  return serialize(m);
}

std::string encode(const DestinationProfile& v) {
  pb::destination::DestinationProfile m;
  m.set_fully_qualified_name(v.name);
  m.set_opaque_protocol(v.opaque);
  for (const auto& r : v.routes) {
    auto& out = *m.add_routes();
    write(r.condition, *out.mutable_condition());
    for (const auto& c : r.response_classes) {
      auto& cls = *out.add_response_classes();
      write(c.condition, *cls.mutable_condition());
      cls.set_is_failure(c.is_failure);
    }
    write_labels(r.labels, out.mutable_metrics_labels());
    out.set_is_retryable(r.retryable);
    if (r.timeout) write(*r.timeout, *out.mutable_timeout());
  }
  if (v.retry_budget) {
    m.mutable_retry_budget()->set_retry_ratio(v.retry_budget->ratio);
    m.mutable_retry_budget()->set_min_retries_per_second(v.retry_budget->min_per_second);
    write(v.retry_budget->ttl, *m.mutable_retry_budget()->mutable_ttl());
  }
  for (const auto& d : v.dst_overrides) {
    auto& out = *m.add_dst_overrides();
    out.set_authority(d.authority);
    out.set_weight(d.weight);
    if (d.backend != Metadata()) write(d.backend, *out.mutable_backend_ref());
  }
  if (v.endpoint) write(*v.endpoint, *m.mutable_endpoint());
  if (v.parent != Metadata()) write(v.parent, *m.mutable_parent_ref());
  if (v.profile != Metadata()) write(v.profile, *m.mutable_profile_ref());
  return serialize(m);
}

Result<GetDestination> decode_get_destination(Bytes bytes) {
  return decode_message<pb::destination::GetDestination>(bytes, "GetDestination", [](const auto& m, const At& at) {
    if (m.path().empty() || m.path().size() > 512) At(at, "path").bad("not name:port or ip:port");
    if (m.context_token().size() > 64 * 1024) At(at, "context_token").bad("longer than 64 kB");
    return GetDestination{m.scheme(), m.path(), m.context_token()};
  });
}
Result<Update> decode_update(Bytes bytes) {
  return decode_message<pb::destination::Update>(bytes, "Update", read_update);
}
Result<DestinationProfile> decode_profile(Bytes bytes) {
  return decode_message<pb::destination::DestinationProfile>(bytes, "DestinationProfile", read_profile);
}

}  // namespace tulle::wire
