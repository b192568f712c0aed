// Names of next hops to addresses, by the system's resolver, off the workers.
//
// getaddrinfo blocks, so a small pool of threads calls it; the answer comes back to the asking worker through the mesh.
// Bounds: kThreads lookups at a time, kWaitingMax waiting; more are answered with an error at once.
// Thread: resolve() from any worker.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/ip_address.h"
#include "core/mesh.h"

namespace postern::net {

struct ResolverAnswer {
  std::vector<core::IpAddress> addresses;  // in the system's order of preference (RFC 6724)
  std::string error;                       // when there are none: why
};

class Resolver {
 public:
  explicit Resolver(core::Mesh& mesh);
  ~Resolver();  // waits for lookups that are under way
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Runs function(target, a, answer) in `worker`'s turn; `answer` is a ResolverAnswer* that becomes the function's.
  void resolve(std::size_t worker, const std::string& host, core::MeshMessage::Function function, void* target,
               std::uint64_t a);

 private:
  static constexpr std::size_t kThreads = 2;
  static constexpr std::size_t kWaitingMax = 1024;
  struct Question {
    std::size_t worker;
    std::string host;
    core::MeshMessage message;
  };
  void run();
  void answer(const Question& question, ResolverAnswer* answer);

  core::Mesh& mesh_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Question> questions_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace postern::net
