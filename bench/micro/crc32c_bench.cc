// What the checksum costs an octet, with the instruction and without.
#include <benchmark/benchmark.h>
#include <string>

#include "core/crc32c.h"

namespace {

using namespace postern::core;

template <auto Function>
void crc(benchmark::State& state) {
  const std::string octets(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) benchmark::DoNotOptimize(Function(0, octets.data(), octets.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

constexpr std::uint32_t (*kFast)(std::uint32_t, const void*, std::size_t) noexcept = &crc32c;
BENCHMARK(crc<kFast>)->Name("crc32c")->Arg(64)->Arg(1024)->Arg(16384)->Arg(1 << 20);
BENCHMARK(crc<&crc32c_portable>)->Name("crc32c_portable")->Arg(64)->Arg(1024)->Arg(16384)->Arg(1 << 20);

}  // namespace

BENCHMARK_MAIN();
