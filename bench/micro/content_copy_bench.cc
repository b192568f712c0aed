// What it costs a message that its octets are copied out of the receive ring's buffers (docs/decisions/0004), beside what
// is done to each octet anyway on its way to the disk.
//
// The octets come in pieces of a receive buffer's size, from a ring's worth of buffers in turn, so that they are no warmer
// than in life.
#include <array>
#include <benchmark/benchmark.h>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "core/crc32c.h"
#include "core/pool.h"
#include "net/content.h"

namespace {

using namespace postern;

constexpr std::size_t kBufferBytes = 16384;
constexpr std::size_t kBuffers = 1024;

struct Received {
  std::vector<char> memory = std::vector<char>(kBufferBytes * kBuffers, 'x');
  std::size_t next = 0;
  std::string_view piece(std::size_t bytes) {
    next = (next + 1) % kBuffers;
    return {memory.data() + next * kBufferBytes, bytes};
  }
};

void fill(net::Content& content, Received& received, std::size_t bytes) {
  for (std::size_t done = 0; done < bytes; done += kBufferBytes) {
    benchmark::DoNotOptimize(content.append(received.piece(std::min(kBufferBytes, bytes - done))));
  }
}

// Receive buffers to pool blocks, and the blocks given back.
void to_blocks(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  core::BlockPool pool(64u << 20);
  Received received;
  for (auto _ : state) {
    net::Content content(pool);
    fill(content, received, bytes);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

// Blocks to the commit buffer, with the checksum: what would stay without the copy above.
void to_commit(benchmark::State& state) {
  const auto bytes = static_cast<std::size_t>(state.range(0));
  core::BlockPool pool(64u << 20);
  Received received;
  net::Content content(pool);
  fill(content, received, bytes);
  std::vector<char> commit(1u << 20);
  std::size_t at = 0;
  for (auto _ : state) {
    if (at + bytes > commit.size()) at = 0;
    std::array<iovec, net::Content::kPartsMax> parts;
    const std::size_t count = content.parts(parts);
    char* to = commit.data() + at;
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(to, parts[i].iov_base, parts[i].iov_len);
      to += parts[i].iov_len;
    }
    benchmark::DoNotOptimize(core::crc32c(0, commit.data() + at, bytes));
    at += bytes;
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(to_blocks)->Arg(1024)->Arg(16384)->Arg(262144);
BENCHMARK(to_commit)->Arg(1024)->Arg(16384)->Arg(262144);

}  // namespace

BENCHMARK_MAIN();
