#include "libs/grpc/status.h"

namespace tulle::grpc {
namespace {
constexpr std::string_view kNames[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"};

// http-grpc-status-mapping.md: for answers that did not come from a gRPC server.
StatusCode from_http(int status) {
  switch (status) {
    case 400: return StatusCode::kInternal;
    case 401: return StatusCode::kUnauthenticated;
    case 403: return StatusCode::kPermissionDenied;
    case 404: return StatusCode::kUnimplemented;
    case 429:
    case 502:
    case 503:
    case 504: return StatusCode::kUnavailable;
    default: return StatusCode::kUnknown;
  }
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
}  // namespace

std::string_view status_name(StatusCode code) {
  auto i = static_cast<size_t>(code);
  return i < std::size(kNames) ? kNames[i] : "UNKNOWN";
}

std::string Status::to_string() const {
  return message.empty() ? std::string(status_name(code)) : cat(status_name(code), ": ", message);
}

Status to_status(const Error& e) {
  switch (e.code) {
    case Code::kCancelled: return {StatusCode::kCancelled, e.reason};
    case Code::kTimeout: return {StatusCode::kDeadlineExceeded, e.reason};
    case Code::kNotFound: return {StatusCode::kNotFound, e.reason};
    case Code::kInvalid: return {StatusCode::kInvalidArgument, e.reason};
    case Code::kDenied: return {StatusCode::kPermissionDenied, e.reason};
    case Code::kIdentity: return {StatusCode::kUnauthenticated, e.reason};
    case Code::kTooLarge:
    case Code::kExhausted: return {StatusCode::kResourceExhausted, e.reason};
    case Code::kUnimplemented: return {StatusCode::kUnimplemented, e.reason};
    case Code::kProtocol:
    case Code::kInternal: return {StatusCode::kInternal, e.reason};
    default: return {StatusCode::kUnavailable, e.reason};
  }
}

Status read_status(int http_status, const http::Headers& fields) {
  auto text = fields.get(http::HeaderId::kGrpcStatus);
  auto message = fields.get(http::HeaderId::kGrpcMessage);
  if (!text) {
    if (http_status == 200) return {StatusCode::kUnknown, "the response has no grpc-status"};
    return {from_http(http_status), cat("HTTP status ", http_status)};
  }
  auto n = parse_number<uint32_t>(*text);
  StatusCode code = n && *n < std::size(kNames) ? static_cast<StatusCode>(*n) : StatusCode::kUnknown;
  return {code, message ? decode_message(*message) : std::string()};
}

void write_status(const Status& status, http::Headers& fields) {
  fields.add(http::HeaderId::kGrpcStatus, cat(static_cast<unsigned>(status.code)));
  if (!status.message.empty()) fields.add(http::HeaderId::kGrpcMessage, encode_message(status.message));
}

std::string encode_message(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c >= 0x20 && c <= 0x7e && c != '%') {
      out.push_back(c);
    } else {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      auto b = static_cast<unsigned char>(c);
      append(out, '%', kHex[b >> 4], kHex[b & 15]);
    }
  }
  return out;
}

std::string decode_message(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace tulle::grpc
