#include "net/dns/channel.h"

#include <ares.h>
#include <poll.h>
#include <sys/time.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "core/clock.h"
#include "core/ring.h"
#include "core/timer_wheel.h"

namespace postern::net::dns {
namespace {

constexpr int kInternetClass = 1;
constexpr int kUdpBytes = 1232;  // fits every path unfragmented (DNS Flag Day 2020)

// Before the first channel; the library's own state is never given back.
bool start_library() {
  static std::once_flag once;
  static bool is_good = false;
  std::call_once(once, [] { is_good = ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS; });
  return is_good;
}

}  // namespace

class Channel::Asking {
 public:
  Asking(Channel& channels, policy::Settings::Dns settings)
      : worker_(channels.worker_),
        owner_(channels.owner_),
        polls_(channels.polls_),
        settings_(std::move(settings)),
        timer_(core::timer_handler<&Asking::on_timer>, this) {}
  ~Asking();

  [[nodiscard]] const policy::Settings::Dns& settings() const { return settings_; }
  [[nodiscard]] bool is_idle() const { return questions_ == 0; }
  // False: the servers cannot be known; error() says why.
  bool open();
  [[nodiscard]] const std::string& error() const { return error_; }
  void ask(std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin);
  void cancel_all() {
    if (channel_ != nullptr) ares_cancel(channel_);
  }

 private:
  // A socket of c-ares. It lives until its poll has come back, which may be after c-ares closed the socket.
  struct Watched {
    Watched(Asking* a, int s) : asking(a), polls(a->polls_), socket(s), completion(&Watched::on_ready, this) {}
    static void on_ready(void* self, core::Completion&, const core::Outcome& outcome) noexcept;

    Asking* asking;  // nullptr: nobody is interested any longer
    std::size_t& polls;
    int socket;
    std::uint32_t events = 0;
    std::uint32_t armed = 0;  // the events of the poll in flight
    core::Completion completion;
  };
  struct Question {
    Asking& asking;
    std::uint64_t token;
    RecordType type;
  };

  static void on_socket(void* self, ares_socket_t socket, int readable, int writable) noexcept;
  static void on_answer(void* question, int status, int timeouts, unsigned char* bytes, int count) noexcept;
  void on_timer(core::Timer&) noexcept;
  void ready(Watched& watched, std::uint32_t events);
  void arm(Watched& watched);
  void let_go(Watched* watched);
  void set_timer();

  core::Worker& worker_;
  Owner owner_;
  std::size_t& polls_;
  policy::Settings::Dns settings_;
  std::string error_;
  ares_channel channel_ = nullptr;
  std::vector<Watched*> watched_;
  std::size_t questions_ = 0;
  core::Timer timer_;
};

Channel::Asking::~Asking() {
  owner_.answered = nullptr;
  if (channel_ != nullptr) ares_destroy(channel_);  // ends questions and closes sockets, by the functions below
  for (Watched* watched : std::exchange(watched_, {})) let_go(watched);
  worker_.timers().cancel(timer_);
}

bool Channel::Asking::open() {
  if (!start_library()) {
    error_ = "the resolver library does not start";
    return false;
  }
  ares_options options{};
  char lookups[] = "b";  // DNS only: the hosts file is read elsewhere
  options.flags = ARES_FLAG_EDNS;
  options.ednspsz = kUdpBytes;
  options.lookups = lookups;
  options.timeout = static_cast<int>(settings_.timeout_seconds) * 1000;
  options.tries = static_cast<int>(settings_.tries);
  options.sock_state_cb = &Asking::on_socket;
  options.sock_state_cb_data = this;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_LOOKUPS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                   ARES_OPT_SOCK_STATE_CB;
  int status = ares_init_options(&channel_, &options, mask);
  if (status == ARES_SUCCESS && !settings_.servers.empty()) {
    std::string servers;
    for (const core::Endpoint& server : settings_.servers) servers += (servers.empty() ? "" : ",") + server.text();
    status = ares_set_servers_ports_csv(channel_, servers.c_str());
  }
  if (status == ARES_SUCCESS) return true;
  error_ = std::string("the resolver does not start: ") + ares_strerror(status);
  if (channel_ != nullptr) ares_destroy(std::exchange(channel_, nullptr));
  return false;
}

void Channel::Asking::ask(std::uint64_t token, const std::string& name, RecordType type, NameOrigin origin) {
  ++questions_;
  auto* question = new Question{*this, token, type};
  const auto search = origin == NameOrigin::settings ? &ares_search : &ares_query;
  search(channel_, name.c_str(), kInternetClass, static_cast<int>(type), &Asking::on_answer, question);
  set_timer();
}

void Channel::Asking::on_answer(void* question_pointer, int status, int, unsigned char* bytes, int count) noexcept {
  const std::unique_ptr<Question> question(static_cast<Question*>(question_pointer));
  Asking& asking = question->asking;
  --asking.questions_;
  if (asking.owner_.answered == nullptr) return;
  Answer answer;
  std::string_view why = ares_strerror(status);
  if (bytes != nullptr && count > 0) {
    answer = parse_answer({bytes, static_cast<std::size_t>(count)}, question->type);
    if (answer.status == AnswerStatus::failed && (status == ARES_SUCCESS || status == ARES_ENODATA)) {
      why = "the name server's answer makes no sense";
    }
  } else if (status == ARES_EBADNAME) {
    answer.status = AnswerStatus::no_such_name;
  }
  asking.owner_.answered(asking.owner_.self, question->token, std::move(answer), why);
}

// --- its sockets ---------------------------------------------------------------------------------------------------

void Channel::Asking::on_socket(void* self, ares_socket_t socket, int readable, int writable) noexcept {
  auto& asking = *static_cast<Asking*>(self);
  const auto known = std::find_if(asking.watched_.begin(), asking.watched_.end(),
                                  [socket](const Watched* watched) { return watched->socket == socket; });
  if (readable == 0 && writable == 0) {  // it is closed next
    if (known == asking.watched_.end()) return;
    Watched* watched = *known;
    asking.watched_.erase(known);
    return asking.let_go(watched);
  }
  Watched* watched = known != asking.watched_.end() ? *known : nullptr;
  if (watched == nullptr) {
    watched = new Watched(&asking, socket);
    asking.watched_.push_back(watched);
  }
  watched->events = (readable != 0 ? POLLIN : 0u) | (writable != 0 ? POLLOUT : 0u);
  asking.arm(*watched);
}

void Channel::Asking::arm(Watched& watched) {
  if (!watched.completion.in_flight) {
    watched.armed = watched.events;
    ++polls_;
    worker_.ring().poll(watched.socket, watched.events, watched.completion);
  } else if ((watched.events & ~watched.armed) != 0) {
    worker_.ring().cancel(watched.completion);  // comes back, and is armed for what is wanted now
  }
}

// The kernel holds the socket for as long as the poll is armed, closed or not.
void Channel::Asking::let_go(Watched* watched) {
  watched->asking = nullptr;
  if (watched->completion.in_flight) {
    worker_.ring().cancel(watched->completion);
  } else {
    delete watched;
  }
}

void Channel::Asking::Watched::on_ready(void* self, core::Completion&, const core::Outcome& outcome) noexcept {
  auto* watched = static_cast<Watched*>(self);
  --watched->polls;
  if (watched->asking == nullptr) {
    delete watched;
    return;
  }
  // An error is found out by reading; a cancelled poll is armed anew.
  watched->asking->ready(*watched, outcome.result < 0 ? 0u : static_cast<std::uint32_t>(outcome.result));
}

void Channel::Asking::ready(Watched& watched, std::uint32_t events) {
  const ares_socket_t socket = watched.socket;
  if (events != 0) {
    const bool reads = (events & (POLLIN | POLLERR | POLLHUP)) != 0;
    const bool writes = (events & (POLLOUT | POLLERR | POLLHUP)) != 0;
    ares_process_fd(channel_, reads ? socket : ARES_SOCKET_BAD, writes ? socket : ARES_SOCKET_BAD);
  }
  // It may be closed and gone by now.
  const auto known = std::find(watched_.begin(), watched_.end(), &watched);
  if (known != watched_.end()) arm(watched);
  set_timer();
}

// --- its time ------------------------------------------------------------------------------------------------------

void Channel::Asking::set_timer() {
  timeval wait{};
  if (ares_timeout(channel_, nullptr, &wait) == nullptr) return worker_.timers().cancel(timer_);
  worker_.timers().set(timer_, worker_.now().boot_ns + wait.tv_sec * core::kNanosecondsPerSecond + wait.tv_usec * 1000);
}

void Channel::Asking::on_timer(core::Timer&) noexcept {
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  set_timer();
}

// --- all of them ---------------------------------------------------------------------------------------------------

Channel::Channel(core::Worker& worker, Owner owner) : worker_(worker), owner_(owner) {}

Channel::~Channel() = default;

void Channel::ask(const policy::Settings::Dns& settings, std::uint64_t token, const std::string& name, RecordType type,
                  NameOrigin origin) {
  if (channels_.empty() || reopen_ || channels_.back()->settings() != settings) {
    auto fresh = std::make_unique<Asking>(*this, settings);
    if (!fresh->open()) return owner_.answered(owner_.self, token, {}, fresh->error());
    channels_.push_back(std::move(fresh));
    reopen_ = false;
  }
  channels_.back()->ask(token, name, type, origin);
}

// Not in ask(), which may be called from inside an answer of one of them.
void Channel::sweep() {
  if (channels_.size() < 2) return;
  channels_.erase(std::remove_if(channels_.begin(), channels_.end() - 1,
                                 [](const auto& channel) { return channel->is_idle(); }),
                  channels_.end() - 1);
}

void Channel::cancel_all() {
  for (const auto& channel : channels_) channel->cancel_all();
}

}  // namespace postern::net::dns
