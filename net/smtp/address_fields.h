// The addresses in a header field: RFC 5322 section 3.4 (mailbox-list, address-list, group), UTF-8 by RFC 6532, groups in
// From by RFC 6854.
//
// Read strictly where the address itself is concerned, as two readers that disagree about it can be played against each
// other: no comment or blank inside an addr-spec but around its "@", no route, no control octet, no fold in a quoted local
// part. Of the obsolete syntax (section 4.4) what costs nothing is read: dots in a display name, empty places in a list.
// What is not read is `malformed` as a whole. Encoded words (RFC 2047) are atoms here and are not decoded.
//
// Pure, no allocation, no recursion; time is linear in the field. Thread: any.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "policy/address.h"

namespace postern::net::smtp {

// One mailbox of a field. Views point into its value.
struct FieldMailbox {
  policy::Mailbox mailbox;      // an empty domain: the address has none. The local part with its quotes
  std::size_t domain_goes = 0;  // offset in the value, behind the local part: where "@domain" is to be put
};

class AddressListReader {
 public:
  enum class Result : std::uint8_t { mailbox, end, malformed };

  // `value`: what stands behind the field's colon, folded as it came. dot_stuffed: it came by DATA.
  AddressListReader(std::string_view value, bool dot_stuffed) : text_(value), dot_stuffed_(dot_stuffed) {}
  // One mailbox after the other; those of a group are handed out as if it was none. After `malformed` what was handed
  // out before is worthless.
  [[nodiscard]] Result next(FieldMailbox& out);

 private:
  // Each skip and read stands behind what it took; false: malformed.
  [[nodiscard]] bool is_at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] char peek() const { return text_[at_]; }
  bool take(char c);
  bool skip_fold();
  bool skip_comment();
  bool skip_blanks();  // and comments
  bool skip_quoted_string();
  bool skip_dot_atom();
  bool skip_word();
  bool read_domain(std::string_view& domain);
  bool finish_address(std::string_view local_part, FieldMailbox& out);
  bool read_angle_address(FieldMailbox& out);
  bool read_element(FieldMailbox& out, bool& is_group);

  std::string_view text_;
  bool dot_stuffed_;
  bool in_group_ = false;
  std::size_t at_ = 0;
};

}  // namespace postern::net::smtp
