// One route target's home on one worker: its connections, the jobs that wait for them, and what is known of
// its hops.
//
// A target has as many lanes as it has connections to spread, at most one a worker, so that its limits need
// no lock; a queue hands its jobs to the lane of its own worker if there is one, else to another worker's
// through the mesh. Hops are tried in the order of the route, those of equal rank (MX) in a new random order for each
// connection; one that does not answer rests for a while
// (kRestFirst, doubling to kRestMost). When all rest, waiting jobs fail at once (4.4.1) and their messages
// keep their retry schedule; an operator's `queue retry` ends the rests that began before it. Thread: one, its worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/pool.h"
#include "core/timer_wheel.h"
#include "net/delivery/job.h"
#include "net/delivery/outbound.h"
#include "net/dns/resolver.h"
#include "net/snapshot.h"

namespace postern::net {

class Lanes;
class WorkerServer;

// Where lane `ordinal` of a target lives, and its share of the target's connections. Pure.
struct LanePlan {
  static std::size_t lanes(const RouteTarget& target, std::size_t workers);
  // The worker whose lane serves jobs of `worker`'s queue.
  static std::size_t home(const RouteTarget& target, std::size_t workers, std::size_t worker);
  // Connections that the lane on worker `home` may have.
  static std::uint32_t connections(const RouteTarget& target, std::size_t workers, std::size_t home);
};

class Lane {
 public:
  Lane(WorkerServer& server, Lanes& lanes, std::shared_ptr<const RouteTarget> target);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  void submit(DeliveryJob& job);
  // Opens connections for jobs that wait. Called once a turn while the lane is marked.
  void pump();
  // No more connections are opened, jobs that wait are given back untried.
  void begin_drain();
  [[nodiscard]] bool is_quiet() const { return jobs_.empty() && first_ == nullptr && !resolving_; }
  [[nodiscard]] std::int64_t quiet_since_ns() const { return quiet_since_ns_; }

  // --- the connections' side
  // ----------------------------------------------------------------------------------------
  [[nodiscard]] const std::shared_ptr<const RouteTarget>& target() const { return target_; }
  DeliveryJob* next_job();          // nullptr: none waits
  void put_back(DeliveryJob& job);  // to the front: it was not tried
  void finish(DeliveryJob& job);    // with its results, to its owner
  void connected();                                // TCP stands
  void connect_failed(Outbound& connection, std::string_view why);
  void hop_works(Outbound& connection);            // it greeted and took EHLO
  // `enhanced`: what those who wait are told when no other hop is left.
  void hop_failed(Outbound& connection, std::string_view why, std::string_view enhanced = kUnreachable);
  static constexpr std::string_view kUnreachable = "4.4.1";
  void closed(Outbound& connection);  // its slot goes back

 private:
  struct Hop {
    std::vector<core::IpAddress> addresses;  // of a named hop: as resolved last
    std::int64_t resolved_until_ns = 0;
    std::int64_t rests_since_ns = 0;
    std::int64_t rests_until_ns = 0;
    std::int64_t rest_ns = 0;
    std::size_t next_address = 0;
    bool resolving = false;
    std::string last_peer;
    std::string last_error;
    std::string last_enhanced;
  };
  // The hop to use now: an index, -1: all rest, -2: an address is being looked up.
  int choose_hop();
  void look_up(std::size_t hop);
  // Takes what is known of its name. False: there is no address to use.
  bool take_addresses(std::size_t hop, const dns::HostAddresses& found);
  bool open_connection();
  void rest(Hop& hop, std::string_view peer, std::string_view why);
  void fail_waiting();

  WorkerServer& server_;
  Lanes& lanes_;
  std::shared_ptr<const RouteTarget> target_;
  std::uint32_t connections_max_;
  std::vector<Hop> hops_;
  JobList jobs_;
  Outbound* first_ = nullptr;
  std::uint32_t connections_ = 0;
  std::uint32_t connecting_ = 0;
  std::uint32_t resolving_ = 0;
  std::int64_t quiet_since_ns_ = 0;
  bool marked_ = false;
  friend class Lanes;
};

// All lanes of one worker.
class Lanes {
 public:
  explicit Lanes(WorkerServer& server);
  ~Lanes();

  void submit(DeliveryJob& job);
  void mark(Lane& lane);
  // Once a turn: lets marked lanes open connections, and forgets lanes that were quiet for long.
  void flush();
  void begin_drain();
  [[nodiscard]] bool is_quiet() const;
  [[nodiscard]] bool has_work() const { return !marked_.empty(); }
  [[nodiscard]] core::SlotPool<Outbound>& connections() { return connections_; }

 private:
  WorkerServer& server_;
  core::SlotPool<Outbound> connections_;
  std::unordered_map<std::string, std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> marked_;
  std::vector<Lane*> running_;  // kept: flush() swaps it with marked_
  std::int64_t swept_ns_ = 0;
};

}  // namespace postern::net
