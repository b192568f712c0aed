#include "net/admin/user_place.h"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>

#include "net/admin/check_report.h"
#include "net/admin/load_settings.h"

namespace postern::net::admin {
namespace {

bool offers_scram_sha_1(const policy::Settings& settings) {
  return std::any_of(settings.services.begin(), settings.services.end(), [](const policy::ServiceSettings& service) {
    return std::any_of(service.auth.mechanisms.begin(), service.auth.mechanisms.end(),
                       [](const std::string& name) { return name == "SCRAM-SHA-1" || name == "SCRAM-SHA-1-PLUS"; });
  });
}

}  // namespace

int complain(std::string_view text) {
  fmt::print(stderr, "postern: {}{}", text, text.ends_with('\n') ? "" : "\n");
  return 1;
}

std::string no_such_user(std::string_view name) {
  const auto canonical = policy::canonical_user_name(name);
  return canonical ? *canonical + ": there is no such user" : canonical.error();
}

std::expected<UserPlace, std::string> find_user_place(const UserArguments& arguments) {
  UserPlace place;
  if (arguments.store.empty() || arguments.names_config) {
    const LoadedSettings loaded = load_settings(arguments.config);
    if (!loaded.read_error.empty()) {
      return std::unexpected(loaded.read_error + " (--config names the settings, or --store the file of the users)");
    }
    if (!loaded.settings) {
      return std::unexpected("the settings cannot be used:\n" + diagnostics_text(arguments.config, loaded.diagnostics));
    }
    const policy::Settings& settings = *loaded.settings;
    if (!settings.users.dovecot.empty() && arguments.store.empty()) {
      return std::unexpected(arguments.config + ": users come from Dovecot (users.dovecot), and are managed there");
    }
    place.store = settings.users.store;
    place.words = settings.local_domains;
    place.words.push_back(settings.hostname);
    place.kinds.cram_md5 = settings.users.cram_md5;
    place.kinds.scram_sha_1 = offers_scram_sha_1(settings);
  }
  if (!arguments.store.empty()) place.store = arguments.store;
  place.kinds.cram_md5 = place.kinds.cram_md5 || arguments.cram_md5;
  return place;
}

}  // namespace postern::net::admin
