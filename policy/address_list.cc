// Parsing and matching of the operator's lists; the forms are in the header.
#include "policy/address_list.h"

#include <array>
#include <utility>
#include <vector>

namespace postern::policy {
namespace {

// RFC 5321 section 4.5.3.1.1 gives a local part 64 octets; quotes and backslashes may double that.
constexpr std::size_t kLocalPartMax = 256;

// The local part without its quotes: "a b"@x and a\ b written any way are one address. Empty: it does not
// fit.
class PlainLocalPart {
 public:
  explicit PlainLocalPart(std::string_view written) noexcept {
    const bool quoted = written.size() >= 2 && written.front() == '"' && written.back() == '"';
    if (quoted) written = written.substr(1, written.size() - 2);
    for (std::size_t i = 0; i < written.size(); ++i) {
      if (quoted && written[i] == '\\' && i + 1 < written.size()) ++i;
      if (size_ + 1 >= bytes_.size()) {
        size_ = 0;
        return;
      }
      bytes_[size_++] = written[i];
    }
    bytes_[size_++] = '@';
  }
  [[nodiscard]] std::string_view with_at() const { return {bytes_.data(), size_}; }

 private:
  std::array<char, kLocalPartMax> bytes_;
  std::size_t size_ = 0;
};

// Does it look as if an address was meant? Then say what is wrong with that address, not with a domain.
bool looks_like_address(std::string_view text) {
  if (text.find(':') != std::string_view::npos || text.find('/') != std::string_view::npos) return true;
  return !text.empty() && text.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

std::expected<AddressEntry, std::string> AddressEntry::parse(std::string_view text) {
  AddressEntry entry;
  const std::string shown = "'" + std::string(text) + "'";
  if (text == "*") return entry;
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    const DomainName domain(text.substr(at + 1));
    const PlainLocalPart local_part(text.substr(0, at));
    if (at == 0) return std::unexpected(shown + " has nothing before the @; a whole domain is written without it");
    if (domain.empty()) return std::unexpected(shown + " has no valid domain behind the @");
    if (local_part.with_at().empty()) return std::unexpected(shown + " has a local part that is too long");
    entry.kind = AddressEntryKind::mailbox;
    entry.name.append(local_part.with_at()).append(domain.text());
    return entry;
  }
  if (looks_like_address(text)) {
    std::string why;
    const auto prefix = core::IpPrefix::parse(text, &why);
    if (!prefix) return std::unexpected(why);
    entry.kind = AddressEntryKind::prefix;
    entry.prefix = *prefix;
    return entry;
  }
  const bool below = text.starts_with('.');
  const DomainName domain(text.substr(below ? 1 : 0));
  if (domain.empty()) {
    return std::unexpected(shown +
                           " is neither an address (\"192.0.2.1\"), a prefix (\"192.168.0.0/16\"), a domain "
                           "(\"example.net\", \".example.net\" for those below it) nor a mail address "
                           "(\"user@example.net\")");
  }
  entry.kind = below ? AddressEntryKind::subdomains : AddressEntryKind::domain;
  entry.name = domain.text();
  return entry;
}

AddressList::AddressList(std::span<const std::string> entries) {
  std::vector<core::IpPrefix> prefixes;
  std::vector<NameMap::Item> domains;
  std::vector<NameMap::Item> subdomains;
  std::vector<NameMap::Item> mailboxes;
  for (const std::string& text : entries) {
    auto entry = AddressEntry::parse(text);
    if (!entry) continue;
    switch (entry->kind) {
      case AddressEntryKind::any:
        any_ = true;
        break;
      case AddressEntryKind::prefix:
        prefixes.push_back(entry->prefix);
        break;
      case AddressEntryKind::domain:
        domains.push_back({std::move(entry->name), 0});
        break;
      case AddressEntryKind::subdomains:
        subdomains.push_back({std::move(entry->name), 0});
        break;
      case AddressEntryKind::mailbox:
        mailboxes.push_back({std::move(entry->name), 0});
        break;
    }
  }
  hosts_ = PrefixTrie(std::span<const core::IpPrefix>(prefixes));
  domains_ = NameMap(std::move(domains));
  subdomains_ = NameMap(std::move(subdomains));
  mailboxes_ = NameMap(std::move(mailboxes));
}

bool AddressList::matches_domain(std::string_view normalised) const noexcept {
  if (domains_.contains(normalised)) return true;
  return !subdomains_.empty() &&
         any_parent_domain(normalised, [this](std::string_view parent) { return subdomains_.contains(parent); });
}

bool AddressList::matches_host_name(std::string_view host_name) const noexcept {
  if (host_name.empty() || (domains_.empty() && subdomains_.empty())) return false;
  const DomainName name(host_name);
  return !name.empty() && matches_domain(name.text());
}

bool AddressList::matches_client(const core::IpAddress& address, std::string_view host_name) const noexcept {
  return any_ || hosts_.contains(address) || matches_host_name(host_name);
}

bool AddressList::matches_mailbox(const Mailbox& mailbox, const DomainName& domain) const noexcept {
  if (mailbox.is_null()) return false;
  if (any_) return true;
  if (domain.empty()) return false;
  if (matches_domain(domain.text())) return true;
  if (mailboxes_.empty()) return false;
  const PlainLocalPart local_part(mailbox.local_part);
  const std::string_view with_at = local_part.with_at();
  return !with_at.empty() && mailboxes_.find(with_at, domain.text()) != NameMap::kNone;
}

bool AddressList::matches_recipient(const Mailbox& mailbox, const DomainName& domain) const noexcept {
  if (matches_mailbox(mailbox, domain)) return true;
  std::string_view literal = domain.text();
  if (hosts_.empty() || !literal.starts_with('[')) return false;
  literal = literal.substr(1, literal.size() - 2);
  if (literal.starts_with("ipv6:")) literal.remove_prefix(5);
  const auto address = core::IpAddress::parse(literal);
  return address && hosts_.contains(*address);
}

bool AddressList::empty() const noexcept {
  return !any_ && hosts_.empty() && domains_.empty() && subdomains_.empty() && mailboxes_.empty();
}

std::size_t AddressList::memory_bytes() const noexcept {
  return hosts_.memory_bytes() + domains_.memory_bytes() + subdomains_.memory_bytes() + mailboxes_.memory_bytes();
}

}  // namespace postern::policy
