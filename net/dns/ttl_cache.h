// What was looked up, until its time is over: a bounded table of shared, immutable values, the longest unused goes first.
//
// A value that somebody holds stays alive after it left the table. Time: nanoseconds of any one clock. Thread: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

namespace postern::net::dns {

template <class Value>
class TtlCache {
 public:
  explicit TtlCache(std::size_t entries_max) : entries_max_(entries_max) {}

  // nullptr: not there, or no longer valid.
  std::shared_ptr<const Value> find(const std::string& key, std::int64_t now_ns) {
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    if (found->second->until_ns <= now_ns) {
      order_.erase(found->second);
      index_.erase(found);
      return nullptr;
    }
    order_.splice(order_.begin(), order_, found->second);
    return found->second->value;
  }

  void insert(const std::string& key, std::shared_ptr<const Value> value, std::int64_t until_ns) {
    if (const auto found = index_.find(key); found != index_.end()) {
      found->second->value = std::move(value);
      found->second->until_ns = until_ns;
      order_.splice(order_.begin(), order_, found->second);
      return;
    }
    if (index_.size() == entries_max_) {
      index_.erase(order_.back().key);
      order_.pop_back();
    }
    order_.push_front({key, std::move(value), until_ns});
    index_.emplace(key, order_.begin());
  }

  [[nodiscard]] std::size_t size() const { return index_.size(); }

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Value> value;
    std::int64_t until_ns;
  };
  std::size_t entries_max_;
  std::list<Entry> order_;  // used last first
  std::unordered_map<std::string, typename std::list<Entry>::iterator> index_;
};

}  // namespace postern::net::dns
