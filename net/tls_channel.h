// TLS of one connection, a client's or one to a next hop: the session, and memory of the worker's pool that it has only while octets wait in it.
//
// Thread: one, its worker's. Lifetime: as long as its connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/clock.h"
#include "core/pool.h"
#include "net/smtp/server_session.h"
#include "net/tls/session.h"

namespace postern::net {

class TlsChannel {
 public:
  // `service`: index into the services of `contexts`.
  TlsChannel(const tls::ServerContexts& contexts, std::size_t service, const core::Time& now, core::BlockPool& pool);
  // Towards a next hop: begins when receive() is called without octets.
  TlsChannel(std::shared_ptr<const tls::ClientContext> context, tls::ClientPeer peer, const core::Time& now,
             core::BlockPool& pool);
  ~TlsChannel();
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;

  // Takes from `cipher` what it can. Requires that plain() is empty. Afterwards there may be plain(), and output(), also
  // while a send is under way. Status `failed` also when the pool has no memory.
  tls::Progress receive(std::string_view cipher);
  // Decrypted, and not used yet.
  [[nodiscard]] std::string_view plain() const { return {plain_ + plain_begin_, plain_end_ - plain_begin_}; }
  void consume(std::size_t octets);

  // Encrypts what fits; returns the octets taken.
  std::size_t send(std::string_view plain);
  // close_notify, with what is sent last.
  void close();
  // Octets for the socket, that no send has taken yet.
  [[nodiscard]] std::string_view output() const { return output_.view(); }
  // Takes them for a send, one at a time: they stay where they are until output_sent().
  [[nodiscard]] std::string_view begin_send();
  void output_sent();

  // True once, when the handshake is through: facts() are there from then on.
  [[nodiscard]] bool take_opened();
  [[nodiscard]] bool is_open() const { return opened_; }
  [[nodiscard]] const smtp::TlsFacts& facts() const { return facts_; }
  [[nodiscard]] const tls::Session& session() const { return session_; }

 private:
  // A whole record's plaintext, room for a flight of the handshake or a batch of replies, and for much at once.
  static constexpr std::size_t kPlainBytes = 16384;
  static constexpr std::size_t kOutputBytes = 8192;
  static constexpr std::size_t kBulkBytes = core::BlockPool::kLargest;

  struct Block {
    char* memory = nullptr;
    std::size_t bytes = 0;
  };
  bool take_output(std::size_t bytes = kOutputBytes);
  void give_back(Block& block);

  core::BlockPool& pool_;
  char* plain_ = nullptr;
  std::size_t plain_begin_ = 0;
  std::size_t plain_end_ = 0;
  Block output_block_;
  Block sending_;
  tls::OutputBuffer output_{nullptr, 0};
  bool opened_ = false;
  smtp::TlsFacts facts_;
  std::array<std::uint8_t, 32> exporter_{};
  tls::Session session_;
};

}  // namespace postern::net
