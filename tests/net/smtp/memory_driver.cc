#include "tests/net/smtp/memory_driver.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "policy/settings.h"

namespace postern::net::smtp::test {

std::unique_ptr<policy::PolicySnapshot> make_snapshot(const std::string& settings_text) {
  policy::ParsedSettings parsed = policy::parse_settings(settings_text);
  if (!parsed.ok()) {
    for (const auto& diagnostic : parsed.diagnostics)
      std::fprintf(stderr, "%s\n", diagnostic.format("settings").c_str());
    std::fprintf(stderr, "%s\n", settings_text.c_str());
    std::abort();
  }
  return std::make_unique<policy::PolicySnapshot>(std::move(parsed.settings));
}

MemoryDriver::MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client,
                           std::size_t pool_bytes)
    : MemoryDriver(snapshot, client, *new core::BlockPool(pool_bytes)) {
  own_pool_.reset(&pool_);
}

MemoryDriver::MemoryDriver(const policy::PolicySnapshot& snapshot, const core::IpAddress& client, core::BlockPool& pool)
    : snapshot_(snapshot),
      pool_(pool),
      pool_used_before_(pool.used_bytes()),
      logins_({64, snapshot.settings().logins.window_seconds, 64}),
      now_{1000 * core::kNanosecondsPerSecond, 1795492107 * core::kNanosecondsPerSecond},
      reply_memory_(ReplyBuffer::kReplyMax),
      replies_(reply_memory_.data(), reply_memory_.size()),
      session_(std::make_unique<ServerSession>(0, client, 40000, pool_)) {}

MemoryDriver::~MemoryDriver() {
  session_.reset();
  if (pool_.used_bytes() != pool_used_before_) {
    std::fprintf(stderr, "the session kept octets of the pool\n");
    std::abort();
  }
}

void MemoryDriver::must(bool holds, const char* what) {
  if (!holds && broken_.empty()) broken_ = what;
}

void MemoryDriver::greet() {
  const Step step = session_->greet({&snapshot_, &logins_, now_}, replies_);
  must(step.event == Event::need_input || step.event == Event::rejected, "greet() gave another event");
  handle(step, {});
  pump({});
}

void MemoryDriver::feed(std::string_view octets) {
  pump(octets);
}

void MemoryDriver::feed(std::string_view octets, Cut cut, std::mt19937_64& random) {
  if (cut == Cut::whole) return pump(octets);
  while (!octets.empty() && !closed_) {
    const std::size_t most = random() % 8 == 0 ? 200 : 6;
    const std::size_t size = cut == Cut::by_octet ? 1 : std::min<std::size_t>(octets.size(), 1 + random() % most);
    // In memory of its own, so that a view that outlives it is seen by the sanitizer.
    const auto piece = std::make_unique<char[]>(size);
    octets.copy(piece.get(), size);
    pump({piece.get(), size});
    octets.remove_prefix(size);
  }
}

void MemoryDriver::pump(std::string_view octets) {
  for (;;) {
    const Step step = session_->advance(octets, {&snapshot_, &logins_, now_}, replies_);
    must(step.consumed <= octets.size(), "consumed more than there was");
    const bool go_on = handle(step, octets);
    octets.remove_prefix(step.consumed);
    if (!go_on) break;
  }
  must(closed_ || octets.empty(), "need_input with octets left");
  said_ += replies_.view();
  replies_.clear();
}

bool MemoryDriver::handle(const Step& step, std::string_view octets) {
  switch (step.event) {
    case Event::need_input:
      return false;
    case Event::flush:
      must(!replies_.has_room(), "flush with room left");
      said_ += replies_.view();
      replies_.clear();
      return true;
    case Event::admit:
      admitted_.push_back(step.size);
      must(session_->advance(octets.substr(step.consumed), {&snapshot_, &logins_, now_}, replies_).consumed == 0,
           "consumed with a question open");
      session_->answer_admit(next_admit, replies_);
      next_admit = true;
      return true;
    case Event::begin_message: {
      must(!in_message_ && session_->in_message() && session_->in_transaction(), "begin_message out of order");
      must(session_->envelope().recipients() > 0, "a message without recipients");
      in_message_ = true;
      content_.clear();
      char trace[kTraceHeaderMax];
      const std::size_t size =
          format_received(trace, session_->trace(snapshot_.settings().hostname, "QUEUEID", now_.unix_seconds()));
      trace_.assign(trace, size);
      return true;
    }
    case Event::content:
      must(in_message_ && !step.content.empty(), "content out of order");
      content_ += step.content;
      return true;
    case Event::end_message:
      must(in_message_, "end_message out of order");
      must(step.size == content_.size(), "end_message tells another size");
      if (next_store == StoreResult::stored) {
        stored_.push_back({content_, step.content_flags, std::string(session_->envelope().head()), trace_});
      }
      session_->answer_stored(next_store, "QUEUEID", replies_);
      must(!session_->in_transaction() && !session_->in_message(), "a transaction behind its end");
      next_store = StoreResult::stored;
      in_message_ = false;
      return true;
    case Event::abort_message:
      must(in_message_ && !session_->in_message(), "abort_message out of order");
      in_message_ = false;
      ++aborted_;
      return true;
    case Event::rejected: {
      std::ostringstream line;
      line << step.verdict.code << " " << step.verdict.enhanced << " " << step.verdict.text << " ["
           << policy::rule_name(step.verdict.rule) << "] " << step.content;
      must(step.verdict.code >= 400, "a rejection without a code");
      rejected_.push_back(line.str());
      return true;
    }
    case Event::close:
    case Event::drop:
      must(!in_message_, "closed with a message open");
      closed_ = true;
      dropped_ = step.event == Event::drop;
      return false;
  }
  return false;
}

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
        driver_(*snapshot_, core::IpAddress::parse(dialog.client).value()) {}

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
      default:
        return;
    }
  }

  const Dialog& dialog_;
  Cut cut_;
  std::mt19937_64 random_;
  std::unique_ptr<policy::PolicySnapshot> snapshot_;
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
