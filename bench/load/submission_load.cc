// Many mail programs at a submission service of this machine, each session with its own connection and handshake
// (submission_client.h); prints one line of JSON.
//
//   submission_load --port 10587 --sessions 50 --count 5000 --user anna@example.net --password secret
//   submission_load --port 10587 --rate 200 --seconds 30 --machines 1000 --guess
//
// Closed loop (--sessions at a time) or open loop (--rate sessions a second, begun when they are due; a session's time
// counts from then on, so that a slow server does not slow its own examination down). --guess: names that nobody has,
// a wrong password, no message. Bounded: by --count or --seconds. Aims at 127.0.0.1 only.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <mutex>
#include <openssl/base64.h>
#include <openssl/ssl.h>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "bench/load/submission_client.h"

namespace {

using Clock = std::chrono::steady_clock;
using postern::bench::SubmissionSession;

struct Options {
  std::uint16_t port = 0;
  unsigned sessions = 50;
  std::uint64_t count = 0;
  double seconds = 10;
  double rate = 0;
  std::string user = "anna@example.net";
  std::string password;
  std::string to = "bob@remote.example";
  bool guess = false;
  std::uint32_t machines = 16;
  std::uint32_t first_machine = 0x7f010001;  // 127.1.0.1
  std::size_t message_bytes = 1024;
};

std::string auth_plain(const std::string& user, const std::string& password) {
  const std::string plain = '\0' + user + '\0' + password;
  std::string encoded(4 * (plain.size() / 3 + 1) + 1, '\0');
  encoded.resize(EVP_EncodeBlock(reinterpret_cast<std::uint8_t*>(encoded.data()),
                                 reinterpret_cast<const std::uint8_t*>(plain.data()), plain.size()));
  return encoded;
}

std::string make_content(const Options& options) {
  std::string content = "From: <" + options.user + ">\r\nTo: <" + options.to +
                        ">\r\nDate: Tue, 24 Nov 2026 12:00:00 +0000\r\nMessage-ID: <load@client.example>\r\n\r\n";
  while (content.size() < options.message_bytes) content += "The quick brown fox jumps over the lazy dog, again and again.\r\n";
  return content + ".\r\n";
}

struct Results {
  std::vector<double> session_ms;
  std::vector<double> auth_ms;
  std::map<int, std::uint64_t> codes;

  void add(const Results& other) {
    session_ms.insert(session_ms.end(), other.session_ms.begin(), other.session_ms.end());
    auth_ms.insert(auth_ms.end(), other.auth_ms.begin(), other.auth_ms.end());
    for (const auto& [code, times] : other.codes) codes[code] += times;
  }
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), context_(SSL_CTX_new(TLS_client_method())), content_(make_content(options)),
        auth_(auth_plain(options.user, options.password)) {
    SSL_CTX_set_session_cache_mode(context_.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(context_.get(), SSL_VERIFY_NONE, nullptr);
  }

  Results run() {
    begun_ = Clock::now();
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < options_.sessions; ++i) threads.emplace_back([this] { work(); });
    for (std::thread& thread : threads) thread.join();
    return std::move(results_);
  }

 private:
  void work() {
    Results mine;
    for (;;) {
      const std::uint64_t number = next_.fetch_add(1, std::memory_order_relaxed);
      if (options_.count != 0 && number >= options_.count) break;
      auto due = Clock::now();
      if (options_.rate > 0) {
        due = begun_ + std::chrono::nanoseconds(static_cast<std::int64_t>(static_cast<double>(number) / options_.rate * 1e9));
      }
      if (options_.count == 0 && due - begun_ > std::chrono::duration<double>(options_.seconds)) break;
      std::this_thread::sleep_until(due);
      one(number, due, mine);
    }
    const std::lock_guard lock(mutex_);
    results_.add(mine);
  }

  void one(std::uint64_t number, Clock::time_point due, Results& into) {
    SubmissionSession session;
    session.source = postern::core::IpAddress::from_v4(options_.first_machine + static_cast<std::uint32_t>(number % options_.machines));
    session.port = options_.port;
    session.from = options_.user;
    session.to = options_.to;
    std::string guess;
    if (options_.guess) guess = auth_plain("guess" + std::to_string(number) + "@example.net", "letmein");
    session.auth_plain = options_.guess ? guess : auth_;
    if (!options_.guess) session.content = content_;
    std::int64_t auth_ns = 0;
    ++into.codes[run_session(context_.get(), session, &auth_ns)];
    into.session_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - due).count());
    into.auth_ms.push_back(static_cast<double>(auth_ns) * 1e-6);
  }

  const Options& options_;
  bssl::UniquePtr<SSL_CTX> context_;
  std::string content_;
  std::string auth_;
  Clock::time_point begun_;
  std::atomic<std::uint64_t> next_{0};
  std::mutex mutex_;
  Results results_;
};

double quantile(std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(part * static_cast<double>(sorted.size())))];
}

std::string times(const char* name, std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  return fmt::format(R"("{}":{{"p50":{:.3f},"p99":{:.3f},"max":{:.3f}}})", name, quantile(values, 0.5), quantile(values, 0.99),
                     values.empty() ? 0 : values.back());
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app{"Many submission sessions at a service on 127.0.0.1"};
  app.add_option("--port", options.port)->required();
  app.add_option("--sessions", options.sessions, "at a time at most")->capture_default_str()->check(CLI::Range(1, 2000));
  app.add_option("--count", options.count, "sessions in all; 0: as many as --seconds allow")->capture_default_str();
  app.add_option("--seconds", options.seconds)->capture_default_str()->check(CLI::Range(0.1, 3600.0));
  app.add_option("--rate", options.rate, "sessions begun a second; 0: each as soon as one ended")->capture_default_str();
  app.add_option("--user", options.user)->capture_default_str();
  app.add_option("--password", options.password);
  app.add_option("--to", options.to)->capture_default_str();
  app.add_flag("--guess", options.guess, "names that nobody has, a wrong password, no message");
  app.add_option("--machines", options.machines, "source addresses, from --first-machine on")->capture_default_str()->check(
      CLI::Range(1, 60000));
  std::string first = "127.1.0.1";
  app.add_option("--first-machine", first)->capture_default_str();
  app.add_option("--bytes", options.message_bytes, "of a message")->capture_default_str()->check(CLI::Range(100, 10'000'000));
  CLI11_PARSE(app, argc, argv);
  const auto address = postern::core::IpAddress::parse(first);
  if (!address || !address->is_v4()) return std::fprintf(stderr, "--first-machine: not an IPv4 address\n"), 2;
  options.first_machine = address->v4();

  const auto begun = Clock::now();
  Results results = Load(options).run();
  const double took = std::chrono::duration<double>(Clock::now() - begun).count();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const double cpu = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  std::string codes;
  for (const auto& [code, many] : results.codes) codes += fmt::format("{}\"{}\":{}", codes.empty() ? "" : ",", code, many);
  const std::size_t all = results.session_ms.size();
  fmt::print(R"({{"sessions":{},"seconds":{:.3f},"rate":{:.1f},"codes":{{{}}},{},{},"client_cpu_seconds":{:.3f}}})"
             "\n",
             all, took, static_cast<double>(all) / took, codes, times("session_ms", results.session_ms),
             times("auth_ms", results.auth_ms), cpu);
  return 0;
}
