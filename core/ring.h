// The engine's only door to the kernel while it runs: one ring a worker, about a dozen operations.
//
// Two libraries implement this header and one is chosen at link time: core_ring_uring (liburing, Linux 6.1 or later)
// and core_ring_sim (the simulator's seeded network, disk and clock). No virtual call, no template.
//
// Thread: a Ring belongs to the thread that created it; every call comes from there, except `wake`'s effect on the
//   target ring.
// Lifetime: a Completion stays where it is from the operation's start until its handler was called for the last time
//   (has_more false). Buffers passed to send/read/write stay valid as long. There is no other way to take an operation
//   back than cancel() and waiting for its completion.
// Errors: results are negative errno values, as the kernel gives them. Starting an operation cannot fail: a full
//   submission queue is submitted on the way.
// Sources: io_uring_enter(2); io_uring_prep_*(3).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "core/clock.h"
#include "core/ip_address.h"
#include "core/result.h"

namespace postern::core {

class Ring;

// What a handler learns about one completion.
struct Outcome {
  std::int32_t result = 0;    // >= 0: octets, descriptor or 0; < 0: -errno
  bool has_more = false;      // multishot only: further completions of this operation will come
  bool has_buffer = false;    // receive only: `buffer` names the filled buffer
  std::uint16_t buffer = 0;   // give it back with Ring::release_buffer, once
};

// Embedded in the object that waits. A Completion carries one operation at a time.
struct Completion {
  using Handler = void (*)(void* owner, Completion& completion, const Outcome& outcome) noexcept;

  Handler handler = nullptr;
  void* owner = nullptr;
  bool in_flight = false;  // set when the operation starts, cleared just before the handler's last call

  Completion() = default;
  Completion(Handler h, void* o) : handler(h), owner(o) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
};

// completion_handler<&Inbound::on_receive>(): adapts `void T::f(Completion&, const Outcome&) noexcept`.
template <auto Member>
struct CompletionHandler;
template <class T, void (T::*Member)(Completion&, const Outcome&) noexcept>
struct CompletionHandler<Member> {
  static void call(void* owner, Completion& completion, const Outcome& outcome) noexcept {
    (static_cast<T*>(owner)->*Member)(completion, outcome);
  }
};
template <auto Member>
inline constexpr Completion::Handler completion_handler = &CompletionHandler<Member>::call;

struct RingOptions {
  std::uint32_t submission_entries = 1024;  // the completion queue has four times as many
  std::uint32_t buffer_count = 1024;        // receive buffers, a power of two, at most 32768
  std::uint32_t buffer_bytes = 16384;       // octets each
};

class Ring {
 public:
  // Errors name the cause and the mend: io_uring_disabled, a seccomp refusal, RLIMIT_MEMLOCK, a missing feature.
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  // --- one turn -------------------------------------------------------------------------------------------------
  // Submits what was started and waits until something completes or boot time reaches `wait_until_boot_ns` (a time in
  // the past: does not wait). May return earlier with nothing. Calls no handler; returns the time after the wait.
  Time submit_and_wait(std::int64_t wait_until_boot_ns);
  // Calls the handlers of all that completed (bounded a call: what is left makes the next wait return at once). Returns
  // how many completions it handled.
  std::size_t reap();
  // Both: for code that has nothing to do between the wait and the handlers.
  std::size_t submit_and_reap(std::int64_t wait_until_boot_ns) {
    submit_and_wait(wait_until_boot_ns);
    return reap();
  }
  [[nodiscard]] Time read_clock() const;

  // --- sockets --------------------------------------------------------------------------------------------------
  // Multishot: result is a new descriptor (close-on-exec) each time. Ends (has_more false) with an error, such as
  // -EMFILE when descriptors ran out: start it again once some were closed.
  void accept(int listener, Completion& completion);
  // Multishot into the ring's buffers: result octets in `buffer`; 0: the peer closed. Ends (has_more false) with
  // -ENOBUFS when buffers ran out: start it again once some were released.
  void receive(int socket, Completion& completion);
  // The same, once: one buffer's octets, the end, or an error, and then nothing more until it is started again. For whoever
  // must not get more than it can pass on; octets and end that come together are both told, one start each.
  void receive_once(int socket, Completion& completion);
  // Sends all of it, or fails: no short sends, no SIGPIPE. One that is cancelled may have sent a part: its result then.
  void send(int socket, std::string_view bytes, Completion& completion);
  // The message header and its vector stay valid until completion. At most 64 parts. Sends all of it, or fails.
  void send(int socket, const msghdr& message, Completion& completion);
  void connect(int socket, const sockaddr_storage& address, std::uint32_t address_bytes, Completion& completion);
  // Half-closes for sending.
  void shutdown(int socket, Completion& completion);
  // Sockets and files. A receive armed on a socket must be cancelled and have completed before.
  void close(int descriptor, Completion& completion);
  // Readiness of a descriptor that others own (an eventfd, a resolver's socket): one shot; result is the poll mask.
  void poll(int descriptor, std::uint32_t events, Completion& completion);

  // --- files ----------------------------------------------------------------------------------------------------
  // `path` stays valid until completion and is relative to `directory`. Result: a descriptor.
  void open(int directory, const char* path, int flags, unsigned mode, Completion& completion);
  void unlink(int directory, const char* path, Completion& completion);
  void read(int file, std::span<char> into, std::uint64_t offset, Completion& completion);
  void write(int file, std::string_view bytes, std::uint64_t offset, Completion& completion);
  // data_only: fdatasync semantics. On a directory descriptor it makes its entries durable.
  void sync(int file, bool data_only, Completion& completion);

  // --- control --------------------------------------------------------------------------------------------------
  // Asks for the end of `target`'s operation; its handler is still called (-ECANCELED, or a result that came first).
  void cancel(Completion& target);
  // Makes `target` (any ring of this process, owned by another thread) return from its wait. Used by the mesh.
  void wake(Ring& target);

  // --- receive buffers ------------------------------------------------------------------------------------------
  [[nodiscard]] std::string_view buffer(std::uint16_t id, std::int32_t octets) const;
  void release_buffer(std::uint16_t id);
  [[nodiscard]] std::uint32_t buffers_free() const;
  [[nodiscard]] std::uint32_t buffer_bytes() const;  // of each

  // --- sockets made and asked without waiting -------------------------------------------------------------------
  // Listener: SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY, backlog 4096, close-on-exec; blocking, since
  // some kernels answer EAGAIN to a ring's accept on a non-blocking listener.
  static Result<int> listen(const Endpoint& endpoint);
  // Outgoing: TCP_NODELAY, close-on-exec; bound to `source` if it is given.
  static Result<int> make_socket(const Endpoint& target, const Endpoint* source);
  static void set_no_delay(int socket);
  static std::optional<Endpoint> peer_name(int socket);
  static std::optional<Endpoint> local_name(int socket);
  static void close_now(int descriptor);

  // --- waking a ring from a thread that has none ------------------------------------------------------------------
  // A descriptor that poll(POLLIN) reports ready once notify() was called from any thread, until clear_notifier().
  static Result<int> make_notifier();
  static void notify(int notifier);
  static void clear_notifier(int notifier);

  struct Implementation;
  [[nodiscard]] Implementation& implementation() { return *implementation_; }

 private:
  explicit Ring(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::core
