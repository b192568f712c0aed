// Whatever a server sends, in whatever pieces: no crash, an end to every loop, one result a recipient.
//
// Input: one octet of options, one of recipients and STARTTLS, one of content flags, then what the server sends. An octet 0xff in it is no
// data but what happens next, by the octet after it: a loss, a quit, the end of a piece.
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/assert.h"
#include "net/smtp/client_session.h"

namespace {

using namespace postern::net::smtp;

class Driver {
 public:
  Driver(std::uint8_t options, std::uint8_t recipients, std::uint8_t flags)
      : out_(memory_.data(), memory_.size()),
        session_({(options & 1) != 0, "relay.example.net", static_cast<StartTls>((recipients >> 6) % 3)}),
        holds_content_((options & 2) != 0),
        required_((recipients >> 6) == 2),
        recipients_(1 + (recipients & 63)) {
    fields_.fill({"user@example.org", static_cast<std::uint8_t>(options >> 4), "rfc822;user@example.org"});
    fields_[1].forward_path = "us\xc3\xa9r@example.org";
    transaction_.sender.reverse_path = (options & 4) != 0 ? "" : "sender@example.net";
    transaction_.sender.smtputf8 = (options & 8) != 0;
    transaction_.sender.ret = DsnReturn::full;
    transaction_.sender.envelope_id = "id";
    transaction_.recipients = {fields_.data(), recipients_};
    transaction_.content_bytes = 1000;
    transaction_.content_flags = flags;
  }

  // False: the connection is over.
  bool run(std::string_view input) {
    for (;;) {
      const ClientStep step = session_.advance(input, out_);
      POSTERN_ASSERT(step.consumed <= input.size());
      input.remove_prefix(step.consumed);
      switch (step.event) {
        case ClientEvent::need_input:
          POSTERN_ASSERT(input.empty() || sending_);
          return true;
        case ClientEvent::flush:
          POSTERN_ASSERT(!out_.view().empty());
          out_.clear();
          break;
        case ClientEvent::start_tls:
          // Nothing that stood behind the reply may be left to be taken for a word under TLS.
          POSTERN_ASSERT(input.empty() && out_.view().empty() && !session_.is_encrypted());
          session_.tls_started();
          POSTERN_ASSERT(!session_.capabilities().pipelining && !session_.capabilities().size);
          break;
        case ClientEvent::ready:
          POSTERN_ASSERT(session_.ready() && input.empty());
          POSTERN_ASSERT(!required_ || session_.is_encrypted());
          if (++messages_ > 20) return false;
          given_.fill(false);
          open_ = recipients_;
          session_.begin(transaction_);
          break;
        case ClientEvent::send_content:
          out_.clear();
          sending_ = true;
          if (!holds_content_) content_sent();
          break;
        case ClientEvent::result:
          POSTERN_ASSERT(open_ > 0 && step.result.index < recipients_ && !given_[step.result.index]);
          POSTERN_ASSERT(step.result.code >= 200 && step.result.code < 600);
          given_[step.result.index] = true;
          --open_;
          break;
        case ClientEvent::done:
        case ClientEvent::closed:
        case ClientEvent::broken:
          POSTERN_ASSERT(open_ == 0);
          sending_ = false;
          if (step.event != ClientEvent::done) return false;
          break;
      }
    }
  }

  void happen(std::uint8_t what) {
    if (what % 4 == 0) session_.connection_lost("4.4.2", "lost");
    if (what % 4 == 1) session_.quit(out_);
    if (what % 4 == 2) content_sent();
  }

 private:
  void content_sent() {
    sending_ = false;
    session_.content_sent();
  }

  std::array<char, CommandBuffer::kCommandMax> memory_{};
  CommandBuffer out_;
  ClientSession session_;
  bool holds_content_;
  bool required_;
  std::size_t recipients_;
  std::array<RecipientFields, Transaction::kRecipientsMax> fields_{};
  std::array<bool, Transaction::kRecipientsMax> given_{};
  Transaction transaction_;
  std::size_t open_ = 0;
  int messages_ = 0;
  bool sending_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  Driver driver(data[0], data[1], data[2]);
  std::string_view input(reinterpret_cast<const char*>(data) + 3, size - 3);
  while (!input.empty()) {
    const std::string_view piece = input.substr(0, input.find('\xff'));
    input.remove_prefix(piece.size());
    if (!driver.run(piece)) return 0;
    if (input.size() < 2) break;
    driver.happen(static_cast<std::uint8_t>(input[1]));
    input.remove_prefix(2);
    if (!driver.run({})) return 0;
  }
  driver.happen(0);
  POSTERN_ASSERT(!driver.run({}));
  return 0;
}
