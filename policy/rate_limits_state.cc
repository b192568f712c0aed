// The quotas over a restart. The saved form, in the frame of saved_state.h:
//
//   record := 1 | user:    key u64, full again i64 x 4
//           | 2 | machine: key u64, full again i64 x 4
//           | 3 | sender:  user's key u64, machines u8, (tag u32, last second i64) x machines
//
// "Full again" is in nanoseconds and "last second" in seconds, both from the moment of writing. Keys and tags are
// hashes and hold only under the key they were made with.
#include <algorithm>
#include <utility>
#include <vector>

#include "policy/rate_limits.h"
#include "policy/rate_limits_internal.h"
#include "policy/saved_state.h"

namespace postern::policy {
namespace {

constexpr std::string_view kKind = "PSTNRATE";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint8_t kUserRecord = 1;
constexpr std::uint8_t kMachineRecord = 2;
constexpr std::uint8_t kSenderRecord = 3;

struct SavedQuota {
  bool of_machine = false;
  std::uint64_t key = 0;
  QuotaTable::FullAt full_in{};
};
struct SavedSender {
  std::uint64_t user = 0;
  std::vector<std::pair<std::uint32_t, std::int64_t>> machines;
};

// Calls visit(SavedQuota) or visit(SavedSender) for each record. False: a record is none of ours.
template <class Visit>
bool read_records(StateReader reader, Visit visit) {
  while (!reader.at_end()) {
    const std::uint8_t type = reader.u8();
    if (type == kUserRecord || type == kMachineRecord) {
      SavedQuota quota;
      quota.of_machine = type == kMachineRecord;
      quota.key = reader.u64();
      for (std::int64_t& full_in : quota.full_in) full_in = reader.i64();
      if (!reader.ok() || quota.key == 0) return false;
      visit(quota);
    } else if (type == kSenderRecord) {
      SavedSender sender;
      sender.user = reader.u64();
      const std::size_t machines = reader.u8();
      for (std::size_t i = 0; i < machines && reader.ok(); ++i) {
        const std::uint32_t tag = reader.u32();
        sender.machines.emplace_back(tag, reader.i64());
      }
      if (!reader.ok() || sender.user == 0 || machines > SenderMachines::kMachines) return false;
      visit(sender);
    } else {
      return false;
    }
  }
  return true;
}

void write_quotas(StateWriter& writer, QuotaTable& table, std::uint8_t type, std::int64_t now_ns) {
  std::vector<std::pair<std::uint64_t, QuotaTable::FullAt>> shard_copy;  // the sink is called without the lock
  for (std::size_t shard = 0; shard < TwoChoices::kShards; ++shard) {
    shard_copy.clear();
    {
      const std::lock_guard holding(table.lock(shard));
      table.visit(shard, now_ns,
                  [&](std::uint64_t key, const QuotaTable::FullAt& full_at) { shard_copy.emplace_back(key, full_at); });
    }
    for (const auto& [key, full_at] : shard_copy) {
      writer.u8(type);
      writer.u64(key);
      for (const std::int64_t at : full_at) writer.i64(std::max<std::int64_t>(0, at - now_ns));
    }
  }
}

void write_senders(StateWriter& writer, SenderMachines& senders, std::uint32_t now) {
  using Machines = std::vector<SenderMachines::Machine>;
  std::vector<std::pair<std::uint64_t, Machines>> shard_copy;
  for (std::size_t shard = 0; shard < TwoChoices::kShards; ++shard) {
    shard_copy.clear();
    {
      const std::lock_guard holding(senders.lock(shard));
      senders.visit(shard, now, [&](std::uint64_t user, std::span<const SenderMachines::Machine> machines) {
        Machines& live = shard_copy.emplace_back(user, Machines{}).second;
        std::copy_if(machines.begin(), machines.end(), std::back_inserter(live),
                     [&](const auto& machine) { return senders.is_live(machine.second, now); });
      });
    }
    for (const auto& [user, machines] : shard_copy) {
      writer.u8(kSenderRecord);
      writer.u64(user);
      writer.u8(static_cast<std::uint8_t>(machines.size()));
      for (const auto& machine : machines) {
        writer.u32(machine.tag);
        writer.i64(std::int64_t{machine.second} - now);
      }
    }
  }
}

}  // namespace

// Takes the records over, one by one.
class RateLimits::Restoring {
 public:
  Restoring(Implementation& inside, const StateReader& reader, const core::Time& now, std::string_view boot_id)
      : inside_(inside),
        same_key_(reader.key_id() == inside.key_id()),
        now_(now),
        written_ns_(reader.written_boot_ns(now, boot_id)),
        written_seconds_(reader.written_boot_seconds(now, boot_id)) {}

  void operator()(const SavedQuota& saved) {
    QuotaTable::FullAt full_at{};
    for (std::size_t i = 0; i < kQuotaBuckets; ++i) {
      // Nobody owes more than a whole quota.
      full_at[i] = written_ns_ + std::clamp<std::int64_t>(saved.full_in[i], 0, period_ns(i));
    }
    if (!same_key_ || *std::max_element(full_at.begin(), full_at.end()) <= now_.boot_ns) {
      ++restored_.dropped;
      return;
    }
    QuotaTable& table = saved.of_machine ? inside_.machines : inside_.users;
    const std::lock_guard holding(table.lock(TwoChoices::shard_of(saved.key)));
    if (table.put(saved.key, full_at, now_.boot_ns)) inside_.evictions.fetch_add(1, std::memory_order_relaxed);
    ++restored_.entries;
  }

  void operator()(const SavedSender& saved) {
    bool any = false;
    const std::uint32_t now = Implementation::second_of(now_.boot_seconds());
    const std::lock_guard holding(inside_.senders.lock(TwoChoices::shard_of(saved.user)));
    for (const auto& [tag, offset] : saved.machines) {
      const std::int64_t ago = std::clamp<std::int64_t>(offset, -std::int64_t{kMachineWindowSeconds}, 0);
      const std::uint32_t second = Implementation::second_of(written_seconds_ + ago);
      if (!same_key_ || !inside_.senders.is_live(second, now)) continue;
      inside_.senders.note(saved.user, tag, second);
      any = true;
    }
    ++(any ? restored_.senders : restored_.dropped);
  }

  [[nodiscard]] const Restored& restored() const { return restored_; }

 private:
  Implementation& inside_;
  const bool same_key_;
  const core::Time now_;
  const std::int64_t written_ns_;
  const std::int64_t written_seconds_;
  Restored restored_;
};

void RateLimits::serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const {
  Implementation& inside = *implementation_;
  StateWriter writer(kKind, kVersion, inside.key_id(), now, boot_id, sink);
  write_quotas(writer, inside.users, kUserRecord, now.boot_ns);
  write_quotas(writer, inside.machines, kMachineRecord, now.boot_ns);
  write_senders(writer, inside.senders, Implementation::second_of(now.boot_seconds()));
  writer.finish();
}

core::Result<RateLimits::Restored> RateLimits::restore(std::string_view octets, const core::Time& now,
                                                       std::string_view boot_id) {
  const auto reader = StateReader::open(octets, kKind, kVersion);
  if (!reader) return std::unexpected(reader.error());
  if (!read_records(*reader, [](const auto&) {})) return core::fail("saved state holds a record that is none");
  Restoring restoring(*implementation_, *reader, now, boot_id);
  read_records(*reader, [&](const auto& record) { restoring(record); });
  return restoring.restored();
}

}  // namespace postern::policy
