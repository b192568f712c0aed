#include "net/admin/password_prompt.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/mem.h>
#include <optional>
#include <signal.h>
#include <string_view>
#include <termios.h>
#include <unistd.h>

#include "net/users/password_hash.h"

namespace postern::net::admin {
namespace {

using users::Secret;

constexpr std::size_t kRoom = 2 * users::kPasswordBytesMax;  // more than a password, to tell that it is too long
constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
constexpr int kTries = 3;

volatile sig_atomic_t caught_signal = 0;

// While it lives the terminal does not show what is typed. Signals that would end or stop the program are put off until
// the terminal is as it was.
class HiddenTyping {
 public:
  explicit HiddenTyping(int terminal) : terminal_(terminal) {
    is_terminal_ = ::tcgetattr(terminal_, &before_) == 0;
    if (!is_terminal_) return;
    caught_signal = 0;
    struct sigaction action {};
    action.sa_handler = [](int signal) { caught_signal = signal; };
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &actions_[i]);
    termios hidden = before_;
    hidden.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    hidden.c_lflag |= ECHONL | ICANON | ISIG;
    is_hidden_ = ::tcsetattr(terminal_, TCSAFLUSH, &hidden) == 0;
  }
  HiddenTyping(const HiddenTyping&) = delete;
  HiddenTyping& operator=(const HiddenTyping&) = delete;
  ~HiddenTyping() {
    if (!is_terminal_) return;
    ::tcsetattr(terminal_, TCSAFLUSH, &before_);
    for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &actions_[i], nullptr);
    if (caught_signal != 0) ::raise(caught_signal);
  }
  [[nodiscard]] bool is_hidden() const { return is_hidden_; }

 private:
  int terminal_;
  bool is_terminal_ = false;
  bool is_hidden_ = false;
  termios before_{};
  std::array<struct sigaction, kSignals.size()> actions_{};
};

void say(int terminal, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(terminal, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Everything up to the end of the input, or of `room`.
std::expected<std::size_t, std::string> read_all(int descriptor, std::array<char, kRoom>& room) {
  std::size_t used = 0;
  while (used < room.size()) {
    const ssize_t count = ::read(descriptor, room.data() + used, room.size() - used);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(fmt::format("standard input: {}", std::strerror(errno)));
    used += static_cast<std::size_t>(count);
  }
  return used;
}

// One line that nobody sees. nullopt: a signal, or the end of the input.
std::optional<Secret> ask_once(int terminal, const std::string& question) {
  const HiddenTyping hidden(terminal);
  if (!hidden.is_hidden()) return std::nullopt;
  say(terminal, question);
  std::array<char, kRoom> room;
  std::size_t used = 0;
  bool is_whole = false;
  while (!is_whole && used < room.size() && caught_signal == 0) {
    const ssize_t count = ::read(terminal, room.data() + used, room.size() - used);
    if (count <= 0) break;
    used += static_cast<std::size_t>(count);
    is_whole = room[used - 1] == '\n';
  }
  std::optional<Secret> line;
  if (is_whole && caught_signal == 0) line.emplace(std::string_view(room.data(), used - 1));
  OPENSSL_cleanse(room.data(), room.size());
  return line;
}

}  // namespace

std::expected<Secret, std::string> read_password_from_stdin() {
  std::array<char, kRoom> room;
  const auto size = read_all(STDIN_FILENO, room);
  std::expected<Secret, std::string> result = std::unexpected(std::string("standard input: no password in it"));
  if (!size) {
    result = std::unexpected(size.error());
  } else if (*size == room.size()) {
    result = std::unexpected(std::string("standard input: longer than any password"));
  } else {
    std::string_view text(room.data(), *size);
    const std::size_t end = text.find('\n');
    const std::string_view behind = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    text = text.substr(0, end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    if (!behind.empty()) {
      result = std::unexpected(std::string("standard input: more than one line; the password stands alone in it"));
    } else if (!text.empty()) {
      result = Secret(text);
    }
  }
  OPENSSL_cleanse(room.data(), room.size());
  return result;
}

std::expected<Secret, std::string> ask_for_password(const std::string& name) {
  const int terminal = ::open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (terminal < 0) {
    return std::unexpected(
        std::string("there is no terminal to ask for a password; --stdin reads it from standard input"));
  }
  std::expected<Secret, std::string> result = std::unexpected(std::string("no password was given"));
  for (int i = 0; i < kTries; ++i) {
    const auto first = ask_once(terminal, fmt::format("New password for {}: ", name));
    if (!first || first->empty()) break;
    const auto second = ask_once(terminal, "The same again: ");
    if (!second) break;
    if (first->view() == second->view()) {
      result = *first;
      break;
    }
    say(terminal, "These were two different passwords.\n");
    result = std::unexpected(std::string("two different passwords, three times"));
  }
  ::close(terminal);
  return result;
}

}  // namespace postern::net::admin
