// HTTP/1.0 and 1.1, strictly as RFC 9112 has it: a pull parser and an encoder. No I/O, no clock.
//
// Where the RFC lets a recipient repair a doubtful message, this parser refuses it: whatever two programs may read
// differently is how requests are smuggled past a proxy. Refused with a reason: bare CR or LF, folded lines, space
// before the colon, Content-Length beside Transfer-Encoding, more than one Content-Length (even equal ones, even as
// a list), any Transfer-Encoding but exactly "chunked", Transfer-Encoding in HTTP/1.0, two Host fields, characters
// that the grammar does not have, chunk sizes over 2^63-1, framing fields as trailers, and anything over Limits.
#pragma once

#include <cstdint>
#include <string>

#include "libs/base/buffer.h"
#include "libs/base/result.h"
#include "libs/http/limits.h"
#include "libs/http/message.h"

namespace tulle::http {

enum class Role : uint8_t { kRequest, kResponse };  // what is parsed

// How the end of a body is known (RFC 9112 §6.3).
enum class Framing : uint8_t {
  kNone,        // no body
  kLength,      // Content-Length
  kChunked,     // Transfer-Encoding: chunked; only this one can carry trailers
  kUntilClose,  // responses: all until EOF
  kTunnel,      // no longer HTTP: raw bytes both ways (101, or 2xx to CONNECT)
};

// Parses one direction of one connection: message after message. Owned by one connection, used by one thread.
//
//   Bytes in = …;                         // what was read
//   for (;;) switch (parser.next(in)) …   // until kNeedMore
//
// Bytes are consumed from the front of `in` in any split; the start of an unfinished line is kept inside, so what
// kNeedMore leaves is nothing, but for one case: while held() nothing is consumed. Uses no heap between messages.
class H1Parser {
 public:
  enum class Event : uint8_t {
    kNeedMore,  // `in` is used up, or held(): call again with more
    kRequest,   // request() is filled; kData* and kEnd follow
    kInterim,   // response() is an 1xx other than 101; another head follows
    kResponse,  // response() is filled; kData* and kEnd follow
    kData,      // data() is a piece of the body, a view into `in`
    kEnd,       // the message is complete; trailers() holds what came after the last chunk
    kError,     // error() says why; final: nothing can be read after it
  };
  // What an answer to the client needs. For responses status is 502.
  struct ParseError {
    int status = 400;     // 400, 414, 431, 501, 505 or 502
    bool closed = false;  // the peer closed too early
    std::string reason;   // what was wrong, without the offending text
    Error to_error(Side side) const;
  };

  H1Parser(Role role, const Limits& limits) : limits_(limits), role_(role) {}

  Event next(Bytes& in);
  // The peer closed. kEnd: that ended a kUntilClose body or a tunnel. kNeedMore: it closed between messages, which
  // is in order. kError: it closed inside one.
  Event finish_eof();

  // Filled by the event of that name and left alone until the next message begins; may be moved from.
  RequestHead& request() { return request_; }
  ResponseHead& response() { return response_; }
  Headers& trailers() { return trailers_; }
  Bytes data() const { return data_; }
  const ParseError& error() const { return error_; }

  // Of the message whose head was read last.
  Framing framing() const { return framing_; }
  uint64_t content_length() const { return content_length_; }  // kLength: the whole of it
  // Whether the sender lets the connection carry another message after this one (RFC 9112 §9.3).
  bool keep_alive() const { return keep_alive_; }

  // kResponse only: which request the next final response answers; call it once per request, before its response.
  // Bytes of a response that nothing was asked for are an error. `upgrade`: the request asked to switch protocols,
  // so that 101 is acceptable.
  void expect_response_to(Method method, bool upgrade = false);
  // kRequest only: true after kEnd of a CONNECT or upgrade request. What follows may be tunnel bytes, so next()
  // consumes nothing until one of the two is called: become_tunnel() when 101 or 2xx was sent, else resume_http().
  bool held() const { return state_ == State::kHeld; }
  void become_tunnel();
  void resume_http();

  // True from a message's first byte to its kEnd (kHeld is between messages).
  bool in_message() const;

 private:
  enum class State : uint8_t {
    kStart,
    kFields,
    kBody,
    kChunkSize,
    kChunkData,
    kChunkCrlf,
    kTrailers,
    kUntilClose,
    kEnd,
    kHeld,
    kTunnel,
    kFailed,
  };
  enum class Line : uint8_t { kLine, kMore, kTooLong, kBareLf };
  struct HeadFacts;

  Event fail(int status, std::string_view reason);
  Line take_line(Bytes& in, size_t limit, Bytes& line);
  void drop_line();
  Event on_start(Bytes& in);
  Event on_fields(Bytes& in);
  Event on_body(Bytes& in);
  Event on_chunk_size(Bytes& in);
  Event on_chunk_crlf(Bytes& in);
  Event on_trailers(Bytes& in);
  Event end_message();
  bool request_line(Bytes line);
  bool request_target(Bytes target);
  bool status_line(Bytes line);
  bool parse_version(Bytes text, Version& version);
  bool field_line(Bytes line, Headers& into, uint32_t max_fields);
  static HeadFacts head_facts(const Headers& headers);
  bool check_framing(const HeadFacts& facts, Version version);
  Event finish_request_head();
  Event finish_response_head();
  void begin_body(const HeadFacts& facts);
  Headers& head_fields() { return role_ == Role::kRequest ? request_.headers : response_.headers; }

  Limits limits_;
  Role role_;
  State state_ = State::kStart;
  Framing framing_ = Framing::kNone;
  Method answers_ = Method::kOther;  // the method that the response due answers
  bool expecting_ = false;           // a response is due
  bool answers_upgrade_ = false;
  bool keep_alive_ = true;
  bool hold_at_end_ = false;
  bool line_is_partial_ = false;  // the line that take_line gave lives in partial_
  bool line_is_clean_ = false;    // it is known to have no control character but tab
  bool empty_line_seen_ = false;
  bool chunk_cr_seen_ = false;
  uint32_t interims_ = 0;
  uint32_t block_used_ = 0;  // bytes of the head's or the trailers' lines so far
  uint32_t extensions_used_ = 0;
  uint64_t left_ = 0;  // bytes of the body or chunk still to come
  uint64_t content_length_ = 0;
  Bytes data_;
  Buffer partial_;  // the start of an unfinished line
  RequestHead request_;
  ResponseHead response_;
  Headers trailers_;
  ParseError error_;
};

// ---- Writing. Each function appends to `out`, or changes nothing and returns an error (kInvalid): a name, value or
// target with CR, LF, NUL or another control character, or a target with a space, is refused, so a message cannot be
// split by what is put into it.

// How a message that is written ends. The encoder writes the framing field itself and drops the ones in the head:
// kLength writes content-length, kChunked transfer-encoding, kUntilClose none. kNone in a request drops both; in a
// response it keeps content-length (HEAD and 304 carry the length of what they do not send), except in 1xx and 204.
struct BodyFraming {
  Framing framing = Framing::kNone;
  uint64_t length = 0;
  static BodyFraming none() { return {}; }
  static BodyFraming of_length(uint64_t n) { return {Framing::kLength, n}; }
  static BodyFraming chunked() { return {Framing::kChunked, 0}; }
  static BodyFraming until_close() { return {Framing::kUntilClose, 0}; }
};

// The target is written in head.form (kAbsolute with head.scheme, "http" if that is empty). `host` is written first,
// from head.authority; a Host in the list counts only where authority is empty, and with neither it is empty in
// HTTP/1.1. With TE goes "connection: te". Versions other than 1.0 become 1.1.
Result<> encode_request(const RequestHead& head, BodyFraming body, Buffer& out);
// A reason phrase is added where head.reason is empty.
Result<> encode_response(const ResponseHead& head, BodyFraming body, Buffer& out);
// One chunk with its framing; nothing for empty data, which would end the body.
void encode_chunk(Bytes data, Buffer& out);
// Only the size line of a chunk: n bytes of data and CRLF are the caller's to append. n ≥ 1.
void encode_chunk_header(uint64_t n, Buffer& out);
// The end of a chunked body. Framing and routing fields among the trailers are left out (RFC 9110 §6.5.1).
Result<> encode_last_chunk(const Headers* trailers, Buffer& out);

// True for a field that may not be a trailer: framing, routing, authentication, content coding (RFC 9110 §6.5.1).
bool is_forbidden_trailer(const Header& field);

}  // namespace tulle::http
