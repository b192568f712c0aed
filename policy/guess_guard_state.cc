// The guess guard for operators (list, clear) and over a restart. The saved form, in the frame of saved_state.h:
//
//   record := 1 | bar: table kind u8, in a row u8, word u64, end i64, and for a name the name's text
//           | 2 | known machine: key u64, last success i64
//           | 3 | overflow filter: place u32, shut until i64
//
// Times are seconds from the moment of writing; a negative one has passed. Words of machines and networks are addresses
// and hold under any key. Hashes (names, known machines, places of the filter) hold only under the key they were made
// with; a name that was written whole is hashed again.
#include <algorithm>
#include <vector>

#include "policy/guess_guard.h"
#include "policy/guess_guard_internal.h"
#include "policy/saved_state.h"

namespace postern::policy {

using guard::Key;

namespace {

constexpr std::string_view kKind = "PSTNGARD";
constexpr std::uint32_t kVersion = 1;
constexpr std::uint8_t kBarRecord = 1;
constexpr std::uint8_t kKnownRecord = 2;
constexpr std::uint8_t kOverflowRecord = 3;
constexpr std::uint8_t kNameTableKind = static_cast<std::uint8_t>(BarKind::name);
constexpr unsigned kV4Bits = 96;  // where IPv4 addresses begin in IpAddress's key space
constexpr unsigned kMachineBits = 64;

bool is_v4_prefix(const core::IpPrefix& prefix) {
  return prefix.address.is_v4() && prefix.bits >= kV4Bits;
}

bool is_inside(const core::IpPrefix& network, const core::IpPrefix& prefix) {
  return is_v4_prefix(network) == is_v4_prefix(prefix) && network.bits >= prefix.bits &&
         prefix.contains(network.address);
}

bool is_everything(const core::IpPrefix& prefix) {
  return prefix.bits == (is_v4_prefix(prefix) ? kV4Bits : 0);
}

// Does an operator who names this prefix mean one machine?
bool is_machine(const core::IpPrefix& prefix) {
  return is_v4_prefix(prefix) ? prefix.bits == 128 : prefix.bits >= kMachineBits;
}

struct SavedBar {
  std::uint8_t table_kind = 0;
  StampTable::Stamp stamp;  // its time is not meant: `end` is
  std::uint64_t word = 0;
  std::int64_t end = 0;
  std::string_view name;
};
struct SavedKnown {
  std::uint64_t key = 0;
  std::int64_t last = 0;
};
struct SavedPlace {
  std::uint32_t place = 0;
  std::int64_t until = 0;
};

// Calls visit(SavedBar), visit(SavedKnown) or visit(SavedPlace) for each record. False: a record is none of ours.
template <class Visit>
bool read_records(StateReader reader, Visit visit) {
  while (!reader.at_end()) {
    const std::uint8_t type = reader.u8();
    if (type == kBarRecord) {
      SavedBar bar;
      bar.table_kind = reader.u8();
      bar.stamp.count = reader.u8();
      bar.word = reader.u64();
      bar.end = reader.i64();
      if (bar.table_kind == kNameTableKind) bar.name = reader.text();
      if (!reader.ok() || bar.table_kind > kNameTableKind || bar.stamp.count > StampTable::kCountMax) return false;
      visit(bar);
    } else if (type == kKnownRecord) {
      SavedKnown login;
      login.key = reader.u64();
      login.last = reader.i64();
      if (!reader.ok()) return false;
      visit(login);
    } else if (type == kOverflowRecord) {
      SavedPlace place;
      place.place = reader.u32();
      place.until = reader.i64();
      if (!reader.ok() || place.place >= OverflowFilter::kPlaces) return false;
      visit(place);
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

// Calls visit(item, label) for every bar that ends after the second. Pieces are copied under the lock and visited
// without it: the visitor may be slow.
template <class Visit>
void GuessGuard::Implementation::each_bar(std::uint32_t after, Visit visit) {
  struct Found {
    StampTable::Item item;
    guard::NameLabel label;  // empty: not a name, or the name is not known any more
  };
  std::vector<Found> piece;
  piece.reserve(kPiece * StampTable::kCellsPerBucket);
  for (std::size_t first = 0; first < bars.buckets(); first += kPiece) {
    piece.clear();
    {
      const std::lock_guard holding(lock);
      bars.visit(first, kPiece, [&](const StampTable::Item& item) {
        if (item.stamp.time <= after) return;
        const bool labelled = item.kind == kNameTableKind && label_of(item.key).hash == item.key;
        piece.push_back({item, labelled ? label_of(item.key) : guard::NameLabel{}});
      });
    }
    for (const Found& found : piece) visit(found.item, found.label);
  }
}

void GuessGuard::list(const core::Time& now, const std::function<void(const Listed&)>& visit) const {
  Implementation& inside = *implementation_;
  const std::uint32_t second = guard::second_of(now);
  inside.each_bar(second, [&](const StampTable::Item& item, const guard::NameLabel& label) {
    const Key key = guard::key_of(item.key, item.kind);
    Listed listed;
    listed.kind = key.kind;
    if (key.kind == BarKind::name) {
      listed.name = label.shown();
      listed.name_hash = key.word;
    } else {
      listed.network = guard::network_of(key);
    }
    listed.remaining_seconds = std::int64_t{item.stamp.time} - second;
    listed.bars = item.stamp.count;
    visit(listed);
  });
  Listed filter;
  {
    const std::lock_guard holding(inside.lock);
    filter.bars = static_cast<std::uint32_t>(std::min<std::uint64_t>(inside.bars_in_filter, 0xffffffff));
  }
  filter.kind = BarKind::overflow;
  filter.remaining_seconds = std::int64_t{inside.latest_of(BarKind::overflow)} - second;
  if (filter.remaining_seconds > 0) visit(filter);
}

std::size_t GuessGuard::clear(const core::IpPrefix& prefix, const core::Time& now) {
  Implementation& inside = *implementation_;
  const std::uint32_t second = guard::second_of(now);
  std::size_t lifted = 0;
  const bool one_machine = is_machine(prefix);
  const MachineKey machine = machine_key(prefix.address);
  if (one_machine) {
    const std::lock_guard holding(inside.lock);
    const Key keys[] = {{BarKind::machine, machine.word, machine.v4},
                        {BarKind::net56, machine.word & ~std::uint64_t{0xff}, false},
                        {BarKind::net48, machine.word & ~std::uint64_t{0xffff}, false}};
    for (std::size_t i = 0; i < (machine.v4 ? 1 : 3); ++i) {
      if (inside.lift(keys[i], second)) ++lifted;
      inside.failures.use_up(static_cast<FailureLevel>(i), {machine, 0});
    }
  } else {
    std::vector<Key> meant;
    for (std::size_t first = 0; first < inside.bars.buckets(); first += Implementation::kPiece) {
      const std::lock_guard holding(inside.lock);
      meant.clear();
      inside.bars.visit(first, Implementation::kPiece, [&](const StampTable::Item& item) {
        const Key key = guard::key_of(item.key, item.kind);
        if (key.kind != BarKind::name && is_inside(guard::network_of(key), prefix)) meant.push_back(key);
      });
      for (const Key& key : meant) {
        if (inside.live_until(key, second) != 0) ++lifted;
        inside.bars.erase(key.word, key.table_kind());
      }
    }
    if (is_everything(prefix)) {
      const std::lock_guard holding(inside.lock);
      if (inside.latest_of(BarKind::overflow) > second) {
        lifted += inside.bars_in_filter;
        inside.overflow.open_all();
        inside.bars_in_filter = 0;
        inside.latest[static_cast<std::size_t>(BarKind::overflow)].store(0, std::memory_order_release);
      }
    }
  }
  for (std::size_t first = 0; first < inside.failures.capacity(); first += Implementation::kPiece) {
    const std::lock_guard holding(inside.lock);
    inside.failures.take_back_if(first, Implementation::kPiece, [&](const MachineKey& failed) {
      return one_machine ? failed == machine : is_inside(machine_prefix(failed), prefix);
    });
  }
  return lifted;
}

std::size_t GuessGuard::clear_name(std::string_view user, const core::Time& now) {
  Implementation& inside = *implementation_;
  const std::uint64_t name = inside.name_hash(user);
  if (name == 0) return 0;
  const std::lock_guard holding(inside.lock);
  inside.failures.use_up(FailureLevel::name, {{}, name});
  return inside.lift({BarKind::name, name, false}, guard::second_of(now)) ? 1 : 0;
}

void GuessGuard::serialize(const core::Time& now, std::string_view boot_id, const Sink& sink) const {
  Implementation& inside = *implementation_;
  const std::int64_t second = guard::second_of(now);
  StateWriter writer(kKind, kVersion, inside.key_id(), now, boot_id, sink);
  inside.each_bar(0, [&](const StampTable::Item& item, const guard::NameLabel& label) {
    writer.u8(kBarRecord);
    writer.u8(item.kind);
    writer.u8(item.stamp.count);
    writer.u64(item.key);
    writer.i64(std::int64_t{item.stamp.time} - second);
    if (item.kind == kNameTableKind) writer.text(label.whole() ? label.shown() : "");
  });
  std::vector<StampTable::Item> piece;
  piece.reserve(Implementation::kPiece * StampTable::kCellsPerBucket);
  for (std::size_t first = 0; first < inside.known.buckets(); first += Implementation::kPiece) {
    piece.clear();
    {
      const std::lock_guard holding(inside.lock);
      inside.known.visit(first, Implementation::kPiece, [&](const StampTable::Item& item) { piece.push_back(item); });
    }
    for (const StampTable::Item& item : piece) {
      writer.u8(kKnownRecord);
      writer.u64(item.key);
      writer.i64(std::int64_t{item.stamp.time} - second);
    }
  }
  for (std::size_t place = 0; place < OverflowFilter::kPlaces; ++place) {
    const std::int64_t until = inside.overflow.place(place);
    if (until <= second) continue;
    writer.u8(kOverflowRecord);
    writer.u32(static_cast<std::uint32_t>(place));
    writer.i64(until - second);
  }
  writer.finish();
}

// Takes the records over, one by one. Under the lock.
class GuessGuard::Restoring {
 public:
  Restoring(Implementation& inside, const StateReader& reader, const core::Time& now, std::string_view boot_id)
      : inside_(inside),
        same_key_(reader.key_id() == inside.key_id()),
        now_(guard::second_of(now)),
        written_(reader.written_boot_seconds(now, boot_id)) {}

  void operator()(SavedBar bar) {
    const bool is_name = bar.table_kind == kNameTableKind;
    if (is_name && !same_key_) {
      if (bar.name.empty()) {
        ++restored_.dropped;
        return;
      }
      bar.word = inside_.name_hash(bar.name);
    }
    const Key key = guard::key_of(bar.word, bar.table_kind);
    bar.stamp.time = second_of(bar.end);
    if (bar.stamp.time <= now_) {  // ended: kept where there is room, so that the next one is longer
      inside_.bars.put({key.word, key.table_kind(), bar.stamp}, 0);
      return;
    }
    if (is_name && !bar.name.empty()) inside_.label_of(key.word).set(key.word, bar.name);
    inside_.place_bar(key, bar.stamp, now_, 0);
    ++restored_.bars;
  }

  void operator()(const SavedKnown& login) {
    const std::uint32_t last = second_of(login.last);
    if (same_key_ && inside_.known.put({login.key, 0, {last, 0}}, last).ok) {
      ++restored_.known;
    } else {
      ++restored_.dropped;
    }
  }

  void operator()(const SavedPlace& place) {
    const std::uint32_t until = second_of(place.until);
    if (!same_key_) ++restored_.dropped;
    if (!same_key_ || until <= now_) return;
    inside_.overflow.shut_place(place.place, until);
    inside_.raise_latest(BarKind::overflow, until);
    inside_.bars_in_filter += ++places_ % 2;  // a bar shuts two
  }

  [[nodiscard]] const Restored& restored() const { return restored_; }

 private:
  // `offset`: seconds from the moment of writing, which may lie before this boot.
  [[nodiscard]] std::uint32_t second_of(std::int64_t offset) const {
    return guard::second_of(written_ + std::clamp(offset, -guard::kSecondMax, guard::kSecondMax));
  }

  Implementation& inside_;
  const bool same_key_;
  const std::uint32_t now_;
  const std::int64_t written_;
  std::uint64_t places_ = 0;
  Restored restored_;
};

core::Result<GuessGuard::Restored> GuessGuard::restore(std::string_view octets, const core::Time& now,
                                                       std::string_view boot_id) {
  const auto reader = StateReader::open(octets, kKind, kVersion);
  if (!reader) return std::unexpected(reader.error());
  if (!read_records(*reader, [](const auto&) {})) return core::fail("saved state holds a record that is none");
  const std::lock_guard holding(implementation_->lock);
  Restoring restoring(*implementation_, *reader, now, boot_id);
  read_records(*reader, [&](const auto& record) { restoring(record); });
  return restoring.restored();
}

}  // namespace postern::policy
