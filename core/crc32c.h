// CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4): what every record and header of the
// spool is checked with.
//
// On x86-64 with SSE 4.2 it uses the crc32 instruction, three streams at once; elsewhere eight table look-ups a word.
// Thread: any. No allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::core {

// The CRC of what `crc` already covers followed by the octets given. Begin with 0.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc, const void* data, std::size_t bytes) noexcept;
[[nodiscard]] inline std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes) noexcept {
  return crc32c(crc, bytes.data(), bytes.size());
}

// The same without the instruction; public so that tests compare the two.
[[nodiscard]] std::uint32_t crc32c_portable(std::uint32_t crc, const void* data, std::size_t bytes) noexcept;

}  // namespace postern::core
