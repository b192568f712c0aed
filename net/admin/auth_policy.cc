#include "net/admin/auth_policy.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "net/sasl/json.h"
#include "policy/user.h"

namespace postern::net::admin {
namespace {

using Act = AuthPolicyDecision::Act;

struct Fields {
  std::optional<std::string_view> login;
  std::optional<std::string_view> remote;
  std::optional<std::string_view> protocol;
  std::optional<std::string_view> mechanism;
  std::optional<std::string_view> master_user;
  std::optional<std::string_view> fail_type;
  std::optional<bool> success;
  std::optional<bool> policy_reject;
};

// Takes the members of the document's object; those of what is inside it are other programs' business.
class Reader final : public sasl::JsonVisitor {
 public:
  explicit Reader(Fields& fields) : fields_(fields) {}

  bool visit(sasl::JsonPath path, const sasl::JsonValue& value) override {
    using sasl::JsonKind;
    if (path.empty()) return value.kind == JsonKind::object_begin || value.kind == JsonKind::object_end;
    if (path.size() != 1) return true;
    if (auto* text = text_field(path.front().key)) {
      // Told twice, it could mean one thing here and another to who wrote it.
      if (value.kind != JsonKind::string || *text) return false;
      *text = value.string;
    } else if (auto* flag = flag_field(path.front().key)) {
      if (value.kind != JsonKind::boolean || *flag) return false;
      *flag = value.boolean;
    }
    return true;
  }

 private:
  std::optional<std::string_view>* text_field(std::string_view key) {
    if (key == "login") return &fields_.login;
    if (key == "remote") return &fields_.remote;
    if (key == "protocol") return &fields_.protocol;
    if (key == "mech") return &fields_.mechanism;
    if (key == "master_user") return &fields_.master_user;
    if (key == "fail_type") return &fields_.fail_type;
    return nullptr;
  }
  std::optional<bool>* flag_field(std::string_view key) {
    if (key == "success") return &fields_.success;
    if (key == "policy_reject") return &fields_.policy_reject;
    return nullptr;
  }

  Fields& fields_;
};

bool is_one_of(const std::optional<std::string_view>& text, std::initializer_list<std::string_view> words) {
  return text && std::ranges::any_of(words, [&](std::string_view word) { return core::equals_ignoring_case(*text, word); });
}

std::string user_name(std::string_view login) {
  auto name = policy::canonical_user_name(login);
  return name ? std::move(*name) : std::string(login.substr(0, policy::kUserNameBytesMax));
}

AuthPolicyDecision without(Act act, std::string_view why) {
  return {.act = act, .why = why, .machine = {}, .user = {}};
}

Act judge_success(const Fields& fields, std::string_view user, std::string_view& why) {
  if (user.empty()) return why = "a login without a name", Act::ignore;
  // The name that Dovecot gives to ANONYMOUS, where its attributes do not tell the mechanism.
  if (is_one_of(fields.mechanism, {"anonymous"}) || user == "anonymous") return Act::ignore;
  if (fields.master_user && !fields.master_user->empty()) return Act::ignore;
  if (is_one_of(fields.protocol, {"pop3", "imap"})) return Act::login;
  return is_one_of(fields.protocol, {"smtp", "lmtp", "doveadm"}) ? Act::ignore : Act::success;
}

Act judge_failure(const Fields& fields) {
  if (fields.policy_reject.value_or(false)) return Act::ignore;
  if (is_one_of(fields.fail_type, {"policy", "internal", "expired", "disabled"})) return Act::ignore;
  return is_one_of(fields.protocol, {"smtp", "lmtp", "doveadm"}) ? Act::ignore : Act::failure;
}

}  // namespace

AuthPolicyDecision decide_auth_policy(std::string_view command, std::span<char> body) {
  const bool is_report = command == "report";
  if (!is_report && command != "allow") return without(Act::refuse, "the command must be allow or report");
  Fields fields;
  Reader reader(fields);
  if (!sasl::read_json(body, reader)) {
    return without(Act::refuse, "the body must be a JSON object whose members are as Dovecot writes them");
  }
  if (is_report && !fields.success) return without(Act::refuse, "a report tells success as true or false");
  if (!fields.remote || fields.remote->empty()) {
    // A login on the machine itself has no address; one that every request lacks is an attribute left out.
    return without(Act::ignore, fields.remote ? "" : "no 'remote' (auth_policy_request_attributes)");
  }
  const auto machine = core::IpAddress::parse(*fields.remote);
  if (!machine) return without(Act::refuse, "'remote' is no IP address");
  AuthPolicyDecision decision;
  decision.machine = *machine;
  decision.user = user_name(fields.login.value_or(""));
  if (!is_report) {
    decision.act = Act::check;
  } else if (!fields.protocol) {
    decision.act = Act::ignore;
    decision.why = "no 'protocol' (auth_policy_request_attributes)";
  } else {
    decision.act = *fields.success ? judge_success(fields, decision.user, decision.why) : judge_failure(fields);
  }
  return decision;
}

}  // namespace postern::net::admin
