// Who wants to log in: the user's name, as far as a SASL mechanism's messages show it (for the guess guard and the
// log), and whether it is the owner of the mailbox who does.
//
// Nothing is verified here; that is the store's. Pure, no allocation. Thread: any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace postern::net::mailbox {

inline constexpr std::size_t kUserBytesMax = 255;
inline constexpr std::size_t kMechanismBytesMax = 20;  // RFC 4422 section 3.1

class UserName {
 public:
  [[nodiscard]] std::string_view view() const { return {text_.data(), size_}; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool assign(std::string_view text);  // false, and empty: too long
  [[nodiscard]] bool append(char octet);
  void clear() { size_ = 0; }

 private:
  std::array<char, kUserBytesMax> text_;
  std::uint8_t size_ = 0;
};

enum class Standing : std::uint8_t {
  mailbox_user,
  master_user,  // with somebody else's password: the authorization identity is another one, or the name "user*master"
  unseen,  // the mechanism does not show who it is
};

// How a mechanism is spoken through a proxy that does not know its secrets.
struct MechanismTraits {
  enum class Name : std::uint8_t { plain, login, cram_md5, digest_md5, scram, oauthbearer, xoauth2, unseen };
  Name name = Name::unseen;   // whose messages show the user
  bool client_first = false;  // the store's first challenge is empty: ours will do
  bool server_first = false;  // an initial response is an error in the client
  bool is_plaintext = true;   // whoever reads the connection can log in afterwards: needs encryption
  bool sends_initial = true;  // an initial response may go along with the command
};

// Of any name, in capitals; a mechanism that is not known is taken for plaintext.
[[nodiscard]] MechanismTraits traits_of(std::string_view mechanism) noexcept;

// Never offered and never spoken: -PLUS (bound to a TLS connection that ends here), EXTERNAL (the store would see our
// certificate, not the client's), ANONYMOUS (nobody's mailbox), and what is no mechanism's name.
[[nodiscard]] bool is_spoken_through(std::string_view mechanism) noexcept;

// Reads the first message of the client, decoded. `separator`: between user and master user, 0: there is none. Nothing:
// not what the mechanism says, or a name that is empty or longer than kUserBytesMax.
[[nodiscard]] std::optional<Standing> read_identity(MechanismTraits::Name name, std::string_view message,
                                                    char separator, UserName& user) noexcept;

// Of a name that was given outside of SASL.
[[nodiscard]] Standing standing_of(std::string_view user, char separator) noexcept;

}  // namespace postern::net::mailbox
