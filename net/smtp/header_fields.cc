#include "net/smtp/header_fields.h"

#include <array>

#include "net/smtp/command.h"

namespace postern::net::smtp {
namespace {

struct KnownName {
  std::string_view text;
  FieldName name;
};
constexpr std::array kKnownNames = {
    KnownName{"To", FieldName::to},
    KnownName{"Cc", FieldName::cc},
    KnownName{"Bcc", FieldName::bcc},
    KnownName{"From", FieldName::from},
    KnownName{"Date", FieldName::date},
    KnownName{"Sender", FieldName::sender},
    KnownName{"Reply-To", FieldName::reply_to},
    KnownName{"Message-ID", FieldName::message_id},
    KnownName{"Return-Path", FieldName::return_path},
    KnownName{"Resent-To", FieldName::resent_to},
    KnownName{"Resent-Cc", FieldName::resent_cc},
    KnownName{"Resent-Bcc", FieldName::resent_bcc},
    KnownName{"Resent-From", FieldName::resent_from},
    KnownName{"Resent-Sender", FieldName::resent_sender},
    KnownName{"DKIM-Signature", FieldName::dkim_signature},
    KnownName{"ARC-Message-Signature", FieldName::arc_signature},
};
constexpr std::size_t kNameBytesMax = 21;  // of the longest

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Reads the tag list of a signature. Blanks mean nothing in the tags that matter here, and are not seen.
class TagReader {
 public:
  TagReader(std::string_view text, bool dot_stuffed) : text_(text), dot_stuffed_(dot_stuffed) {}

  // '\0': the end.
  char next() {
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '\n' && dot_stuffed_ && at_ < text_.size() && text_[at_] == '.') ++at_;
      if (c != '\r' && c != '\n' && c != '\0' && !is_blank(c)) return c;
    }
    return '\0';
  }

 private:
  std::string_view text_;
  bool dot_stuffed_;
  std::size_t at_ = 0;
};

}  // namespace

FieldName field_name_of(std::string_view name) {
  for (const KnownName& known : kKnownNames) {
    if (name.size() == known.text.size() && equals_ignoring_case(name, known.text)) return known.name;
  }
  return starts_ignoring_case(name, "Resent-") ? FieldName::resent_other : FieldName::other;
}

std::size_t HeaderFieldReader::end_of_field() const {
  std::size_t at = at_;
  for (;;) {
    const std::size_t feed = header_.find('\n', at);
    if (feed == std::string_view::npos) return header_.size();
    at = feed + 1;
    std::size_t first = at;
    if (dot_stuffed_ && first < header_.size() && header_[first] == '.') ++first;
    if (first >= header_.size() || !is_blank(header_[first])) return at;
  }
}

bool HeaderFieldReader::next(HeaderField& field) {
  if (at_ >= header_.size()) return false;
  const std::size_t end = end_of_field();
  field = {};
  field.text = header_.substr(at_, end - at_);
  at_ = end;
  std::string_view name = field.text;
  if (dot_stuffed_ && name.starts_with('.')) name.remove_prefix(1);
  const std::size_t colon = name.find(':');
  if (colon == std::string_view::npos) return true;
  field.value = name.substr(colon + 1);
  name = name.substr(0, colon);
  while (!name.empty() && is_blank(name.back())) name.remove_suffix(1);
  field.name = field_name_of(name);
  return true;
}

FieldSet signed_fields(std::string_view value, bool dot_stuffed) {
  FieldSet fields;
  TagReader reader(value, dot_stuffed);
  std::array<char, kNameBytesMax> name;
  std::size_t size = 0;  // of the name, or tag, under way; more than fit: some other
  bool in_value = false;
  bool is_fields_tag = false;
  for (;;) {
    const char c = reader.next();
    const bool ends_tag = c == ';' || c == '\0';
    if (in_value && is_fields_tag && (ends_tag || c == ':')) {
      if (size <= name.size()) fields.add(field_name_of({name.data(), size}));
      size = 0;
    } else if (ends_tag) {
      size = 0;
    } else if (c == '=' && !in_value) {
      is_fields_tag = size == 1 && name[0] == 'h';
      in_value = true;
      size = 0;
      continue;
    } else {
      if (size < name.size()) name[size] = c;
      if (size <= name.size()) ++size;
    }
    if (ends_tag) in_value = is_fields_tag = false;
    if (c == '\0') return fields;
  }
}

}  // namespace postern::net::smtp
