// The lists an operator writes: clients, hosts, domains and addresses, compiled for lookup.
//
//   "192.0.2.1", "192.168.0.0/16", "2001:db8::/32"   client hosts; in always_to: recipients at an address
//   literal "mail.example.net", "example.net"                that domain, or the client with that verified
//   host name
//   ".example.net"                                   every domain (or verified host name) below it, not
//   itself "user@example.net"                               that address; the local part is compared exactly
//   (RFC 5321
//                                                    section 2.4), after taking its quotes off, the domain
//                                                    normalised
//   "*"                                              everyone, where the list allows it
//
// Built once (allocates), then read by any number of threads; a lookup allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "core/ip_address.h"
#include "policy/address.h"
#include "policy/name_map.h"
#include "policy/prefix_trie.h"

namespace postern::policy {

enum class AddressEntryKind : std::uint8_t { any, prefix, domain, subdomains, mailbox };

struct AddressEntry {
  AddressEntryKind kind = AddressEntryKind::any;
  core::IpPrefix prefix;  // prefix
  std::string name;  // domain, subdomains: normalised; mailbox: "local part@domain", unquoted and normalised

  // The error says what is wrong and what would be right, for an operator.
  static std::expected<AddressEntry, std::string> parse(std::string_view text);
};

class AddressList {
 public:
  AddressList() = default;  // empty: matches nothing
  // Entries that do not parse are left out: parse_settings has refused them where they matter.
  explicit AddressList(std::span<const std::string> entries);

  // `host_name`: the client's verified host name; empty: none.
  [[nodiscard]] bool matches_client(const core::IpAddress& address,
                                    std::string_view host_name) const noexcept;
  [[nodiscard]] bool matches_host_name(std::string_view host_name) const noexcept;
  // `domain` is mailbox.domain normalised. The null reverse-path matches nothing, not even "*".
  [[nodiscard]] bool matches_mailbox(const Mailbox& mailbox, const DomainName& domain) const noexcept;
  // As matches_mailbox, and an address literal as its domain matches a listed prefix.
  [[nodiscard]] bool matches_recipient(const Mailbox& mailbox, const DomainName& domain) const noexcept;
  [[nodiscard]] bool matches_any() const noexcept { return any_; }
  [[nodiscard]] bool empty() const noexcept;
  [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
  bool matches_domain(std::string_view normalised) const noexcept;

  bool any_ = false;
  PrefixTrie hosts_;
  NameMap domains_;
  NameMap subdomains_;
  NameMap mailboxes_;
};

}  // namespace postern::policy
