// What both ends of an exchange over HTTP/2 share: the half that sends. Inside of this folder.
#pragma once

#include <utility>

#include "libs/httpio/h2_conn.h"

namespace tulle::httpio {

template <class Base>
class H2Exchange : public Base {
 public:
  void write(Buffer&& bytes) override {
    if (!conn_ || sent_end_) return;
    this->count_out(bytes.size());
    conn_->session().write_data(id_, std::move(bytes));
    conn_->flush_later();
  }
  Result<> finish(const http::Headers* trailers) override {
    if (!conn_ || sent_end_) return {};
    TULLE_TRY_VOID(conn_->session().end_data(id_, trailers));
    sent_end_ = true;
    conn_->flush_later();
    return {};
  }
  void reset(http::H2Code code) override {
    if (!conn_) return;
    conn_->session().reset(id_, code);
    sent_end_ = true;
    conn_->flush_later();
  }

  bool crowded() const override { return conn_ && conn_->session().crowded(); }
  void make_room() override {
    if (!conn_) return;
    conn_->session().want_room(id_);
    if (crowded()) conn_->flush_soon();  // what one turn gathers for a fast peer is no crowd
  }

 protected:
  H2Exchange(H2Conn& conn, int32_t id) : Base(conn.stream().reactor()), conn_(&conn), id_(id) {}
  void consumed(size_t n) override {
    if (!conn_) return;
    conn_->session().consume(id_, n);
    conn_->flush_later();
  }
  size_t unsent() const override { return conn_ ? conn_->session().pending(id_) : 0; }
  bool flushing() override {
    if (unsent() == 0) return false;
    conn_->session().tell_sent(id_);
    return true;
  }
  // The stream has ended. Unread bytes would otherwise be lost to the connection's window.
  void detach() {
    conn_->session().consume(id_, this->unread());
    conn_ = nullptr;
  }

  H2Conn* conn_;  // null once the connection or the stream is gone
  int32_t id_;
  bool sent_end_ = false;
};

Error reset_error(http::H2Code code, bool by_peer, Side side);

}  // namespace tulle::httpio
