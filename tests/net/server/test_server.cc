#include "tests/net/server/test_server.h"

#include <algorithm>
#include <cstdlib>
#include <future>
#include <gtest/gtest.h>
#include <utility>

#include "net/users/user_store.h"
#include "tests/net/tls/tls_support.h"

#if defined(__SANITIZE_THREAD__)
// Descriptors are closed by the ring, which the sanitizer does not see: when a folder that a test reads gets the number of
// a worker's closed socket, it takes the two for one.
extern "C" [[gnu::visibility("default")]] const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() { return "race:directory_iterator\n"; }
#endif

namespace postern::net::test {
namespace {

std::unique_ptr<Snapshot> make_snapshot(const policy::Settings& settings, tls::TicketKeys& tickets) {
  SecurityParts parts;
  if (policy::uses_tls(settings)) {
    std::vector<tls::ServiceRules> rules;
    for (const policy::ServiceSettings& service : settings.services) {
      rules.push_back({service.name, service.auth.client_ca, tls::Speaks::smtp});
    }
    for (const policy::MailboxSettings& mailbox : settings.mailboxes) {
      const bool is_pop3 = mailbox.protocol == policy::MailboxProtocol::pop3;
      rules.push_back({mailbox.name, {}, is_pop3 ? tls::Speaks::pop3 : tls::Speaks::imap});
    }
    auto contexts = tls::ServerContexts::make({tls::test::server_certificate({})}, rules, tickets);
    if (contexts) {
      parts.tls.emplace(std::move(*contexts));
    } else {
      ADD_FAILURE() << contexts.error().text;
    }
  }
  return std::make_unique<Snapshot>(settings, std::move(parts));
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "postern-test-XXXXXX").string();
  path_ = mkdtemp(pattern.data());
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

TestServer::TestServer(policy::Settings settings, const std::string& spool, const TestServerOptions& options)
    : snapshot_(readers_, make_snapshot(settings, tickets_)),
      guard_({.key = {1, 2}, .machines = 1024}),
      rates_({.key = {3, 4}, .users = 64, .machines = 64, .senders = 64}),
      logins_({.machines = 1024}),
      machines_(settings.limits.connections),
      shared_(snapshot_, logins_, machines_, 1) {
  shared_.rates = &rates_;
  if (options.guard) shared_.guard = &guard_;
  open_users(spool, options, settings);
  thread_ = std::thread([this, spool, options] { run(spool, options); });
  ready_.wait(false);
  EXPECT_EQ(failure_, "");
}

void TestServer::open_users(const std::string& folder, const TestServerOptions& options,
                            const policy::Settings& settings) {
  if (settings.services.front().auth.mechanisms.empty()) return;
  users::CredentialOptions credentials = options.credentials;
  if (credentials.dovecot.empty() && credentials.store.empty()) {
    credentials.store = folder + "/users.db";
    auto store = users::UserStore::open(credentials.store, users::StoreMode::create);
    ASSERT_TRUE(store.has_value()) << store.error();
    for (const TestUser& user : options.users) {
      if (const auto known = store->find(user.record.name); known && *known) continue;  // a second server of this folder
      users::StoredUser stored;
      stored.record = user.record;
      stored.password_hash = users::Secret("{PLAIN}" + user.password);  // costs nothing
      stored.verifiers = users::derive_verifiers(user.password, credentials.kinds);
      const auto added = store->add(stored);
      ASSERT_TRUE(added.has_value()) << added.error();
    }
  }
  auto opened = users::Credentials::open(credentials, mesh_);
  ASSERT_TRUE(opened.has_value()) << opened.error().text;
  credentials_ = std::move(*opened);
  shared_.credentials = credentials_.get();
}

TestServer::~TestServer() { stop(); }

void TestServer::begin_drain() {
  stopping_.store(true);
  mesh_.post(0, {});
}

void TestServer::stop() {
  if (!thread_.joinable()) return;
  begin_drain();
  thread_.join();
}

void TestServer::on_worker(const std::function<void(WorkerServer&)>& function) {
  struct Call {
    const std::function<void(WorkerServer&)>& function;
    WorkerServer& server;
    std::promise<void> done;
  };
  Call call{function, *program_, {}};
  auto done = call.done.get_future();
  mesh_.post(0, {[](void* target, std::uint64_t, std::uint64_t) noexcept {
                   auto* asked = static_cast<Call*>(target);
                   asked->function(asked->server);
                   asked->done.set_value();
                 },
                 &call, 0, 0});
  done.wait();
}

void TestServer::await_turn() {
  on_worker([](WorkerServer&) {});
  const std::uint64_t before = turns_.load();
  mesh_.post(0, {});
  turns_.wait(before);
}

std::vector<std::string> TestServer::logged(std::string_view event) {
  if (thread_.joinable()) await_turn();  // the line may have been written in the turn of what the test has just seen
  const std::lock_guard lock(log_mutex_);
  std::vector<std::string> found;
  std::erase_if(log_lines_, [&](const std::string& line) {
    const bool is_it = event.empty() || line.contains(" event=" + std::string(event) + " ");
    if (is_it) found.push_back(line);
    return is_it;
  });
  return found;
}

void TestServer::read_log(bool keep) {
  for (const core::LogRecord* record = log_.front(); record != nullptr; record = log_.front()) {
    if (keep) {
      const std::lock_guard lock(log_mutex_);
      core::format_log_line(*record, false, 0, log_lines_.emplace_back());
    }
    log_.pop();
  }
}

void TestServer::run(const std::string& spool, const TestServerOptions& test) {
  if (test.thread_hook != nullptr) test.thread_hook();
  const auto ready = [this] {
    ready_.store(true);
    ready_.notify_all();
  };
  core::RingOptions ring;
  ring.buffer_count = 128;
  auto worker = core::Worker::create(0, ring, mesh_, readers_);
  if (!worker) {
    failure_ = worker.error().text;
    return ready();
  }
  WorkerServerOptions options;
  options.spool_directory = spool;
  options.receive_buffers = ring.buffer_count;
  options.spool.segment_bytes = 4u << 20;
  options.spool.segments_kept = 4;
  options.spool.disk_reserve_bytes = 0;
  std::vector<std::string> notes;
  auto program = WorkerServer::create(**worker, shared_, log_, options, notes);
  const auto listener = core::Ring::listen({core::IpAddress::from_v4(0x7f000001), 0});
  if (!program || !listener) {
    failure_ = program ? listener.error().text : program.error().text;
    return ready();
  }
  port_ = core::Ring::local_name(*listener)->port;
  (*program)->listen(*listener, 0);
  for (std::size_t i = 0; i < (*program)->settings().mailboxes.size(); ++i) {
    const auto mailbox = core::Ring::listen({core::IpAddress::from_v4(0x7f000001), 0});
    if (!mailbox) {
      failure_ = mailbox.error().text;
      return ready();
    }
    mailbox_ports_.push_back(core::Ring::local_name(*mailbox)->port);
    (*program)->listen_mailbox(*mailbox, i);
  }
  (*program)->start_queue();
  program_ = program->get();
  ready();
  while (!(*program)->is_drained()) {
    if (stopping_.load()) (*program)->begin_drain((*worker)->now().boot_ns + 20 * core::kNanosecondsPerSecond);
    (*worker)->turn(true);
    read_log(test.keep_log);
    turns_.fetch_add(1);
    turns_.notify_all();
  }
  EXPECT_TRUE((*program)->is_quiet());
}

}  // namespace postern::net::test
