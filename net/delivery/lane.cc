#include "net/delivery/lane.h"

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <utility>

#include "core/files.h"
#include "net/worker_server.h"

namespace postern::net {
namespace {

using core::kNanosecondsPerSecond;

constexpr std::int64_t kRestFirst = 1 * kNanosecondsPerSecond;
constexpr std::int64_t kRestMost = 60 * kNanosecondsPerSecond;
constexpr std::int64_t kHostsFileKept = 60 * kNanosecondsPerSecond;  // a reload may have read it anew
constexpr std::int64_t kOldAddressKept = 60 * kNanosecondsPerSecond;  // while the name servers do not answer
constexpr std::int64_t kQuietLane = 600 * kNanosecondsPerSecond;
constexpr std::size_t kConnectionsMax = 4096;                      // of one worker, to all targets together

constexpr int kAllRest = -1;
constexpr int kLookingUp = -2;

}  // namespace

// --- where lanes live ----------------------------------------------------------------------------------------------

std::size_t LanePlan::lanes(const RouteTarget& target, std::size_t workers) {
  return std::min<std::size_t>(workers, target.connections);
}

// Lanes are laid round the workers from a place that the target's name chooses, so that targets with one connection do
// not all meet on worker 0.
std::size_t LanePlan::home(const RouteTarget& target, std::size_t workers, std::size_t worker) {
  const std::size_t first = std::hash<std::string>{}(target.key) % workers;
  const std::size_t place = (worker + workers - first) % workers;
  return (first + place % lanes(target, workers)) % workers;
}

std::uint32_t LanePlan::connections(const RouteTarget& target, std::size_t workers, std::size_t home) {
  const std::size_t first = std::hash<std::string>{}(target.key) % workers;
  const std::size_t place = (home + workers - first) % workers;
  const std::size_t n = lanes(target, workers);
  if (place >= n) return 0;
  return static_cast<std::uint32_t>(target.connections / n + (place < target.connections % n ? 1 : 0));
}

// --- jobs ----------------------------------------------------------------------------------------------------------

Lane::Lane(WorkerServer& server, Lanes& lanes, std::shared_ptr<const RouteTarget> target)
    : server_(server),
      lanes_(lanes),
      target_(std::move(target)),
      connections_max_(LanePlan::connections(*target_, server.worker().workers(), server.worker().index())),
      hops_(target_->to.size()) {
  for (std::size_t i = 0; i < hops_.size(); ++i) {
    if (target_->to[i].address) {
      hops_[i].addresses.push_back(*target_->to[i].address);
      hops_[i].resolved_until_ns = INT64_MAX;
    }
  }
}

Lane::~Lane() = default;

void Lane::submit(DeliveryJob& job) {
  // Same hops, perhaps new limits after a reload.
  if (job.target != target_) {
    target_ = job.target;
    connections_max_ = LanePlan::connections(*target_, server_.worker().workers(), server_.worker().index());
  }
  for (Hop& hop : hops_) {
    if (hop.rests_since_ns < job.asked_ns) hop.rests_until_ns = 0;
  }
  jobs_.push_back(job);
  lanes_.mark(*this);
}

DeliveryJob* Lane::next_job() { return jobs_.pop_front(); }

void Lane::put_back(DeliveryJob& job) {
  jobs_.push_front(job);
  lanes_.mark(*this);
}

void Lane::finish(DeliveryJob& job) {
  quiet_since_ns_ = server_.now().boot_ns;
  if (job.owner_worker == server_.worker().index()) return job.owner->job_done(job);
  server_.worker().send(job.owner_worker, {[](void* owner, std::uint64_t a, std::uint64_t) noexcept {
                                             static_cast<MessageQueue*>(owner)->job_done(
                                                 *reinterpret_cast<DeliveryJob*>(a));
                                           },
                                           job.owner, reinterpret_cast<std::uint64_t>(&job), 0});
}

void Lane::pump() {
  if (server_.is_draining()) {
    while (DeliveryJob* job = jobs_.pop_front()) finish(*job);  // untried: no result says so
    return;
  }
  for (Outbound* c = first_; c != nullptr && !jobs_.empty();) {
    Outbound* following = c->next;  // wake() may end a connection that turns out dead
    if (c->is_idle()) c->wake();
    c = following;
  }
  while (jobs_.size() > connecting_ && connections_ < connections_max_) {
    if (!open_connection()) break;
  }
  if (!jobs_.empty() && connections_ == 0 && resolving_ == 0) fail_waiting();
}

void Lane::begin_drain() {
  for (Outbound* c = first_; c != nullptr;) {
    Outbound* following = c->next;
    c->begin_drain();
    c = following;
  }
  lanes_.mark(*this);
}

// --- hops and connections ------------------------------------------------------------------------------------------

int Lane::choose_hop() {
  const std::int64_t now = server_.now().boot_ns;
  std::array<std::uint8_t, dns::kMailHostsMax> order;
  const bool has_ranks = !target_->ranks.empty();
  if (has_ranks) {
    dns::order_hosts(target_->ranks, core::files::random_u64(), std::span(order).first(target_->ranks.size()));
  }
  for (std::size_t n = 0; n < hops_.size(); ++n) {
    const std::size_t i = has_ranks ? order[n] : n;
    Hop& hop = hops_[i];
    if (hop.rests_until_ns > now) continue;
    if (hop.resolved_until_ns > now) return static_cast<int>(i);
    if (!hop.resolving) look_up(i);
    if (hop.resolving) return kLookingUp;  // in order: a later hop is for when this one is down
    if (hop.resolved_until_ns > now) return static_cast<int>(i);
  }
  return kAllRest;
}

// At once, when it is known; else the hop is `resolving` for a while.
void Lane::look_up(std::size_t index) {
  const std::int64_t now = server_.now().boot_ns;
  const std::string& host = target_->to[index].host;
  const auto origin = target_->by_mx ? dns::NameOrigin::dns : dns::NameOrigin::settings;
  if (!target_->by_mx) {
    dns::HostAddresses own;
    own.addresses = server_.snapshot().hosts.find(host);
    own.until_ns = now + kHostsFileKept;
    if (!own.addresses.empty()) {
      own.status = dns::AnswerStatus::found;
      return static_cast<void>(take_addresses(index, own));
    }
  }
  if (const auto found = server_.resolver().find_addresses(host, origin, now)) {
    return static_cast<void>(take_addresses(index, *found));
  }
  hops_[index].resolving = true;
  ++resolving_;
  server_.resolver().ask_addresses(host, origin, now,
                                   [this, index](const std::shared_ptr<const dns::HostAddresses>& found) {
                                     hops_[index].resolving = false;
                                     --resolving_;
                                     if (!server_.is_draining()) take_addresses(index, *found);
                                     lanes_.mark(*this);
                                   });
}

bool Lane::take_addresses(std::size_t index, const dns::HostAddresses& found) {
  Hop& hop = hops_[index];
  if (found.status == dns::AnswerStatus::found) {
    if (hop.addresses != found.addresses) hop.next_address = 0;
    hop.addresses = found.addresses;
    hop.resolved_until_ns = found.until_ns;
    return true;
  }
  if (found.status == dns::AnswerStatus::failed && !hop.addresses.empty()) {
    hop.resolved_until_ns = server_.now().boot_ns + kOldAddressKept;
    return true;
  }
  rest(hop, target_->to[index].host, found.error);
  return false;
}

bool Lane::open_connection() {
  const int index = choose_hop();
  if (index < 0) return false;
  Hop& hop = hops_[static_cast<std::size_t>(index)];
  const core::IpAddress address = hop.addresses[hop.next_address % hop.addresses.size()];
  Outbound* connection =
      lanes_.connections().make(server_, *this, static_cast<std::size_t>(index), address);
  if (connection == nullptr) return false;
  connection->next = first_;
  if (first_ != nullptr) first_->previous = connection;
  first_ = connection;
  ++connections_;
  ++connecting_;
  connection->start();
  return true;
}

void Lane::connected() {
  --connecting_;
  server_.counters().outbound_connections_made.add();
}

void Lane::hop_works(Outbound& connection) {
  Hop& hop = hops_[connection.hop()];
  hop.rest_ns = 0;
  hop.rests_until_ns = 0;
}

void Lane::connect_failed(Outbound& connection, std::string_view why) {
  --connecting_;
  hop_failed(connection, why);
}

void Lane::hop_failed(Outbound& connection, std::string_view why, std::string_view enhanced) {
  server_.counters().outbound_connections_failed.add();
  Hop& hop = hops_[connection.hop()];
  hop.last_enhanced.assign(enhanced);
  // A host's other addresses come first, the rest of the route after them.
  if (++hop.next_address % hop.addresses.size() == 0) {
    rest(hop, connection.peer(), why);
  }
  lanes_.mark(*this);
}

void Lane::rest(Hop& hop, std::string_view peer, std::string_view why) {
  hop.rest_ns = hop.rest_ns == 0 ? kRestFirst : std::min(hop.rest_ns * 2, kRestMost);
  hop.rests_since_ns = server_.now().boot_ns;
  hop.rests_until_ns = hop.rests_since_ns + hop.rest_ns;
  hop.last_peer.assign(peer);
  hop.last_error.assign(peer).append(": ").append(why);
  core::LogLine(server_.log(), server_.now(), core::Severity::warning, "hop_down")
      .add("reason", hop.last_error)
      .add("rest_ms", static_cast<std::uint64_t>(hop.rest_ns / core::kNanosecondsPerMillisecond))
      .flood_key(std::hash<std::string>{}(target_->key));
}

void Lane::closed(Outbound& connection) {
  (connection.previous == nullptr ? first_ : connection.previous->next) = connection.next;
  if (connection.next != nullptr) connection.next->previous = connection.previous;
  --connections_;
  quiet_since_ns_ = server_.now().boot_ns;
  lanes_.connections().destroy(&connection);
  lanes_.mark(*this);
}

// No hop can be reached: what waits is told so, with the last hop's words.
void Lane::fail_waiting() {
  std::string why;
  std::string_view enhanced = kUnreachable;
  std::string_view peer;
  for (const Hop& hop : hops_) {
    if (!hop.last_enhanced.empty() && hop.last_enhanced != kUnreachable) enhanced = hop.last_enhanced;
    if (!hop.last_error.empty()) why += (why.empty() ? "" : "; ") + hop.last_error;
    if (!hop.last_peer.empty()) peer = hop.last_peer;
  }
  if (why.empty()) why = "too many connections are open";
  while (DeliveryJob* job = jobs_.pop_front()) {
    job->batch->set_peer(peer);
    for (JobResult& result : job->batch->results) result.set(451, enhanced, why, false);
    finish(*job);
  }
}

// --- all lanes -----------------------------------------------------------------------------------------------------

Lanes::Lanes(WorkerServer& server) : server_(server), connections_(kConnectionsMax) {}

Lanes::~Lanes() = default;

void Lanes::submit(DeliveryJob& job) {
  std::unique_ptr<Lane>& lane = lanes_[job.target->key];
  if (lane == nullptr) lane = std::make_unique<Lane>(server_, *this, job.target);
  lane->submit(job);
}

void Lanes::mark(Lane& lane) {
  if (lane.marked_) return;
  lane.marked_ = true;
  marked_.push_back(&lane);
}

void Lanes::flush() {
  running_.swap(marked_);
  for (Lane* lane : running_) {
    lane->marked_ = false;
    lane->pump();
  }
  running_.clear();
  const std::int64_t now = server_.now().boot_ns;
  if (now - swept_ns_ < kQuietLane) return;
  swept_ns_ = now;
  std::erase_if(lanes_, [now](const auto& entry) {
    const Lane& lane = *entry.second;
    return lane.is_quiet() && !lane.marked_ && now - lane.quiet_since_ns() > kQuietLane;
  });
}

void Lanes::begin_drain() {
  for (auto& [key, lane] : lanes_) lane->begin_drain();
}

bool Lanes::is_quiet() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const auto& entry) { return entry.second->is_quiet(); });
}

}  // namespace postern::net
