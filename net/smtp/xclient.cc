#include "net/smtp/xclient.h"

#include <charconv>

#include "net/smtp/command.h"
#include "net/smtp/parameters.h"
#include "net/smtp/server_session.h"

namespace postern::net::smtp {
namespace {

bool is_unavailable(std::string_view value) {
  return equals_ignoring_case(value, "[UNAVAILABLE]") || equals_ignoring_case(value, "[TEMPUNAVAIL]");
}

bool take_address(const XclientText& text, std::optional<core::IpAddress>& address) {
  std::string_view value = text.view();
  const bool is_v6 = starts_ignoring_case(value, "IPV6:");
  if (is_v6) value.remove_prefix(5);
  if (is_v6 != (value.find(':') != std::string_view::npos)) return false;
  address = core::IpAddress::parse(value);
  return address.has_value();
}

bool take_number(std::string_view value, std::uint16_t& number) {
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  return error == std::errc{} && rest == end;
}

bool take_attribute(std::string_view name, std::string_view xtext, XclientFields& out) {
  const bool is_known = !is_unavailable(xtext);
  XclientText value;
  if (is_known && !value.decode(xtext)) return false;
  if (equals_ignoring_case(name, "NAME")) {
    out.has_name = true;
    out.name = value;
    return true;
  }
  if (equals_ignoring_case(name, "ADDR")) {
    out.has_address = true;
    out.address.reset();
    return !is_known || take_address(value, out.address);
  }
  if (equals_ignoring_case(name, "PORT")) {
    out.has_port = true;
    out.port = 0;
    return !is_known || take_number(value.view(), out.port);
  }
  if (equals_ignoring_case(name, "HELO")) {
    out.has_helo = true;
    out.helo = value;
    return true;
  }
  if (equals_ignoring_case(name, "PROTO")) {
    out.has_protocol = true;
    out.extended = equals_ignoring_case(value.view(), "ESMTP");
    return !is_known || out.extended || equals_ignoring_case(value.view(), "SMTP");
  }
  return equals_ignoring_case(name, "LOGIN") || equals_ignoring_case(name, "DESTADDR") ||
         equals_ignoring_case(name, "DESTPORT");
}

}  // namespace

bool XclientText::decode(std::string_view xtext) {
  const std::ptrdiff_t size = decode_xtext(xtext, octets_.data(), octets_.size());
  if (size <= 0) return false;
  for (std::ptrdiff_t i = 0; i < size; ++i) {
    const char c = octets_[static_cast<std::size_t>(i)];
    if (c < ' ' || c > '~') return false;
  }
  size_ = static_cast<std::uint8_t>(size);
  return true;
}

bool parse_xclient(std::string_view argument, XclientFields& out) {
  if (argument.empty()) return false;
  while (!argument.empty()) {
    const std::string_view word = take_word(argument);
    if (word.empty()) break;
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals + 1 == word.size()) return false;
    if (!take_attribute(word.substr(0, equals), word.substr(equals + 1), out)) return false;
  }
  return true;
}

// The session starts anew as that client's: greeting, access control, no transaction.
bool ServerSession::on_xclient(std::string_view argument, Turn& turn) {
  if (!xclient_believed_) return complain(turn, 550, "5.7.0", "XCLIENT is not for this client");
  XclientFields fields;
  if (!parse_xclient(argument, fields)) return complain(turn, 501, "5.5.4", "Bad XCLIENT attribute");
  return apply_xclient(fields, turn);
}

bool ServerSession::apply_xclient(const XclientFields& fields, Turn& turn) {
  forget_account();
  if (fields.has_address) {
    client_.address_unknown = !fields.address.has_value();
    if (fields.address) client_.address = *fields.address;
    client_port_ = 0;
  }
  if (fields.has_port) client_port_ = fields.port;
  // A name belongs to an address: a new address without one has none.
  if (fields.has_name || fields.has_address) {
    if (!host_name_.assign(pool_, fields.name.view())) return shut(turn, kNoMemory);
    client_.host_name = host_name_.view();
  }
  // PROTO and HELO stand for the client's own hello until it says another one.
  if (!helo_.assign(pool_, fields.helo.view())) return shut(turn, kNoMemory);
  extended_ = fields.extended;
  return greet_client(turn);
}

}  // namespace postern::net::smtp
