// Logins over a restart. The saved form, in the frame of saved_state.h:
//
//   body   := ipv6_prefix u8 record*
//   record := 4 | address u32       | seconds that remain u32
//           | 6 | first 64 bits u64 | seconds that remain u32
#include "policy/login_table.h"

#include <algorithm>
#include <vector>

#include "policy/saved_state.h"

namespace postern::policy {
namespace {

constexpr std::string_view kKind = "PSTNLOGN";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint8_t kV4Record = 4;
constexpr std::uint8_t kV6Record = 6;
constexpr std::uint32_t kRemainingMax = 7 * 86400;  // no window is longer

std::int64_t seconds_of(const core::Time& now) {
  return now.boot_ns / core::kNanosecondsPerSecond;
}

core::IpAddress network_address(std::uint64_t high) {
  core::IpAddress address;
  for (std::size_t octet = 0; octet < 8; ++octet) {
    address.bytes[octet] = static_cast<std::uint8_t>(high >> (56 - 8 * octet));
  }
  return address;
}

// False: a record is none of ours.
bool read_records(StateReader& reader, std::vector<LoginTable::Entry>& entries) {
  while (!reader.at_end()) {
    LoginTable::Entry entry;
    const std::uint8_t family = reader.u8();
    if (family == kV4Record) {
      entry.machine = core::IpAddress::from_v4(reader.u32());
    } else if (family == kV6Record) {
      entry.machine = network_address(reader.u64());
    } else {
      return false;
    }
    const std::uint32_t remaining = reader.u32();
    if (!reader.ok() || remaining == 0 || remaining > kRemainingMax) return false;
    entry.expires_boot_seconds = remaining;  // from the moment of writing
    entries.push_back(entry);
  }
  return true;
}

}  // namespace

void LoginTable::serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const {
  const std::int64_t now_seconds = seconds_of(now);
  StateWriter writer(kKind, kVersion, 0, now, boot_id, sink);
  writer.u8(ipv6_prefix());
  for (const Entry& entry : live(now_seconds)) {
    if (entry.machine.is_v4()) {
      writer.u8(kV4Record);
      writer.u32(entry.machine.v4());
    } else {
      writer.u8(kV6Record);
      writer.u64(entry.machine.high());
    }
    writer.u32(static_cast<std::uint32_t>(
        std::min<std::int64_t>(entry.expires_boot_seconds - now_seconds, kRemainingMax)));
  }
  writer.finish();
}

core::Result<LoginTable::Restored> LoginTable::restore(std::string_view octets, const core::Time& now,
                                                       std::string_view boot_id) {
  auto reader = StateReader::open(octets, kKind, kVersion);
  if (!reader) return std::unexpected(reader.error());
  const std::uint8_t prefix = reader->u8();
  std::vector<Entry> entries;
  if (!reader->ok() || prefix < 1 || prefix > 64 || !read_records(*reader, entries)) {
    return core::fail("saved logins have a record that is none");
  }
  const std::int64_t now_seconds = seconds_of(now);
  const std::int64_t written = reader->written_boot_seconds(now, boot_id);
  Restored restored;
  for (const Entry& entry : entries) {
    const std::int64_t remaining = written + entry.expires_boot_seconds - now_seconds;
    if (remaining <= 0) continue;
    if (!entry.machine.is_v4() && prefix != ipv6_prefix()) {
      ++restored.dropped;
      continue;
    }
    grant(entry.machine, now_seconds, static_cast<std::uint32_t>(remaining));
    ++restored.machines;
  }
  return restored;
}

}  // namespace postern::policy
