// The frame of what a table keeps over a restart: a header with the moment it was written, records, and a trailer that
// tells a truncated or altered file before anything of it is believed.
//
//   octets  := header record* trailer             all numbers little-endian
//   header  := kind 8 octets | version u32 | key id u64 | boot clock ns i64 | wall clock ns i64 | boot id text
//   text    := size u8 | octets
//   trailer := octets before the trailer u64 | CRC-32C of all before this word u32
//
// Times in records are meant relative to the header's moment. Cold path: allocates. Pure: who calls brings the octets
// to a file and back.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/result.h"

namespace postern::policy {

class StateWriter {
 public:
  using Sink = std::function<void(std::string_view octets)>;

  // `kind`: 8 octets. `key_id` tells which hash key hashes in the records were made with. `boot_id`: at most 255 octets
  // of it count. The sink must outlive the writer.
  StateWriter(std::string_view kind, std::uint32_t version, std::uint64_t key_id, const core::Time& now,
              std::string_view boot_id, const Sink& sink);
  void u8(std::uint8_t value);
  void u32(std::uint32_t value);
  void u64(std::uint64_t value);
  void i64(std::int64_t value) { u64(static_cast<std::uint64_t>(value)); }
  void text(std::string_view octets);  // at most 255 octets of it
  void finish();                       // the trailer; nothing may follow

 private:
  void put(std::uint64_t value, int octets);
  void flush();

  const Sink& sink_;
  std::string buffer_;
  std::uint64_t total_ = 0;
  std::uint32_t crc_ = 0;
};

class StateReader {
 public:
  // Checks length, checksum, kind and version; the octets must outlive the reader. An error says what is wrong.
  static core::Result<StateReader> open(std::string_view octets, std::string_view kind, std::uint32_t version);

  [[nodiscard]] std::uint64_t key_id() const { return key_id_; }
  // The moment of writing on this boot's clock, never later than now; it may lie before the boot. On the same boot
  // (equal boot ids, not empty) it is what the boot clock said then; otherwise as long ago as the wall clock tells.
  [[nodiscard]] std::int64_t written_boot_ns(const core::Time& now, std::string_view boot_id) const;
  [[nodiscard]] std::int64_t written_boot_seconds(const core::Time& now, std::string_view boot_id) const;

  // The next value. Past the end: 0 or empty, and ok() is false from then on.
  std::uint8_t u8() { return static_cast<std::uint8_t>(take(1)); }
  std::uint32_t u32() { return static_cast<std::uint32_t>(take(4)); }
  std::uint64_t u64() { return take(8); }
  std::int64_t i64() { return static_cast<std::int64_t>(take(8)); }
  std::string_view text();
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool ok() const { return ok_; }

 private:
  std::uint64_t take(std::size_t octets);

  std::string_view rest_;
  std::string_view boot_id_;
  std::uint64_t key_id_ = 0;
  core::Time written_;
  bool ok_ = true;
};

}  // namespace postern::policy
