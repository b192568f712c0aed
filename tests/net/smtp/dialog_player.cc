// Plays a dialog against a session in memory.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <random>

#include "tests/net/smtp/memory_driver.h"

namespace postern::net::smtp::test {
namespace {

constexpr std::pair<std::string_view, std::uint16_t> kFlagNames[] = {{"dot_stuffed", content_dot_stuffed},
                                                                     {"needs_stuffing", content_needs_stuffing},
                                                                     {"binary", content_binary},
                                                                     {"eight_bit", content_eight_bit},
                                                                     {"eight_bit_header", content_eight_bit_header}};

std::string flag_words(std::uint16_t flags) {
  std::string words;
  for (const auto& [name, bit] : kFlagNames) {
    if ((flags & bit) != 0) words += (words.empty() ? "" : " ") + std::string(name);
  }
  return words;
}

// One playing of one dialog.
class Player {
 public:
  Player(const Dialog& dialog, Cut cut, std::uint64_t seed)
      : dialog_(dialog),
        cut_(cut),
        random_(seed),
        snapshot_(make_snapshot(dialog.settings_text())),
        driver_(*snapshot_, core::IpAddress::parse(dialog.client).value()) {
    for (const DialogUser& user : dialog.users) users_.add(user.record, user.password);
    driver_.set_users(users_);
    driver_.late_answers = cut != Cut::whole;
  }

  std::string play() {
    driver_.greet();
    for (std::size_t i = 0; i < dialog_.steps.size() && failure_.empty(); ++i) {
      if (dialog_.steps[i].act == DialogAct::content) {
        i = check_content(i);
      } else {
        play_step(dialog_.steps[i]);
      }
    }
    flush();
    if (failure_.empty() && !driver_.broken().empty()) failure_ = dialog_.name + ": " + driver_.broken();
    if (failure_.empty() && driver_.is_closed() && !close_expected_) failure_ = dialog_.name + ": closed unexpectedly";
    return failure_;
  }

 private:
  void fail(const DialogStep& step, const std::string& what) {
    if (failure_.empty()) failure_ = dialog_.name + ":" + std::to_string(step.line) + ": " + what;
  }

  // Sends what was gathered and checks that all the replies awaited, and no others, came.
  void flush() {
    if (!failure_.empty()) return;
    driver_.feed(unsent_, cut_, random_);
    unsent_.clear();
    for (const DialogStep* step : awaited_) check_line(*step);
    awaited_.clear();
    if (failure_.empty() && read_ != driver_.said().size()) {
      failure_ = dialog_.name + ": more was said than awaited: " + driver_.said().substr(read_);
    }
  }

  void check_line(const DialogStep& step) {
    const std::size_t end = driver_.said().find("\r\n", read_);
    if (end == std::string::npos) return fail(step, "nothing more was said; awaited: " + step.text);
    const std::string line = driver_.said().substr(read_, end - read_);
    read_ = end + 2;
    if (!matches(step.text, line)) fail(step, "said: " + line + "\n  awaited: " + step.text);
  }

  std::size_t check_content(std::size_t first) {
    flush();
    std::string awaited;
    std::size_t i = first;
    while (i < dialog_.steps.size() && dialog_.steps[i].act == DialogAct::content) awaited += dialog_.steps[i++].text;
    if (driver_.stored().empty()) {
      fail(dialog_.steps[first], "no message was stored");
    } else if (driver_.stored().back().content != awaited) {
      fail(dialog_.steps[first], "stored: " + driver_.stored().back().content + "\n  awaited: " + awaited);
    }
    return i - 1;
  }

  void play_step(const DialogStep& step) {
    switch (step.act) {
      case DialogAct::send:
        if (cut_ != Cut::whole && !awaited_.empty()) flush();
        unsent_ += step.text;
        return;
      case DialogAct::expect:
        awaited_.push_back(&step);
        return;
      default:
        break;
    }
    flush();
    switch (step.act) {
      case DialogAct::close:
      case DialogAct::drop:
        close_expected_ = true;
        if (!driver_.is_closed() || driver_.is_dropped() != (step.act == DialogAct::drop)) {
          fail(step, driver_.is_closed() ? "ended the other way" : "the connection is still open");
        }
        return;
      case DialogAct::flags:
        if (driver_.stored().empty()) return fail(step, "no message was stored");
        if (flag_words(driver_.stored().back().flags) != step.text) {
          fail(step, "flags are: " + flag_words(driver_.stored().back().flags));
        }
        return;
      case DialogAct::no_content:
        if (!driver_.stored().empty()) fail(step, "a message was stored");
        return;
      case DialogAct::login:
        driver_.logins().grant(core::IpAddress::parse(step.text).value(), driver_.now().boot_seconds());
        return;
      case DialogAct::clock:
        driver_.now().boot_ns += std::strtol(step.text.c_str(), nullptr, 10) * core::kNanosecondsPerSecond;
        return;
      case DialogAct::admit:
        driver_.next_admit = step.text != "no";
        return;
      case DialogAct::store:
        driver_.next_store = step.text == "no_space" ? StoreResult::no_space : StoreResult::failed;
        return;
      case DialogAct::unavailable:
        driver_.next_login = false;
        return;
      case DialogAct::handshake:
        return do_handshake(step);
      case DialogAct::logged:
        if (driver_.logins_ended().empty()) return fail(step, "no login ended");
        if (!matches(step.text, driver_.logins_ended().back())) {
          fail(step, "of the login is told: " + driver_.logins_ended().back());
        }
        return;
      default:
        return;
    }
  }

  void do_handshake(const DialogStep& step) {
    if (!driver_.awaits_handshake()) return fail(step, "no handshake is awaited");
    static constexpr std::array<std::byte, 32> kExporter{};
    facts_ = {"TLSv1.3", "TLS_AES_128_GCM_SHA256", kExporter, {}};
    std::string_view words = step.text;
    while (!words.empty()) {
      const std::string_view word = words.substr(0, words.find(' '));
      words.remove_prefix(std::min(words.size(), word.size() + 1));
      if (word == "no_exporter") {
        facts_ = {"TLSv1.2", "TLS_RSA_WITH_AES_128_GCM_SHA256", {}, facts_.certificate_name};
      } else if (word.starts_with("certificate=")) {
        facts_.certificate_name = word.substr(12);
      } else {
        return fail(step, "not a word of @handshake: " + std::string(word));
      }
    }
    driver_.handshake(facts_);
  }

  const Dialog& dialog_;
  Cut cut_;
  std::mt19937_64 random_;
  std::unique_ptr<policy::PolicySnapshot> snapshot_;
  UserTable users_;
  TlsFacts facts_;
  MemoryDriver driver_;
  std::string unsent_;
  std::vector<const DialogStep*> awaited_;
  std::size_t read_ = 0;
  bool close_expected_ = false;
  std::string failure_;
};

}  // namespace

std::string play(const Dialog& dialog, Cut cut, std::uint64_t seed) {
  return Player(dialog, cut, seed).play();
}

}  // namespace postern::net::smtp::test
