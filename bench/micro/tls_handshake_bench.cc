// What TLS costs a worker: handshakes, full and resumed, records of 1 KiB, and the memory of an idle session.
//
// Only the server's side is counted (this thread's CPU time in its calls, the client's in between left out). `bare` is BoringSSL used
// the plainest way, a server's SSL between two memory BIOs with the library's own tickets: what the rest is compared with.
// TLS 1.3, ECDSA P-256, X25519 unless the name says otherwise. One thread.
#include <array>
#include <benchmark/benchmark.h>
#include <cstdio>
#include <ctime>
#include <malloc.h>
#include <string>
#include <vector>

#include "core/assert.h"
#include "net/tls/parts.h"
#include "tests/net/tls/tls_support.h"

namespace {

using namespace postern;
using namespace postern::net::tls;
using namespace postern::net::tls::test;

class Stopwatch {
 public:
  template <class Work>
  void run(Work work) {
    const double begin = cpu_seconds();
    work();
    seconds_ += cpu_seconds() - begin;
  }
  [[nodiscard]] double seconds() const { return seconds_; }

 private:
  static double cpu_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }
  double seconds_ = 0;
};

struct Server {
  TicketKeys keys;
  ServerContexts contexts;
  explicit Server(Key key)
      : contexts(std::move(
            *ServerContexts::make({server_certificate({.key = key})}, {{.name = "submission", .client_ca = ""}}, keys))) {}
};

Server& server(Key key) {
  static Server ecdsa(Key::p256), rsa(Key::rsa2048);
  return key == Key::p256 ? ecdsa : rsa;
}

// One server's side as our connections use it.
class OurSide {
 public:
  explicit OurSide(Server& server) : session_(server.contexts, 0, at(kNow)) {}
  std::string_view receive(std::string_view cipher) {
    out_.clear();
    const Progress progress = session_.receive(cipher, plain_, out_);
    POSTERN_ASSERT(progress.consumed == cipher.size() && progress.status == Status::need_input);
    return out_.view();
  }
  std::string_view send(std::string_view plain) {
    out_.clear();
    POSTERN_ASSERT(session_.send(plain, out_) == plain.size());
    return out_.view();
  }
  [[nodiscard]] bool resumed() const { return session_.resumed(); }

 private:
  // One for all: a worker's memory, not the connection's.
  static inline std::array<char, 20'000> plain_, memory_;
  OutputBuffer out_{memory_.data(), memory_.size()};
  Session session_;
};

class BareSide {
 public:
  explicit BareSide(Server& server) : ssl_(SSL_new(context(server))) {
    SSL_set_accept_state(ssl_.get());
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  }
  std::string_view receive(std::string_view cipher) {
    BIO_reset(SSL_get_wbio(ssl_.get()));
    BIO_write(SSL_get_rbio(ssl_.get()), cipher.data(), static_cast<int>(cipher.size()));
    while (SSL_read(ssl_.get(), plain_.data(), plain_.size()) > 0) continue;
    return output();
  }
  std::string_view send(std::string_view plain) {
    BIO_reset(SSL_get_wbio(ssl_.get()));
    POSTERN_ASSERT(SSL_write(ssl_.get(), plain.data(), static_cast<int>(plain.size())) == static_cast<int>(plain.size()));
    return output();
  }
  [[nodiscard]] bool resumed() const { return SSL_session_reused(ssl_.get()) == 1; }

 private:
  static SSL_CTX* context(Server& server) {
    static std::vector<std::pair<Server*, bssl::UniquePtr<SSL_CTX>>> made;
    for (const auto& [of, context] : made) {
      if (of == &server) return context.get();
    }
    bssl::UniquePtr<SSL_CTX> context(SSL_CTX_new(TLS_with_buffers_method()));
    const auto& parts = server.contexts.certificates().front().parts();
    std::vector<CRYPTO_BUFFER*> chain;
    for (const auto& der : parts.chain) chain.push_back(der.get());
    POSTERN_ASSERT(SSL_CTX_set_chain_and_key(context.get(), chain.data(), chain.size(), parts.key.get(), nullptr) == 1);
    SSL_CTX_set_num_tickets(context.get(), 1);
    SSL_CTX_set_session_id_context(context.get(), reinterpret_cast<const std::uint8_t*>("bare"), 4);
    SSL_CTX_set_current_time_cb(context.get(), [](const SSL*, timeval* out) { *out = {kNow, 0}; });
    made.emplace_back(&server, std::move(context));
    return made.back().second.get();
  }
  std::string_view output() {
    const std::uint8_t* octets = nullptr;
    std::size_t size = 0;
    BIO_mem_contents(SSL_get_wbio(ssl_.get()), &octets, &size);
    return {reinterpret_cast<const char*>(octets), size};
  }
  static inline std::array<char, 20'000> plain_;
  bssl::UniquePtr<SSL> ssl_;
};

// A whole handshake up to and with the first octets of the server's (which take the ticket along).
template <class Side>
bssl::UniquePtr<SSL_SESSION> connect(Server& server, const ClientOptions& options, Stopwatch& watch) {
  Client client(options);
  std::unique_ptr<Side> side;
  std::string_view answer;
  client.step();
  std::string cipher = client.take();
  watch.run([&] {
    side = std::make_unique<Side>(server);
    answer = side->receive(cipher);
  });
  while (!client.is_done() || !cipher.empty()) {
    client.give(answer);
    POSTERN_ASSERT(client.step());
    cipher = client.take();
    if (cipher.empty()) break;
    watch.run([&] { answer = side->receive(cipher); });
  }
  watch.run([&] { answer = side->send("220 mail.example.net\r\n"); });
  client.give(answer);
  POSTERN_ASSERT(client.step() && client.read().size() == 22);
  POSTERN_ASSERT(side->resumed() == (options.session != nullptr));
  watch.run([&] { side.reset(); });
  return client.session();
}

template <class Side>
void handshake(benchmark::State& state, Key key, std::uint16_t version) {
  ClientOptions options;
  options.version_max = version;
  for (auto _ : state) {
    Stopwatch watch;
    connect<Side>(server(key), options, watch);
    state.SetIterationTime(watch.seconds());
  }
}

template <class Side>
void resumed_handshake(benchmark::State& state, std::uint16_t version) {
  ClientOptions options;
  options.version_max = version;
  Stopwatch first;
  const auto session = connect<Side>(server(Key::p256), options, first);
  options.session = session.get();
  for (auto _ : state) {
    Stopwatch watch;
    connect<Side>(server(Key::p256), options, watch);
    state.SetIterationTime(watch.seconds());
  }
}

// Both ways: a record of range(0) octets decrypted, and one encrypted; kBatch of them at once, since reading the CPU clock
// costs as much as a small record.
template <class Side>
void records(benchmark::State& state) {
  Client client({});
  Side side(server(Key::p256));
  client.step();
  client.give(side.receive(client.take()));
  client.step();
  side.receive(client.take());
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  client.give(side.send(text));
  constexpr int kBatch = 50;
  while (state.KeepRunningBatch(kBatch)) {
    std::vector<std::string> questions(kBatch), answers(kBatch);
    for (std::string& question : questions) {
      client.write(text);
      question = client.take();
    }
    for (std::string& answer : answers) answer.reserve(text.size() + 100);
    Stopwatch watch;
    watch.run([&] {
      for (std::size_t i = 0; i < kBatch; ++i) {
        benchmark::DoNotOptimize(side.receive(questions[i]));
        answers[i] = side.send(text);
      }
    });
    for (const std::string& answer : answers) client.give(answer);
    POSTERN_ASSERT(client.step());
    client.read().clear();
    state.SetIterationTime(watch.seconds());
  }
  state.SetBytesProcessed(2 * state.iterations() * state.range(0));
}

// A connection after its handshake, an answer and a command; its client is gone.
template <class Side>
std::unique_ptr<Side> idle_side(std::uint16_t version) {
  ClientOptions options;
  options.version_max = version;
  Client client(options);
  client.step();
  auto side = std::make_unique<Side>(server(Key::p256));
  client.give(side->receive(client.take()));
  client.step();
  client.give(side->receive(client.take()));
  client.give(side->send("220 mail.example.net\r\n"));
  client.step();
  client.write("EHLO client.example\r\n");
  side->receive(client.take());
  POSTERN_ASSERT(client.read().size() == 22);
  return side;
}

// Octets of the heap that such a connection holds: of a thousand, since the allocator keeps some small pieces back.
template <class Side>
double idle_octets(std::uint16_t version) {
  constexpr std::size_t kCount = 1000;
  std::vector<std::unique_ptr<Side>> sides;
  sides.reserve(kCount + 1);
  sides.push_back(idle_side<Side>(version));
  const std::size_t before = mallinfo2().uordblks;
  for (std::size_t i = 0; i < kCount; ++i) sides.push_back(idle_side<Side>(version));
  return static_cast<double>(mallinfo2().uordblks - before) / kCount;
}

void print_memory() {
  std::printf("idle connection, octets of heap (glibc): session TLS 1.3 %.0f, TLS 1.2 %.0f; bare SSL with memory BIOs "
              "TLS 1.3 %.0f, TLS 1.2 %.0f; Session itself is %zu of ours\n",
              idle_octets<OurSide>(TLS1_3_VERSION), idle_octets<OurSide>(TLS1_2_VERSION),
              idle_octets<BareSide>(TLS1_3_VERSION), idle_octets<BareSide>(TLS1_2_VERSION),
              sizeof(Session) + sizeof(Session::Wire));
}

template <class Side>
void add_benchmarks(const std::string& side) {
  const auto add = [&](const std::string& name, auto run) {
    return benchmark::RegisterBenchmark((name + "/" + side).c_str(), run)->UseManualTime();
  };
  add("handshake/tls13_ecdsa", [](auto& state) { handshake<Side>(state, Key::p256, TLS1_3_VERSION); });
  add("handshake/tls12_ecdsa", [](auto& state) { handshake<Side>(state, Key::p256, TLS1_2_VERSION); });
  add("handshake/tls13_rsa2048", [](auto& state) { handshake<Side>(state, Key::rsa2048, TLS1_3_VERSION); });
  add("resumed/tls13", [](auto& state) { resumed_handshake<Side>(state, TLS1_3_VERSION); });
  add("resumed/tls12", [](auto& state) { resumed_handshake<Side>(state, TLS1_2_VERSION); });
  add("records", [](auto& state) { records<Side>(state); })->Arg(1024)->Arg(16384);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  add_benchmarks<OurSide>("session");
  add_benchmarks<BareSide>("bare");
  print_memory();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
