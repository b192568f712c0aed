// Fibers. Stacks are kept and reused from run to run: a thousand seeds make thousands of fibers.
//
// The switch is a few instructions on x86-64, because ucontext's makes a system call each time (and AddressSanitizer
// wraps it in work of its own); other machines use ucontext.
#include "tests/sim/sim_fiber.h"

#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

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

#if defined(__x86_64__)
// void postern_sim_switch(void** from, void* to): puts what a callee keeps (System V ABI) on the running stack, leaves
// its address in *from, and goes on where `to` was left.
asm(R"(
.pushsection .text
.hidden postern_sim_switch
.globl postern_sim_switch
.type postern_sim_switch, @function
postern_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  ldmxcsr (%rsp)
  fldcw 4(%rsp)
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size postern_sim_switch, .-postern_sim_switch
.popsection
)");
extern "C" void postern_sim_switch(void** from, void* to);
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

#if defined(__x86_64__)
// A place to go on from: a stack pointer.
struct Place {
  void* stack_pointer = nullptr;

  void prepare(char* bottom, std::size_t bytes, void (*entry)()) {
    auto* top = reinterpret_cast<std::uint64_t*>(bottom + bytes);
    *--top = 0;  // entry's return address, never used; it also makes the alignment that of a call
    *--top = reinterpret_cast<std::uint64_t>(entry);
    for (int callee_kept = 0; callee_kept < 6; ++callee_kept) *--top = 0;
    *--top = 0x0000037f'00001f80;  // the x87 control word and MXCSR as a process starts with
    stack_pointer = top;
  }
  static void go(Place& from, const Place& to) { postern_sim_switch(&from.stack_pointer, to.stack_pointer); }
};
#else
struct Place {
  ucontext_t context{};

  void prepare(char* bottom, std::size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = bottom;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
  }
  static void go(Place& from, const Place& to) { swapcontext(&from.context, &to.context); }
};
#endif

}  // namespace

struct SimFiber::Implementation {
  std::function<void()> body;
  void* stack = nullptr;
  Place here;
  Place resumer;
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

  char* stack_bottom() const {
    return static_cast<char*>(stack) + kGuardBytes;
  }

  void leave(bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack, resumer_bottom, resumer_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(tsan_resumer, 0);
#endif
    static_cast<void>(for_good);
    Place::go(here, resumer);
    arrived();
  }
  void arrived() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, &resumer_bottom, &resumer_bytes);
#endif
  }

  static void enter() {
    Implementation* self = running->implementation_.get();
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
  it.here.prepare(it.stack_bottom(), kStackBytes, &Implementation::enter);
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
  Place::go(it.resumer, it.here);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#endif
  running = nullptr;
}

bool SimFiber::ended() const {
  return implementation_->has_ended;
}

SimFiber* SimFiber::current() {
  return running;
}

void SimFiber::yield() {
  POSTERN_ASSERT(running != nullptr);
  running->implementation_->leave(false);
}

}  // namespace postern::sim
