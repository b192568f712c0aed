// The Received field (RFC 5321 section 4.4): what it says, what it can hide, and its bounds.
#include "net/smtp/trace_header.h"

#include <array>
#include <gtest/gtest.h>
#include <string>

namespace postern::net::smtp {
namespace {

TraceFields fields() {
  TraceFields fields;
  fields.helo = "client.example";
  fields.client_name = "host.example";
  fields.client = *core::IpAddress::parse("192.0.2.7");
  fields.hostname = "mail.example.net";
  fields.extended = true;
  fields.queue_id = "QUEUEID";
  fields.unix_seconds = 1795492107;
  return fields;
}

std::string received(const TraceFields& fields) {
  std::array<char, kTraceHeaderMax> memory;
  return {memory.data(), format_received(memory, fields)};
}

const std::string kFrom = "from client.example (host.example [192.0.2.7])\r\n\t";
const std::string kDate = ";\r\n\tTue, 24 Nov 2026 03:48:27 +0000\r\n";

TEST(TraceHeader, NamesTheProtocol) {
  // RFC 3848 section 1; RFC 6531 section 4.3
  const struct {
    bool smtputf8, encrypted, authenticated;
    std::string name;
  } cases[] = {
      {false, false, false, "ESMTP"},   {false, true, false, "ESMTPS"},   {false, false, true, "ESMTPA"},
      {false, true, true, "ESMTPSA"},   {true, false, false, "UTF8SMTP"}, {true, true, false, "UTF8SMTPS"},
      {true, false, true, "UTF8SMTPA"}, {true, true, true, "UTF8SMTPSA"},
  };
  for (const auto& one : cases) {
    TraceFields trace = fields();
    trace.smtputf8 = one.smtputf8;
    trace.encrypted = one.encrypted;
    trace.authenticated = one.authenticated;
    EXPECT_EQ(received(trace),
              "Received: " + kFrom + "by mail.example.net (Postern) with " + one.name + " id QUEUEID" + kDate);
  }
  TraceFields trace = fields();
  trace.extended = false;
  trace.encrypted = true;
  EXPECT_NE(received(trace).find(" with SMTP id "), std::string::npos);
}

TEST(TraceHeader, TellsOfTls) {
  TraceFields trace = fields();
  trace.encrypted = trace.authenticated = true;
  trace.tls_version = "TLSv1.3";
  trace.tls_cipher = "TLS_AES_128_GCM_SHA256";
  trace.recipient = "b@example.org";
  EXPECT_EQ(received(trace), "Received: " + kFrom +
                                 "by mail.example.net (Postern) with ESMTPSA id QUEUEID\r\n"
                                 "\t(version=TLSv1.3 cipher=TLS_AES_128_GCM_SHA256)\r\n\tfor <b@example.org>" +
                                 kDate);
  trace.tls_cipher = "";
  EXPECT_NE(received(trace).find("\r\n\t(version=TLSv1.3)\r\n"), std::string::npos);
  trace.tls_cipher = "A)\r\nB";
  EXPECT_NE(received(trace).find("cipher=A\?\?\?B)"), std::string::npos);
  trace.encrypted = false;  // not of this connection
  EXPECT_EQ(received(trace).find("version"), std::string::npos);
}

TEST(TraceHeader, HidesTheClient) {
  TraceFields trace = fields();
  trace.encrypted = trace.authenticated = trace.hide_client = true;
  EXPECT_EQ(received(trace), "Received: by mail.example.net (Postern) with ESMTPSA id QUEUEID" + kDate);
  for (const bool is_unknown : {false, true}) {
    trace.client_unknown = is_unknown;
    const std::string text = received(trace);
    for (const std::string_view hidden : {"client.example", "host.example", "192.0.2.7", "unknown"}) {
      EXPECT_EQ(text.find(hidden), std::string::npos) << text;
    }
  }
}

TEST(TraceHeader, StaysWithinItsBounds) {
  const std::string much(5000, 'x');
  for (const bool hides : {false, true}) {
    TraceFields trace = fields();
    trace.helo = trace.client_name = trace.hostname = trace.queue_id = trace.recipient = much;
    trace.tls_version = trace.tls_cipher = much;
    trace.client = *core::IpAddress::parse("2001:db8:1111:2222:3333:4444:5555:6666");
    trace.encrypted = trace.authenticated = trace.smtputf8 = true;
    trace.hide_client = hides;
    const std::string text = received(trace);
    EXPECT_LE(text.size(), kTraceHeaderMax);
    EXPECT_TRUE(text.ends_with("\r\n"));
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find("\r\n", at) + 2;
      EXPECT_LE(end - at, 1000U);
      EXPECT_TRUE(at == 0 || text[at] == '\t');
      at = end;
    }
  }
}

}  // namespace
}  // namespace postern::net::smtp
