#include "libs/tls/verify.h"

#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/x509.h>

#include <algorithm>

#include "libs/tls/internal.h"

namespace tulle::tls {
namespace {

// "CN" or its first name, for messages.
std::string label_of(const CertInfo& info) {
  if (!info.identities.empty()) return info.identities.front().name();
  if (!info.subject_cn.empty()) return quoted(info.subject_cn);
  return cat("serial ", info.serial);
}

Error path_error(X509_STORE_CTX* ctx, const TrustBundle& roots, WallTime now) {
  int code = X509_STORE_CTX_get_error(ctx);
  X509* at = X509_STORE_CTX_get_current_cert(ctx);
  CertInfo info = at ? info_of(at) : CertInfo{};
  std::string who = at ? cat("certificate of ", label_of(info)) : std::string("certificate");
  std::string why;
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      why = cat("expired at ", format_rfc3339(info.not_after), ", now it is ", format_rfc3339(now));
      break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
      why = cat("is not valid before ", format_rfc3339(info.not_before), ", now it is ", format_rfc3339(now));
      break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      why = cat("does not lead to a root that we trust (", roots.roots().size(), " in our bundle); its issuer is ",
                quoted(info.issuer_cn));
      break;
    case X509_V_ERR_CERT_SIGNATURE_FAILURE: why = "is not signed by the issuer that it names"; break;
    case X509_V_ERR_INVALID_PURPOSE: why = "is not for this use (extended key usage)"; break;
    case X509_V_ERR_INVALID_CA: why = "may not sign others (not a CA)"; break;
    default: why = X509_verify_cert_error_string(code);
  }
  ERR_clear_error();
  return Error(Code::kIdentity, cat(who, " ", why), Side::kPeer, Retry::kNever);
}

Peer peer_of(X509_STORE_CTX* ctx) {
  Peer peer{{}, WallTime::min(), WallTime::max()};
  STACK_OF(X509)* path = X509_STORE_CTX_get0_chain(ctx);
  for (size_t i = 0; i < sk_X509_num(path); ++i) {
    CertInfo info = info_of(sk_X509_value(path, i));
    peer.not_before = std::max(peer.not_before, info.not_before);
    peer.not_after = std::min(peer.not_after, info.not_after);
    if (i == 0) peer.identities = std::move(info.identities);
  }
  return peer;
}

}  // namespace

bool Peer::is(const Identity& expected) const { return std::ranges::find(identities, expected) != identities.end(); }

Result<Peer> verify_path(std::span<const Bytes> chain, const TrustBundle& roots, std::optional<PeerRole> role,
                         WallTime now) {
  if (chain.empty()) return fail(Code::kIdentity, "no certificate", Side::kPeer);
  if (chain.size() > kMaxChain)
    return fail(Code::kIdentity, cat("more than ", kMaxChain, " certificates"), Side::kPeer);
  X509Ptr leaf;
  bssl::UniquePtr<STACK_OF(X509)> others(sk_X509_new_null());
  bssl::UniquePtr<X509_STORE_CTX> ctx(X509_STORE_CTX_new());
  if (!others || !ctx) return internal_failure("verify");
  for (Bytes der : chain) {
    auto cert = parse_x509(der);
    if (!cert) {
      Error e = std::move(cert).error();
      e.side = Side::kPeer;
      return fail(std::move(e));
    }
    if (!leaf) leaf = std::move(*cert);
    else if (!bssl::PushToStack(others.get(), bssl::UniquePtr<X509>(cert->release())))
      return internal_failure("verify");
  }
  // A CA's own certificate is nobody's name, whatever names it carries (as in webpki, which Linkerd uses).
  if (role && X509_check_ca(leaf.get()) != 0)
    return fail(Code::kIdentity, cat("certificate of ", label_of(info_of(leaf.get())), " is a CA's, not a workload's"),
                Side::kPeer);
  if (!X509_STORE_CTX_init(ctx.get(), roots.impl().store.get(), leaf.get(), others.get()))
    return internal_failure("verify");
  X509_VERIFY_PARAM* param = X509_STORE_CTX_get0_param(ctx.get());
  X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);  // any certificate of the bundle ends the path
  X509_VERIFY_PARAM_set_depth(param, kMaxChain);
  X509_VERIFY_PARAM_set_time_posix(param, posix_seconds(now));
  if (role && !X509_VERIFY_PARAM_set_purpose(
                  param, *role == PeerRole::kClient ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER))
    return internal_failure("verify");
  if (X509_verify_cert(ctx.get()) != 1) return fail(path_error(ctx.get(), roots, now));
  ERR_clear_error();
  return peer_of(ctx.get());
}

Result<Peer> verify_peer(std::span<const Bytes> chain, const TrustBundle& roots, PeerRole role, WallTime now) {
  return verify_path(chain, roots, role, now);
}

Result<Peer> verify_chain(const std::vector<std::string>& chain, const TrustBundle& roots, PeerRole role,
                          WallTime now) {
  std::vector<Bytes> views(chain.begin(), chain.end());
  return verify_path(views, roots, role, now);
}

}  // namespace tulle::tls
