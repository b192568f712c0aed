// Random histories against a simple model, with restarts, kill -9, power cuts and failing writes.
//
// POSTERN_SEED=n runs one seed; POSTERN_SEEDS=n runs so many.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <random>
#include <set>
#include <string>

#include "tests/core/spool/spool_harness.h"

namespace postern::core::spool_test {
namespace {

// What the spool has promised about an item, and what it may do.
struct Model {
  Kept kept;
  bool acknowledged = false;            // told 0: must be there until it is finished
  bool refused = false;                 // told an error: may be there until the void is durable
  bool finish_asked = false;            // may be gone
  bool finish_durable = false;          // must be gone
  std::vector<std::string> states{""};  // the last one known to be durable, and those asked for since
};

// What all histories together met: a test that never meets a thing does not test it.
struct Met {
  std::uint64_t recovered = 0;
  std::uint64_t power_cuts = 0;
  std::uint64_t torn_tails = 0;
  std::uint64_t orphans = 0;
  std::uint64_t refused = 0;
  std::uint64_t no_space = 0;
  std::uint64_t moved = 0;
  std::uint64_t write_errors = 0;
  std::uint64_t segments_most = 0;
};

class History {
 public:
  History(std::uint64_t seed, Met& met) : random_(seed), met_(met), at_(sim_options(seed)) {
    has_faults_ = one_in(3);
    at_.options.commits_in_flight = 1 + static_cast<std::uint32_t>(below(4));
    if (one_in(4)) at_.options.inline_bytes_max = 4096;
    if (one_in(3)) at_.world->disk().set_capacity((3u << 20) + below(4u << 20));
    body_most_ = one_in(2) ? 3000 : at_.options.inline_bytes_max;
    finishes_ = 10 + below(40);
  }

  void run() {
    open();
    const std::uint64_t steps = 100 + below(700);
    for (std::uint64_t i = 0; i < steps && !::testing::Test::HasFatalFailure(); ++i) {
      step();
      if (power_is_lost()) crash_and_recover();
    }
    end();
  }

 private:
  static sim::SimOptions sim_options(std::uint64_t seed) {
    sim::SimOptions options;
    options.seed = seed;
    return options;
  }
  std::uint64_t below(std::uint64_t n) { return n == 0 ? 0 : random_() % n; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  bool power_is_lost() {
    return at_.world->run([] { return true; }) == sim::RunEnd::power_lost;
  }
  void set_faults(bool on) {
    at_.world->options().write_fails = on && has_faults_ ? 4 : 0;
    at_.world->options().sync_fails = on && has_faults_ ? 4 : 0;
  }

  void open() {
    set_faults(false);
    const auto on_disk = at_.dump_if_any();
    auto opened = at_.try_open();
    if (!opened && power_is_lost()) {
      at_.world->power_cut();
      at_.end();
      at_.world->power_on();
      opened = at_.try_open();
    }
    ASSERT_TRUE(opened) << opened.error().text;
    std::string notes;
    for (const std::string& note : at_.report.notes) notes += "\n  " + note;
    EXPECT_EQ(at_.report.damaged_records, 0u) << notes;
    EXPECT_EQ(at_.report.lost_items, 0u) << notes;
    EXPECT_TRUE(std::is_sorted(at_.order.begin(), at_.order.end()));
    met_.recovered += at_.order.size();
    met_.torn_tails += at_.report.torn_tail ? 1 : 0;
    met_.orphans += at_.report.orphans_removed;
    compare(on_disk);
    set_faults(true);
  }

  void compare(const std::map<ItemId, Kept>& on_disk) {
    for (const auto& [id, kept] : at_.recovered) {
      const auto known = model_.find(id);
      ASSERT_NE(known, model_.end()) << "an item rose from the dead: " << std::hex << id;
      const Model& item = known->second;
      EXPECT_FALSE(item.finish_durable) << "finished, and back: " << std::hex << id;
      EXPECT_EQ(kept.head, item.kept.head);
      EXPECT_EQ(kept.content_flags, item.kept.content_flags);
      EXPECT_EQ(kept.is_large, item.kept.is_large);
      EXPECT_NE(std::find(item.states.begin(), item.states.end(), kept.state), item.states.end())
          << "state \"" << kept.state << "\" instead of \"" << item.states.front() << "\" or later: " << std::hex << id;
      const auto dumped = on_disk.find(id);
      ASSERT_NE(dumped, on_disk.end());
      EXPECT_TRUE(dumped->second.body == item.kept.body) << std::hex << id;
      EXPECT_EQ(dumped->second.state, kept.state);
    }
    for (const auto& [id, item] : model_) {
      if (item.acknowledged && !item.finish_asked) {
        ASSERT_TRUE(at_.recovered.contains(id)) << "an acknowledged item is lost: " << std::hex << id;
      }
    }
    EXPECT_EQ(on_disk.size(), at_.recovered.size());
    // From now on this is the truth.
    for (auto known = model_.begin(); known != model_.end();) {
      const auto found = at_.recovered.find(known->first);
      if (found == at_.recovered.end()) {
        gone_.insert(known->first);
        known = model_.erase(known);
        continue;
      }
      known->second.acknowledged = true;
      known->second.refused = known->second.finish_asked = false;
      known->second.states = {found->second.state};
      ++known;
    }
  }

  void step() {
    switch (below(12)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return append();
      case 4:
        if (one_in(4)) return append_large();
        return append();
      case 5:
        return update();
      case 6:
      case 7:
        if (below(100) < finishes_) return;
        return finish();
      case 8:
        if (one_in(30)) return restart();
        return load();
      case 9:
        if (one_in(25)) return at_.world->disk().cut_power_after(1 + below(40));
        [[fallthrough]];
      default:
        for (std::uint64_t turns = below(6); turns-- > 0;) at_.turn(!one_in(3));
    }
  }

  std::string octets(std::uint64_t bytes) {
    std::string text(bytes, '\0');
    for (std::uint64_t i = 0; i < bytes; i += 8) {
      const std::uint64_t word = random_();
      std::memcpy(text.data() + i, &word, std::min<std::uint64_t>(8, bytes - i));
    }
    return text;
  }

  Waiter& waiter_for_append(ItemId id) {
    Waiter& waiter = at_.waiter();
    waiter.then = [this, id](int error) {
      Model& item = model_.at(id);
      (error == 0 ? item.acknowledged : item.refused) = true;
      met_.refused += error != 0 ? 1 : 0;
    };
    return waiter;
  }
  void append() {
    const std::string head = octets(below(300));
    const std::string body = octets(below(body_most_));
    if (!at_.spool->admit(body.size())) {
      ++met_.no_space;
      return;
    }
    if (at_.spool->can_append(head.size() + body.size()) || one_in(20)) {
      Waiter& waiter = at_.waiter();
      const ItemId id = at_.start_append(head, body, waiter, static_cast<std::uint16_t>(random_()));
      EXPECT_FALSE(model_.contains(id) || gone_.contains(id)) << "an id was given twice";
      ItemInfo info;
      model_[id].kept = {head, body, "", at_.spool->find(id, info) ? info.content_flags : std::uint16_t{0}, false};
      waiter.then = waiter_for_append(id).then;
    }
    at_.spool->release(body.size());
  }
  void append_large() {
    const std::string head = octets(below(300));
    const std::string body = octets(at_.options.inline_bytes_max + below(30'000));
    LargeWriter& writer = *writers_.emplace_back(std::make_unique<LargeWriter>(at_));
    if (writer.begin() != 0) return abandon(writer);
    const std::size_t cut = below(body.size());
    if (writer.write(std::string_view(body).substr(0, cut)) != 0) return abandon(writer);
    if (one_in(8)) return abandon(writer);
    if (writer.write(std::string_view(body).substr(cut)) != 0) return abandon(writer);
    const ItemId id = writer.large.id;
    EXPECT_FALSE(model_.contains(id) || gone_.contains(id)) << "an id was given twice";
    model_[id].kept = {head, body, "", 0, true};
    writer.done.then = waiter_for_append(id).then;
    at_.spool->append_large(writer.large, head, 0, at_.now.unix_ns, writer.done.durable);
  }
  void abandon(LargeWriter& writer) {
    if (writer.large.step != 0) writer.abandon();
  }

  // Any item that the spool has told the caller about.
  ItemId pick() {
    if (model_.empty()) return 0;
    auto at = model_.lower_bound(model_.begin()->first + below(model_.rbegin()->first - model_.begin()->first + 1));
    for (std::size_t i = 0; i < model_.size(); ++i, ++at) {
      if (at == model_.end()) at = model_.begin();
      if (at->second.acknowledged && !at->second.finish_asked) return at->first;
    }
    return 0;
  }
  void update() {
    const ItemId id = pick();
    if (id == 0) return;
    const std::string state = octets(1 + below(one_in(5) ? 3000 : 60));
    std::vector<std::string>& states = model_.at(id).states;
    states.push_back(state);
    if (one_in(3)) return at_.spool->update(id, state, nullptr);
    Waiter& waiter = at_.waiter();
    waiter.then = [this, id, state](int error) {
      const auto known = model_.find(id);
      if (known == model_.end() || error != 0) return;
      auto& all = known->second.states;
      all.erase(all.begin(), std::find(all.begin(), all.end(), state));
    };
    at_.spool->update(id, state, &waiter.durable);
  }
  void finish() {
    const ItemId id = pick();
    if (id == 0) return;
    model_.at(id).finish_asked = true;
    if (one_in(3)) return at_.spool->finish(id, nullptr);
    Waiter& waiter = at_.waiter();
    waiter.then = [this, id](int error) {
      EXPECT_EQ(error, 0);
      model_.at(id).finish_durable = true;
    };
    at_.spool->finish(id, &waiter.durable);
  }
  void load() {
    const ItemId id = pick();
    if (id == 0 || power_is_lost()) return;
    Kept kept;
    const int error = at_.load(id, kept);
    if (power_is_lost()) return;
    ASSERT_EQ(error, 0) << std::hex << id;
    const Model& item = model_.at(id);
    EXPECT_EQ(kept.head, item.kept.head);
    if (!item.kept.is_large) {
      EXPECT_TRUE(kept.body == item.kept.body);
    }
  }

  void crash_and_recover() {
    ++met_.power_cuts;
    at_.world->disk().cut_power_after(0);
    at_.world->power_cut();
    forget_waiters();
    at_.end();
    at_.world->power_on();
    if (one_in(6)) at_.world->disk().cut_power_after(1 + below(20));  // and once more, while it starts
    open();
  }
  void restart() {
    if (one_in(2)) {
      at_.world->kill();
      forget_waiters();
      at_.end();
      at_.world->power_on();
      return open();
    }
    if (settle()) {
      at_.end();
      open();
    }
  }
  void forget_waiters() {
    note_counters();
    at_.waiters.clear();
    writers_.clear();
  }
  void note_counters() {
    const SpoolCounters& counters = at_.spool->counters();
    met_.moved += counters.items_moved;
    met_.write_errors += counters.write_errors;
    met_.segments_most = std::max(met_.segments_most, counters.segments_in_use);
  }
  // Everything that was asked for has come to its end.
  bool settle() {
    set_faults(false);
    const bool is_settled = at_.until([&] { return at_.spool->is_idle() || power_is_lost(); });
    set_faults(true);
    if (power_is_lost()) return false;
    EXPECT_TRUE(is_settled);
    for (auto& [id, item] : model_) {
      // An orderly end: what was refused is void, what was asked for is done.
      if (item.refused || item.finish_asked) item.finish_durable = true;
      item.states.erase(item.states.begin(), item.states.end() - 1);
    }
    return is_settled;
  }

  void end() {
    at_.world->disk().cut_power_after(0);
    if (::testing::Test::HasFatalFailure()) return;
    if (!settle()) return;
    note_counters();
    at_.end();
    open();
    if (::testing::Test::HasFatalFailure()) return;
    // Empty it: all space comes back.
    set_faults(false);
    for (const auto& [id, item] : model_) at_.spool->finish(id, nullptr);
    ASSERT_TRUE(at_.settle());
    EXPECT_EQ(at_.spool->items(), 0u);
    at_.turn(false);
    EXPECT_LE(at_.spool->counters().segments_in_use, 2u);
    EXPECT_TRUE(files::list(at_.options.directory + "/large").value().empty());
    at_.reopen();
    EXPECT_TRUE(at_.order.empty());
    at_.close();
    EXPECT_EQ(at_.world->open_descriptors(), 0u);
  }

  std::mt19937_64 random_;
  Met& met_;
  SpoolHarness at_;
  bool has_faults_ = false;
  std::uint64_t body_most_ = 0;
  std::uint64_t finishes_ = 0;  // percent of finishes that are left out: how much of a backlog there is
  std::map<ItemId, Model> model_;
  std::set<ItemId> gone_;
  std::vector<std::unique_ptr<LargeWriter>> writers_;
};

TEST(SpoolHistory, NothingAcknowledgedIsLostAndNothingFinishedRises) {
  const char* one = std::getenv("POSTERN_SEED");
  const char* many = std::getenv("POSTERN_SEEDS");
  const std::uint64_t first = one != nullptr ? std::strtoull(one, nullptr, 10) : 1;
  const std::uint64_t count = one != nullptr ? 1 : many != nullptr ? std::strtoull(many, nullptr, 10) : 150;
  Met met;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("POSTERN_SEED=" + std::to_string(seed));
    History(seed, met).run();
    if (HasFailure()) return;
  }
  std::printf(
      "met: %lu recovered, %lu power cuts, %lu torn tails, %lu orphans, %lu refused, %lu without space, %lu moved, "
      "%lu write errors, %lu segments at most\n",
      met.recovered, met.power_cuts, met.torn_tails, met.orphans, met.refused, met.no_space, met.moved,
      met.write_errors, met.segments_most);
  if (count < 100) return;
  EXPECT_GT(met.recovered, count);
  EXPECT_GT(met.power_cuts, count / 2);
  EXPECT_GT(met.torn_tails, 0u);
  EXPECT_GT(met.orphans, 0u);
  EXPECT_GT(met.refused, 0u);
  EXPECT_GT(met.no_space, 0u);
  EXPECT_GT(met.moved, 0u);
  EXPECT_GT(met.write_errors, 0u);
  EXPECT_GT(met.segments_most, 5u);
}

}  // namespace
}  // namespace postern::core::spool_test
