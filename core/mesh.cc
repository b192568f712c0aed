// The mesh: queues between workers, inboxes for threads without a ring, and the wake-up.
//
// Invariants
//   1. No lost wake-up. A worker that is about to sleep exchanges `asleep` to true and then looks at all its
//   queues; a
//      sender first publishes its message and then exchanges `asleep` to false, and wakes whoever it found
//      asleep. Both are read-modify-writes of one variable, so one comes first: either the sender sees the
//      sleeper, or the sleeper's exchange reads the sender's, and with it the message. `asleep` is therefore
//      never written by a plain store. (Fences would do as well, and g++ 12's TSan lacks them.)
//   2. Only one sender wakes a sleeper: the one whose exchange returned true. It is bound to submit that
//   wake-up: at
//      the latest its ring's destructor does.
//   3. A ring is never used after detach(): wakers announce themselves in `wakers` before they look at the
//   ring's
//      address, and detach() clears the address before it waits for them to be gone.
// Threads: as in the header. Limits: a queue's 128 KiB are taken when it is first used and kept.
#include "core/mesh.h"

#include <optional>
#include <poll.h>
#include <thread>
#include <utility>

#include "core/assert.h"

namespace postern::core {

// From one worker to one other.
struct Mesh::Queue {
  // The sender's.
  alignas(64) std::atomic<std::uint64_t> tail{0};  // next to write
  std::uint64_t head_seen = 0;
  bool sent = false;                // since the last flush
  std::vector<MeshMessage> outbox;  // what the queue had no room for, in order
  std::size_t outbox_pushed = 0;    // of these, how many have gone out since
  std::unique_ptr<MeshMessage[]> messages;
  // The receiver's.
  alignas(64) std::atomic<std::uint64_t> head{0};  // next to read

  bool push(const MeshMessage& message) {
    const std::uint64_t at = tail.load(std::memory_order_relaxed);
    if (at - head_seen == kQueueMessages) {
      head_seen = head.load(std::memory_order_acquire);
      if (at - head_seen == kQueueMessages) return false;
    }
    if (messages == nullptr) messages = std::make_unique<MeshMessage[]>(kQueueMessages);
    messages[at % kQueueMessages] = message;
    tail.store(at + 1, std::memory_order_release);
    return true;
  }
  void push_outbox() {
    while (outbox_pushed < outbox.size() && push(outbox[outbox_pushed])) ++outbox_pushed;
    if (outbox_pushed < outbox.size()) return;
    outbox.clear();
    outbox_pushed = 0;
  }
  [[nodiscard]] bool has_messages() const {
    return tail.load(std::memory_order_acquire) != head.load(std::memory_order_relaxed);
  }
};

// What belongs to one receiving worker.
struct Mesh::Inbox {
  alignas(64) std::atomic<bool> asleep{false};
  std::atomic<int> wakers{0};
  std::atomic<Ring*> ring{nullptr};

  alignas(64) std::atomic<bool> has_posts{false};
  std::mutex mutex;                // guards the next two
  std::vector<MeshMessage> posts;  // from threads without a ring
  int notifier = -1;

  // The worker's.
  std::vector<MeshMessage> being_run;
  std::optional<Completion> notified;  // the poll on `notifier`

  void watch() { ring.load(std::memory_order_relaxed)->poll(notifier, POLLIN, *notified); }
  static void on_notified(void* owner, Completion& completion, const Outcome& outcome) noexcept;
};

void Mesh::Inbox::on_notified(void* owner, Completion&, const Outcome& outcome) noexcept {
  auto& self = *static_cast<Inbox*>(owner);
  if (outcome.result < 0 || self.ring.load(std::memory_order_relaxed) == nullptr) return;
  Ring::clear_notifier(self.notifier);
  self.watch();
}

Mesh::Mesh(std::size_t workers) : workers_(workers) {
  POSTERN_ASSERT(workers > 0);
  for (std::size_t i = 0; i < workers * workers; ++i) queues_.push_back(std::make_unique<Queue>());
  for (std::size_t i = 0; i < workers; ++i) inboxes_.push_back(std::make_unique<Inbox>());
}

Mesh::~Mesh() {
  for (const auto& inbox : inboxes_) {
    POSTERN_ASSERT(inbox->ring.load(std::memory_order_relaxed) == nullptr);  // every worker has detached
  }
}

Result<void> Mesh::attach(std::size_t self, Ring& ring) {
  auto notifier = Ring::make_notifier();
  if (!notifier) return std::unexpected(notifier.error());
  Inbox& inbox = *inboxes_[self];
  {
    const std::lock_guard lock(inbox.mutex);
    POSTERN_ASSERT(inbox.notifier < 0);
    inbox.notifier = *notifier;
  }
  awake(self);
  inbox.ring.store(&ring, std::memory_order_seq_cst);
  inbox.notified.emplace(&Inbox::on_notified, &inbox);
  inbox.watch();
  return {};
}

void Mesh::detach(std::size_t self) {
  Inbox& inbox = *inboxes_[self];
  Ring* ring = inbox.ring.exchange(nullptr, std::memory_order_seq_cst);
  if (ring == nullptr) return;
  while (inbox.wakers.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  ring->cancel(*inbox.notified);
  const std::lock_guard lock(inbox.mutex);
  Ring::close_now(std::exchange(inbox.notifier, -1));
}

void Mesh::send(std::size_t self, std::size_t target, const MeshMessage& message) {
  Queue& queue = *queues_[self * workers_ + target];
  queue.sent = true;
  if (!queue.outbox.empty() || !queue.push(message)) queue.outbox.push_back(message);
}

std::size_t Mesh::drain(std::size_t self) {
  std::size_t count = 0;
  const auto run = [&count](const MeshMessage& message) {
    if (message.function != nullptr) message.function(message.target, message.a, message.b);
    ++count;
  };
  for (std::size_t from = 0; from < workers_; ++from) {
    Queue& queue = *queues_[from * workers_ + self];
    // Only what is there now: a message that sends to its own worker waits for the next turn.
    const std::uint64_t end = queue.tail.load(std::memory_order_acquire);
    for (std::uint64_t at = queue.head.load(std::memory_order_relaxed); at != end; ++at) {
      const MeshMessage message = queue.messages[at % kQueueMessages];
      queue.head.store(at + 1, std::memory_order_release);
      run(message);
    }
  }
  Inbox& inbox = *inboxes_[self];
  if (inbox.has_posts.load(std::memory_order_acquire)) {
    {
      const std::lock_guard lock(inbox.mutex);
      inbox.being_run.swap(inbox.posts);
      inbox.has_posts.store(false, std::memory_order_relaxed);
    }
    for (const MeshMessage& message : inbox.being_run) run(message);
    inbox.being_run.clear();
  }
  return count;
}

void Mesh::flush(std::size_t self) {
  for (std::size_t target = 0; target < workers_; ++target) {
    Queue& queue = *queues_[self * workers_ + target];
    if (!queue.sent && queue.outbox.empty()) continue;
    queue.push_outbox();
    queue.sent = false;
    if (target == self) continue;
    Inbox& inbox = *inboxes_[target];
    if (!inbox.asleep.exchange(false, std::memory_order_acq_rel)) continue;
    inbox.wakers.fetch_add(1, std::memory_order_seq_cst);
    Ring* own = inboxes_[self]->ring.load(std::memory_order_relaxed);
    Ring* theirs = inbox.ring.load(std::memory_order_seq_cst);
    if (own != nullptr && theirs != nullptr) own->wake(*theirs);
    inbox.wakers.fetch_sub(1, std::memory_order_release);
  }
}

bool Mesh::prepare_to_sleep(std::size_t self) {
  Inbox& inbox = *inboxes_[self];
  inbox.asleep.exchange(true, std::memory_order_acq_rel);
  bool waits = inbox.has_posts.load(std::memory_order_acquire);
  for (std::size_t other = 0; other < workers_ && !waits; ++other) {
    waits =
        queues_[other * workers_ + self]->has_messages() || !queues_[self * workers_ + other]->outbox.empty();
  }
  if (waits) awake(self);
  return !waits;
}

void Mesh::awake(std::size_t self) {
  inboxes_[self]->asleep.exchange(false, std::memory_order_acq_rel);
}

void Mesh::post(std::size_t target, const MeshMessage& message) {
  Inbox& inbox = *inboxes_[target];
  const std::lock_guard lock(inbox.mutex);
  inbox.posts.push_back(message);
  inbox.has_posts.store(true, std::memory_order_release);
  if (inbox.asleep.exchange(false, std::memory_order_acq_rel) && inbox.notifier >= 0)
    Ring::notify(inbox.notifier);
}

}  // namespace postern::core
