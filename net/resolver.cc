#include "net/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace postern::net {
namespace {

std::unique_ptr<ResolverAnswer> look_up(const std::string& host) {
  auto answer = std::make_unique<ResolverAnswer>();
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) {
    answer->error = gai_strerror(error);
    return answer;
  }
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    const auto endpoint = core::Endpoint::from_sockaddr(*a->ai_addr);
    if (endpoint && std::find(answer->addresses.begin(), answer->addresses.end(), endpoint->address) ==
                        answer->addresses.end()) {
      answer->addresses.push_back(endpoint->address);
    }
  }
  freeaddrinfo(found);
  if (answer->addresses.empty()) answer->error = "the name has no address";
  return answer;
}

}  // namespace

Resolver::Resolver(core::Mesh& mesh) : mesh_(mesh) {
  for (std::size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { run(); });
}

Resolver::~Resolver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Resolver::resolve(std::size_t worker, const std::string& host, core::MeshMessage::Function function,
                       void* target, std::uint64_t a) {
  Question question{worker, host, {function, target, a, 0}};
  {
    const std::lock_guard lock(mutex_);
    if (questions_.size() < kWaitingMax) {
      questions_.push_back(std::move(question));
      changed_.notify_one();
      return;
    }
  }
  answer(question, new ResolverAnswer{{}, "too many names are being looked up"});
}

void Resolver::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !questions_.empty(); });
    if (stopping_) return;
    const Question question = std::move(questions_.front());
    questions_.pop_front();
    lock.unlock();
    answer(question, look_up(question.host).release());
    lock.lock();
  }
}

void Resolver::answer(const Question& question, ResolverAnswer* answer) {
  core::MeshMessage message = question.message;
  message.b = reinterpret_cast<std::uint64_t>(answer);
  mesh_.post(question.worker, message);
}

}  // namespace postern::net
