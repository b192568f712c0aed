#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <fmt/format.h>

#include "core/ring.h"
#include "net/admin/commands.h"
#include "net/admin/sink.h"
#include "net/server.h"
#include "net/smtp/client_session.h"
#include "net/smtp/data_encoder.h"

namespace postern::net {
namespace {

constexpr const char* kDomain = "elsewhere.example";

constexpr std::string_view kMessage =
    "From: Anna <anna@example.net>\r\n"
    "To: Ben <ben@elsewhere.example>\r\n"
    "Subject: through the postern\r\n"
    "\r\n"
    "This message came from a machine on the LAN, was written to disk,\r\n"
    "acknowledged, and carried to the next hop.\r\n";

policy::Settings demo_settings(const std::string& folder, std::uint16_t sink_port) {
  policy::Settings settings;
  settings.hostname = "postern.example.net";
  settings.local_domains = {"example.net"};
  settings.postmaster = "postmaster@example.net";
  settings.lan = {*core::IpPrefix::parse("127.0.0.0/8")};
  settings.spool = folder + "/spool";
  settings.limits.connections = 100;
  settings.limits.queue_messages = 1000;
  settings.logins.machines = 1024;
  policy::ServiceSettings service;
  service.name = "smtp";
  service.listen = {{core::IpAddress::from_v4(0x7f000001), 0}};
  settings.services.push_back(service);
  policy::RouteSettings route;
  route.domain = "*";
  policy::NextHop hop;
  hop.host = "127.0.0.1";
  hop.address = core::IpAddress::from_v4(0x7f000001);
  hop.port = sink_port;
  route.to = {hop};
  settings.routes.push_back(route);
  return settings;
}

// Hands the message in over a plain socket, as a mail program would. Returns the server's last words.
core::Result<std::string> send_message(const core::Endpoint& server) {
  const auto socket = core::Ring::make_socket(server, nullptr);
  if (!socket) return std::unexpected(socket.error());
  sockaddr_storage address{};
  const auto bytes = server.to_sockaddr(address);
  const timeval limit{10, 0};
  setsockopt(*socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(*socket, reinterpret_cast<const sockaddr*>(&address), bytes) != 0) {
    close(*socket);
    return core::fail("the server does not accept a connection on " + server.text());
  }
  smtp::ClientSession session({false, "client.example.net"});
  std::array<char, 4096> memory;
  smtp::CommandBuffer out(memory.data(), memory.size());
  const smtp::RecipientFields recipient{"ben@elsewhere.example", smtp::notify_unset, {}};
  smtp::Transaction transaction;
  transaction.sender.reverse_path = "anna@example.net";
  transaction.recipients = {&recipient, 1};
  transaction.content_bytes = kMessage.size();
  const auto flush = [&] {
    const std::string_view bytes_out = out.view();
    const bool sent = send(*socket, bytes_out.data(), bytes_out.size(), MSG_NOSIGNAL) ==
                      static_cast<ssize_t>(bytes_out.size());
    out.clear();
    return sent;
  };
  std::array<char, 4096> input;
  std::string_view rest;
  std::string words;
  bool begun = false;
  for (bool open = true; open;) {
    const smtp::ClientStep step = session.advance(rest, out);
    rest.remove_prefix(step.consumed);
    switch (step.event) {
      case smtp::ClientEvent::ready:
        begun ? session.quit(out) : session.begin(transaction);
        begun = true;
        break;
      case smtp::ClientEvent::send_content:
        out.append(kMessage);
        out.append(".\r\n");
        open = flush();
        session.content_sent();
        break;
      case smtp::ClientEvent::result:
        words = fmt::format("{} {}", step.result.code, step.result.text);
        break;
      case smtp::ClientEvent::need_input:
      case smtp::ClientEvent::start_tls:  // not asked for
      case smtp::ClientEvent::flush: {
        open = flush();
        if (!open || step.event == smtp::ClientEvent::flush) break;
        const ssize_t n = recv(*socket, input.data(), input.size(), 0);
        open = n > 0;
        rest = {input.data(), open ? static_cast<std::size_t>(n) : 0};
        break;
      }
      case smtp::ClientEvent::done:
        break;
      case smtp::ClientEvent::broken:
      case smtp::ClientEvent::closed:
        open = false;
        break;
    }
  }
  close(*socket);
  return words;
}

int run_demo(const std::string& folder) {
  auto sink = Sink::start(kDomain);
  if (!sink) {
    fmt::print(stderr, "postern: {}\n", sink.error().text);
    return 1;
  }
  auto server = Server::start(demo_settings(folder, (*sink)->port()));
  if (!server) {
    fmt::print(stderr, "postern: {}\n", server.error().text);
    return 1;
  }
  (*server)->log_ready();
  const core::Endpoint endpoint = (*server)->addresses().front().endpoint;
  fmt::print("server on {}, next hop on 127.0.0.1:{}, spool in {}\n", endpoint.text(), (*sink)->port(), folder);
  const auto words = send_message(endpoint);
  if (!words) {
    fmt::print(stderr, "postern: {}\n", words.error().text);
    return 1;
  }
  fmt::print("client handed in a message; the server said: {}\n", *words);
  const auto message = (*sink)->wait(20);
  if (!(*server)->stop()) (*server)->abandon(1);
  if (!message) {
    fmt::print(stderr, "postern: the message was not delivered within 20 s; the log above says why\n");
    return 1;
  }
  std::string text;
  for (const char c : message->content) {
    if (c != '\r') text += c;
  }
  fmt::print("the next hop received:\n----\n{}\n{}----\n", message->envelope, text);
  return 0;
}

}  // namespace

int demo_command() {
  std::string folder = (std::filesystem::temp_directory_path() / "postern-demo-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    fmt::print(stderr, "postern: cannot make a folder in {}\n", std::filesystem::temp_directory_path().string());
    return 1;
  }
  const int status = run_demo(folder);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return status;
}

}  // namespace postern::net
