// Lines, verbs, parameters, XCLIENT's argument and the PROXY header.
#include <cctype>
#include <array>
#include <gtest/gtest.h>
#include <string>

#include "net/smtp/command.h"
#include "net/smtp/parameters.h"
#include "net/smtp/proxy_protocol.h"
#include "net/smtp/verb_table.h"
#include "net/smtp/xclient.h"

namespace postern::net::smtp {
namespace {

TEST(Command, OnlyCrlfEndsALine) {
  EXPECT_EQ(find_line_end("NOOP\r\nx", false), 6U);
  EXPECT_EQ(find_line_end("NOOP\nx\r\n", false), 8U);
  EXPECT_EQ(find_line_end("NOOP\rx", false), kNoLineEnd);
  EXPECT_EQ(find_line_end("NOOP\r", false), kNoLineEnd);
  EXPECT_EQ(find_line_end("\nx", true), 1U);
  EXPECT_EQ(find_line_end("\nx", false), kNoLineEnd);
  EXPECT_EQ(find_line_end("\n\r\n", false), 3U);
  EXPECT_EQ(find_line_end("", true), kNoLineEnd);
}

TEST(Command, SplitsAtTheFirstBlank) {
  const CommandLine command = split_command("MAIL   FROM:<a b> \t");
  EXPECT_EQ(command.word, "MAIL");
  EXPECT_EQ(command.argument, "FROM:<a b>");
  EXPECT_EQ(command.text, "MAIL   FROM:<a b>");
  EXPECT_EQ(split_command("").word, "");
  EXPECT_EQ(split_command("   ").argument, "");
  EXPECT_EQ(split_command(" NOOP").word, "");
}

TEST(Command, Octets) {
  EXPECT_EQ(check_octets("plain \xc3\xa9"), LineFault::none);
  EXPECT_EQ(check_octets(std::string_view("a\0b", 3)), LineFault::control_octet);
  EXPECT_EQ(check_octets("a\x7f"), LineFault::control_octet);
  EXPECT_EQ(check_octets("a\tb\n"), LineFault::bare_line_end);
  EXPECT_EQ(check_octets("\r"), LineFault::bare_line_end);
}

TEST(Verbs, AreFoundInAnyCase) {
  for (const char* name : {"HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "EXPN", "HELP",
                           "QUIT", "XCLIENT", "STARTTLS", "AUTH"}) {
    std::string lower = name;
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    ASSERT_NE(find_verb(name), nullptr) << name;
    EXPECT_EQ(find_verb(name)->name, name);
    EXPECT_EQ(find_verb(lower), find_verb(name));
  }
  for (const char* bad : {"", "EHL", "EHLOO", "STARTTLSX", "DATA:", "XXXX", "\0HELO"}) {
    EXPECT_EQ(find_verb(bad), nullptr) << bad;
  }
  // Octets above 127 and lower-case look-alikes of punctuation are no letters.
  EXPECT_EQ(find_verb("EHL\xcf"), nullptr);
  EXPECT_TRUE(is_http_method("CONNECT"));
  EXPECT_TRUE(is_http_method("patch"));
  EXPECT_FALSE(is_http_method("HELO"));
}

TEST(Parameters, Xtext) {
  char out[8];
  EXPECT_EQ(decode_xtext("a+2Bb", out, sizeof out), 3);
  EXPECT_EQ(std::string_view(out, 3), "a+b");
  EXPECT_EQ(decode_xtext("", out, sizeof out), 0);
  EXPECT_EQ(decode_xtext("12345678", out, sizeof out), 8);
  EXPECT_EQ(decode_xtext("123456789", out, sizeof out), -1);
  for (const char* bad : {"a b", "a=b", "+", "+4", "+4g", "+2b", "a\x80"})
    EXPECT_EQ(decode_xtext(bad, out, 8), -1) << bad;
}

TEST(Parameters, OfMail) {
  MailParameters out;
  ASSERT_TRUE(parse_mail_parameters(" SIZE=12345 BODY=BINARYMIME RET=FULL ENVID=QQ314159 SMTPUTF8", false, out).is_none());
  EXPECT_EQ(out.size, 12345U);
  EXPECT_EQ(out.body, BodyType::binary_mime);
  EXPECT_EQ(out.ret, DsnReturn::full);
  EXPECT_EQ(out.envelope_id, "QQ314159");
  EXPECT_TRUE(out.smtputf8);
  MailParameters none;
  EXPECT_TRUE(parse_mail_parameters("", false, none).is_none());
  EXPECT_TRUE(parse_mail_parameters("   ", false, none).is_none());
  EXPECT_EQ(parse_mail_parameters("SIZE=1", false, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" SIZE=18446744073709551615", false, none).code, 0);
  EXPECT_EQ(none.size, UINT64_MAX);
  EXPECT_EQ(parse_mail_parameters(" SIZE=18446744073709551616", false, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" SIZE=000000000000000000001", false, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" ORCPT=rfc822;x", false, none).code, 555);
  // RFC 4954 section 5, where AUTH is offered.
  EXPECT_EQ(parse_mail_parameters(" AUTH=<>", false, none).code, 555);
  EXPECT_EQ(parse_mail_parameters(" AUTH=<>", true, none).code, 0);
  EXPECT_EQ(parse_mail_parameters(" auth=e+3Dmc2@example.com", true, none).code, 0);
  EXPECT_EQ(parse_mail_parameters(" AUTH=" + std::string(495, 'x'), true, none).code, 0);
  EXPECT_EQ(parse_mail_parameters(" AUTH=" + std::string(496, 'x'), true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH=", true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH", true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH=e=mc2@example.com", true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH=a+3d", true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH=a+0A", true, none).code, 501);
  EXPECT_EQ(parse_mail_parameters(" AUTH=<> AUTH=<>", true, none).code, 501);
}

TEST(Parameters, OfRcpt) {
  RcptParameters out;
  ASSERT_TRUE(parse_rcpt_parameters(" NOTIFY=DELAY,success ORCPT=RFC822;a+2Bb@c", false, out).is_none());
  EXPECT_EQ(out.notify, notify_delay | notify_success);
  EXPECT_EQ(out.original, "RFC822;a+2Bb@c");
  const std::string longest = " ORCPT=rfc822;" + std::string(493, 'x');
  EXPECT_TRUE(parse_rcpt_parameters(longest, false, out).is_none());
  EXPECT_EQ(parse_rcpt_parameters(longest + "x", false, out).code, 501);
  EXPECT_EQ(parse_rcpt_parameters(" ORCPT=utf-8;\xc3\xa9", false, out).code, 501);
  EXPECT_EQ(parse_rcpt_parameters(" ORCPT=utf-8;\xc3\xa9", true, out).code, 0);
  EXPECT_EQ(parse_rcpt_parameters(" ORCPT=utf-8;\xc3", true, out).code, 501);
  EXPECT_EQ(parse_rcpt_parameters(" ORCPT=rfc822;a+0Ab", true, out).code, 501);
}

TEST(Xclient, ReadsAttributes) {
  XclientFields out;
  ASSERT_TRUE(parse_xclient("name=a+2Dhost ADDR=IPV6:2001:db8::9 PORT=25 PROTO=esmtp HELO=x LOGIN=boss", out));
  EXPECT_EQ(out.name.view(), "a-host");
  EXPECT_EQ(out.address, core::IpAddress::parse("2001:db8::9"));
  EXPECT_EQ(out.port, 25);
  EXPECT_TRUE(out.extended);
  EXPECT_EQ(out.helo.view(), "x");
  XclientFields unknown;
  ASSERT_TRUE(parse_xclient("NAME=[UNAVAILABLE] ADDR=[tempunavail] HELO=[UNAVAILABLE] PORT=[UNAVAILABLE]", unknown));
  EXPECT_TRUE(unknown.has_address && unknown.has_name);
  EXPECT_FALSE(unknown.address.has_value());
  EXPECT_EQ(unknown.name.view(), "");
  for (const char* bad :
       {"", "NAME", "NAME=", "=x", "NAME=x ADDR", "ADDR=x", "NAME=+00", "FOO=[UNAVAILABLE]", "PORT=-1"}) {
    XclientFields fields;
    EXPECT_FALSE(parse_xclient(bad, fields)) << bad;
  }
  XclientFields longest;
  EXPECT_TRUE(parse_xclient("HELO=" + std::string(255, 'x'), longest));
  EXPECT_FALSE(parse_xclient("HELO=" + std::string(256, 'x'), longest));
}

std::string binary_header(char command, char family, const std::string& body) {
  std::string header("\r\n\r\n\0\r\nQUIT\n", 12);
  header += command;
  header += family;
  header += static_cast<char>(body.size() >> 8);
  header += static_cast<char>(body.size());
  return header + body;
}

TEST(ProxyHeader, Text) {
  const std::string line = "PROXY TCP4 192.0.2.9 192.0.2.1 40000 25\r\n";
  const ProxyHeader header = parse_proxy_header(line + "EHLO x\r\n");
  ASSERT_EQ(header.status, ProxyHeaderStatus::complete);
  EXPECT_EQ(header.bytes, line.size());
  EXPECT_TRUE(header.has_client);
  EXPECT_EQ(header.client, core::Endpoint::parse("192.0.2.9:40000"));
  const ProxyHeader unknown = parse_proxy_header("PROXY UNKNOWN\r\n");
  EXPECT_EQ(unknown.status, ProxyHeaderStatus::complete);
  EXPECT_FALSE(unknown.has_client);
}

TEST(ProxyHeader, Binary) {
  const std::string body("\xc0\x00\x02\x09\xc0\x00\x02\x01\x9c\x40\x00\x19\x04\x00\x01z", 16);
  const std::string text = binary_header(0x21, 0x11, body);
  const ProxyHeader header = parse_proxy_header(text + "EHLO x\r\n");
  ASSERT_EQ(header.status, ProxyHeaderStatus::complete);
  EXPECT_EQ(header.bytes, text.size());
  EXPECT_EQ(header.client, core::Endpoint::parse("192.0.2.9:40000"));
  EXPECT_FALSE(parse_proxy_header(binary_header(0x20, 0x11, body)).has_client);
  EXPECT_EQ(parse_proxy_header(binary_header(0x21, 0x11, std::string(4080, 'x'))).status, ProxyHeaderStatus::complete);
  EXPECT_EQ(parse_proxy_header(binary_header(0x21, 0x11, std::string(4081, 'x'))).status, ProxyHeaderStatus::malformed);
  EXPECT_EQ(parse_proxy_header(binary_header(0x22, 0x11, body)).status, ProxyHeaderStatus::malformed);
}

// What we write to a mail store, by the octets of the specification's section 2.2.
TEST(ProxyHeader, Written) {
  std::array<char, kProxyHeaderWrittenMax> memory;
  const auto client = *core::Endpoint::parse("192.0.2.9:40000");
  const auto server = *core::Endpoint::parse("198.51.100.1:110");
  const std::string addresses("\xc0\x00\x02\x09\xc6\x33\x64\x01\x9c\x40\x00\x6e", 12);
  EXPECT_EQ(write_proxy_header(client, server, {}, memory), binary_header(0x21, 0x11, addresses));

  // PP2_TYPE_SSL (2.2.6), 39 octets: encrypted, no certificate verified, the version, the cipher.
  const std::string encrypted(write_proxy_header(client, server, {"TLSv1.3", "TLS_AES_128_GCM_SHA25"}, memory));
  const std::string version("\x21\x00\x07TLSv1.3", 10);
  const std::string cipher("\x23\x00\x15TLS_AES_128_GCM_SHA25", 24);
  const std::string tls = std::string("\x20\x00\x27\x01\x00\x00\x00\x01", 8) + version + cipher;
  EXPECT_EQ(encrypted, binary_header(0x21, 0x11, addresses + tls));

  // One of IPv4, one of IPv6: both as IPv6.
  const auto v6 = *core::Endpoint::parse("[2001:db8::1]:110");
  const std::string mixed(write_proxy_header(client, v6, {}, memory));
  EXPECT_EQ(mixed[13], '\x21');
  EXPECT_EQ(mixed.size(), 16U + 36U);
  EXPECT_EQ(parse_proxy_header(mixed).client, client) << "::ffff:192.0.2.9 is 192.0.2.9";

  // The longest one fits, and says so itself.
  const std::string longest(200, 'x');
  const std::string_view written = write_proxy_header(v6, v6, {longest, longest}, memory);
  EXPECT_EQ(parse_proxy_header(written).status, ProxyHeaderStatus::complete);
  EXPECT_EQ(parse_proxy_header(written).bytes, written.size());
}

// Whatever comes first of a good header, it is never called malformed, and what it asks for is never too much.
TEST(ProxyHeader, EveryCutOfAGoodHeaderNeedsMore) {
  for (const std::string& text :
       {std::string("PROXY TCP6 2001:db8::9 2001:db8::1 1 2\r\n"), std::string("PROXY UNKNOWN x y\r\n"),
        binary_header(0x21, 0x21, std::string(50, '\x20')), binary_header(0x20, 0x00, "")}) {
    for (std::size_t size = 0; size < text.size(); ++size) {
      const ProxyHeader header = parse_proxy_header(std::string_view(text).substr(0, size));
      ASSERT_EQ(header.status, ProxyHeaderStatus::need_more) << size;
      ASSERT_GT(header.bytes, size);
      ASSERT_LE(header.bytes, text.size());
    }
    EXPECT_EQ(parse_proxy_header(text).status, ProxyHeaderStatus::complete);
  }
}

TEST(ProxyHeader, Malformed) {
  for (const char* bad : {"X", "PROXX", "PROXY \x01", "PROXY \rx", "PROXY\r\n", "PROXY \r\n", "PROXY TCP4\r\n",
                          "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
                          "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
                          "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
                          "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "\r\n\r\nX"}) {
    EXPECT_EQ(parse_proxy_header(bad).status, ProxyHeaderStatus::malformed) << bad;
  }
  EXPECT_EQ(parse_proxy_header("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n").status, ProxyHeaderStatus::complete);
  EXPECT_EQ(parse_proxy_header("PROXY UNKNOWN " + std::string(92, 'x') + "\r\n").status, ProxyHeaderStatus::malformed);
}

}  // namespace
}  // namespace postern::net::smtp
