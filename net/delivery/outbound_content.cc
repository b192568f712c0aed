// The content of a message on its way to the next hop: from memory in one go, from a file block by block.

#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "net/delivery/outbound.h"
#include "net/worker_server.h"

namespace postern::net {

void Outbound::start_content(const smtp::ClientStep& step) {
  const DeliveryBatch& batch = *job_->batch;
  encoder_ = smtp::DataEncoder(step.form, batch.transaction.content_flags);
  piece_at_ = 0;
  piece_count_ = 0;
  if (batch.content != nullptr) {
    content_step_ = ContentStep::sending;
    piece_count_ = batch.content->parts(pieces_);
    return send_more();
  }
  file_offset_ = 0;
  if (file_memory_ == nullptr) file_memory_ = server_.content_pool().take(core::BlockPool::kLargest);
  if (file_memory_ == nullptr) return lose("4.3.0", "no memory to read the message");
  content_step_ = ContentStep::opening;
  server_.ring().open(AT_FDCWD, batch.large_path, O_RDONLY | O_CLOEXEC, 0, file_operation_);
}

void Outbound::read_more() {
  content_step_ = ContentStep::reading;
  const std::uint64_t left = job_->batch->transaction.content_bytes - file_offset_;
  const std::size_t n = std::min<std::uint64_t>(left, core::BlockPool::kLargest);
  server_.ring().read(file_, {file_memory_, n}, file_offset_, file_operation_);
}

void Outbound::on_file(core::Completion&, const core::Outcome& outcome) noexcept {
  const ContentStep was = content_step_;
  // Not asked of content_step_: the connection may have been lost meanwhile, and the file is open all the same.
  const bool was_opening = file_ < 0;
  if (was_opening && outcome.result >= 0) file_ = outcome.result;
  if (state_ == State::closing) return close_when_quiet();
  if (was != ContentStep::opening && was != ContentStep::reading) return;
  if (outcome.result < 0 || (was == ContentStep::reading && outcome.result == 0)) {
    // Never half a message: the connection ends without the final dot.
    return lose("4.3.0", outcome.result < 0 ? std::strerror(-outcome.result) : "the message's file is cut short");
  }
  if (was == ContentStep::opening) return read_more();
  file_offset_ += static_cast<std::uint64_t>(outcome.result);
  pieces_[0] = {file_memory_, static_cast<std::size_t>(outcome.result)};
  piece_at_ = 0;
  piece_count_ = 1;
  content_step_ = ContentStep::sending;
  send_more();
}

// Sends as many parts as one call takes; behind the last one, the end of DATA.
void Outbound::send_more() {
  if (vector_at_ < vector_count_) return send_encrypted_content();
  if (content_step_ == ContentStep::last) {
    content_step_ = ContentStep::none;
    if (file_ >= 0 && !close_.in_flight) server_.ring().close(std::exchange(file_, -1), close_);
    return session_.content_sent();
  }
  const bool from_file = job_->batch->content == nullptr;
  if (from_file && piece_at_ == piece_count_ && file_offset_ < job_->batch->transaction.content_bytes) {
    return read_more();
  }
  std::size_t n = 0;
  if (!commands_.view().empty()) {
    const std::string_view commands = unsent_commands();
    vector_[n++] = {const_cast<char*>(commands.data()), commands.size()};
  }
  while (piece_at_ < piece_count_ && n + 1 < vector_.size()) {
    iovec& piece = pieces_[piece_at_];
    if (piece.iov_len == 0) {
      ++piece_at_;
      continue;
    }
    const smtp::DataEncoder::Progress progress =
        encoder_.encode({static_cast<const char*>(piece.iov_base), piece.iov_len}, std::span(vector_).subspan(n));
    n += progress.parts;
    piece.iov_base = static_cast<char*>(piece.iov_base) + progress.consumed;
    piece.iov_len -= progress.consumed;
    if (piece.iov_len != 0) break;  // the vector is full
    ++piece_at_;
  }
  const bool whole = piece_at_ == piece_count_ &&
                     (!from_file || file_offset_ == job_->batch->transaction.content_bytes);
  if (whole && n < vector_.size()) {
    n += encoder_.finish(std::span(vector_).subspan(n));
    content_step_ = ContentStep::last;
  }
  if (n == 0) return send_more();  // a binary content of nothing: nothing to send, only to end
  if (tls_ != nullptr) {
    vector_at_ = 0;
    vector_count_ = n;
    return send_encrypted_content();
  }
  message_ = msghdr{};
  message_.msg_iov = vector_.data();
  message_.msg_iovlen = n;
  server_.ring().send(socket_, message_, send_);
}

}  // namespace postern::net
