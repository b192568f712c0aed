// TLS of a connection to a next hop: the handshake behind STARTTLS, records in and out, and what becomes of a hop where it
// fails.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "core/assert.h"
#include "net/delivery/outbound.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;

// A hop where TLS fails gets what may go in plain text that way, and TLS is tried again after this.
constexpr std::int64_t kAvoidedSeconds = 600;
constexpr std::int64_t kAlertSeconds = 5;
constexpr std::size_t kRecordBytes = 16384;

tls::ClientPeer tls_peer(const policy::NextHop& hop) { return {hop.host, hop.port, hop.address.has_value()}; }

}  // namespace

smtp::StartTls Outbound::start_tls_for(const RouteTarget& target, std::size_t hop, std::int64_t boot_ns) {
  switch (target.tls) {
    case policy::HopTls::none:
      break;
    case policy::HopTls::may:
      return target.tls_context->avoids(tls_peer(target.to[hop]), boot_ns) ? smtp::StartTls::never
                                                                           : smtp::StartTls::if_offered;
    case policy::HopTls::encrypt:
    case policy::HopTls::verify:
      POSTERN_ASSERT(target.tls_context != nullptr);
      return smtp::StartTls::required;
  }
  return smtp::StartTls::never;
}

// What may go in plain text does so at once, over a new connection. Not for an injection: somebody is on the line.
bool Outbound::gives_up_tls() const {
  return target_->tls == policy::HopTls::may && session_.tried_tls() && !session_.is_injected();
}

void Outbound::avoid_tls(std::string_view why) {
  server_.counters().outbound_tls_failed.add();
  target_->tls_context->avoid(tls_peer(target_->to[hop_]), server_.now().boot_ns + kAvoidedSeconds * kNanosecondsPerSecond);
  core::LogLine(server_.log(), server_.now(), core::Severity::warning, "tls_avoided")
      .add("relay", peer_)
      .add("reason", why)
      .add("seconds", static_cast<std::uint64_t>(kAvoidedSeconds))
      .flood_key(std::hash<std::string>{}(target_->key));
}

void Outbound::begin_handshake() {
  tls_wanted_ = false;
  if (!held_.empty()) {
    held_.clear(server_.links(), server_.ring());
    session_.break_injected();
    return pump();
  }
  tls_ = std::make_unique<TlsChannel>(target_->tls_context, tls_peer(target_->to[hop_]), server_.now(),
                                      server_.session_pool());
  handshake_until_ns_ = server_.now().boot_ns + session_.timeout_seconds() * kNanosecondsPerSecond;
  pump();
}

// Decrypts until there is plain text, or nothing is left to decrypt.
void Outbound::decrypt() {
  while (tls_->plain().empty() && !tls_over_) {
    if (tls_->is_open() && held_.empty() && !tls_->session().has_pending_plain()) return;
    const tls::Progress progress = tls_->receive(held_.front(server_.links(), server_.ring()));
    held_.consume(server_.links(), server_.ring(), progress.consumed);
    if (tls_->take_opened()) {
      handshake_until_ns_ = 0;
      server_.counters().outbound_tls_handshakes.add();
      if (tls_->session().resumed()) server_.counters().outbound_tls_resumed.add();
      session_.tls_started();
    }
    switch (progress.status) {
      case tls::Status::need_input:
        if (held_.empty()) return;
        break;
      case tls::Status::need_plain:
        break;
      case tls::Status::need_output:
        return;  // when what waits was sent
      case tls::Status::closed:
        input_ended_ = true;
        [[fallthrough]];
      case tls::Status::failed:
        tls_over_ = true;
        tls_failed_ = progress.status == tls::Status::failed;
        held_.clear(server_.links(), server_.ring());
    }
  }
}

std::string_view Outbound::input() {
  if (tls_ == nullptr) return held_.front(server_.links(), server_.ring());
  decrypt();
  return tls_->is_open() ? tls_->plain() : std::string_view{};
}

bool Outbound::has_input() const {
  if (tls_ == nullptr) return !held_.empty();
  return !tls_->plain().empty() || !held_.empty() || tls_->session().has_pending_plain();
}

void Outbound::consume(std::size_t octets) {
  if (tls_ == nullptr) return held_.consume(server_.links(), server_.ring(), octets);
  if (octets != 0) tls_->consume(octets);
}

std::string Outbound::tls_trouble() const {
  const std::string_view why = tls_->session().failure();
  const std::string_view what = tls_->is_open() ? "TLS failed: " : "the TLS handshake with the next server failed: ";
  return std::string(what).append(why.empty() ? "no memory" : why);
}

// Commands, and what TLS itself has to say. False: the connection is over, or about to be.
void Outbound::send_encrypted() {
  if (send_.in_flight) return;
  if (tls_failed_) {
    // The alert tells the other side why; then, in on_sent(), the end.
    if (tls_->output().empty()) return lose("4.7.5", tls_trouble());
    server_.worker().timers().set(timer_, server_.now().boot_ns + kAlertSeconds * kNanosecondsPerSecond);
    return server_.ring().send(socket_, tls_->begin_send(), send_);
  }
  if (sending_content()) return;  // goes with it
  if (tls_->is_open() && !commands_.view().empty()) {
    const std::size_t taken = tls_->send(unsent_commands());
    if (taken == 0 && tls_->output().empty()) return lose("4.3.0", "no memory for TLS");
    commands_taken_ += taken;
    if (commands_taken_ == commands_.view().size()) clear_commands();
  }
  if (!tls_->output().empty()) server_.ring().send(socket_, tls_->begin_send(), send_);
}

// The parts in vector_, as many as one send has room for. Small ones share a record: each costs 22 octets and a pass
// through the cipher's setup.
void Outbound::send_encrypted_content() {
  std::array<char, kRecordBytes> gathered;
  while (vector_at_ < vector_count_) {
    std::string_view part(static_cast<const char*>(vector_[vector_at_].iov_base), vector_[vector_at_].iov_len);
    if (part.size() < kRecordBytes && vector_at_ + 1 < vector_count_) {
      std::size_t n = 0;
      for (std::size_t i = vector_at_; i < vector_count_ && n < gathered.size(); ++i) {
        const std::size_t octets = std::min(vector_[i].iov_len, gathered.size() - n);
        std::memcpy(gathered.data() + n, vector_[i].iov_base, octets);
        n += octets;
      }
      part = {gathered.data(), n};
    }
    const std::size_t taken = tls_->send(part);
    std::size_t left = taken;
    while (vector_at_ < vector_count_ && left >= vector_[vector_at_].iov_len) left -= vector_[vector_at_++].iov_len;
    if (vector_at_ < vector_count_) {
      iovec& rest = vector_[vector_at_];
      rest = {static_cast<char*>(rest.iov_base) + left, rest.iov_len - left};
    }
    if (taken < part.size()) break;
  }
  if (vector_at_ == vector_count_) clear_commands();
  if (tls_->output().empty()) return lose("4.3.0", "no memory for TLS");
  server_.ring().send(socket_, tls_->begin_send(), send_);
}

}  // namespace postern::net
