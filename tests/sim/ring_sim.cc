// core/ring.h over the simulated machine.
//
// Invariants
//   1. An operation is looked at by network or disk only after its ring submitted it, and its memory only when it is
//      carried out.
//   2. Handlers run in reap() only, in the order in which operations ended.
//   3. A free buffer holds garbage, so that whoever keeps a pointer to it reads garbage.
#include "tests/sim/ring_sim.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/assert.h"

#include "tests/sim/sim_connection.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_network.h"
#include "tests/sim/sim_world.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POSTERN_SIM_POISON(address, bytes) __asan_poison_memory_region(address, bytes)
#define POSTERN_SIM_UNPOISON(address, bytes) __asan_unpoison_memory_region(address, bytes)
#else
#define POSTERN_SIM_POISON(address, bytes) static_cast<void>(address)
#define POSTERN_SIM_UNPOISON(address, bytes) static_cast<void>(address)
#endif

namespace postern::sim {
namespace {

constexpr std::size_t kMessagePartsMax = 64;
constexpr std::size_t kGarbageBytes = 256;  // of a released buffer; enough to spoil any line

}  // namespace

SimDescriptor::SimDescriptor() = default;
SimDescriptor::~SimDescriptor() = default;

const char* operation_name(OperationKind kind) {
  static constexpr const char* kNames[] = {"accept", "receive", "send", "connect", "shutdown", "close",  "poll",
                                           "open",   "unlink",  "read", "write",   "sync",     "cancel", "wake"};
  return kNames[static_cast<std::size_t>(kind)];
}

RingState::RingState(SimWorld& w, const core::RingOptions& o) : world(w), options(o), is_lent(o.buffer_count, false) {
  const std::size_t bytes = std::size_t{options.buffer_count} * options.buffer_bytes;
  memory.reset(new char[bytes]);  // not touched before use
  POSTERN_SIM_POISON(memory.get(), bytes);
  free_buffers.reserve(options.buffer_count);
  for (std::uint32_t id = options.buffer_count; id-- > 0;) free_buffers.push_back(static_cast<std::uint16_t>(id));
  number = world.attach_ring(*this);
  is_dead = !world.is_on();
}

RingState::~RingState() {
  world.detach_ring(*this);
  POSTERN_SIM_UNPOISON(memory.get(), std::size_t{options.buffer_count} * options.buffer_bytes);
}

SimOperation& RingState::start(OperationKind kind, std::int32_t descriptor, core::Completion& completion) {
  if (completion.in_flight)
    world.violation(std::string("a Completion in flight is started again: ") + operation_name(kind));
  if (completion.handler == nullptr) world.violation(std::string("no handler for ") + operation_name(kind));
  completion.in_flight = true;
  SimOperation& operation = world.make_operation();
  operation.kind = kind;
  operation.ring = this;
  operation.completion = &completion;
  operation.descriptor = descriptor;
  return operation;
}

void RingState::queued(SimOperation& operation) {
  if (is_waited_in) {
    world.violation(std::string("a sleeping worker's ring is used by somebody else: ") +
                    operation_name(operation.kind));
  }
  if (operation.completion != nullptr) in_flight[operation.completion] = &operation;
  submission_queue.push_back(&operation);
  if (submission_queue.size() >= options.submission_entries || world.random().chance(world.options().submits_early)) {
    submit_all();
  }
}

void RingState::submit_all() {
  // What network and disk do on submission never queues a further operation.
  for (SimOperation* operation : submission_queue) {
    operation->submitted = true;
    if (!is_dead) {
      world.submit(*operation);
    } else if (operation->completion != nullptr) {
      finish(*operation, -EBADF);  // not -ECANCELED, which would tell its owner that it asked for the end itself
    } else {
      world.free_operation(*operation);
    }
  }
  submission_queue.clear();
}

std::size_t RingState::reap() {
  const std::size_t count = ready.size();
  for (std::size_t i = 0; i < count; ++i) {
    const Ready next = ready.front();
    ready.pop_front();
    world.note(operation_name(next.kind), number, static_cast<std::uint32_t>(next.outcome.result));
    if (!next.outcome.has_more) next.completion->in_flight = false;
    next.completion->handler(next.completion->owner, *next.completion, next.outcome);
  }
  return count;
}

void RingState::post(SimOperation& operation, const core::Outcome& outcome) {
  if (!outcome.has_more) {
    finish(operation, outcome);
    return;
  }
  ready.push_back({operation.completion, outcome, operation.kind});
}

void RingState::finish(SimOperation& operation, std::int32_t result) {
  core::Outcome outcome;
  outcome.result = result;
  finish(operation, outcome);
}

void RingState::finish(SimOperation& operation, const core::Outcome& outcome) {
  ready.push_back({operation.completion, outcome, operation.kind});
  in_flight.erase(operation.completion);
  world.free_operation(operation);
}

void RingState::die() {
  if (is_dead) return;
  is_dead = true;
  std::vector<SimOperation*> left;
  for (const auto& [completion, operation] : in_flight) {
    if (operation->submitted) left.push_back(operation);
  }
  std::sort(left.begin(), left.end(),
            [](const SimOperation* a, const SimOperation* b) { return a->number < b->number; });
  for (SimOperation* operation : left) finish(*operation, -ECANCELED);
  submit_all();
}

bool RingState::take_buffer(std::uint16_t& id) {
  if (free_buffers.empty()) return false;
  id = free_buffers.back();
  free_buffers.pop_back();
  is_lent[id] = true;
  POSTERN_SIM_UNPOISON(buffer_memory(id), options.buffer_bytes);
  return true;
}

// Referred to by sim_world.cc, so that a program that links the world links the platform whole.
void link_ring() {}

}  // namespace postern::sim

namespace postern::core {

using sim::OperationKind;
using sim::SimDescriptor;
using sim::SimOperation;
using sim::SimWorld;

Ring::Ring(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}
Ring::~Ring() = default;

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  POSTERN_ASSERT(std::has_single_bit(options.buffer_count) && options.buffer_count <= 32768);
  SimWorld& world = SimWorld::current();
  if (!world.is_on()) return fail_errno("make a ring on a machine without power", EIO);
  return std::unique_ptr<Ring>(new Ring(std::make_unique<Implementation>(world, options)));
}

Time Ring::submit_and_wait(std::int64_t wait_until_boot_ns) {
  Implementation& self = *implementation_;
  self.submit_all();
  self.world.wait(self, wait_until_boot_ns);
  return self.world.now();
}

std::size_t Ring::reap() {
  return implementation_->reap();
}

Time Ring::read_clock() const {
  return implementation_->world.now();
}

// --- operations: noted here, carried out by SimNetwork and SimDisk --------------------------------------------------

void Ring::accept(int listener, Completion& completion) {
  implementation_->queued(implementation_->start(OperationKind::accept, listener, completion));
}

void Ring::receive(int socket, Completion& completion) {
  implementation_->queued(implementation_->start(OperationKind::receive, socket, completion));
}

void Ring::receive_once(int socket, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::receive, socket, completion);
  operation.is_once = true;
  implementation_->queued(operation);
}

void Ring::send(int socket, std::string_view bytes, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::send, socket, completion);
  operation.data = bytes.data();
  operation.bytes = bytes.size();
  implementation_->queued(operation);
}

void Ring::send(int socket, const msghdr& message, Completion& completion) {
  if (message.msg_iovlen > sim::kMessagePartsMax) implementation_->world.violation("a message of more than 64 parts");
  SimOperation& operation = implementation_->start(OperationKind::send, socket, completion);
  operation.message = &message;
  implementation_->queued(operation);
}

void Ring::connect(int socket, const sockaddr_storage& address, std::uint32_t, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::connect, socket, completion);
  const auto target = Endpoint::from_sockaddr(reinterpret_cast<const sockaddr&>(address));
  POSTERN_ASSERT(target.has_value());
  operation.target = *target;
  implementation_->queued(operation);
}

void Ring::shutdown(int socket, Completion& completion) {
  implementation_->queued(implementation_->start(OperationKind::shutdown, socket, completion));
}

void Ring::close(int descriptor, Completion& completion) {
  implementation_->queued(implementation_->start(OperationKind::close, descriptor, completion));
}

void Ring::poll(int descriptor, std::uint32_t events, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::poll, descriptor, completion);
  operation.flags = static_cast<int>(events);
  implementation_->queued(operation);
}

void Ring::open(int directory, const char* path, int flags, unsigned mode, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::open, directory, completion);
  operation.data = path;
  operation.flags = flags;
  operation.mode = mode;
  implementation_->queued(operation);
}

void Ring::unlink(int directory, const char* path, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::unlink, directory, completion);
  operation.data = path;
  implementation_->queued(operation);
}

void Ring::read(int file, std::span<char> into, std::uint64_t offset, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::read, file, completion);
  operation.into = into.data();
  operation.bytes = into.size();
  operation.offset = offset;
  implementation_->queued(operation);
}

void Ring::write(int file, std::string_view bytes, std::uint64_t offset, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::write, file, completion);
  operation.data = bytes.data();
  operation.bytes = bytes.size();
  operation.offset = offset;
  implementation_->queued(operation);
}

void Ring::sync(int file, bool data_only, Completion& completion) {
  SimOperation& operation = implementation_->start(OperationKind::sync, file, completion);
  operation.flags = data_only ? 1 : 0;
  implementation_->queued(operation);
}

// --- control --------------------------------------------------------------------------------------------------------

void Ring::cancel(Completion& target) {
  if (!target.in_flight) return;
  SimOperation& operation = implementation_->world.make_operation();
  operation.kind = OperationKind::cancel;
  operation.ring = implementation_.get();
  operation.cancelled = &target;
  implementation_->queued(operation);
}

void Ring::wake(Ring& target) {
  SimOperation& operation = implementation_->world.make_operation();
  operation.kind = OperationKind::wake;
  operation.ring = implementation_.get();
  operation.woken_number = target.implementation_->number;
  implementation_->queued(operation);
}

// --- receive buffers ------------------------------------------------------------------------------------------------

std::string_view Ring::buffer(std::uint16_t id, std::int32_t octets) const {
  Implementation& self = *implementation_;
  if (id >= self.options.buffer_count || !self.is_lent[id]) {
    self.world.violation("buffer " + std::to_string(id) + " is looked at but not lent");
    return {};
  }
  POSTERN_ASSERT(octets >= 0 && static_cast<std::uint32_t>(octets) <= self.options.buffer_bytes);
  return {self.buffer_memory(id), static_cast<std::size_t>(octets)};
}

void Ring::release_buffer(std::uint16_t id) {
  Implementation& self = *implementation_;
  if (id >= self.options.buffer_count || !self.is_lent[id]) {
    self.world.violation("buffer " + std::to_string(id) + " is released but not lent");
    return;
  }
  self.is_lent[id] = false;
  self.free_buffers.push_back(id);
  std::memset(self.buffer_memory(id), 0xdd, std::min<std::size_t>(sim::kGarbageBytes, self.options.buffer_bytes));
  POSTERN_SIM_POISON(self.buffer_memory(id), self.options.buffer_bytes);
}

std::uint32_t Ring::buffer_bytes() const {
  return implementation_->options.buffer_bytes;
}

std::uint32_t Ring::buffers_free() const {
  return static_cast<std::uint32_t>(implementation_->free_buffers.size());
}

// --- sockets and notifiers without waiting --------------------------------------------------------------------------

Result<int> Ring::listen(const Endpoint& endpoint) {
  return SimWorld::current().network().listen_socket(endpoint);
}

Result<int> Ring::make_socket(const Endpoint& target, const Endpoint* source) {
  return SimWorld::current().network().make_socket(target, source);
}

void Ring::set_no_delay(int socket) {
  SimDescriptor* descriptor = SimWorld::current().descriptor(socket);
  POSTERN_ASSERT(!SimWorld::current().is_on() || (descriptor != nullptr && descriptor->socket != nullptr));
}

std::optional<Endpoint> Ring::peer_name(int socket) {
  return SimWorld::current().network().peer_name(socket);
}

std::optional<Endpoint> Ring::local_name(int socket) {
  return SimWorld::current().network().local_name(socket);
}

void Ring::close_now(int descriptor) {
  static_cast<void>(SimWorld::current().close_descriptor(descriptor));
}

Result<int> Ring::make_notifier() {
  auto descriptor = std::make_unique<SimDescriptor>();
  descriptor->is_notifier = true;
  const std::int32_t number = SimWorld::current().add_descriptor(std::move(descriptor));
  if (number < 0) return fail_errno("make a notifier", -number);
  return number;
}

void Ring::notify(int notifier) {
  SimWorld& world = SimWorld::current();
  SimDescriptor* descriptor = world.descriptor(notifier);
  if (descriptor == nullptr || !descriptor->is_notifier) {
    if (world.is_on()) world.violation("notify() on what is no notifier: " + std::to_string(notifier));
    return;
  }
  descriptor->is_notified = true;
  for (SimOperation* poll : descriptor->polls) world.execute_later(*poll, world.random().between(1'000, 60'000));
}

void Ring::clear_notifier(int notifier) {
  SimDescriptor* descriptor = SimWorld::current().descriptor(notifier);
  if (descriptor != nullptr) descriptor->is_notified = false;
}

}  // namespace postern::core
