// Whatever others said, a notification has only whole lines, and only the fields that are ours.
// Input: three octets of choices, then six strings, each ended by 0xff, the last one the content.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/delivery/bounce.h"
#include "net/delivery/dsn_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::net;
  if (size < 3) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  std::array<std::string_view, 6> strings;
  for (std::string_view& string : strings) {
    string = rest.substr(0, rest.find('\xff'));
    rest.remove_prefix(std::min(string.size() + 1, rest.size()));
  }
  delivery::BounceRecipient recipient;
  recipient.forward_path = strings[0];
  recipient.original = strings[1];
  recipient.text = strings[2];
  recipient.remote_mta = strings[3];
  recipient.status = strings[4];
  recipient.code = 550;
  recipient.action = static_cast<delivery::DsnAction>(data[0] % 5);
  delivery::BounceRequest request;
  request.hostname = "mail.example.net";
  request.queue_id = "Q1";
  request.sender.reverse_path = "ann@example.net";
  request.sender.envelope_id = strings[4];
  request.sender.ret = static_cast<smtp::DsnReturn>(data[1] % 3);
  request.sender.smtputf8 = (data[1] & 8) != 0;
  request.recipients = {&recipient, 1};
  request.content = strings[5];
  request.content_bytes = strings[5].size() + (data[1] >= 128 ? 1 : 0);
  request.content_flags = data[2] & 31;
  const delivery::BounceMessage message = delivery::make_bounce(request);

  const std::string_view content = message.content;
  POSTERN_ASSERT(content.ends_with("--\r\n"));
  const std::size_t type = content.find("Content-Type: message/delivery-status\r\n");
  POSTERN_ASSERT(type != std::string_view::npos);
  std::string_view machine = content.substr(content.find("\r\n\r\n", type) + 4);
  machine = machine.substr(0, machine.find("\r\n\r\n--"));
  POSTERN_ASSERT(delivery::is_ascii(machine));
  std::size_t groups = 1;
  while (!machine.empty()) {
    const std::string_view line = machine.substr(0, machine.find("\r\n"));
    machine.remove_prefix(std::min(line.size() + 2, machine.size()));
    POSTERN_ASSERT(line.size() <= 998 && line.find_first_of("\r\n") == std::string_view::npos);
    if (line.empty()) ++groups;
  }
  POSTERN_ASSERT(groups == 2);
  return 0;
}
