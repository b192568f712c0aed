// A message's octets: DATA (RFC 5321 section 4.1.1.4) and BDAT (RFC 3030), and what makes a content refused.
//
// A refusal waits until the content has come whole, or the chunk it was found in: the client does not listen
// before.
#include <algorithm>

#include "net/smtp/server_session.h"
#include "policy/policy_snapshot.h"

namespace postern::net::smtp {
namespace {

// A content that is refused anyway is drained up to this many times its largest size.
constexpr std::uint64_t kDrainedTimes = 10;

}  // namespace

// `more`: octets announced and still to come.
bool ServerSession::is_over_drain_limit(std::uint64_t more, const Turn& turn) const {
  const std::uint64_t size = turn.world.policy->settings().limits.message_bytes;
  const std::uint64_t limit = size > UINT64_MAX / kDrainedTimes ? UINT64_MAX : size * kDrainedTimes;
  const std::uint64_t had = message_open_ || message_given_up_ ? decoder_.content_bytes() : 0;
  return had > limit || more > limit - had;
}

bool ServerSession::open_message(bool ended_by_dot, Turn& turn) {
  decoder_.begin(ended_by_dot);
  message_open_ = true;
  turn.step.event = Event::begin_message;
  return true;
}

bool ServerSession::run_data(std::string_view& input, Turn& turn) {
  if (content_ended_) return end_message(turn);
  if (input.empty()) return true;
  const DataDecoder::Piece piece = decoder_.decode(input);
  input.remove_prefix(piece.consumed);
  content_ended_ = piece.end;
  if (is_over_drain_limit(0, turn)) return shut(turn, kFarTooLarge);
  return take_piece(piece.content, turn);
}

bool ServerSession::run_chunk(std::string_view& input, Turn& turn) {
  if (chunk_left_ == 0) {
    if (is_last_chunk_ || message_given_up_) return end_message(turn);
    phase_ = Phase::command;
    reply::chunk_received(turn.replies, chunk_bytes_);
    return false;
  }
  if (input.empty()) return true;
  const std::string_view part =
      input.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, input.size())));
  const DataDecoder::Piece piece = decoder_.decode(part);
  input.remove_prefix(piece.consumed);
  chunk_left_ -= piece.consumed;
  return take_piece(piece.content, turn);
}

bool ServerSession::skip_chunk(std::uint64_t octets, const policy::Verdict& verdict) {
  chunk_left_ = octets;
  skip_verdict_ = verdict;
  phase_ = Phase::skipped_chunk;
  return false;
}

bool ServerSession::run_skipped_chunk(std::string_view& input, Turn& turn) {
  const auto octets = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_left_, input.size()));
  input.remove_prefix(octets);
  chunk_left_ -= octets;
  if (chunk_left_ != 0) return true;
  phase_ = Phase::command;
  if (skip_verdict_.rule != policy::Rule::none) {
    // What comes of the message now would be a message without its beginning.
    envelope_is_spent_ = true;  // freed later: the step names the sender
    return refuse(turn, skip_verdict_, envelope_.reverse_path());
  }
  return complain(turn, skip_verdict_.code, skip_verdict_.enhanced, skip_verdict_.text);
}

bool ServerSession::take_piece(std::string_view content, Turn& turn) {
  if (message_given_up_) return false;
  if (!content_refusal(turn).accepted()) return give_up_message(turn);
  if (content.empty()) return false;
  turn.step.event = Event::content;
  turn.step.content = content;
  return true;
}

bool ServerSession::give_up_message(Turn& turn) {
  message_given_up_ = true;
  message_open_ = false;
  turn.step.event = Event::abort_message;
  return true;
}

bool ServerSession::end_message(Turn& turn) {
  if (message_given_up_) return refuse_message(turn);
  if (!content_refusal(turn).accepted()) return give_up_message(turn);
  phase_ = Phase::storing;
  turn.step.event = Event::end_message;
  turn.step.size = decoder_.content_bytes();
  turn.step.content_flags = content_flags();
  return true;
}

bool ServerSession::refuse_message(Turn& turn) {
  const policy::Verdict verdict = content_refusal(turn);
  phase_ = Phase::command;
  envelope_is_spent_ = true;  // freed later: the step names the sender
  return refuse(turn, verdict, envelope_.reverse_path());
}

// Always the same one for the same content, wherever the input was cut: all faults are gathered, and rank in
// this order.
policy::Verdict ServerSession::content_refusal(const Turn& turn) const {
  const policy::Settings::Limits& limits = turn.world.policy->settings().limits;
  const bool is_binary = body_ == BodyType::binary_mime;
  const bool is_whole = phase_ == Phase::chunk ? is_last_chunk_ && chunk_left_ == 0 : content_ended_;
  const bool has_bare_octet =
      (decoder_.faults() & fault_bare_octet) != 0 || (is_whole && decoder_.ends_in_bare_return());
  if (has_bare_octet && !is_binary) {
    return {policy::Rule::none, 550, "5.6.11", "A CR or LF stands alone in the content, only CRLF ends a line"};
  }
  if (decoder_.message_bytes() + chunk_left_ > limits.message_bytes) {
    return {policy::Rule::none, 552, "5.3.4", "Message larger than SIZE allows"};  // RFC 1870 section 6.1
  }
  if (decoder_.hops() > limits.hops) {
    return {policy::Rule::none, 554, "5.4.6", "Too many hops, this message loops"};  // RFC 5321 section 6.3
  }
  if ((decoder_.faults() & fault_long_line) != 0 && !is_binary && !turn.service.settings().long_lines) {
    return {policy::Rule::none, 550, "5.6.0", "A line is longer than 998 octets"};  // RFC 5321 section 4.5.3.1.6
  }
  return {};
}

std::uint16_t ServerSession::content_flags() const {
  std::uint16_t flags = decoder_.content_flags();
  const bool came_by_chunks = phase_ == Phase::storing && !content_ended_;
  if (body_ == BodyType::binary_mime || (came_by_chunks && !decoder_.ends_with_line_end())) flags |= content_binary;
  return flags;
}

}  // namespace postern::net::smtp
