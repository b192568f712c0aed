#include "tests/net/mailbox/front.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>

#include "net/mailbox/imap_session.h"
#include "net/mailbox/pop3_session.h"
#include "net/sasl/base64.h"

namespace postern::net::mailbox::test {

namespace {

constexpr std::size_t kStepsMax = 400000;  // more than any scenario takes: a session that turns in circles

std::unique_ptr<MailboxSession> make_session(const Scenario& scenario) {
  if (scenario.protocol == Protocol::pop3) return std::make_unique<Pop3Session>(scenario.options);
  return std::make_unique<ImapSession>(scenario.options);
}

// Octets on their way to the session, which is shown some of them from the beginning.
struct Side {
  std::string octets;
  std::size_t shown = 0;

  [[nodiscard]] std::string_view window() const { return std::string_view(octets).substr(0, shown); }
  [[nodiscard]] bool has_more() const { return shown < octets.size(); }
  void consume(std::size_t count) {
    octets.erase(0, count);
    shown -= count;
  }
};

class Front {
 public:
  Front(const Scenario& scenario, Cut cut, std::uint64_t seed)
      : scenario_(scenario),
        cut_(cut),
        random_(seed),
        client_memory_((cut == Cut::whole ? 3 : 1) * Output::kReplyMax),
        store_memory_(Output::kReplyMax),
        to_client_(client_memory_.data(), client_memory_.size()),
        to_store_(store_memory_.data(), store_memory_.size()),
        session_(make_session(scenario)) {
    next_flight();
  }

  Outcome play() {
    for (std::size_t steps = 0; go_on(); ++steps) {
      if (steps < kStepsMax) continue;
      must(false, "a session comes to an end");
      break;
    }
    return std::move(outcome_);
  }

 private:
  void must(bool holds, const char* what) {
    if (!holds && outcome_.broken.empty()) outcome_.broken = what;
  }

  void next_flight() {
    client_ = {flight_ < scenario_.client.size() ? scenario_.client[flight_] : std::string(), 0};
    ++flight_;
  }
  bool next_piece() {
    if (piece_ == scenario_.store.size()) return false;
    store_ = {scenario_.store[piece_++], 0};
    if (cut_ == Cut::together) store_.shown = store_.octets.size();
    hides_store_ = store_.shown != 0;
    return true;
  }

  // Behind its last piece, before the client says more.
  [[nodiscard]] bool is_store_leaving() const {
    return scenario_.store_leaves && piece_ == scenario_.store.size() && !is_store_gone_;
  }

  std::size_t some_of(std::size_t left) {
    if (cut_ == Cut::by_octet) return 1;
    if (cut_ == Cut::random) return 1 + random_() % std::min<std::size_t>(left, 1 + random_() % 40);
    return left;
  }
  bool show_more(Side& side) {
    if (!side.has_more()) return false;
    side.shown += some_of(side.octets.size() - side.shown);
    return true;
  }

  bool go_on() {
    // What the store says is looked at before what the client says behind it.
    const bool shows_client = (store_.octets.empty() && !is_store_leaving()) || cut_ == Cut::together;
    hides_store_ = false;
    hides_client_ = !shows_client && client_.shown != 0;
    const std::string_view from_client = shows_client ? client_.window() : std::string_view{};
    const bool is_asked = question_ != Event::need_input;
    const Step step = session_->advance(from_client, store_.window(), to_client_, to_store_);
    if (is_asked) {
      const bool is_still = step.event == Event::need_input && step.client_consumed == 0 && to_client_.empty() &&
                            to_store_.empty() && (step.store_consumed == 0 || question_ == Event::login_wanted);
      must(is_still || (question_ == Event::login_wanted && step.event == Event::close), "a question stops everything");
    }
    if (step.event == Event::start_tls) must(step.client_consumed == from_client.size(), "start_tls leaves nothing");
    if (step.event == Event::close) must(step.client_consumed == from_client.size(), "close leaves nothing");
    client_.consume(step.client_consumed);
    verdict_.append(store_.octets, 0, step.store_consumed);
    store_.consume(step.store_consumed);
    deliver();
    return handle(step);
  }

  void deliver() {
    outcome_.said.append(to_client_.view());
    to_client_.clear();
    // A command that was written while the store still talks is not sent: the rest came before it.
    if (to_store_.empty() || !store_.octets.empty()) return;
    outcome_.heard.append(to_store_.view());
    to_store_.clear();
    verdict_.clear();
    next_piece();
  }

  void note(std::string_view what, const Step& step) {
    std::string user(step.login.user);
    std::replace_if(
        user.begin(), user.end(), [](char octet) { return static_cast<unsigned char>(octet) < ' '; }, '?');
    outcome_.events.append(what).append(" ").append(user).append(" ").append(step.login.mechanism);
    if (step.login.plaintext) outcome_.events.append(" plaintext");
    if (step.login.grants) outcome_.events.append(" grants");
    if (step.event == Event::login_failed) outcome_.events.append(" ").append(name_of(step.failure));
    outcome_.events.append("\n");
  }

  // Asked once more before it answers.
  bool ask(Event question) {
    question_ = question;
    return true;
  }

  bool handle(const Step& step) {
    switch (step.event) {
      case Event::need_input:
        return on_need_input();
      case Event::flush:
        show_more(store_);
        return true;
      case Event::connect_store:
        must(piece_ == 0, "the store is wanted once");
        return ask(step.event);
      case Event::login_wanted:
        note("wanted", step);
        return ask(step.event);
      case Event::login_succeeded:
        note("succeeded", step);
        outcome_.said_before_success = outcome_.said;
        outcome_.verdict = verdict_;
        return ask(step.event);
      case Event::login_failed:
        note("failed", step);
        return true;
      case Event::start_tls:
        outcome_.events.append("start-tls\n");
        return ask(step.event);
      case Event::passthrough:
        outcome_.events.append("passthrough\n");
        must(session_->is_passthrough() && !outcome_.said_before_success.empty(), "passthrough comes behind a success");
        outcome_.rest_client = client_.octets;
        outcome_.rest_store = store_.octets;
        return false;
      case Event::close:
        outcome_.events.append("close ").append(name_of(step.reason)).append("\n");
        return false;
    }
    return false;
  }

  bool answer() {
    switch (std::exchange(question_, Event::need_input)) {
      case Event::connect_store:
        if (scenario_.store_is_down) {
          session_->store_lost();
        } else {
          session_->store_connected();
          next_piece();
        }
        return true;
      case Event::login_wanted:
        session_->answer_login(answers_ < scenario_.answers.size() ? scenario_.answers[answers_++]
                                                                   : LoginAnswer::allow);
        return true;
      case Event::login_succeeded:
        session_->login_recorded();
        return true;
      case Event::start_tls:
        if (flight_ >= scenario_.client.size()) return false;
        next_flight();
        session_->tls_started();
        return true;
      default:
        return false;
    }
  }

  bool on_need_input() {
    if (hides_store_ || show_more(store_)) return true;
    if (question_ != Event::need_input) return answer();
    if (!store_.octets.empty()) {
      must(false, "what the store says is consumed or it is the end");
      return false;
    }
    if (is_store_leaving()) {
      is_store_gone_ = true;
      session_->store_lost();
      return true;
    }
    if (hides_client_ || show_more(client_)) return true;
    if (scenario_.goodbye.empty() || std::exchange(is_over_, true)) return false;
    session_->say_goodbye(scenario_.goodbye, to_client_);
    return true;
  }

  const Scenario& scenario_;
  Cut cut_;
  std::mt19937_64 random_;
  std::vector<char> client_memory_;
  std::vector<char> store_memory_;
  Output to_client_;
  Output to_store_;
  std::unique_ptr<MailboxSession> session_;
  Side client_;
  Side store_;
  std::size_t flight_ = 0;
  std::size_t piece_ = 0;
  std::size_t answers_ = 0;
  Event question_ = Event::need_input;  // open
  bool hides_client_ = false;           // in the last call
  bool hides_store_ = false;
  std::string verdict_;  // so far
  bool is_store_gone_ = false;
  bool is_over_ = false;
  Outcome outcome_;
};

std::string difference(const Outcome& whole, const Outcome& other) {
  if (whole.said != other.said) return "said <" + other.said + ">";
  if (whole.heard != other.heard) return "heard <" + other.heard + ">";
  if (whole.events != other.events) return "events <" + other.events + ">";
  if (whole.said_before_success != other.said_before_success) return "said before success";
  if (whole.verdict != other.verdict) return "verdict <" + other.verdict + ">";
  if (whole.rest_client != other.rest_client) return "rest of the client <" + other.rest_client + ">";
  if (whole.rest_store != other.rest_store) return "rest of the store <" + other.rest_store + ">";
  return other.broken;
}

}  // namespace

std::string base64(std::string_view octets) {
  std::string text(sasl::base64_bytes(octets.size()), '\0');
  text.resize(sasl::base64_encode(octets, text));
  return text;
}

Outcome run(const Scenario& scenario, Cut cut, std::uint64_t seed) {
  return Front(scenario, cut, seed).play();
}

Outcome run_all_cuts(const Scenario& scenario, std::uint64_t seeds, std::uint64_t first_seed) {
  Outcome whole = run(scenario, Cut::whole, 0);
  const auto compare = [&](Cut cut, std::uint64_t seed, const std::string& name) {
    const Outcome other = run(scenario, cut, seed);
    if (whole.broken.empty() && other != whole) whole.broken = name + ": " + difference(whole, other);
  };
  if (const char* only = std::getenv("POSTERN_SEED")) {
    compare(Cut::random, std::strtoull(only, nullptr, 10), std::string("POSTERN_SEED=") + only);
    return whole;
  }
  if (!scenario.store_leaves) compare(Cut::together, 0, "together");
  compare(Cut::by_octet, 0, "by octet");
  for (std::uint64_t seed = first_seed; seed < first_seed + seeds; ++seed) {
    compare(Cut::random, seed, "POSTERN_SEED=" + std::to_string(seed));
  }
  return whole;
}

}  // namespace postern::net::mailbox::test
