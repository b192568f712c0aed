// A simulated machine and the Internet around it, in one thread, from one seed.
//
// core_ring_sim implements core/ring.h and core/files.h over the current SimWorld, so the server's code runs unchanged:
// its descriptors, sockets, files, clock and random numbers are the world's. The same seed and program give the same
// run, event for event (trace_hash). Bugs of ours that no test asked about are violations: they stop the run at once,
// and print the seed.
//
// How to write a simulation
//
//   SimOptions options = SimOptions::from_seed(seed);      // faults and quirks drawn from the seed; or SimOptions{seed}
//   SimWorld world(options);                               // from now on the current world of this thread
//   auto worker = core::Worker::create(0, {}, mesh, readers).value();    // uses the world
//   world.start_worker("worker 0", *worker);               // its turns are now the world's to call
//   world.network().listen(smarthost, [] { return std::make_shared<Sink>(); });        // a next hop (SimPeer)
//   world.network().connect(client_address, server_endpoint, std::make_shared<Client>()); // a client (SimPeer)
//   EXPECT_EQ(world.run([&] { return client->done; }, {.seconds = 600}), RunEnd::condition);
//   world.stop_workers();                                  // each finishes its turn; then objects may be destroyed
//   EXPECT_EQ(world.open_descriptors(), 0u);
//
// A crash:
//   world.disk().cut_power_after(n);   // or simply: world.run(...) for a random time
//   world.run(...);                    // ends with RunEnd::power_lost
//   world.power_cut();                 // the disk keeps what was durable and, by chance, some of what was not
//   ... destroy the server's objects: what is in flight ends with -ECANCELED, their descriptors are void (-EBADF) ...
//   world.power_on();                  // the same disk, a new process; clients and their connections live elsewhere
// kill() in the place of power_cut() is `kill -9`: the process dies, what reached the file cache stays.
//
// Time stands still while code runs, but for a few microseconds a turn; when every process waits, it jumps to the next
// event. Code outside of a process (the test's own) may use rings and files too: waiting there runs the world meanwhile.
//
// What the world decides by chance: the order of turns; all latencies; where streams are cut and joined; which listener
// of an endpoint gets a connection; early ends of multishot operations; ends of streams that they miss; late cancels; connection faults; disk faults;
// which sectors of unsynced writes survive. What it holds the code to: one operation a Completion; buffers given back
// once; no close of a socket with an operation armed (the kernel would never complete it); one send and one receive a
// socket; no close of what is not open; nobody uses a ring whose owner sleeps in it. Bytes to send and to write are read when the operation completes, and released
// receive buffers are overwritten, so that memory reused too early shows up as wrong contents.
//
// Thread: one world a thread at a time. Memory order is out of its reach.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"

#include "tests/sim/sim_random.h"

namespace postern::sim {

class SimDisk;
class SimNetwork;
struct SimOperation;
struct RingState;
struct SimDescriptor;

// Probabilities are per thousand unless the name says otherwise. The defaults are a kind world: latencies vary, nothing
// fails.
struct SimOptions {
  std::uint64_t seed = 1;
  core::Time start{1'000 * core::kNanosecondsPerSecond, 1'800'000'000 * core::kNanosecondsPerSecond};
  bool trace = false;  // print every event to standard error (POSTERN_SIM_TRACE=1 does it too)

  // The ring.
  std::uint32_t submits_early = 100;   // an operation reaches the kernel before the next submit
  std::uint32_t multishot_ends = 0;    // a multishot operation ends although nothing is wrong (CQ overflow)
  std::uint32_t end_is_lost = 0;       // a receive that just gave octets never tells of the end that came with them
  std::uint32_t cancel_is_late = 300;  // a cancel takes effect only after up to cancel_late_ns
  std::int64_t cancel_late_ns = 3'000'000;
  std::uint32_t descriptors_max = 20'000;

  // The network.
  std::int64_t latency_ns_min = 20'000;
  std::int64_t latency_ns_max = 400'000;
  std::uint32_t stream_is_cut = 100;  // a piece arrives as several, or is received in several
  std::uint32_t send_stalls = 0;      // a send or segment takes up to stall_ns longer
  std::int64_t stall_ns = 2'000'000'000;
  std::uint32_t resets_per_million = 0;  // of segments that arrive
  std::uint32_t connect_refused = 0;
  std::uint32_t connect_lost = 0;         // ends -ETIMEDOUT after 127 seconds
  std::size_t window_bytes_min = 16'384;  // octets in flight before a sender waits for its reader
  std::size_t window_bytes_max = 262'144;

  // The disk. Counted faults (the n-th write) are asked of SimDisk.
  std::int64_t disk_ns_min = 30'000;
  std::int64_t disk_ns_max = 400'000;
  std::uint32_t disk_stalls = 0;  // an operation takes up to stall_ns longer
  std::uint32_t write_fails = 0;  // EIO; an unknown part of it reached the disk
  std::uint32_t sync_fails = 0;   // EIO; what it covered may never become durable, and later syncs do not tell
  std::uint32_t read_fails = 0;

  // Draws which faults this run has at all, and how often: each run has few, so that they meet in many combinations
  // (swarm testing: Groce et al., ISSTA 2012). Disk faults only if asked for.
  static SimOptions from_seed(std::uint64_t seed, bool disk_faults = false);
};

enum class RunEnd : std::uint8_t { condition, idle, time_limit, step_limit, power_lost };
const char* run_end_name(RunEnd end);

struct RunLimits {
  double seconds = 3600;             // simulated
  std::uint64_t steps = 10'000'000;  // turns and time jumps
};

class SimWorld {
 public:
  explicit SimWorld(const SimOptions& options);
  ~SimWorld();  // requires that all rings are gone
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // This thread's world; asserted to exist.
  static SimWorld& current();

  [[nodiscard]] std::uint64_t seed() const { return options_.seed; }
  [[nodiscard]] const core::Time& now() const { return now_; }
  [[nodiscard]] SimRandom& random() { return random_; }
  [[nodiscard]] SimNetwork& network() { return *network_; }
  [[nodiscard]] SimDisk& disk() { return *disk_; }
  // May be changed while it runs.
  [[nodiscard]] SimOptions& options() { return options_; }

  // --- processes --------------------------------------------------------------------------------------------------
  // Straight-line code that may wait in rings and files. It ends when it returns.
  void start(std::string name, std::function<void()> body);
  // Calls worker.turn(true) again and again until stop_workers() or a crash. The caller never calls turn() meanwhile.
  template <class W>
  void start_worker(std::string name, W& worker) {
    start(std::move(name), [this, &worker] {
      while (!workers_stop()) worker.turn(true);
    });
  }
  // Wakes all workers and lets each finish its turn; other processes run on.
  void stop_workers();
  [[nodiscard]] std::size_t processes() const { return processes_.size(); }

  // --- running ----------------------------------------------------------------------------------------------------
  // Until `until` (may be empty) returns true, checked after each step; or nothing is left that could happen; or a
  // limit. From the test only, not from a process.
  RunEnd run(const std::function<bool()>& until, const RunLimits& limits = {});
  RunEnd run_for(std::int64_t nanoseconds);
  // Calls `action` once, at a later time, outside of any process: for simulated clients and the test's interventions.
  void after(std::int64_t nanoseconds, std::function<void()> action);
  // The wall clock steps; boot time does not.
  void step_unix_clock(std::int64_t nanoseconds) { now_.unix_ns += nanoseconds; }

  // --- crashes ----------------------------------------------------------------------------------------------------
  void power_cut();
  void kill();
  void power_on();
  [[nodiscard]] bool is_on() const { return is_on_; }

  // --- checks -----------------------------------------------------------------------------------------------------
  // Sockets, files and directories that are open on the machine.
  [[nodiscard]] std::size_t open_descriptors() const { return open_descriptors_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_hash_; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }
  // A broken rule: prints it with the seed and aborts, unless a test of the simulator collects them.
  void violation(const std::string& text);
  void collect_violations(std::vector<std::string>* into) { collected_ = into; }

  // === for the platform's own parts (ring_sim, files_sim, sim_disk, sim_network) ==================================
  struct Event {
    std::int64_t at = 0;
    std::uint64_t sequence = 0;
    void (*run)(SimWorld& world, const Event& event) = nullptr;
    void* object = nullptr;
    std::uint64_t a = 0;
    std::uint64_t b = 0;
  };
  void schedule(std::int64_t at, void (*what)(SimWorld&, const Event&), void* object, std::uint64_t a, std::uint64_t b);
  // One line of the trace: mixed into the hash, and printed when asked for.
  void note(const char* what, std::uint64_t a, std::uint64_t b);
  std::int64_t network_delay();
  std::int64_t disk_delay();

  // Operations: made by rings, carried out by network and disk, ended by RingState::finish.
  SimOperation& make_operation();
  void free_operation(SimOperation& operation);
  void submit(SimOperation& operation);
  // Carries `operation` out after `delay`, unless it has ended by then.
  void execute_later(SimOperation& operation, std::int64_t delay);

  std::uint32_t attach_ring(RingState& ring);
  void detach_ring(RingState& ring);
  // Waits (see RingState) until `ring` has something to handle or the time is reached.
  void wait(RingState& ring, std::int64_t until_boot_ns);
  // A blocking call takes this long.
  void spend(std::int64_t nanoseconds);
  void lose_power();  // the disk's counted cut

  // Descriptors. add: -EMFILE when there are too many.
  std::int32_t add_descriptor(std::unique_ptr<SimDescriptor> descriptor);
  [[nodiscard]] SimDescriptor* descriptor(std::int32_t number);
  std::int32_t close_descriptor(std::int32_t number);  // 0 or -EBADF; violations as told above

 private:
  struct Process;
  struct Later;

  bool workers_stop() const { return workers_stop_ || !is_on_; }
  void pump();
  bool step(std::int64_t until_boot_ns);
  void move_to(std::int64_t boot_ns);
  bool is_runnable(const Process& process) const;
  std::int64_t next_wake() const;
  void resume(Process& process);
  void remove_ended();
  void crash();
  void start_cancel(SimOperation& operation);

  SimOptions options_;
  SimRandom random_;
  core::Time now_;
  SimWorld* outer_ = nullptr;
  std::unique_ptr<SimNetwork> network_;
  std::unique_ptr<SimDisk> disk_;

  std::vector<Event> events_;  // a heap
  std::uint64_t event_sequence_ = 0;
  std::vector<std::unique_ptr<Later>> laters_;
  std::vector<std::unique_ptr<Process>> processes_;
  std::vector<std::size_t> runnable_;  // reused by step()
  Process* running_ = nullptr;
  std::vector<RingState*> rings_;
  std::uint32_t rings_made_ = 0;

  std::vector<std::unique_ptr<SimOperation>> operations_;
  std::vector<SimOperation*> free_operations_;
  std::uint64_t operations_made_ = 0;

  std::vector<std::unique_ptr<SimDescriptor>> descriptors_;
  std::vector<std::uint32_t> free_descriptors_;  // a heap, lowest first
  std::int32_t descriptor_base_ = 0;
  std::size_t open_descriptors_ = 0;

  bool is_on_ = true;
  bool power_lost_ = false;
  bool workers_stop_ = false;
  std::uint64_t steps_ = 0;
  std::uint64_t trace_hash_ = 0;
  std::vector<std::string>* collected_ = nullptr;
};

}  // namespace postern::sim
