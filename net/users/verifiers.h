// Verifiers made from a password, for those mechanisms that never show it to the server.
//
// Blocks: kScramIterations HMACs for each of the SCRAM ones (13 to 50 ms). Thread: any.
#pragma once

#include <string_view>

#include "net/users/user_store.h"

namespace postern::net::users {

struct VerifierKinds {
  bool scram_sha_256 = true;
  bool scram_sha_1 = false;
  bool cram_md5 = false;  // as good as the password to who steals it: only where the settings ask for it
};

// Fresh salts. Empty where it was not asked for, or where the password cannot be prepared (SASLprep).
[[nodiscard]] Verifiers derive_verifiers(std::string_view password, const VerifierKinds& kinds);

// Those that an imported password hash is by itself ({SCRAM-SHA-256}, {SCRAM-SHA-1}; {CRAM-MD5} where `kinds` has it).
[[nodiscard]] Verifiers verifiers_of_hash(std::string_view stored, const VerifierKinds& kinds);

}  // namespace postern::net::users
