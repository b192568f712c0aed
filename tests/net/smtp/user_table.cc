#include "tests/net/smtp/user_table.h"

#include "core/assert.h"

namespace postern::net::smtp::test {
namespace {

using sasl::CredentialKind;
using sasl::PasswordVerdict;
using sasl::ScramHash;
using Standing = sasl::Credential::Standing;

constexpr std::string_view kSalt = "sixteen octets!!";

ScramHash hash_of(CredentialKind kind) {
  return kind == CredentialKind::scram_sha_1 ? ScramHash::sha_1 : ScramHash::sha_256;
}

sasl::Credential decoy(CredentialKind kind, std::string_view name) {
  static constexpr std::array<std::byte, 32> kSecret{};
  sasl::Credential made;
  made.scram = sasl::decoy_scram_keys(hash_of(kind), kSecret, name, sasl::kScramIterationsMin);
  made.cram = sasl::decoy_cram_verifier(kSecret, name);
  return made;
}

}  // namespace

void UserTable::add(const policy::UserRecord& record, std::string_view password) {
  policy::UserRecord kept = record;
  const auto name = policy::canonical_user_name(record.name);
  POSTERN_ASSERT(name.has_value());
  kept.name = *name;
  for (std::string& sender : kept.senders) {
    const auto canonical = policy::canonical_sender(sender);
    POSTERN_ASSERT(canonical.has_value());
    sender = *canonical;
  }
  users_[*name] = {std::make_shared<const policy::UserRecord>(std::move(kept)), std::string(password), {}};
}

const sasl::Credential& UserTable::credential(CredentialKind kind, User& user) {
  std::optional<sasl::Credential>& kept = user.credentials[static_cast<std::size_t>(kind)];
  if (kept) return *kept;
  kept.emplace(decoy(kind, user.account->name));
  kept->standing = user.account->disabled ? Standing::disabled : Standing::usable;
  if (kind == CredentialKind::cram_md5) {
    const auto verifier = sasl::derive_cram_verifier(user.password);
    POSTERN_ASSERT(verifier.has_value());
    kept->cram = *verifier;
  } else if (kind != CredentialKind::user_exists) {
    const auto keys = sasl::derive_scram_keys(hash_of(kind), user.password, kSalt, sasl::kScramIterationsMin);
    POSTERN_ASSERT(keys.has_value());
    kept->scram = *keys;
  }
  return *kept;
}

void UserTable::answer(ServerSession& session, const sasl::Step& question) {
  const auto name = policy::canonical_user_name(question.user);
  const auto found = name ? users_.find(*name) : users_.end();
  const bool is_known = found != users_.end();
  const Account account = is_known ? found->second.account : nullptr;
  if (question.kind == sasl::Step::Kind::need_password_check) {
    PasswordVerdict verdict = PasswordVerdict::wrong;
    if (is_known && question.password == found->second.password) {
      verdict = account->disabled ? PasswordVerdict::disabled : PasswordVerdict::right;
    }
    return session.answer_password(verdict, verdict == PasswordVerdict::right ? account : nullptr);
  }
  session.answer_credential(is_known ? credential(question.credential, found->second)
                                     : decoy(question.credential, name ? *name : std::string(question.user)),
                            account);
}

}  // namespace postern::net::smtp::test
