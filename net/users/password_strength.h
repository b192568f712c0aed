// Is this password fit for an account that the whole Internet may try? zxcvbn's verdict, with a reason in words.
//
// Blocks for some milliseconds (zxcvbn's time grows with the square of the length and worse: it sees the first 100
// octets). Pure otherwise; thread: any. Copies of the password that we make are wiped; those inside zxcvbn are freed as
// they are.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace postern::net::users {

inline constexpr std::size_t kPasswordCharactersMin = 8;
// zxcvbn's best class, "very unguessable": more than 10^10 guesses.
inline constexpr double kPasswordBitsMin = 33.3;

struct Strength {
  bool acceptable = false;
  double bits = 0;     // log2 of the guesses an attacker needs who knows people's habits
  std::string reason;  // empty when acceptable; a sentence that never repeats the password
};

// `user`: the account's name; `words`: what else an attacker would try for this account (domains, host name).
[[nodiscard]] Strength judge_password(std::string_view password, std::string_view user,
                                      std::span<const std::string> words);

}  // namespace postern::net::users
