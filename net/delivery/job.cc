#include "net/delivery/job.h"

#include <algorithm>
#include <cstring>

namespace postern::net {
namespace {

template <std::size_t N>
std::uint8_t copy_cut(std::array<char, N>& to, std::string_view from) {
  static_assert(N <= 255);
  const std::size_t n = std::min(from.size(), N);
  std::memcpy(to.data(), from.data(), n);
  return static_cast<std::uint8_t>(n);
}

}  // namespace

void JobResult::set(std::uint16_t reply_code, std::string_view enhanced_code, std::string_view words,
                    bool peer_said_it) {
  code = reply_code;
  by_peer = peer_said_it;
  enhanced_bytes = copy_cut(enhanced, enhanced_code);
  text_bytes = copy_cut(text, words);
}

void DeliveryBatch::set_peer(std::string_view name) {
  peer_bytes = copy_cut(peer, name);
}

void JobList::push_back(DeliveryJob& job) {
  job.next = nullptr;
  (last_ == nullptr ? first_ : last_->next) = &job;
  last_ = &job;
  ++size_;
}

void JobList::push_front(DeliveryJob& job) {
  job.next = first_;
  first_ = &job;
  if (last_ == nullptr) last_ = &job;
  ++size_;
}

DeliveryJob* JobList::pop_front() {
  DeliveryJob* job = first_;
  if (job == nullptr) return nullptr;
  first_ = job->next;
  if (first_ == nullptr) last_ = nullptr;
  job->next = nullptr;
  --size_;
  return job;
}

}  // namespace postern::net
