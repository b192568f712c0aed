// The calls of ring.h that make or ask sockets and notifiers at once, without a ring. Thread: any.
#include <cerrno>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/assert.h"
#include "core/ring.h"

namespace postern::core {

namespace {

constexpr int kBacklog = 4096;

// Closes the descriptor unless it is released: for the error paths of what makes one.
class Owned {
 public:
  explicit Owned(int descriptor) : descriptor_(descriptor) {}
  ~Owned() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

bool set_option(int socket, int level, int option, int value = 1) {
  return setsockopt(socket, level, option, &value, sizeof value) == 0;
}

std::optional<Endpoint> name_of(int socket, int (*ask)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  if (ask(socket, address, &bytes) != 0) return std::nullopt;
  return Endpoint::from_sockaddr(*address);
}

// Returns 0 or a positive errno.
int bind_to(int socket, const Endpoint& endpoint) {
  sockaddr_storage address;
  const std::uint32_t bytes = endpoint.to_sockaddr(address);
  return bind(socket, reinterpret_cast<const sockaddr*>(&address), bytes) == 0 ? 0 : errno;
}

int family_of(const Endpoint& endpoint) {
  return endpoint.address.is_v4() ? AF_INET : AF_INET6;
}

}  // namespace

Result<int> Ring::listen(const Endpoint& endpoint) {
  const std::string what = "listen on " + endpoint.text();
  // Blocking, although nothing ever blocks on it: the ring gives up with EAGAIN at once on a non-blocking
  // listener.
  Owned listener(socket(family_of(endpoint), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (listener.get() < 0) return fail_errno(what, errno);
  if (!set_option(listener.get(), SOL_SOCKET, SO_REUSEADDR) ||
      !set_option(listener.get(), SOL_SOCKET, SO_REUSEPORT)) {
    return fail_errno(what, errno);
  }
  if (!endpoint.address.is_v4() && !set_option(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY)) {
    return fail_errno(what, errno);
  }
  if (const int code = bind_to(listener.get(), endpoint); code == EACCES) {
    return fail_errno(
        what + " (ports below 1024 need CAP_NET_BIND_SERVICE or a listener handed over by systemd)", code);
  } else if (code == EADDRNOTAVAIL) {
    return fail_errno(what + " (no interface of this machine has that address)", code);
  } else if (code != 0) {
    return fail_errno(what, code);
  }
  if (::listen(listener.get(), kBacklog) != 0) return fail_errno(what, errno);
  return listener.release();
}

Result<int> Ring::make_socket(const Endpoint& target, const Endpoint* source) {
  Owned made(socket(family_of(target), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (made.get() < 0) return fail_errno("make a socket for " + target.text(), errno);
  set_no_delay(made.get());
  if (source != nullptr) {
    // The port is chosen at connect time, per destination: without this a busy source address runs out of
    // ports.
    if (source->port == 0) set_option(made.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    if (const int code = bind_to(made.get(), *source); code != 0) {
      return fail_errno("send from " + source->text() + " to " + target.text(), code);
    }
  }
  return made.release();
}

void Ring::set_no_delay(int socket) {
  set_option(socket, IPPROTO_TCP, TCP_NODELAY);
}

std::optional<Endpoint> Ring::peer_name(int socket) {
  return name_of(socket, ::getpeername);
}

std::optional<Endpoint> Ring::local_name(int socket) {
  return name_of(socket, ::getsockname);
}

void Ring::close_now(int descriptor) {
  ::close(descriptor);
}

Result<int> Ring::make_notifier() {
  const int notifier = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (notifier < 0) return fail_errno("make an eventfd", errno);
  return notifier;
}

void Ring::notify(int notifier) {
  const std::uint64_t one = 1;
  // EAGAIN: the count is at its maximum, so the notifier is ready anyhow.
  POSTERN_ASSERT(::write(notifier, &one, sizeof one) == sizeof one || errno == EAGAIN || errno == EINTR);
}

void Ring::clear_notifier(int notifier) {
  std::uint64_t count = 0;
  // EAGAIN: nothing to clear.
  POSTERN_ASSERT(::read(notifier, &count, sizeof count) == sizeof count || errno == EAGAIN || errno == EINTR);
}

}  // namespace postern::core
