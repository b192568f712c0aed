// Drives a ServerSession in memory: feeds octets cut in a chosen way, answers its questions, keeps what it hands out.
//
// TLS is made up: while a handshake is awaited, what the client says is lost, as it is in net/inbound_tls (there, what
// comes after the reply is the handshake's). Random numbers are always the same ones.
// Used by the dialog tests, by the unit tests of the session, and by the fuzzer, whose oracle is that the cuts change
// nothing. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "core/pool.h"
#include "net/smtp/server_session.h"
#include "policy/login_table.h"
#include "policy/policy_snapshot.h"
#include "policy/rate_limits.h"

#include "tests/net/smtp/dialog.h"
#include "tests/net/smtp/user_table.h"

namespace postern::net::smtp::test {

enum class Cut { whole, by_octet, random };

struct StoredMessage {
  std::string content;
  std::uint16_t flags = 0;
  std::string head;
  std::string trace;

  bool operator==(const StoredMessage&) const = default;
};

// The server as one session sees it. Aborts the test when the settings are not good.
std::unique_ptr<policy::PolicySnapshot> make_snapshot(const std::string& settings_text);

class MemoryDriver {
 public:
  MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client, std::size_t pool_bytes = 1 << 20);
  // With a pool that outlives it. Drivers of one pool die in the reverse order.
  MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client, core::BlockPool& pool);
  ~MemoryDriver();

  void greet();
  void feed(std::string_view octets, Cut cut, std::mt19937_64& random);
  void feed(std::string_view octets);  // whole
  // The client's TLS handshake, which the session must await. `facts` outlives the driver.
  void handshake(const TlsFacts& facts);
  [[nodiscard]] bool awaits_handshake() const { return awaits_handshake_; }
  // Who can log in; outlives the driver. None: every login is answered by "unavailable".
  void set_users(UserTable& users) { users_ = &users; }

  ServerSession& session() { return *session_; }
  core::BlockPool& pool() { return pool_; }
  policy::LoginTable& logins() { return logins_; }
  policy::RateLimits& rates() { return rates_; }
  core::Time& now() { return now_; }

  [[nodiscard]] bool is_closed() const { return closed_; }
  [[nodiscard]] bool is_dropped() const { return dropped_; }
  // Everything the server said so far.
  [[nodiscard]] const std::string& said() const { return said_; }
  [[nodiscard]] const std::vector<StoredMessage>& stored() const { return stored_; }
  [[nodiscard]] const std::vector<std::string>& rejected() const { return rejected_; }
  // "success anna@example.net PLAIN", "failure anna@example.net PLAIN bad-credentials guess"
  [[nodiscard]] const std::vector<std::string>& logins_ended() const { return logins_ended_; }
  [[nodiscard]] const std::vector<std::uint64_t>& admitted() const { return admitted_; }
  [[nodiscard]] std::uint64_t aborted() const { return aborted_; }
  // A broken promise of the session (events out of order and the like); empty: none so far.
  [[nodiscard]] const std::string& broken() const { return broken_; }

  bool next_admit = true;
  StoreResult next_store = StoreResult::stored;
  bool next_login = true;     // false: the next question about a login is answered by "unavailable"
  bool late_answers = false;  // questions about logins are answered when the octets behind them have moved

 private:
  [[nodiscard]] World world();
  void pump(std::string_view octets);
  bool handle(const Step& step, std::string_view octets);
  void must(bool holds, const char* what);
  void begin_message();
  void end_message(const Step& step);
  void note_rejected(const Step& step);
  void note_login(const Step& step);
  void answer_login();

  const policy::PolicySnapshot& snapshot_;
  std::unique_ptr<core::BlockPool> own_pool_;
  core::BlockPool& pool_;
  std::size_t pool_used_before_;
  policy::LoginTable logins_;
  policy::RateLimits rates_;
  UserTable* users_ = nullptr;
  core::Time now_;
  std::vector<char> reply_memory_;
  ReplyBuffer replies_;
  std::unique_ptr<ServerSession> session_;
  std::string said_;
  std::string content_;
  std::string trace_;
  std::vector<StoredMessage> stored_;
  std::vector<std::string> rejected_;
  std::vector<std::string> logins_ended_;
  const sasl::Step* asked_ = nullptr;  // the login's question, until it is answered
  std::vector<std::uint64_t> admitted_;
  std::uint64_t aborted_ = 0;
  std::string broken_;
  bool in_message_ = false;
  bool awaits_handshake_ = false;
  bool closed_ = false;
  bool dropped_ = false;
};

// Plays the dialog. `cut`: how the client's octets come; whole: all that stand between two directives at once.
// Empty: all went as written; else what did not, with its line.
std::string play(const Dialog& dialog, Cut cut, std::uint64_t seed);

}  // namespace postern::net::smtp::test
