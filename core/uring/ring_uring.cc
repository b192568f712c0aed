// Ring over io_uring.
//
// Invariants
//   1. user_data is the address of the operation's Completion; 0 marks what nobody waits for (cancels,
//   wake-ups).
//   2. The ring is made disabled, gets its buffers, the cap on kernel workers and its restrictions, and is
//   then
//      enabled: from there on it can do nothing but the operations of ring.h.
//   3. A completion is taken off the queue before its handler runs, so a handler may start whatever it likes;
//   a full
//      submission queue is submitted on the spot.
//   4. operations_ counts Completions in flight; the destructor does not return before the kernel let go of
//   all of them.
// Owner thread: the one that called create() (SINGLE_ISSUER).
// Limits: completions a reap() at most one full completion queue.
#include "core/ring.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include "core/assert.h"
#include "core/poison.h"
#include "core/uring/probe.h"
#include "core/uring/uring_compat.h"

namespace postern::core {

namespace {

constexpr std::uint16_t kBufferGroup = 0;
// The wait's timeout counts CLOCK_MONOTONIC, which stands still while the machine sleeps, and deadlines are
// on CLOCK_BOOTTIME: after a resume a deadline may be noticed this much late.
constexpr std::int64_t kLongestWaitNs = 10 * kNanosecondsPerSecond;
// Kernel workers of one ring: files (fsync and writes that block) and everything else.
constexpr unsigned kBoundedWorkers = 8;
constexpr unsigned kUnboundedWorkers = 16;
constexpr int kMessagePartsMax = 64;
constexpr std::size_t kSendBytesMax = std::size_t{1} << 30;
constexpr int kClosingSecondsMax = 5;

std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

// A private anonymous mapping.
class Mapping {
 public:
  Mapping() = default;
  explicit Mapping(std::size_t bytes)
      : bytes_(bytes),
        address_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  Mapping(Mapping&& other) noexcept : bytes_(other.bytes_), address_(std::exchange(other.address_, MAP_FAILED)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(address_, other.address_);
    return *this;
  }
  ~Mapping() {
    if (!is_mapped()) return;
    unpoison(address_, bytes_);
    munmap(address_, bytes_);
  }
  [[nodiscard]] bool is_mapped() const { return address_ != MAP_FAILED; }
  [[nodiscard]] void* address() const { return address_; }

 private:
  std::size_t bytes_ = 0;
  void* address_ = MAP_FAILED;
};

}  // namespace

struct Ring::Implementation {
  io_uring ring{};
  bool made = false;
  std::uint32_t buffer_count = 0;
  std::uint32_t buffer_bytes = 0;
  std::uint32_t buffers_lent = 0;
  Mapping buffer_memory;
  Mapping buffer_ring_memory;
  io_uring_buf_ring* buffer_ring = nullptr;
  std::size_t operations = 0;
  // Completions moved out of a full queue while operations were being started; handled first by the next
  // reap().
  std::vector<io_uring_cqe> set_aside;
  std::vector<io_uring_cqe> being_handled;

  ~Implementation();
  Result<void> make(const RingOptions& options);
  int make_buffers(const RingOptions& options);
  Result<void> check_and_enable();

  io_uring_sqe& next_entry();
  io_uring_sqe& start(Completion& completion);
  void submit();
  void make_room();
  void give_buffer(std::uint16_t id);
  void finish(const io_uring_cqe& cqe, bool call_handlers);
  std::size_t drain(bool call_handlers);
};

Ring::Implementation::~Implementation() {
  if (!made) return;
  if (operations > 0) {
    // Memory that the kernel still writes to or sends from may be freed as soon as the ring is gone: wait for
    // it.
    io_uring_sqe& sqe = next_entry();
    io_uring_prep_cancel64(&sqe, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
    sqe.user_data = 0;
    const std::int64_t give_up_ns = clock_ns(CLOCK_MONOTONIC) + kClosingSecondsMax * kNanosecondsPerSecond;
    while (operations > 0 && clock_ns(CLOCK_MONOTONIC) < give_up_ns) {
      io_uring_cqe* cqe = nullptr;
      __kernel_timespec tenth{.tv_sec = 0, .tv_nsec = 100'000'000};
      io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &tenth, nullptr);
      drain(false);
    }
  } else if (io_uring_sq_ready(&ring) > 0) {
    submit();  // wake-ups that others count on
  }
  io_uring_queue_exit(&ring);
}

Result<void> Ring::Implementation::make(const RingOptions& options) {
  const auto refused = [](uring::Step step, int code) {
    return fail(uring::explain(step, code, uring::Surroundings::look()), code);
  };
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                     IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
  parameters.cq_entries = options.submission_entries * 4;
  if (const int code = -io_uring_queue_init_params(options.submission_entries, &ring, &parameters); code != 0) {
    return refused(uring::Step::setup, code);
  }
  made = true;
  if (auto checked = uring::check_features(ring); !checked) return checked;
  if (const int code = make_buffers(options); code != 0) return refused(uring::Step::receive_buffers, code);
  unsigned workers[2] = {kBoundedWorkers, kUnboundedWorkers};
  if (const int code = -io_uring_register_iowq_max_workers(&ring, workers); code != 0) {
    return refused(uring::Step::limit_workers, code);
  }
  io_uring_register_ring_fd(&ring);  // saves a look-up each turn; works as well without
  if (int code = uring::restrict_ring(ring); code != 0 || (code = -io_uring_enable_rings(&ring)) != 0) {
    return refused(uring::Step::restrict, code);
  }
  std::uint16_t used[3];
  int used_count = 0;
  auto checked = uring::check_multishot(ring, kBufferGroup, used, used_count);
  for (int i = 0; i < used_count; ++i) give_buffer(used[i]);
  return checked;
}

// Returns 0 or a positive errno.
int Ring::Implementation::make_buffers(const RingOptions& options) {
  POSTERN_ASSERT(std::has_single_bit(options.buffer_count) && options.buffer_count <= 32768);
  buffer_count = options.buffer_count;
  buffer_bytes = options.buffer_bytes;
  buffer_memory = Mapping(std::size_t{buffer_count} * buffer_bytes);
  buffer_ring_memory = Mapping(buffer_count * sizeof(io_uring_buf));
  if (!buffer_memory.is_mapped() || !buffer_ring_memory.is_mapped()) return ENOMEM;
  buffer_ring = static_cast<io_uring_buf_ring*>(buffer_ring_memory.address());
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(buffer_ring);
  registration.ring_entries = buffer_count;
  registration.bgid = kBufferGroup;
  if (const int code = -io_uring_register_buf_ring(&ring, &registration, 0); code != 0) return code;
  io_uring_buf_ring_init(buffer_ring);
  for (std::uint32_t id = 0; id < buffer_count; ++id) give_buffer(static_cast<std::uint16_t>(id));
  return 0;
}

void Ring::Implementation::give_buffer(std::uint16_t id) {
  char* address = static_cast<char*>(buffer_memory.address()) + std::size_t{id} * buffer_bytes;
  io_uring_buf_ring_add(buffer_ring, address, buffer_bytes, id, io_uring_buf_ring_mask(buffer_count), 0);
  io_uring_buf_ring_advance(buffer_ring, 1);
  poison(address, buffer_bytes);
}

void Ring::Implementation::submit() {
  for (;;) {
    const int result = io_uring_submit(&ring);
    if (result >= 0) return;
    if (result == -EINTR) continue;
    // -EBUSY: the completion queue has overflowed and must be emptied first. -EAGAIN: no kernel memory just
    // now.
    if (result == -EBUSY) {
      make_room();
    } else {
      POSTERN_ASSERT(result == -EAGAIN);
      sched_yield();
    }
  }
}

// Empties the completion queue without running handlers, which may be what called us.
void Ring::Implementation::make_room() {
  unsigned head = 0;
  unsigned taken = 0;
  const io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring, head, cqe) {
    set_aside.push_back(*cqe);
    ++taken;
  }
  io_uring_cq_advance(&ring, taken);
  io_uring_get_events(&ring);
}

io_uring_sqe& Ring::Implementation::next_entry() {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  while (sqe == nullptr) {
    submit();
    sqe = io_uring_get_sqe(&ring);
  }
  return *sqe;
}

io_uring_sqe& Ring::Implementation::start(Completion& completion) {
  POSTERN_ASSERT(!completion.in_flight && completion.handler != nullptr);
  completion.in_flight = true;
  ++operations;
  return next_entry();
}

void Ring::Implementation::finish(const io_uring_cqe& cqe, bool call_handlers) {
  if (cqe.user_data == 0) return;
  Outcome outcome;
  outcome.result = cqe.res;
  outcome.has_more = (cqe.flags & IORING_CQE_F_MORE) != 0;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.res > 0) {
      outcome.has_buffer = true;
      outcome.buffer = id;
      ++buffers_lent;
      unpoison(static_cast<char*>(buffer_memory.address()) + std::size_t{id} * buffer_bytes,
               static_cast<std::size_t>(cqe.res));
    } else {
      give_buffer(id);  // nothing in it: no caller need care
    }
  }
  if (!outcome.has_more) --operations;
  if (!call_handlers) return;
  auto& completion = *reinterpret_cast<Completion*>(static_cast<std::uintptr_t>(cqe.user_data));
  if (!outcome.has_more) completion.in_flight = false;
  completion.handler(completion.owner, completion, outcome);
}

std::size_t Ring::Implementation::drain(bool call_handlers) {
  std::size_t handled = 0;
  if (!set_aside.empty()) {
    being_handled.swap(set_aside);
    for (const io_uring_cqe& cqe : being_handled) finish(cqe, call_handlers);
    handled += being_handled.size();
    being_handled.clear();
  }
  for (unsigned left = ring.cq.ring_entries; left > 0 && set_aside.empty(); --left) {
    const unsigned head = *ring.cq.khead;
    if (head == io_uring_smp_load_acquire(ring.cq.ktail)) break;
    const io_uring_cqe cqe = ring.cq.cqes[head & ring.cq.ring_mask];
    io_uring_cq_advance(&ring, 1);
    finish(cqe, call_handlers);
    ++handled;
  }
  return handled;
}

Ring::Ring(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

Ring::~Ring() = default;

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  auto implementation = std::make_unique<Implementation>();
  if (auto made = implementation->make(options); !made) return std::unexpected(made.error());
  return std::unique_ptr<Ring>(new Ring(std::move(implementation)));
}

Time Ring::read_clock() const {
  return {clock_ns(CLOCK_BOOTTIME), clock_ns(CLOCK_REALTIME)};
}

Time Ring::submit_and_wait(std::int64_t wait_until_boot_ns) {
  Implementation& self = *implementation_;
  io_uring* ring = &self.ring;
  bool may_wait = wait_until_boot_ns > 0 && self.set_aside.empty() && io_uring_cq_ready(ring) == 0;
  std::int64_t wait_ns = 0;
  if (may_wait) {
    wait_ns = wait_until_boot_ns == INT64_MAX ? kLongestWaitNs
                                              : std::min(wait_until_boot_ns - clock_ns(CLOCK_BOOTTIME), kLongestWaitNs);
    may_wait = wait_ns > 0;
  }
  int result = 0;
  if (may_wait) {
    __kernel_timespec timeout{.tv_sec = wait_ns / kNanosecondsPerSecond, .tv_nsec = wait_ns % kNanosecondsPerSecond};
    io_uring_cqe* cqe = nullptr;
    result = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, nullptr);
  } else {
    // Enters the kernel even with nothing to submit: with DEFER_TASKRUN completions appear only then.
    result = io_uring_submit_and_get_events(ring);
  }
  // -ETIME: nothing came. -EINTR: the next turn submits what is left. -EBUSY: reap() makes the room that was
  // missing.
  POSTERN_ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY || result == -EAGAIN);
  return read_clock();
}

std::size_t Ring::reap() {
  Implementation& self = *implementation_;
  const std::size_t handled = self.drain(true);
  if (io_uring_cq_has_overflow(&self.ring)) io_uring_get_events(&self.ring);  // what the queue had no room for
  return handled;
}

// --- sockets
// ------------------------------------------------------------------------------------------------------

namespace {

void set_owner(io_uring_sqe& sqe, const Completion& completion) {
  sqe.user_data = reinterpret_cast<std::uintptr_t>(&completion);
}

}  // namespace

void Ring::accept(int listener, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_multishot_accept(&sqe, listener, nullptr, nullptr, SOCK_CLOEXEC);
  set_owner(sqe, completion);
}

void Ring::receive(int socket, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_recv_multishot(&sqe, socket, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kBufferGroup;
  set_owner(sqe, completion);
}

void Ring::receive_once(int socket, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_recv(&sqe, socket, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = kBufferGroup;
  set_owner(sqe, completion);
}

void Ring::send(int socket, std::string_view bytes, Completion& completion) {
  POSTERN_ASSERT(bytes.size() <= kSendBytesMax);
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_send(&sqe, socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_WAITALL);
  set_owner(sqe, completion);
}

void Ring::send(int socket, const msghdr& message, Completion& completion) {
  POSTERN_ASSERT(message.msg_iovlen <= kMessagePartsMax);
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_sendmsg(&sqe, socket, &message, MSG_NOSIGNAL | MSG_WAITALL);
  set_owner(sqe, completion);
}

void Ring::connect(int socket, const sockaddr_storage& address, std::uint32_t address_bytes, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_connect(&sqe, socket, reinterpret_cast<const sockaddr*>(&address), address_bytes);
  set_owner(sqe, completion);
}

void Ring::shutdown(int socket, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_shutdown(&sqe, socket, SHUT_WR);
  set_owner(sqe, completion);
}

void Ring::close(int descriptor, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_close(&sqe, descriptor);
  set_owner(sqe, completion);
}

void Ring::poll(int descriptor, std::uint32_t events, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_poll_add(&sqe, descriptor, events);
  set_owner(sqe, completion);
}

// --- files
// --------------------------------------------------------------------------------------------------------

void Ring::open(int directory, const char* path, int flags, unsigned mode, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_openat(&sqe, directory, path, flags | O_CLOEXEC, mode);
  set_owner(sqe, completion);
}

void Ring::unlink(int directory, const char* path, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_unlinkat(&sqe, directory, path, 0);
  set_owner(sqe, completion);
}

void Ring::read(int file, std::span<char> into, std::uint64_t offset, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_read(&sqe, file, into.data(), static_cast<unsigned>(std::min(into.size(), kSendBytesMax)), offset);
  set_owner(sqe, completion);
}

void Ring::write(int file, std::string_view bytes, std::uint64_t offset, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_write(&sqe, file, bytes.data(), static_cast<unsigned>(std::min(bytes.size(), kSendBytesMax)), offset);
  set_owner(sqe, completion);
}

void Ring::sync(int file, bool data_only, Completion& completion) {
  io_uring_sqe& sqe = implementation_->start(completion);
  io_uring_prep_fsync(&sqe, file, data_only ? IORING_FSYNC_DATASYNC : 0);
  set_owner(sqe, completion);
}

// --- control
// ------------------------------------------------------------------------------------------------------

void Ring::cancel(Completion& target) {
  if (!target.in_flight) return;
  io_uring_sqe& sqe = implementation_->next_entry();
  io_uring_prep_cancel64(&sqe, reinterpret_cast<std::uintptr_t>(&target), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = 0;
}

void Ring::wake(Ring& target) {
  io_uring_sqe& sqe = implementation_->next_entry();
  io_uring_prep_msg_ring(&sqe, target.implementation_->ring.ring_fd, 0, 0, 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe.user_data = 0;
}

// --- receive buffers
// ----------------------------------------------------------------------------------------------

std::string_view Ring::buffer(std::uint16_t id, std::int32_t octets) const {
  const Implementation& self = *implementation_;
  POSTERN_ASSERT(id < self.buffer_count && octets >= 0 && static_cast<std::uint32_t>(octets) <= self.buffer_bytes);
  return {static_cast<const char*>(self.buffer_memory.address()) + std::size_t{id} * self.buffer_bytes,
          static_cast<std::size_t>(octets)};
}

void Ring::release_buffer(std::uint16_t id) {
  Implementation& self = *implementation_;
  POSTERN_ASSERT(id < self.buffer_count && self.buffers_lent > 0);
  --self.buffers_lent;
  self.give_buffer(id);
}

std::uint32_t Ring::buffer_bytes() const { return implementation_->buffer_bytes; }

std::uint32_t Ring::buffers_free() const {
  return implementation_->buffer_count - implementation_->buffers_lent;
}

}  // namespace postern::core
