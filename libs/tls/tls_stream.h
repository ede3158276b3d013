// TlsStream: a Stream with TLS on its socket. Both ends of the mesh's connections are of this type.
//
// Made by a finished handshake only: who holds one knows who is at the other end. What is read and written is
// plaintext, and so are the counts of set_meters(). Ciphertext is decrypted straight from the reactor's scratch; an
// idle connection keeps nothing but the session itself.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/net/stream.h"
#include "libs/tls/context.h"

struct ssl_st;
struct ssl_session_st;

namespace tulle::tls {

// The ALPN of opaque connections between proxies, which start with a transport header.
inline constexpr std::string_view kTransportAlpn = "transport.l5d.io/v1";

class TlsStream final : public net::FdStream {
 public:
  // The server's side, on a connection from which `initial` (the ClientHello, or less, or nothing) has been read.
  // `alpn`: what we take, our favourite first; a client that offers none of it goes on without (and alpn() is "").
  // A client may do without a certificate; one that it shows must be valid.
  // Errors, all Retry::kSafe: kTls: garbage, alerts, no common parameters, no certificate for that SNI. kIdentity: the
  // client's certificate. kReset: the client went away. kTimeout.
  static rt::Task<Result<std::unique_ptr<TlsStream>>> accept(rt::Reactor& reactor,
                                                             std::shared_ptr<const Context> context, Fd fd,
                                                             SocketAddr local, SocketAddr peer, Buffer initial,
                                                             std::vector<std::string> alpn, TimePoint deadline);

  // The client's side, on a connected socket. The server's certificate must lead to a root and carry `expected`
  // exactly. `sni`: a DNS name, or "" for none. Errors as above; kIdentity says what the certificate carries instead.
  // A server that refuses our certificate says so only after this has succeeded (TLS 1.3): the first read fails then
  // with kTls, and Retry::kSafe while nothing has been received.
  static rt::Task<Result<std::unique_ptr<TlsStream>>> connect(rt::Reactor& reactor,
                                                              std::shared_ptr<const Context> context, Fd fd,
                                                              SocketAddr local, SocketAddr peer, std::string sni,
                                                              Identity expected, std::vector<std::string> alpn,
                                                              TimePoint deadline);
  ~TlsStream() override;

  // Who is at the other end; nothing for a client without a certificate.
  const Identity* peer_identity() const { return peer_ ? peer_->identity() : nullptr; }
  // All its names; null for a client without a certificate.
  const Peer* peer_cert() const { return peer_.get(); }
  std::string_view alpn() const { return alpn_; }
  // What the client asked for, lower case; "" for none.
  const std::string& sni() const { return sni_; }
  // For metrics: "X25519MLKEM768", "TLS_AES_128_GCM_SHA256".
  std::string_view group() const;
  std::string_view cipher() const;
  // The handshake resumed an earlier session: nobody has shown a certificate, the peer is that session's.
  bool resumed() const { return resumed_; }
  // The peer has said (close_notify) that nothing more will come. An end without that may be an attacker's, so that
  // read() gives an error of kReset; who knows from its own framing that all has come may take that for an end.
  bool ended_cleanly() const { return close_received_; }

  size_t pending() const override;
  void abort() override;

 protected:
  ReadNow read_now() override;
  void flush_now() override;
  size_t send_now(Bytes bytes) override;

 private:
  friend int on_peer_chain(ssl_st*, uint8_t*);
  friend int on_server_name(ssl_st*);
  friend std::string_view on_alpn(ssl_st*, std::string_view);
  friend int on_session(ssl_st*, ssl_session_st*);
  friend size_t on_seal_ticket(ssl_st*, Bytes, uint8_t*, size_t);
  friend size_t on_open_ticket(ssl_st*, Bytes, uint8_t*);
  struct Session;    // the SSL object, and what its BIO reads and writes
  struct Handshake;  // what only the handshake needs
  TlsStream(rt::Reactor& reactor, std::shared_ptr<const Context> context, Fd fd, SocketAddr local, SocketAddr peer,
            bool readable);

  Result<> start(bool server, const std::string& sni);
  // Waits for the end of the handshake.
  static rt::Task<Result<std::unique_ptr<TlsStream>>> finish(std::unique_ptr<TlsStream> stream, TimePoint deadline);
  rt::Task<Result<>> shake_hands();
  ReadNow advance_handshake();
  void end_handshake();
  Error handshake_error();
  ReadNow decrypt(Bytes ciphertext);
  size_t encrypt(Bytes bytes);

  std::shared_ptr<const Context> context_;  // outlives session_, which points into it
  std::unique_ptr<Session> session_;
  std::unique_ptr<Handshake> handshake_;  // null once done
  Buffer held_;                           // ciphertext that came with the end of the handshake
  Buffer ciphertext_;                     // to send
  std::shared_ptr<const Peer> peer_;
  std::string alpn_, sni_;
  std::optional<Error> read_error_;
  size_t quiet_ = 0;  // ciphertext since the last application byte
  bool close_received_ = false;
  bool close_sent_ = false;
  bool received_ = false;  // any application byte
  bool resumed_ = false;
  bool more_ = false;  // decryption stopped for want of room
};

}  // namespace tulle::tls
