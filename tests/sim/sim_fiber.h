// A stack of its own for each simulated process, so that unchanged code that waits in the ring can be put aside and
// taken up again, all in one thread.
//
// A fiber switches only where it says so (yield), which in the simulator is: waiting in Ring::submit_and_reap, and
// inside blocking file calls. Known to AddressSanitizer and ThreadSanitizer.
// Thread: a fiber is resumed in the thread that made it. Fibers do not nest. Exceptions must not leave a body.
#pragma once

#include <functional>
#include <memory>

namespace postern::sim {

class SimFiber {
 public:
  explicit SimFiber(std::function<void()> body);
  ~SimFiber();  // a body that has not ended is given up: its frames are not unwound
  SimFiber(const SimFiber&) = delete;
  SimFiber& operator=(const SimFiber&) = delete;

  // Runs the body until it yields or ends. Requires that no fiber runs.
  void resume();
  [[nodiscard]] bool ended() const;

  // The fiber that runs now; nullptr outside of any.
  static SimFiber* current();
  // Back to whoever resumed the running fiber.
  static void yield();

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace postern::sim
