// Grace periods. The proof, without fences (g++ 12's TSan lacks them):
//   A reader that announces period p >= n has read period_ after begin_grace_period() wrote n, so it sees the
//   pointer that was exchanged before; and the writer that reads its announcement sees the end of all its
//   earlier reads. A reader that passed(n) finds offline is either still offline after that (its next
//   online() is a read-modify-write that follows the writer's, and so sees the new pointer), or has come
//   online before it (then the writer's read-modify-write returns what it announced, and not 0).
#include "core/published.h"

namespace postern::core {

ReaderDomain::ReaderDomain(std::size_t readers) : readers_(readers) {}

void ReaderDomain::online(std::size_t index) {
  readers_[index].seen.exchange(period_.load(std::memory_order_acquire), std::memory_order_acq_rel);
}

void ReaderDomain::quiescent(std::size_t index) {
  readers_[index].seen.store(period_.load(std::memory_order_acquire), std::memory_order_release);
}

void ReaderDomain::offline(std::size_t index) {
  readers_[index].seen.store(0, std::memory_order_release);
}

std::uint64_t ReaderDomain::begin_grace_period() {
  return period_.fetch_add(1, std::memory_order_acq_rel) + 1;
}

bool ReaderDomain::passed(std::uint64_t grace_period) const {
  for (const Reader& reader : readers_) {
    std::uint64_t seen = reader.seen.load(std::memory_order_acquire);
    if (seen == 0) seen = reader.seen.fetch_add(0, std::memory_order_acq_rel);
    if (seen != 0 && seen < grace_period) return false;
  }
  return true;
}

}  // namespace postern::core
