#include "net/tls_channel.h"

#include <cstring>
#include <span>
#include <utility>

#include "core/assert.h"

namespace postern::net {

TlsChannel::TlsChannel(const tls::ServerContexts& contexts, std::size_t service, const core::Time& now,
                       core::BlockPool& pool)
    : pool_(pool), session_(contexts, service, now) {}

TlsChannel::TlsChannel(std::shared_ptr<const tls::ClientContext> context, tls::ClientPeer peer, const core::Time& now,
                       core::BlockPool& pool)
    : pool_(pool), session_(std::move(context), std::move(peer), now) {}

TlsChannel::~TlsChannel() {
  consume(plain().size());
  give_back(output_block_);
  give_back(sending_);
}

bool TlsChannel::take_output(std::size_t bytes) {
  if (output_block_.memory != nullptr) return true;
  output_block_ = {pool_.take(bytes), bytes};
  if (output_block_.memory == nullptr) return bytes > kOutputBytes && take_output();
  output_ = tls::OutputBuffer(output_block_.memory, bytes);
  return true;
}

void TlsChannel::give_back(Block& block) {
  if (block.memory != nullptr) pool_.give_back(block.memory, block.bytes);
  block = {};
}

tls::Progress TlsChannel::receive(std::string_view cipher) {
  POSTERN_ASSERT(plain().empty());
  if (plain_ == nullptr) plain_ = pool_.take(kPlainBytes);
  if (plain_ == nullptr || !take_output()) return {0, 0, tls::Status::failed};
  const tls::Progress progress = session_.receive(cipher, {plain_, kPlainBytes}, output_);
  plain_begin_ = 0;
  plain_end_ = progress.plain;
  if (progress.plain == 0) consume(0);
  if (output_.empty()) give_back(output_block_);
  return progress;
}

void TlsChannel::consume(std::size_t octets) {
  plain_begin_ += octets;
  if (plain_begin_ < plain_end_ || plain_ == nullptr) return;
  explicit_bzero(plain_, plain_end_);  // passwords come this way
  pool_.give_back(std::exchange(plain_, nullptr), kPlainBytes);
  plain_begin_ = plain_end_ = 0;
}

std::size_t TlsChannel::send(std::string_view plain) {
  return take_output(plain.size() > kOutputBytes / 2 ? kBulkBytes : kOutputBytes) ? session_.send(plain, output_) : 0;
}

void TlsChannel::close() {
  if (take_output()) session_.close(output_);
}

std::string_view TlsChannel::begin_send() {
  POSTERN_ASSERT(sending_.memory == nullptr);
  sending_ = std::exchange(output_block_, {});
  const std::string_view octets = output_.view();
  output_ = tls::OutputBuffer(nullptr, 0);
  return octets;
}

void TlsChannel::output_sent() { give_back(sending_); }

bool TlsChannel::take_opened() {
  if (opened_ || !session_.handshake_done()) return false;
  opened_ = true;
  facts_.protocol = session_.protocol();
  facts_.cipher = session_.cipher();
  // Below TLS 1.3 clients bind by tls-unique (RFC 5802 section 6), which is not spoken here: offered -PLUS, they would
  // choose it and fail.
  const bool binds = facts_.protocol == "TLSv1.3" && session_.channel_binding(exporter_);
  if (binds) facts_.exporter = std::as_bytes(std::span(exporter_));
  if (const tls::ClientCertificate* certificate = session_.client_certificate()) {
    facts_.certificate_name = certificate->name;
  }
  return true;
}

}  // namespace postern::net
