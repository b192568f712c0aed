// A state read from the spool: decoded exactly, or not at all. Input: one octet of recipients, then the state.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/delivery/recipient_state.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using postern::net::delivery::MessageState;
  if (size < 1) return 0;
  const std::uint32_t recipients = data[0];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  MessageState state;
  if (!state.decode(bytes, recipients)) {
    POSTERN_ASSERT(state.recipient_count() == 0);
    return 0;
  }
  std::string again;
  state.encode(again);
  POSTERN_ASSERT(again == bytes);
  for (std::uint32_t i = 0; i < recipients; ++i) {
    if (state.error(i) != nullptr) POSTERN_ASSERT(state.error(i)->text.size() <= MessageState::kErrorTextMax);
    state.set_error(i, 451, "4.4.1", "again");
  }
  again.clear();
  state.encode(again);
  MessageState copy;
  POSTERN_ASSERT(copy.decode(again, recipients));
  return 0;
}
