// Fibers by ucontext. Stacks are kept and reused from run to run: a thousand seeds make thousands of fibers.
#include "tests/sim/sim_fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/assert.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace postern::sim {
namespace {

constexpr std::size_t kStackBytes = 512u << 10;  // sanitizer builds have wide frames
constexpr std::size_t kGuardBytes = 4096;

class StackStore {
 public:
  ~StackStore() {
    for (void* stack : free_) munmap(stack, kStackBytes + kGuardBytes);
  }
  void* take() {
    if (!free_.empty()) {
      void* stack = free_.back();
      free_.pop_back();
      return stack;
    }
    void* stack = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    POSTERN_ASSERT(stack != MAP_FAILED);
    POSTERN_ASSERT(mprotect(stack, kGuardBytes, PROT_NONE) == 0);
    return stack;
  }
  void give_back(void* stack) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(static_cast<char*>(stack) + kGuardBytes, kStackBytes);
#endif
    free_.push_back(stack);
  }

 private:
  std::vector<void*> free_;
};

thread_local StackStore stacks;
thread_local SimFiber* running = nullptr;

}  // namespace

struct SimFiber::Implementation {
  std::function<void()> body;
  void* stack = nullptr;
  ucontext_t here{};
  ucontext_t resumer{};
  bool has_ended = false;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const void* resumer_bottom = nullptr;
  std::size_t resumer_bytes = 0;
#endif
#if defined(__SANITIZE_THREAD__)
  void* tsan_fiber = nullptr;
  void* tsan_resumer = nullptr;
#endif

  char* stack_bottom() const { return static_cast<char*>(stack) + kGuardBytes; }

  void leave(bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack, resumer_bottom, resumer_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(tsan_resumer, 0);
#endif
    static_cast<void>(for_good);
    swapcontext(&here, &resumer);
    arrived();
  }
  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &resumer_bottom, &resumer_bytes);
#endif
  }

  // makecontext passes ints only; the pointer travels in two halves.
  static void enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Implementation*>((static_cast<std::uintptr_t>(high) << 32) | low);
    self->arrived();
    self->body();
    self->has_ended = true;
    self->leave(true);
  }
};

SimFiber::SimFiber(std::function<void()> body) : implementation_(std::make_unique<Implementation>()) {
  Implementation& it = *implementation_;
  it.body = std::move(body);
  it.stack = stacks.take();
  getcontext(&it.here);
  it.here.uc_stack.ss_sp = it.stack_bottom();
  it.here.uc_stack.ss_size = kStackBytes;
  it.here.uc_link = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(&it);
  makecontext(&it.here, reinterpret_cast<void (*)()>(&Implementation::enter), 2,
              static_cast<unsigned>(address >> 32), static_cast<unsigned>(address & 0xffffffffu));
#if defined(__SANITIZE_THREAD__)
  it.tsan_fiber = __tsan_create_fiber(0);
#endif
}

SimFiber::~SimFiber() {
  POSTERN_ASSERT(running != this);
#if defined(__SANITIZE_THREAD__)
  __tsan_destroy_fiber(implementation_->tsan_fiber);
#endif
  stacks.give_back(implementation_->stack);
}

void SimFiber::resume() {
  Implementation& it = *implementation_;
  POSTERN_ASSERT(running == nullptr && !it.has_ended);
  running = this;
#if defined(__SANITIZE_THREAD__)
  it.tsan_resumer = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(it.tsan_fiber, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
  void* own_fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&own_fake_stack, it.stack_bottom(), kStackBytes);
#endif
  swapcontext(&it.resumer, &it.here);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#endif
  running = nullptr;
}

bool SimFiber::ended() const { return implementation_->has_ended; }

SimFiber* SimFiber::current() { return running; }

void SimFiber::yield() {
  POSTERN_ASSERT(running != nullptr);
  running->implementation_->leave(false);
}

}  // namespace postern::sim
