// The PROXY header: bounded, and no beginning of it is judged otherwise than the whole.
#include <cstdint>
#include <string_view>

#include "core/assert.h"
#include "net/smtp/proxy_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace postern::net::smtp;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const ProxyHeader whole = parse_proxy_header(text);
  POSTERN_ASSERT(whole.bytes <= kProxyHeaderBytesMax);
  if (whole.status == ProxyHeaderStatus::complete) POSTERN_ASSERT(whole.bytes <= size && whole.bytes >= 15);
  if (whole.status == ProxyHeaderStatus::need_more) POSTERN_ASSERT(whole.bytes > size);
  for (std::size_t cut = 0; cut < size && cut < 300; ++cut) {
    const ProxyHeader part = parse_proxy_header(text.substr(0, cut));
    if (part.status == ProxyHeaderStatus::need_more) {
      POSTERN_ASSERT(part.bytes > cut);
      // It asked for no more than the header has.
      if (whole.status == ProxyHeaderStatus::complete) POSTERN_ASSERT(cut < whole.bytes && part.bytes <= whole.bytes);
      continue;
    }
    POSTERN_ASSERT(part.status == whole.status && part.bytes == whole.bytes);
    POSTERN_ASSERT(part.has_client == whole.has_client && part.client == whole.client);
    break;
  }
  return 0;
}
