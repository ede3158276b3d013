#include "libs/tls/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>

#include "libs/base/check.h"
#include "libs/rt/combine.h"
#include "libs/tls/internal.h"

namespace tulle::tls {
namespace {

constexpr size_t kRecord = 16 * 1024;          // the most plaintext that one record carries (RFC 8446 §5.1)
constexpr size_t kCiphertextMark = 64 * 1024;  // collected for one send
constexpr size_t kMaxQuiet = 64 * 1024;        // received between two pieces of data, or before the first

}  // namespace

struct TlsStream::Session {
  TlsStream& stream;
  Bytes input;  // ciphertext that the SSL object has not taken yet
  bssl::UniquePtr<SSL> ssl;

  explicit Session(TlsStream& s) : stream(s) {}
  static Session* of(SSL* s) { return static_cast<Session*>(BIO_get_data(SSL_get_rbio(s))); }
  static int bio_read(BIO* bio, char* out, int size);
  static int bio_write(BIO* bio, const char* data, int size);
};

struct TlsStream::Handshake {
  bool server;
  std::optional<Identity> expected;  // of a client
  std::vector<std::string> alpn;
  Buffer initial;
  std::optional<Error> error;  // why one of our callbacks refused
  // Of a server: what the client's ticket said. It is the peer only when the session has been resumed in the end: a
  // ticket can be read by everybody, and is worth nothing without the session's secret.
  struct Offered {
    std::shared_ptr<const Peer> peer;
    WallTime until;
  };
  std::optional<Offered> offered;
};

// --- the BIO: the SSL object reads where recv() has put it, and writes into what is sent next

int TlsStream::Session::bio_read(BIO* bio, char* out, int size) {
  auto* s = static_cast<Session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (s->input.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  size_t n = std::min(s->input.size(), static_cast<size_t>(size));
  std::memcpy(out, s->input.data(), n);
  s->input.remove_prefix(n);
  return static_cast<int>(n);
}

int TlsStream::Session::bio_write(BIO* bio, const char* data, int size) {
  auto* s = static_cast<Session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  s->stream.ciphertext_.append(Bytes(data, static_cast<size_t>(size)));
  return size;
}

// --- callbacks of the handshake

int on_peer_chain(SSL* ssl, uint8_t* alert) {
  TlsStream& stream = TlsStream::Session::of(ssl)->stream;
  TlsStream::Handshake& h = *stream.handshake_;
  std::vector<Bytes> chain;
  const STACK_OF(CRYPTO_BUFFER)* certs = SSL_get0_peer_certificates(ssl);
  for (size_t i = 0; certs && i < sk_CRYPTO_BUFFER_num(certs); ++i) {
    const CRYPTO_BUFFER* c = sk_CRYPTO_BUFFER_value(certs, i);
    chain.emplace_back(reinterpret_cast<const char*>(CRYPTO_BUFFER_data(c)), CRYPTO_BUFFER_len(c));
  }
  auto peer = stream.context_->impl().verify(chain, h.server ? PeerRole::kClient : PeerRole::kServer);
  if (!peer) {
    h.error = std::move(peer).error();
    *alert = SSL_AD_CERTIFICATE_UNKNOWN;
    return 0;
  }
  if (h.expected && !(*peer)->is(*h.expected)) {
    std::string names;
    for (const Identity& id : (*peer)->identities) append(names, names.empty() ? "" : ", ", id.name());
    h.error =
        Error(Code::kIdentity,
              cat("expected ", h.expected->name(), ", but the certificate is of ", names.empty() ? "nobody" : names),
              Side::kPeer);
    *alert = SSL_AD_CERTIFICATE_UNKNOWN;
    return 0;
  }
  stream.peer_ = std::move(*peer);
  // Of a resumed session, too: its time only shrinks.
  const Context::Impl& context = stream.context_->impl();
  Duration left = std::min(context.not_after, stream.peer_->not_after) - context.wall_clock();
  SSL_SESSION* session = SSL_get_session(ssl);
  auto seconds = static_cast<uint32_t>(std::clamp<int64_t>(left / 1s, 0, SSL_SESSION_get_timeout(session)));
  SSL_SESSION_set_timeout(session, seconds);
  return 1;
}

int on_server_name(SSL* ssl) {
  TlsStream& stream = TlsStream::Session::of(ssl)->stream;
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  stream.sni_ = to_lower(name ? name : "");
  const auto& accepted = stream.context_->impl().server_names;
  if (accepted.empty() || std::ranges::find(accepted, stream.sni_) != accepted.end()) return 1;
  stream.handshake_->error = Error(
      Code::kTls,
      cat("server name ", stream.sni_.empty() ? "missing" : quoted(stream.sni_), "; we serve ", join(accepted, ", ")),
      Side::kPeer);
  return 0;
}

std::string_view on_alpn(SSL* ssl, std::string_view offered) {
  for (const std::string& ours : TlsStream::Session::of(ssl)->stream.handshake_->alpn) {
    for (std::string_view rest = offered; !rest.empty();) {
      size_t size = static_cast<uint8_t>(rest[0]);
      if (size >= rest.size()) break;
      if (rest.substr(1, size) == ours) return rest.substr(1, size);
      rest.remove_prefix(1 + size);
    }
  }
  return {};
}

// --- sessions

int on_session(SSL* ssl, SSL_SESSION* session) {
  TlsStream& stream = TlsStream::Session::of(ssl)->stream;
  const Context::Impl& context = stream.context_->impl();
  const uint8_t* ticket;
  size_t size;
  SSL_SESSION_get0_ticket(session, &ticket, &size);
  if (size > kMaxTicket || !stream.peer_) return 0;
  context.sessions.put(stream.peer().ip, stream.sni_, stream.peer_, SessionPtr(session),
                       context.wall_clock() + std::chrono::seconds(SSL_SESSION_get_timeout(session)));
  return 1;
}

size_t on_seal_ticket(SSL* ssl, Bytes session, uint8_t* out, size_t room) {
  TlsStream& stream = TlsStream::Session::of(ssl)->stream;
  const Context::Impl& context = stream.context_->impl();
  const TlsStream::Handshake& h = *stream.handshake_;
  const uint8_t* hash = nullptr;
  size_t hash_size = 0;
  SSL_SESSION_get0_peer_sha256(SSL_get_session(ssl), &hash, &hash_size);
  WallTime until;
  if (SSL_session_reused(ssl)) until = h.offered->until;  // no session came from elsewhere
  else until = std::min(context.wall_clock() + kSessionLifetime, context.not_after);
  TicketHead head(std::string(reinterpret_cast<const char*>(hash), hash_size), until);
  return context.ticket_key->seal(stream.sni_, head, session, out, room);
}

size_t on_open_ticket(SSL* ssl, Bytes ticket, uint8_t* out) {
  TlsStream& stream = TlsStream::Session::of(ssl)->stream;
  const Context::Impl& context = stream.context_->impl();
  size_t size = 0;
  auto head = context.ticket_key->open(stream.sni_, ticket, out, size);
  if (!head) return 0;
  WallTime now = context.wall_clock();
  // Later than a new one could say: the clock was put back.
  if (now > head->until || head->until - now > kSessionLifetime) return 0;
  std::shared_ptr<const Peer> peer;
  if (!head->leaf_hash.empty()) {
    // Whom we have not verified, or do not remember, shows his certificate again; and who has none that is valid now.
    peer = context.cache.find(PeerRole::kClient, head->leaf_hash, now);
    if (!peer) return 0;
  }
  stream.handshake_->offered.emplace(std::move(peer), head->until);
  return size;
}

// --- making one

TlsStream::TlsStream(rt::Reactor& reactor, std::shared_ptr<const Context> context, Fd fd, SocketAddr local,
                     SocketAddr peer, bool readable)
    : FdStream(reactor, std::move(fd), local, peer, readable), context_(std::move(context)) {}

TlsStream::~TlsStream() { flush(); }

Result<> TlsStream::start(bool server, const std::string& sni) {
  static const BIO_METHOD kMethod = {
      .type = BIO_TYPE_SOURCE_SINK,
      .name = "tulle",
      .bwrite = Session::bio_write,
      .bread = Session::bio_read,
      .bputs = nullptr,
      .bgets = nullptr,
      .ctrl = [](BIO*, int command, long, void*) -> long { return command == BIO_CTRL_FLUSH; },
      .create = nullptr,
      .destroy = nullptr,
      .callback_ctrl = nullptr};
  session_ = std::make_unique<Session>(*this);
  session_->ssl.reset(SSL_new(context_->impl().ssl.get()));
  SSL* ssl = session_->ssl.get();
  bssl::UniquePtr<BIO> bio(BIO_new(&kMethod));
  if (!ssl || !bio) return internal_failure("TLS session");
  BIO_set_data(bio.get(), session_.get());
  BIO_set_init(bio.get(), 1);
  SSL_set_bio(ssl, bio.get(), bio.get());
  (void)bio.release();
  SSL_set_shed_handshake_config(ssl, 1);
  if (server) {
    if (!context_->impl().has_credentials)
      return fail(Code::kInvalid, "this context has no certificate to accept with");
    SSL_set_accept_state(ssl);
    return {};
  }
  SSL_set_connect_state(ssl);
  if (!sni.empty() && !SSL_set_tlsext_host_name(ssl, sni.c_str()))
    return fail(Code::kInvalid, cat("server name ", quoted(sni), ": not a DNS name"));
  std::string protocols;
  for (const std::string& p : handshake_->alpn) append(protocols, static_cast<char>(p.size()), p);
  if (!protocols.empty() &&
      SSL_set_alpn_protos(ssl, reinterpret_cast<const uint8_t*>(protocols.data()), protocols.size()) != 0)
    return fail(Code::kInvalid, "ALPN: each name has 1 to 255 bytes");
  sni_ = sni;
  const Context::Impl& context = context_->impl();
  if (auto known = context.sessions.take(peer().ip, sni_, *handshake_->expected, context.wall_clock()))
    SSL_set_session(ssl, known.get());
  return {};
}

rt::Task<Result<std::unique_ptr<TlsStream>>> TlsStream::accept(rt::Reactor& reactor,
                                                               std::shared_ptr<const Context> context, Fd fd,
                                                               SocketAddr local, SocketAddr peer, Buffer initial,
                                                               std::vector<std::string> alpn, TimePoint deadline) {
  std::unique_ptr<TlsStream> stream(new TlsStream(reactor, std::move(context), std::move(fd), local, peer, true));
  stream->handshake_.reset(new Handshake{true, std::nullopt, std::move(alpn), std::move(initial), {}, {}});
  TULLE_CO_TRY_VOID(stream->start(true, {}));
  co_return co_await finish(std::move(stream), deadline);
}

rt::Task<Result<std::unique_ptr<TlsStream>>> TlsStream::connect(rt::Reactor& reactor,
                                                                std::shared_ptr<const Context> context, Fd fd,
                                                                SocketAddr local, SocketAddr peer, std::string sni,
                                                                Identity expected, std::vector<std::string> alpn,
                                                                TimePoint deadline) {
  std::unique_ptr<TlsStream> stream(new TlsStream(reactor, std::move(context), std::move(fd), local, peer, false));
  stream->handshake_.reset(new Handshake{false, std::move(expected), std::move(alpn), {}, {}, {}});
  TULLE_CO_TRY_VOID(stream->start(false, sni));
  co_return co_await finish(std::move(stream), deadline);
}

rt::Task<Result<std::unique_ptr<TlsStream>>> TlsStream::finish(std::unique_ptr<TlsStream> stream, TimePoint deadline) {
  auto done = co_await rt::until(stream->reactor(), deadline, stream->shake_hands());
  Error e;
  if (!done) e = Error(Code::kTimeout, "no end in time", Side::kPeer);
  else if (!*done) e = std::move(*done).error();
  else co_return std::move(stream);
  e.retry = Retry::kSafe;
  co_return fail(std::move(e).with(cat("TLS handshake with ", stream->peer().to_string())));
}

rt::Task<Result<>> TlsStream::shake_hands() {
  if (write_error()) co_return fail(*write_error());
  auto done = co_await read();  // ends with the handshake: see read_now()
  if (!done) co_return fail(std::move(done).error());
  co_return Result<>{};
}

TlsStream::ReadNow TlsStream::advance_handshake() {
  SSL* ssl = session_->ssl.get();
  session_->input = handshake_->initial.view();
  for (;;) {
    ERR_clear_error();
    int r = SSL_do_handshake(ssl);
    if (r == 1) {
      end_handshake();
      return Bytes();
    }
    if (SSL_get_error(ssl, r) != SSL_ERROR_WANT_READ) {
      Error e = handshake_error();
      flush();  // the alert
      return e;
    }
    handshake_->initial.clear();  // whoever wants more has taken all
    flush();
    if (write_error()) return *write_error();
    ReadNow got = receive();
    if (got.now == Now::kEnd) return Error(Code::kReset, "the other end closed the connection", Side::kPeer);
    if (got.now != Now::kBytes) return got;
    session_->input = got.bytes;
  }
}

void TlsStream::end_handshake() {
  SSL* ssl = session_->ssl.get();
  held_.append(session_->input);
  session_->input = {};
  const uint8_t* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  if (size) alpn_.assign(reinterpret_cast<const char*>(name), size);
  resumed_ = SSL_session_reused(ssl);
  if (resumed_ && handshake_->server) peer_ = std::move(handshake_->offered->peer);
  handshake_.reset();
  // A client's last flight leaves together with its first request.
  if (!ciphertext_.empty()) flush_later();
}

// --- errors

namespace {

// An error that only the handshake of the other end can have caused: it has not looked at anything that we sent.
bool is_about_handshake(int alert) {
  switch (alert) {
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_REVOKED:
    case SSL_AD_CERTIFICATE_EXPIRED:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_ACCESS_DENIED:
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_CERTIFICATE_REQUIRED: return true;
    default: return false;
  }
}

// The error that AWS-LC has left. `before_data`: nothing of the application has come yet.
Error ssl_error(bool before_data) {
  uint32_t e = ERR_peek_last_error();  // the first ones are of the layers below
  if (ERR_GET_LIB(e) == ERR_LIB_SSL && ERR_GET_REASON(e) > SSL_AD_REASON_OFFSET) {
    int alert = ERR_GET_REASON(e) - SSL_AD_REASON_OFFSET;
    ERR_clear_error();
    return Error(Code::kTls, cat("the other end sent an alert: ", SSL_alert_desc_string_long(alert)), Side::kPeer,
                 before_data && is_about_handshake(alert) ? Retry::kSafe : Retry::kIdempotentOnly);
  }
  const char* reason = e ? ERR_reason_error_string(e) : nullptr;
  std::string text = reason ? reason : "no reason given";
  ERR_clear_error();
  return Error(Code::kTls, std::move(text), Side::kPeer, Retry::kIdempotentOnly);
}

}  // namespace

Error TlsStream::handshake_error() {
  if (handshake_->error) {
    ERR_clear_error();
    return std::move(*handshake_->error);
  }
  return ssl_error(true);
}

// --- reading

TlsStream::ReadNow TlsStream::read_now() {
  if (handshake_) return advance_handshake();
  for (;;) {
    if (read_error_) return *read_error_;
    if (close_received_) return Now::kEnd;
    ReadNow got = Now::kWouldBlock;
    if (more_ || !held_.empty()) {
      Buffer held;
      held.swap(held_);
      got = decrypt(held.view());
    } else {
      got = receive();
      if (got.now == Now::kEnd) {
        read_error_ =
            Error(Code::kReset, "TLS: the connection ended without close_notify", Side::kPeer, Retry::kIdempotentOnly);
        continue;
      }
      if (got.now != Now::kBytes) return got;
      got = decrypt(got.bytes);
    }
    if (got.now == Now::kBytes) return got;
  }
}

// All that is in `ciphertext`; kWouldBlock: no application byte came of it (look at read_error_ and close_received_).
TlsStream::ReadNow TlsStream::decrypt(Bytes ciphertext) {
  SSL* ssl = session_->ssl.get();
  char* out = reactor().plain_scratch();
  size_t n = 0;
  session_->input = ciphertext;
  ERR_clear_error();
  for (;;) {
    more_ = n == rt::Reactor::kPlainScratch;
    if (more_) break;
    int r = SSL_read(ssl, out + n, static_cast<int>(rt::Reactor::kPlainScratch - n));
    if (r > 0) {
      n += static_cast<size_t>(r);
      if (session_->input.empty() && !SSL_has_pending(ssl)) break;
      continue;
    }
    int why = SSL_get_error(ssl, r);
    if (why == SSL_ERROR_ZERO_RETURN) close_received_ = true;
    else if (why != SSL_ERROR_WANT_READ) read_error_ = ssl_error(!received_ && n == 0).with("TLS");
    break;
  }
  if (more_) held_.append(session_->input);
  session_->input = {};
  if (!ciphertext_.empty()) flush_later();  // an alert of ours
  if (n == 0) {
    // Tickets and key updates without end cost us more than the sender; AWS-LC does not count them.
    quiet_ += ciphertext.size();
    if (quiet_ > kMaxQuiet && !read_error_)
      read_error_ = Error(Code::kTls, cat("TLS: more than ", kMaxQuiet, " bytes without any data"), Side::kPeer);
    return Now::kWouldBlock;
  }
  quiet_ = 0;
  received_ = true;
  return Bytes(out, n);
}

// --- writing

size_t TlsStream::pending() const { return FdStream::pending() + ciphertext_.size(); }

void TlsStream::abort() {
  FdStream::abort();
  ciphertext_.clear();
  fin_wanted_ = false;
}

// Puts `bytes` into ciphertext_, one record after the other, up to the mark; how many.
size_t TlsStream::encrypt(Bytes bytes) {
  constexpr size_t kOverhead = 64;  // of a record, more than any cipher takes
  size_t done = 0, due = std::min(bytes.size(), kCiphertextMark);
  if (ciphertext_.empty() && due > kRecord) ciphertext_.prepare(due + (due / kRecord + 1) * kOverhead);
  ERR_clear_error();
  while (done < bytes.size() && ciphertext_.size() < kCiphertextMark) {
    int r =
        SSL_write(session_->ssl.get(), bytes.data() + done, static_cast<int>(std::min(bytes.size() - done, kRecord)));
    if (r <= 0) {
      fail_write(ssl_error(false).with("TLS"));
      break;
    }
    done += static_cast<size_t>(r);
  }
  count_written(done);
  return done;
}

void TlsStream::flush_now() {
  do {
    if (!handshake_ && !write_blocked()) {
      size_t done = encrypt(out().view());
      if (!write_error()) out().consume(done);
      if (out().empty() && fin_wanted_ && !close_sent_ && !write_error()) {
        close_sent_ = true;
        SSL_shutdown(session_->ssl.get());
      }
    }
    if (!send_from(ciphertext_, false)) return;
  } while (!handshake_ && !write_error() && !out().empty());
  if (close_sent_) send_fin();
}

size_t TlsStream::send_now(Bytes bytes) {
  size_t done = 0;
  while (done < bytes.size() && !handshake_ && !write_blocked() && !write_error()) {
    done += encrypt(bytes.substr(done));
    send_from(ciphertext_, false);
  }
  return done;
}

std::string_view TlsStream::group() const {
  const char* name = SSL_get_group_name(SSL_get_group_id(session_->ssl.get()));
  return name ? name : "";
}

std::string_view TlsStream::cipher() const {
  const SSL_CIPHER* cipher = SSL_get_current_cipher(session_->ssl.get());
  return cipher ? SSL_CIPHER_standard_name(cipher) : "";
}

}  // namespace tulle::tls
