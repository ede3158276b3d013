// What the fuzz targets of the HTTP/1 parser share: a transcript that does not depend on how the bytes were split.
#pragma once

#include "libs/base/check.h"
#include "libs/http/h1.h"
#include "libs/http/hop_by_hop.h"

namespace tulle::http {

struct H1Transcript {
  std::string text;
  std::string data;
  bool failed = false;

  void feed(H1Parser& parser, Bytes in) {
    using Event = H1Parser::Event;
    while (!failed) {
      Event e = parser.next(in);
      if (e == Event::kNeedMore) {
        TULLE_CHECK(in.empty() || parser.held());
        if (!parser.held()) return;
        flush();
        text += "held";
        parser.resume_http();
        continue;
      }
      if (e == Event::kData) {
        TULLE_CHECK(!parser.data().empty());
        data += parser.data();
        continue;
      }
      flush();
      append(text, "#", static_cast<int>(e));
      if (e == Event::kRequest) on_request(parser);
      if (e == Event::kResponse || e == Event::kInterim) on_response(parser.response());
      if (e == Event::kEnd) {
        fields(parser.trailers());
        if (expect_more) parser.expect_response_to(expect_more_method);
      }
      if (e == Event::kError) {
        append(text, parser.error().status, parser.error().reason);
        failed = true;
      }
    }
  }
  void flush() {
    append(text, "<", data, ">");
    data.clear();
  }
  void fields(const Headers& headers) {
    headers.for_each([&](const Header& h) {
      TULLE_CHECK(h.value.find_first_of(std::string_view("\r\n\0", 3)) == Bytes::npos);
      append(text, h.name, ":", h.value, "\n");
    });
  }
  // Whatever was accepted can be written, and reads back the same.
  void on_request(H1Parser& parser) {
    RequestHead& r = parser.request();
    append(text, r.method, " ", r.scheme, " ", r.authority, " ", r.path, static_cast<int>(r.form), parser.keep_alive(),
           static_cast<int>(parser.framing()), parser.content_length());
    fields(r.headers);
    Buffer out;
    BodyFraming body{parser.framing(), parser.content_length()};
    auto written = encode_request(r, body, out);
    TULLE_CHECK(written);
    H1Parser again(Role::kRequest, lenient());
    Bytes in = out.view();
    TULLE_CHECK(again.next(in) == H1Parser::Event::kRequest);
    RequestHead& s = again.request();
    TULLE_CHECK(s.method == r.method && s.path == r.path && s.form == r.form && s.authority == r.authority);
    TULLE_CHECK(again.framing() == parser.framing() && again.content_length() == parser.content_length());
    TULLE_CHECK(in.empty());
    strip_hop_by_hop(r.headers);
    TULLE_CHECK(!r.headers.get(HeaderId::kConnection) && !r.headers.get(HeaderId::kUpgrade));
  }
  void on_response(ResponseHead& r) {
    append(text, r.status, r.reason);
    fields(r.headers);
    Buffer out;
    auto written = encode_response(r, BodyFraming::chunked(), out);
    TULLE_CHECK(written);
  }
  static Limits lenient() {
    Limits limits;
    limits.request_line *= 2;
    limits.header_block *= 2;
    limits.header_fields += 2;
    limits.allow_missing_host = true;
    return limits;
  }

  bool expect_more = false;
  Method expect_more_method = Method::kGet;
};

// Parses `in` whole, byte by byte, and in two; all three must say the same.
template <class Begin>
void check_splits(Role role, Bytes in, size_t split, Begin begin) {
  auto run = [&](size_t piece) {
    H1Transcript t;
    H1Parser parser(role, Limits());
    begin(parser, t);
    if (piece == 0) {
      t.feed(parser, in.substr(0, split % (in.size() + 1)));
      t.feed(parser, in.substr(split % (in.size() + 1)));
    } else {
      for (size_t i = 0; i < in.size(); i += piece) t.feed(parser, in.substr(i, piece));
    }
    t.flush();
    append(t.text, "eof", static_cast<int>(parser.finish_eof()));
    return t.text;
  };
  std::string whole = run(in.size() + 1);
  TULLE_CHECK(run(0) == whole);
  TULLE_CHECK(run(1) == whole);
}

}  // namespace tulle::http
