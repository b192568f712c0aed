#include "net/users/credentials.h"

#include <cstring>
#include <thread>
#include <utility>

#include "core/assert.h"
#include "net/users/credential_source.h"
#include "net/users/secret.h"

namespace postern::net::users {
namespace {

constexpr std::uint8_t kPasswordKey = 0;  // the other kinds of cache keys: 1 and the CredentialKind

std::size_t thread_count(std::uint32_t wanted) {
  if (wanted != 0) return wanted;
  return std::max(2u, std::thread::hardware_concurrency());  // one is kept for those who are known
}

}  // namespace

// --- requests ------------------------------------------------------------------------------------------------------

CredentialRequest::~CredentialRequest() { OPENSSL_cleanse(password_.data(), password_bytes_); }

void CredentialRequest::set_user(std::string_view text) {
  POSTERN_ASSERT(text.size() <= user_.size());
  std::ranges::copy(text, user_.begin());
  user_bytes_ = static_cast<std::uint8_t>(text.size());
}

void CredentialRequest::set_password(std::string_view text) {
  POSTERN_ASSERT(text.size() <= password_.size());
  std::ranges::copy(text, password_.begin());
  password_bytes_ = static_cast<std::uint16_t>(text.size());
}

// --- asking --------------------------------------------------------------------------------------------------------

Credentials::Credentials(const CredentialOptions& options, core::Mesh& mesh)
    : options_(options), mesh_(mesh), cache_(options.cache_seconds) {}

core::Result<std::unique_ptr<Credentials>> Credentials::open(const CredentialOptions& options, core::Mesh& mesh) {
  std::unique_ptr<Credentials> made(new Credentials(options, mesh));
  const std::size_t threads = thread_count(options.threads);
  for (std::size_t i = 0; i <= threads; ++i) {
    auto source = CredentialSource::open(options);
    if (!source) return std::unexpected(source.error());
    made->sources_.push_back(std::move(*source));
  }
  if (auto known = made->refresh(); !known) return std::unexpected(known.error());
  made->pool_ = std::make_unique<core::BlockingPool>(threads, options.queue);
  return made;
}

Credentials::~Credentials() { stop(); }

void Credentials::stop() {
  if (pool_ != nullptr) pool_->stop();
}

Credentials::Taken Credentials::ask(CredentialRequest& request, core::BlockingPool::Lane lane) {
  const bool is_password = request.kind == CredentialRequest::Kind::password;
  const auto kind = static_cast<std::uint8_t>(1 + static_cast<unsigned>(request.credential_kind));
  request.cache_key = cache_.key(is_password ? kPasswordKey : kind, request.user(), request.password());
  if (auto known = cache_.find(request.cache_key, request.now.boot_ns)) {
    request.answer = CredentialRequest::Answer::given;
    request.verdict = sasl::PasswordVerdict::right;
    request.credential = known->credential;
    request.account = std::move(known->account);
    return Taken::answered;
  }
  request.credentials = this;
  request.epoch = cache_.epoch();
  request.run = &Credentials::run;
  return pool_->submit(lane, request) ? Taken::asked : Taken::full;
}

// In a thread of the pool.
void Credentials::run(core::BlockingPool::Job& job, std::size_t thread) noexcept {
  auto& request = static_cast<CredentialRequest&>(job);
  Credentials& self = *request.credentials;
  self.sources_[thread]->answer(request);
  const bool is_good = request.kind == CredentialRequest::Kind::password
                           ? request.verdict == sasl::PasswordVerdict::right
                           : request.credential.standing == sasl::Credential::Standing::usable;
  if (request.answer == CredentialRequest::Answer::given && is_good) {
    self.cache_.put(request.cache_key, request.epoch, request.now.boot_ns, {request.account, request.credential});
  }
  self.mesh_.post(request.worker, {[](void* target, std::uint64_t, std::uint64_t) noexcept {
                                     auto* answered = static_cast<CredentialRequest*>(target);
                                     answered->answered(answered->owner);
                                   },
                                   &request, 0, 0});
}

// --- the caretaker -------------------------------------------------------------------------------------------------

core::Result<bool> Credentials::hold(std::string_view user) {
  const std::lock_guard lock(caretaker_);
  auto held = sources_.back()->hold(user);
  if (held) cache_.clear();
  if (held && *held) held_.add(user);
  return held;
}

core::Result<void> Credentials::refresh() {
  const std::lock_guard lock(caretaker_);
  const auto version = sources_.back()->version();
  if (version && version_ == *version) return {};
  cache_.clear();
  if (!version) return std::unexpected(version.error());
  auto held = sources_.back()->held();
  if (!held) return std::unexpected(held.error());
  held_.replace(*held);
  version_ = *version;
  return {};
}

}  // namespace postern::net::users
