// Login questions through the pool and the mesh, with the real user store: what is answered at once and what is asked,
// what is the same for everybody, bounds, changes of users, and the end.
#include "net/users/credentials.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <gtest/gtest.h>
#include <list>
#include <new>
#include <thread>

#include "net/users/password_hash.h"
#include "tests/net/users/store_folder.h"

namespace postern::net::users {
namespace {

using sasl::CredentialKind;
using sasl::PasswordVerdict;
using Answer = CredentialRequest::Answer;
using Clock = std::chrono::steady_clock;
using Lane = core::BlockingPool::Lane;
using Standing = sasl::Credential::Standing;
using Taken = Credentials::Taken;

struct Question {
  CredentialRequest request;
  bool is_answered = false;
};

class CredentialsTest : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    options_.store = path_;
    options_.threads = 2;
  }
  void add(std::string_view name, std::string_view hash, const std::function<void(StoredUser&)>& change = {}) {
    StoredUser made = user(name, hash);
    if (change) change(made);
    auto store = open();
    const auto added = store.add(made);
    ASSERT_TRUE(added.has_value()) << added.error();
  }
  void start() {
    auto opened = Credentials::open(options_, mesh_);
    ASSERT_TRUE(opened.has_value()) << opened.error().text;
    credentials_ = std::move(*opened);
  }
  void TearDown() override {
    credentials_.reset();
    StoreTest::TearDown();
  }

  Question& prepare(std::string_view name) {
    Question& made = questions_.emplace_back();
    made.request.set_user(name);
    made.request.now.boot_ns = now_ns_;
    made.request.owner = &made;
    made.request.answered = [](void* owner) noexcept { static_cast<Question*>(owner)->is_answered = true; };
    return made;
  }
  Question& password(std::string_view name, std::string_view text) {
    Question& made = prepare(name);
    made.request.set_password(text);
    return made;
  }
  Question& credential(std::string_view name, CredentialKind kind) {
    Question& made = prepare(name);
    made.request.kind = CredentialRequest::Kind::credential;
    made.request.credential_kind = kind;
    return made;
  }
  Taken ask(Question& question, Lane lane = Lane::ordinary) { return credentials_->ask(question.request, lane); }
  // Until the answer is there.
  CredentialRequest& answer(Question& question, Lane lane = Lane::ordinary) {
    const Taken taken = ask(question, lane);
    EXPECT_NE(taken, Taken::full);
    if (taken == Taken::asked) await(question);
    return question.request;
  }
  void await(const Question& question) {
    const auto until = Clock::now() + std::chrono::seconds(20);
    while (!question.is_answered && Clock::now() < until) {
      if (mesh_.drain(0) == 0) std::this_thread::yield();
    }
    ASSERT_TRUE(question.is_answered);
  }
  PasswordVerdict verdict(std::string_view name, std::string_view text) {
    const CredentialRequest& request = answer(password(name, text));
    EXPECT_EQ(request.answer, Answer::given);
    EXPECT_EQ(request.account != nullptr, request.verdict == PasswordVerdict::right);
    return request.verdict;
  }

  core::Mesh mesh_{1};
  CredentialOptions options_;
  std::list<Question> questions_;
  std::int64_t now_ns_ = 1;
  std::unique_ptr<Credentials> credentials_;
};

TEST_F(CredentialsTest, AnswersAtOnceWhatWasProven) {
  add("anna@example.net", "{PLAIN}secret", [](StoredUser& made) { made.record.senders = {"@example.org"}; });
  start();
  Question& first = password("anna@example.net", "secret");
  EXPECT_EQ(ask(first), Taken::asked);
  EXPECT_FALSE(first.is_answered) << "not before the worker's next turn";
  await(first);
  EXPECT_EQ(first.request.verdict, PasswordVerdict::right);
  ASSERT_NE(first.request.account, nullptr);
  EXPECT_EQ(first.request.account->name, "anna@example.net");
  EXPECT_EQ(first.request.account->senders, std::vector<std::string>{"@example.org"});

  Question& again = password("anna@example.net", "secret");
  EXPECT_EQ(ask(again), Taken::answered);
  EXPECT_FALSE(again.is_answered) << "who is answered at once is not called";
  EXPECT_EQ(again.request.answer, Answer::given);
  EXPECT_EQ(again.request.verdict, PasswordVerdict::right);
  EXPECT_EQ(again.request.account, first.request.account);
  // Only that password, and only for its time.
  EXPECT_EQ(ask(password("anna@example.net", "secret2")), Taken::asked);
  now_ns_ += 300 * core::kNanosecondsPerSecond;
  EXPECT_EQ(ask(password("anna@example.net", "secret")), Taken::asked);
  for (Question& question : questions_) {
    if (&question != &again) await(question);
  }
}

TEST_F(CredentialsTest, AFailureIsNeverRemembered) {
  add("anna@example.net", "{PLAIN}secret");
  start();
  for (int i = 0; i < 2; ++i) {
    for (const char* name : {"anna@example.net", "nobody@example.net", "", "a:b"}) {
      Question& wrong = password(name, "guessed");
      EXPECT_EQ(ask(wrong), Taken::asked);
      await(wrong);
      EXPECT_EQ(wrong.request.verdict, PasswordVerdict::wrong);
      EXPECT_EQ(wrong.request.account, nullptr);
    }
    Question& nobody = credential("nobody@example.net", CredentialKind::scram_sha_256);
    EXPECT_EQ(ask(nobody), Taken::asked);
    await(nobody);
  }
}

TEST_F(CredentialsTest, VerdictsOfAccounts) {
  add("disabled", "{PLAIN}secret", [](StoredUser& made) { made.record.disabled = true; });
  add("held", "{PLAIN}secret", [](StoredUser& made) { made.record.held = true; });
  add("tokens-only", "{PLAIN}x", [](StoredUser& made) { made.password_hash = {}; });
  start();
  EXPECT_EQ(verdict("disabled", "secret"), PasswordVerdict::disabled);
  EXPECT_EQ(verdict("disabled", "guessed"), PasswordVerdict::wrong) << "whether it is disabled is for who knows the password";
  EXPECT_EQ(verdict("tokens-only", "secret"), PasswordVerdict::no_verifier);
  EXPECT_EQ(verdict("held", "secret"), PasswordVerdict::right);
  EXPECT_TRUE(questions_.back().request.account->held);
  // A verdict other than "right" is asked for each time.
  EXPECT_EQ(ask(password("disabled", "secret")), Taken::asked);
  await(questions_.back());
}

TEST_F(CredentialsTest, KeysComeWithTheFirstProvenPassword) {
  options_.kinds.scram_sha_1 = true;
  options_.kinds.cram_md5 = true;
  add("anna@example.net", "{PLAIN}secret");
  start();
  for (const CredentialKind kind : {CredentialKind::scram_sha_256, CredentialKind::scram_sha_1, CredentialKind::cram_md5}) {
    EXPECT_EQ(answer(credential("anna@example.net", kind)).credential.standing, Standing::no_verifier);
  }
  EXPECT_EQ(verdict("anna@example.net", "guessed"), PasswordVerdict::wrong);
  EXPECT_EQ(answer(credential("anna@example.net", CredentialKind::scram_sha_256)).credential.standing, Standing::no_verifier);
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::right);
  const CredentialRequest& scram = answer(credential("anna@example.net", CredentialKind::scram_sha_256));
  EXPECT_EQ(scram.credential.standing, Standing::usable);
  ASSERT_NE(scram.account, nullptr);
  EXPECT_EQ(scram.account->name, "anna@example.net");
  const auto derived = sasl::derive_scram_keys(sasl::ScramHash::sha_256, "secret", scram.credential.scram.salt_view(),
                                               scram.credential.scram.iterations);
  ASSERT_TRUE(derived.has_value());
  EXPECT_EQ(derived->stored_key, scram.credential.scram.stored_key);
  EXPECT_EQ(answer(credential("anna@example.net", CredentialKind::scram_sha_1)).credential.standing, Standing::usable);
  EXPECT_EQ(answer(credential("anna@example.net", CredentialKind::cram_md5)).credential.standing, Standing::usable);
  EXPECT_EQ(answer(credential("anna@example.net", CredentialKind::user_exists)).credential.standing, Standing::usable);
  // What was read is remembered, each kind for itself.
  EXPECT_EQ(ask(credential("anna@example.net", CredentialKind::scram_sha_256)), Taken::answered);
  EXPECT_EQ(questions_.back().request.credential.scram.stored_key, derived->stored_key);
  // That keys were derived changes no user: nothing that is remembered is dropped.
  ASSERT_TRUE(credentials_->refresh().has_value());
  EXPECT_EQ(ask(password("anna@example.net", "secret")), Taken::answered);
}

// --- what tells nothing ---------------------------------------------------------------------------------------------

TEST_F(CredentialsTest, MadeUpKeysAreTheSameForEverySpelling) {
  add("anna@example.net", "{PLAIN}secret");
  std::array<char, sasl::kScramSaltBytesMax> salt{};
  for (int run = 0; run < 2; ++run) {  // also after a restart
    start();
    for (const char* name : {"nobody@example.net", "Nobody@Example.NET", "NOBODY@EXAMPLE.NET."}) {
      const sasl::Credential& got = answer(credential(name, CredentialKind::scram_sha_256)).credential;
      EXPECT_EQ(got.standing, Standing::unknown_user);
      EXPECT_TRUE(got.scram.is_decoy);
      EXPECT_EQ(got.scram.salt_bytes, sasl::kScramSaltBytes);
      EXPECT_EQ(got.scram.iterations, kScramIterations) << "as many as anybody who is new";
      if (salt[0] == 0 && salt[1] == 0) salt = got.scram.salt;
      EXPECT_EQ(got.scram.salt, salt) << name;
    }
    const sasl::Credential& other = answer(credential("nobody2@example.net", CredentialKind::scram_sha_256)).credential;
    EXPECT_NE(other.scram.salt, salt);
    // A user without keys looks like one who does not exist.
    const sasl::Credential& keyless = answer(credential("anna@example.net", CredentialKind::scram_sha_256)).credential;
    EXPECT_EQ(keyless.standing, Standing::no_verifier);
    EXPECT_TRUE(keyless.scram.is_decoy);
    EXPECT_EQ(keyless.scram.iterations, kScramIterations);
    credentials_.reset();
  }
}

// The same work for a user who does not exist: processor time, the least of several, as the machine is not ours alone.
TEST_F(CredentialsTest, NobodyTakesAsLongAsAWrongPassword) {
  const auto hash = make("a good secret");
  ASSERT_TRUE(hash.has_value());
  for (int i = 0; i < 5; ++i) add("user" + std::to_string(i), hash->view());
  add("odd", "{NOT-A-SCHEME}abc");
  add("tokens-only", "{PLAIN}x", [](StoredUser& made) { made.password_hash = {}; });
  start();
  const auto worked = [] {  // by the threads that hash; this one spins
    const auto seconds = [](clockid_t clock) {
      timespec now{};
      clock_gettime(clock, &now);
      return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
    };
    return seconds(CLOCK_PROCESS_CPUTIME_ID) - seconds(CLOCK_THREAD_CPUTIME_ID);
  };
  const auto least = [&](std::string_view name) {
    double best = 1e9;
    for (int i = 0; i < 5; ++i) {
      const double begin = worked();
      EXPECT_NE(verdict(name, "guessed"), PasswordVerdict::right);
      best = std::min(best, worked() - begin);
    }
    return best;
  };
  const double wrong = least("user3");
  for (const char* name : {"nobody", "x@y", "", "odd", "tokens-only"}) {
    EXPECT_GT(least(name), wrong / 2) << "'" << name << "' is told apart by its time";
    EXPECT_LT(least(name), wrong * 2) << "'" << name << "' is told apart by its time";
  }
}

// --- bounds --------------------------------------------------------------------------------------------------------

class SlowCredentialsTest : public CredentialsTest {
 protected:
  // A password that takes some 70 ms to check.
  void SetUp() override {
    CredentialsTest::SetUp();
    const auto hash = make("a good secret");
    ASSERT_TRUE(hash.has_value());
    add("anna@example.net", hash->view());
    options_.kinds = {false, false, false};
  }
};

TEST_F(SlowCredentialsTest, AFullQueueTakesNothing) {
  options_.threads = 1;
  options_.queue = 2;
  start();
  std::vector<Question*> asked;
  std::vector<Question*> full;
  for (int i = 0; i < 8; ++i) {
    Question& question = password("anna@example.net", "guess " + std::to_string(i));
    (ask(question) == Taken::full ? full : asked).push_back(&question);
  }
  // One at work at most, two that wait.
  EXPECT_GE(asked.size(), 2U);
  EXPECT_LE(asked.size(), 3U);
  for (const Question* question : asked) await(*question);
  for (const Question* question : full) {
    EXPECT_FALSE(question->is_answered);
    EXPECT_EQ(question->request.answer, Answer::unavailable);
  }
  EXPECT_EQ(verdict("anna@example.net", "a good secret"), PasswordVerdict::right) << "there is room again";
}

TEST_F(SlowCredentialsTest, TheFastLaneGoesPastAFlood) {
  options_.threads = 2;
  options_.queue = 20;
  start();
  std::vector<Question*> flood;
  for (int i = 0; i < 10; ++i) {
    flood.push_back(&password("anna@example.net", "guess " + std::to_string(i)));
    ASSERT_EQ(ask(*flood.back()), Taken::asked);
  }
  Question& known = password("anna@example.net", "a good secret");
  ASSERT_EQ(ask(known, Lane::fast), Taken::asked);
  await(known);
  EXPECT_EQ(known.request.verdict, PasswordVerdict::right);
  const auto done = std::count_if(flood.begin(), flood.end(), [](const Question* each) { return each->is_answered; });
  EXPECT_LE(done, 6) << "it waited with the others";
  for (const Question* question : flood) await(*question);
}

TEST_F(SlowCredentialsTest, NothingIsAnsweredAfterTheStop) {
  options_.threads = 1;
  start();
  for (int i = 0; i < 5; ++i) ASSERT_EQ(ask(password("anna@example.net", "guess")), Taken::asked);
  credentials_->stop();
  mesh_.drain(0);  // what was at work is done
  const auto answered = [this] {
    return std::count_if(questions_.begin(), questions_.end(), [](const Question& each) { return each.is_answered; });
  };
  const auto at_stop = answered();
  EXPECT_LE(at_stop, 1);
  EXPECT_EQ(ask(password("anna@example.net", "a good secret")), Taken::full);
  credentials_->stop();  // twice is as good as once
  credentials_.reset();
  EXPECT_EQ(mesh_.drain(0), 0U);
  EXPECT_EQ(answered(), at_stop);
}

TEST_F(CredentialsTest, ARequestWipesItsPassword) {
  alignas(CredentialRequest) static std::array<char, sizeof(CredentialRequest)> memory;
  auto* request = ::new (static_cast<void*>(memory.data())) CredentialRequest;
  request->set_password("a good secret");
  ASSERT_TRUE(std::string_view(memory.data(), memory.size()).contains("good secret"));
  std::destroy_at(request);
  EXPECT_FALSE(std::string_view(memory.data(), memory.size()).contains("good secret"));
}

// --- changes of users ----------------------------------------------------------------------------------------------

TEST_F(CredentialsTest, RefreshDropsWhatChanged) {
  add("anna@example.net", "{PLAIN}secret");
  add("berta@example.net", "{PLAIN}secret");
  start();
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::right);
  EXPECT_EQ(verdict("berta@example.net", "secret"), PasswordVerdict::right);
  ASSERT_TRUE(credentials_->refresh().has_value());
  EXPECT_EQ(ask(password("anna@example.net", "secret")), Taken::answered) << "nothing has changed";
  {
    auto store = open(StoreMode::read_write);  // as `postern user passwd` does
    ASSERT_TRUE(store.set_password("anna@example.net", Secret("{PLAIN}another"), {}).value());
  }
  EXPECT_EQ(ask(password("anna@example.net", "secret")), Taken::answered) << "until the next refresh";
  ASSERT_TRUE(credentials_->refresh().has_value());
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::wrong);
  EXPECT_EQ(verdict("anna@example.net", "another"), PasswordVerdict::right);
  {
    auto store = open(StoreMode::read_write);
    ASSERT_TRUE(store.set_disabled("anna@example.net", true).value());
    ASSERT_TRUE(store.remove("berta@example.net").value());
  }
  ASSERT_TRUE(credentials_->refresh().has_value());
  EXPECT_EQ(verdict("anna@example.net", "another"), PasswordVerdict::disabled);
  EXPECT_EQ(verdict("berta@example.net", "secret"), PasswordVerdict::wrong);
}

TEST_F(SlowCredentialsTest, AnAnswerFromBeforeAChangeIsNotRemembered) {
  options_.threads = 1;
  start();
  Question& slow = password("anna@example.net", "a good secret");
  ASSERT_EQ(ask(slow), Taken::asked);
  {
    auto store = open(StoreMode::read_write);
    ASSERT_TRUE(store.set_held("anna@example.net", true).value());
  }
  ASSERT_TRUE(credentials_->refresh().has_value());
  await(slow);
  // What it said may be as it was before the change; whoever asks now gets what is.
  Question& now = password("anna@example.net", "a good secret");
  EXPECT_EQ(ask(now), Taken::asked);
  await(now);
  ASSERT_NE(now.request.account, nullptr);
  EXPECT_TRUE(now.request.account->held);
}

TEST_F(CredentialsTest, HoldsAccounts) {
  add("anna@example.net", "{PLAIN}secret");
  start();
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::right);
  EXPECT_FALSE(questions_.back().request.account->held);
  EXPECT_TRUE(credentials_->hold("anna@example.net").value());
  EXPECT_FALSE(credentials_->hold("nobody@example.net").value());
  Question& again = password("anna@example.net", "secret");
  EXPECT_EQ(ask(again), Taken::asked) << "it is forgotten at once";
  await(again);
  EXPECT_TRUE(again.request.account->held);
  EXPECT_TRUE(open().find("anna@example.net").value()->record.held);
}

// --- a store that is gone ------------------------------------------------------------------------------------------

TEST_F(CredentialsTest, AStoreThatCannotBeIsToldAtTheStart) {
  options_.store = folder_;
  const auto opened = Credentials::open(options_, mesh_);
  ASSERT_FALSE(opened.has_value());
  EXPECT_TRUE(opened.error().text.contains(folder_)) << opened.error().text;
}

TEST_F(CredentialsTest, AStoreThatIsGoneIsNoAnswerAndComesBack) {
  add("anna@example.net", "{PLAIN}secret");
  start();
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::right);
  std::filesystem::rename(path_, path_ + ".away");
  const auto gone = credentials_->refresh();
  ASSERT_FALSE(gone.has_value());
  EXPECT_TRUE(gone.error().text.contains(path_)) << gone.error().text;
  // Nothing is remembered beyond that, and nobody is let in by accident.
  for (const char* text : {"secret", "guessed"}) {
    const CredentialRequest& none = answer(password("anna@example.net", text));
    EXPECT_EQ(none.answer, Answer::unavailable);
    EXPECT_EQ(none.account, nullptr);
  }
  EXPECT_EQ(answer(credential("anna@example.net", CredentialKind::scram_sha_256)).answer, Answer::unavailable);
  std::filesystem::rename(path_ + ".away", path_);
  const auto back = credentials_->refresh();
  EXPECT_TRUE(back.has_value()) << back.error().text;
  EXPECT_EQ(verdict("anna@example.net", "secret"), PasswordVerdict::right);
}

}  // namespace
}  // namespace postern::net::users
