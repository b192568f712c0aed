// The scheduler, the clock, the event queue and the tables that the simulated machine's parts share.
//
// Invariants
//   1. Events and timers of the test run in step() only, outside of any process.
//   2. Exactly one process runs at a time; it runs until it waits.
//   3. Nothing here depends on addresses: what is walked is in order of creation, of names or of numbers.
#include "tests/sim/sim_world.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <poll.h>
#include <utility>

#include "core/assert.h"

#include "tests/sim/ring_sim.h"
#include "tests/sim/sim_connection.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_fiber.h"
#include "tests/sim/sim_network.h"

namespace postern::sim {

void link_ring();
void link_files();

namespace {

constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();
constexpr std::int32_t kFirstDescriptor = 1'000;
constexpr std::int32_t kDescriptorsApart = 100'000;  // between the numbers before and after a crash
constexpr int kLastTurns = 10'000;                   // of a process whose machine died, before it counts as stuck

thread_local SimWorld* current_world = nullptr;

bool is_disk_operation(OperationKind kind) {
  return kind >= OperationKind::open && kind <= OperationKind::sync;
}

bool is_later(const SimWorld::Event& a, const SimWorld::Event& b) {
  return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
}

}  // namespace

struct SimWorld::Process {
  std::string name;
  std::unique_ptr<SimFiber> fiber;
  RingState* waits_for = nullptr;  // in its submit_and_wait
  std::int64_t wakes_at = 0;       // in a blocking call
};

struct SimWorld::Later {
  std::function<void()> action;
  std::size_t index = 0;
};

const char* run_end_name(RunEnd end) {
  static constexpr const char* kNames[] = {"condition", "idle", "time limit", "step limit", "power lost"};
  return kNames[static_cast<std::size_t>(end)];
}

SimOptions SimOptions::from_seed(std::uint64_t seed, bool disk_faults) {
  SimRandom random(seed ^ 0x5eedu);
  SimOptions options;
  options.seed = seed;
  // Present in one of two runs; then from rare to frequent.
  const auto draw = [&random](std::uint32_t most) {
    return random.chance(500) ? std::uint32_t{0} : 1 + static_cast<std::uint32_t>(random.below(most));
  };
  options.submits_early = draw(500);
  options.multishot_ends = draw(200);
  options.cancel_is_late = draw(1000);
  options.stream_is_cut = draw(800);
  options.send_stalls = draw(20);
  options.resets_per_million = draw(20'000);
  options.connect_refused = draw(100);
  options.connect_lost = draw(30);
  options.disk_stalls = draw(30);
  if (random.chance(300)) options.window_bytes_max = options.window_bytes_min = 2'048;
  if (random.chance(300)) options.latency_ns_max = 80'000'000;
  if (random.chance(300)) options.disk_ns_max = 30'000'000;
  if (disk_faults) {
    options.write_fails = draw(20);
    options.sync_fails = draw(20);
    options.read_fails = draw(20);
  }
  options.end_is_lost = draw(500);
  return options;
}

SimWorld::SimWorld(const SimOptions& options)
    : options_(options),
      random_(options.seed),
      now_(options.start),
      outer_(current_world),
      network_(std::make_unique<SimNetwork>(*this)),
      disk_(std::make_unique<SimDisk>(*this)),
      descriptor_base_(kFirstDescriptor),
      trace_hash_(options.seed) {
  current_world = this;
  link_ring();
  link_files();
  if (std::getenv("POSTERN_SIM_TRACE") != nullptr) options_.trace = true;
}

SimWorld::~SimWorld() {
  if (is_on_ && !processes_.empty()) stop_workers();
  processes_.clear();
  if (!rings_.empty()) violation("a ring outlives its world");
  current_world = outer_;
}

SimWorld& SimWorld::current() {
  POSTERN_ASSERT(current_world != nullptr);
  return *current_world;
}

void SimWorld::violation(const std::string& text) {
  if (collected_ != nullptr) {
    collected_->push_back(text);
    return;
  }
  std::fprintf(stderr,
               "\nsimulation: %s\n  in %s at %.6f s after %llu steps; POSTERN_SEED=%llu runs it again, "
               "POSTERN_SIM_TRACE=1 shows the way there\n",
               text.c_str(), running_ != nullptr ? running_->name.c_str() : "the test",
               static_cast<double>(now_.boot_ns - options_.start.boot_ns) * 1e-9,
               static_cast<unsigned long long>(steps_), static_cast<unsigned long long>(options_.seed));
  std::abort();
}

void SimWorld::note(const char* what, std::uint64_t a, std::uint64_t b) {
  std::uint64_t mixed = trace_hash_ ^ static_cast<std::uint64_t>(now_.boot_ns);
  for (const char* letter = what; *letter != 0; ++letter)
    mixed = (mixed ^ static_cast<unsigned char>(*letter)) * 0x100000001b3u;
  mixed = (mixed ^ a) * 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ (mixed >> 29) ^ b) * 0xbf58476d1ce4e5b9u;
  trace_hash_ = mixed ^ (mixed >> 32);
  if (options_.trace) {
    std::fprintf(stderr, "%14.6f %-10s %-10s %llu %lld\n",
                 static_cast<double>(now_.boot_ns - options_.start.boot_ns) * 1e-9,
                 running_ != nullptr ? running_->name.c_str() : "-", what, static_cast<unsigned long long>(a),
                 static_cast<long long>(static_cast<std::int32_t>(b)));
  }
}

std::int64_t SimWorld::network_delay() {
  std::int64_t delay = random_.between(options_.latency_ns_min, options_.latency_ns_max);
  if (random_.chance(options_.send_stalls)) delay += random_.between(0, options_.stall_ns);
  return delay;
}

std::int64_t SimWorld::disk_delay() {
  std::int64_t delay = random_.between(options_.disk_ns_min, options_.disk_ns_max);
  if (random_.chance(options_.disk_stalls)) delay += random_.between(0, options_.stall_ns);
  return delay;
}

// --- events and time ------------------------------------------------------------------------------------------------

void SimWorld::schedule(std::int64_t at, void (*what)(SimWorld&, const Event&), void* object, std::uint64_t a,
                        std::uint64_t b) {
  events_.push_back({at, ++event_sequence_, what, object, a, b});
  std::push_heap(events_.begin(), events_.end(), is_later);
}

void SimWorld::after(std::int64_t nanoseconds, std::function<void()> action) {
  auto later = std::make_unique<Later>();
  later->action = std::move(action);
  later->index = laters_.size();
  Later* object = later.get();
  laters_.push_back(std::move(later));
  schedule(
      now_.boot_ns + nanoseconds,
      [](SimWorld& world, const Event& event) {
        // Taken out first: the action may plan others.
        const std::size_t index = static_cast<Later*>(event.object)->index;
        const std::unique_ptr<Later> due = std::move(world.laters_[index]);
        if (index + 1 != world.laters_.size()) {
          world.laters_[index] = std::move(world.laters_.back());
          world.laters_[index]->index = index;
        }
        world.laters_.pop_back();
        due->action();
      },
      object, 0, 0);
}

void SimWorld::move_to(std::int64_t boot_ns) {
  if (boot_ns <= now_.boot_ns) return;
  now_.unix_ns += boot_ns - now_.boot_ns;
  now_.boot_ns = boot_ns;
}

void SimWorld::pump() {
  while (!events_.empty() && events_.front().at <= now_.boot_ns) {
    std::pop_heap(events_.begin(), events_.end(), is_later);
    const Event event = events_.back();
    events_.pop_back();
    event.run(*this, event);
  }
}

// --- processes ------------------------------------------------------------------------------------------------------

void SimWorld::start(std::string name, std::function<void()> body) {
  auto process = std::make_unique<Process>();
  process->name = std::move(name);
  process->fiber = std::make_unique<SimFiber>(std::move(body));
  workers_stop_ = false;
  processes_.push_back(std::move(process));
}

bool SimWorld::is_runnable(const Process& process) const {
  const RingState* ring = process.waits_for;
  if (ring == nullptr) return process.wakes_at <= now_.boot_ns;
  return !ring->ready.empty() || ring->is_woken || ring->sleeps_until <= now_.boot_ns;
}

std::int64_t SimWorld::next_wake() const {
  std::int64_t earliest = kForever;
  for (const auto& process : processes_) {
    const RingState* ring = process->waits_for;
    earliest = std::min(earliest, ring == nullptr ? process->wakes_at : ring->sleeps_until);
  }
  return earliest;
}

void SimWorld::resume(Process& process) {
  process.waits_for = nullptr;
  process.wakes_at = 0;
  running_ = &process;
  process.fiber->resume();
  running_ = nullptr;
}

void SimWorld::remove_ended() {
  std::erase_if(processes_, [](const std::unique_ptr<Process>& process) { return process->fiber->ended(); });
}

void SimWorld::stop_workers() {
  workers_stop_ = true;
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (processes_[i]->waits_for != nullptr) resume(*processes_[i]);
  }
  remove_ended();
}

void SimWorld::wait(RingState& ring, std::int64_t until_boot_ns) {
  if (running_ != nullptr) {
    running_->waits_for = &ring;
    ring.sleeps_until = until_boot_ns;
    ring.is_waited_in = true;
    SimFiber::yield();
    ring.is_waited_in = false;
  } else if (ring.is_dead) {
    if (ring.ready.empty() && until_boot_ns != kForever) move_to(until_boot_ns);
  } else {
    pump();
    while (ring.ready.empty() && !ring.is_woken && now_.boot_ns < until_boot_ns && is_on_) {
      if (!step(until_boot_ns) && until_boot_ns == kForever) {
        violation("the test waits in a ring, and nothing is left that could happen");
        return;
      }
    }
  }
  ring.is_woken = false;
}

void SimWorld::spend(std::int64_t nanoseconds) {
  if (running_ != nullptr) {
    running_->wakes_at = now_.boot_ns + nanoseconds;
    SimFiber::yield();
  } else {
    move_to(now_.boot_ns + nanoseconds);
  }
}

// Runs one process, or moves the time on to what comes next. False: nothing more happens before `until_boot_ns`, which
// it is now (unless that is for ever).
bool SimWorld::step(std::int64_t until_boot_ns) {
  POSTERN_ASSERT(running_ == nullptr);
  ++steps_;
  pump();
  runnable_.clear();
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    if (is_runnable(*processes_[i])) runnable_.push_back(i);
  }
  if (!runnable_.empty()) {
    const std::size_t chosen = runnable_.size() == 1 ? runnable_[0] : runnable_[random_.below(runnable_.size())];
    Process& process = *processes_[chosen];
    resume(process);
    if (process.fiber->ended()) remove_ended();
    move_to(now_.boot_ns + random_.between(500, 4'000));
    return true;
  }
  std::int64_t next = next_wake();
  if (!events_.empty()) next = std::min(next, events_.front().at);
  if (next == kForever && until_boot_ns == kForever) return false;
  if (next > until_boot_ns) {
    move_to(until_boot_ns);
    return false;
  }
  if (next == kForever) return false;
  move_to(next);
  pump();
  return true;
}

RunEnd SimWorld::run(const std::function<bool()>& until, const RunLimits& limits) {
  POSTERN_ASSERT(running_ == nullptr && is_on_);
  const std::int64_t end = now_.boot_ns + static_cast<std::int64_t>(limits.seconds * 1e9);
  for (std::uint64_t steps = 0; steps < limits.steps; ++steps) {
    if (power_lost_) return RunEnd::power_lost;
    if (until && until()) return RunEnd::condition;
    if (now_.boot_ns >= end) return RunEnd::time_limit;
    if (!step(end)) {
      if (until && until()) return RunEnd::condition;
      // Nothing before the end; is there anything after it?
      return events_.empty() && next_wake() == kForever ? RunEnd::idle : RunEnd::time_limit;
    }
  }
  return RunEnd::step_limit;
}

RunEnd SimWorld::run_for(std::int64_t nanoseconds) {
  RunLimits limits;
  limits.seconds = static_cast<double>(nanoseconds) * 1e-9;
  return run({}, limits);
}

// --- crashes --------------------------------------------------------------------------------------------------------

void SimWorld::lose_power() {
  if (power_lost_) return;
  note("power lost", 0, 0);
  power_lost_ = true;
  disk_->cut();
}

void SimWorld::power_cut() {
  POSTERN_ASSERT(is_on_ && running_ == nullptr);
  if (!power_lost_) {
    note("power cut", 0, 0);
    disk_->cut();
  }
  crash();
}

void SimWorld::kill() {
  POSTERN_ASSERT(is_on_ && running_ == nullptr && !power_lost_);
  note("kill", 0, 0);
  disk_->let_process_die();
  crash();
}

void SimWorld::crash() {
  is_on_ = false;
  network_->let_machine_die();
  for (RingState* ring : rings_) ring->die();
  descriptor_base_ += kDescriptorsApart;
  descriptors_.clear();
  free_descriptors_.clear();
  open_descriptors_ = 0;
  // Processes run on until they look up and see that it is over; nothing they do has an effect.
  for (std::size_t i = 0; i < processes_.size(); ++i) {
    for (int turns = 0; !processes_[i]->fiber->ended(); ++turns) {
      if (turns == kLastTurns) {
        violation("process " + processes_[i]->name + " does not end on a machine without power");
        break;
      }
      resume(*processes_[i]);
    }
  }
  processes_.clear();
}

void SimWorld::power_on() {
  POSTERN_ASSERT(!is_on_);
  note("power on", 0, 0);
  is_on_ = true;
  power_lost_ = false;
  workers_stop_ = false;
  disk_->restart();
}

// --- operations -----------------------------------------------------------------------------------------------------

SimOperation& SimWorld::make_operation() {
  if (free_operations_.empty()) {
    operations_.push_back(std::make_unique<SimOperation>());
    free_operations_.push_back(operations_.back().get());
  }
  SimOperation& operation = *free_operations_.back();
  free_operations_.pop_back();
  operation = SimOperation{};
  operation.number = ++operations_made_;
  return operation;
}

void SimWorld::free_operation(SimOperation& operation) {
  disk_->forget(operation);
  network_->forget(operation);
  operation.number = 0;
  operation.snapshot.reset();
  free_operations_.push_back(&operation);
}

void SimWorld::execute_later(SimOperation& operation, std::int64_t delay) {
  schedule(
      now_.boot_ns + delay,
      [](SimWorld& world, const Event& event) {
        auto& due = *static_cast<SimOperation*>(event.object);
        if (due.number != event.a) return;
        if (is_disk_operation(due.kind)) {
          world.disk_->execute(due);
          return;
        }
        switch (due.kind) {
          case OperationKind::close:
            due.ring->finish(due, world.close_descriptor(due.descriptor));
            break;
          case OperationKind::wake:
            for (RingState* ring : world.rings_) {
              if (ring->number == due.woken_number) ring->is_woken = true;
            }
            world.free_operation(due);
            break;
          default:
            world.network_->execute(due);
        }
      },
      &operation, operation.number, 0);
}

void SimWorld::start_cancel(SimOperation& operation) {
  const auto found = operation.ring->in_flight.find(operation.cancelled);
  if (found != operation.ring->in_flight.end()) {
    const std::int64_t delay =
        random_.chance(options_.cancel_is_late) ? random_.between(0, options_.cancel_late_ns) : 0;
    schedule(
        now_.boot_ns + delay,
        [](SimWorld& world, const Event& event) {
          auto& target = *static_cast<SimOperation*>(event.object);
          if (target.number != event.a) return;
          if (is_disk_operation(target.kind)) {
            world.disk_->cancel(target);
          } else {
            world.network_->cancel(target);
          }
        },
        found->second, found->second->number, 0);
  }
  free_operation(operation);
}

void SimWorld::submit(SimOperation& operation) {
  if (is_disk_operation(operation.kind)) {
    disk_->submit(operation);
    return;
  }
  switch (operation.kind) {
    case OperationKind::close:
      execute_later(operation, random_.between(200, 20'000));
      break;
    case OperationKind::cancel:
      start_cancel(operation);
      break;
    case OperationKind::wake:
      execute_later(operation, random_.between(1'000, 30'000));
      break;
    default:
      network_->submit(operation);
  }
}

// --- rings and descriptors ------------------------------------------------------------------------------------------

std::uint32_t SimWorld::attach_ring(RingState& ring) {
  rings_.push_back(&ring);
  return ++rings_made_;
}

void SimWorld::detach_ring(RingState& ring) {
  for (const auto& process : processes_) {
    if (process->waits_for == &ring) violation("the ring of a running process is destroyed: " + process->name);
  }
  std::erase(rings_, &ring);
  // The real ring's end submits what others count on, and waits until the kernel let go of the rest.
  for (const auto& operation : operations_) {
    if (operation->number == 0 || operation->ring != &ring) continue;
    if (operation->kind == OperationKind::wake && is_on_) {
      operation->ring = nullptr;
      if (!operation->submitted) execute_later(*operation, 1'000);
    } else {
      if (operation->kind == OperationKind::write && operation->submitted && is_on_) disk_->execute(*operation);
      if (operation->number != 0) free_operation(*operation);
    }
  }
}

std::int32_t SimWorld::add_descriptor(std::unique_ptr<SimDescriptor> descriptor) {
  if (!is_on_) return -EIO;
  if (open_descriptors_ >= options_.descriptors_max) return -EMFILE;
  std::uint32_t index = 0;
  if (free_descriptors_.empty()) {
    index = static_cast<std::uint32_t>(descriptors_.size());
    descriptors_.emplace_back();
  } else {  // the lowest, as the kernel does: a number that was closed comes back at once
    std::pop_heap(free_descriptors_.begin(), free_descriptors_.end(), std::greater<>());
    index = free_descriptors_.back();
    free_descriptors_.pop_back();
  }
  descriptors_[index] = std::move(descriptor);
  ++open_descriptors_;
  return descriptor_base_ + static_cast<std::int32_t>(index);
}

SimDescriptor* SimWorld::descriptor(std::int32_t number) {
  const std::int32_t index = number - descriptor_base_;
  if (index < 0 || static_cast<std::size_t>(index) >= descriptors_.size()) return nullptr;
  return descriptors_[static_cast<std::size_t>(index)].get();
}

std::int32_t SimWorld::close_descriptor(std::int32_t number) {
  SimDescriptor* open = descriptor(number);
  if (open == nullptr) {
    // What a dead machine had open is closed by nobody.
    if (is_on_ && number >= descriptor_base_) violation("close of " + std::to_string(number) + ", which is not open");
    return -EBADF;
  }
  note("closed", static_cast<std::uint64_t>(number), 0);
  // A poll holds on to its notifier, as in the kernel: closed or not, it waits for its cancel.
  if (!open->polls.empty() && !open->is_notifier)
    violation("close of " + std::to_string(number) + " with a poll armed");
  if (open->socket != nullptr) network_->close_socket(*open->socket);
  if (open->file != nullptr) disk_->close_file(*open->file);
  const auto index = static_cast<std::uint32_t>(number - descriptor_base_);
  descriptors_[index].reset();
  free_descriptors_.push_back(index);
  std::push_heap(free_descriptors_.begin(), free_descriptors_.end(), std::greater<>());
  --open_descriptors_;
  return 0;
}

}  // namespace postern::sim
