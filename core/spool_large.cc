// Large bodies: a file each, safe before its record is, gone only after its outcome is.
//
//   open(O_EXCL) -> writes -> fdatasync(file) -> fsync(folder) -> record in a commit -> Durable
//   finish record durable -> unlink      (recovery removes what no record names, should that be lost)
#include <cerrno>
#include <fcntl.h>

#include "core/assert.h"
#include "core/crc32c.h"
#include "core/files.h"
#include "core/spool_internal.h"

namespace postern::core {

void Spool::Implementation::start_large(LargeBody& large, LargeStep step) {
  large.step = step;
  large.spool = this;
  large.completion.handler = &Implementation::on_large;
  large.completion.owner = &large;
  ++operations;
}

void Spool::Implementation::begin_large(LargeBody& large) {
  POSTERN_ASSERT(large.step == idle);
  large.bytes = 0;
  large.crc = 0;
  large.file = -1;
  large.path = large_file_name(large.id);
  start_large(large, opening);
  ring.open(large_folder, large.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600, large.completion);
}

void Spool::Implementation::write_large(LargeBody& large, std::string_view piece) {
  POSTERN_ASSERT(large.step == ready);
  if (piece.empty() || large.file < 0) return tell_later(Kind::large, &large, large.file < 0 ? EBADF : 0);
  large.piece = piece;
  start_large(large, writing);
  ring.write(large.file, piece, large.bytes, large.completion);
}

void Spool::Implementation::append_large(LargeBody& large) {
  POSTERN_ASSERT(large.step == ready && large.file >= 0);
  start_large(large, syncing_file);
  ring.sync(large.file, true, large.completion);
}

void Spool::Implementation::abandon_large(LargeBody& large) {
  POSTERN_ASSERT(large.step == ready);
  if (large.file >= 0) files::close(large.file);
  large.file = -1;
  start_large(large, unlinking);
  ring.unlink(large_folder, large.path.c_str(), large.completion);
}

void Spool::Implementation::on_large(void* owner, Completion&, const Outcome& outcome) noexcept {
  LargeBody& large = *static_cast<LargeBody*>(owner);
  Implementation& in = *static_cast<Implementation*>(large.spool);
  --in.operations;
  in.large_done(large, outcome);
}

void Spool::Implementation::large_done(LargeBody& large, const Outcome& outcome) {
  const auto step = static_cast<LargeStep>(large.step);
  large.step = ready;
  const int error = outcome.result < 0 ? -outcome.result : 0;
  switch (step) {
    case opening:
      if (error == 0) large.file = outcome.result;
      return large.handler(large.owner, large, error);
    case writing: {
      if (error != 0 || outcome.result == 0) return large.handler(large.owner, large, error != 0 ? error : EIO);
      const auto written = static_cast<std::size_t>(outcome.result);
      large.crc = crc32c(large.crc, large.piece.substr(0, written));
      large.bytes += written;
      if (written < large.piece.size()) return write_large(large, large.piece.substr(written));
      return large.handler(large.owner, large, 0);
    }
    case syncing_file:
      files::close(large.file);
      large.file = -1;
      if (error != 0) return fail_large(large, error);
      start_large(large, syncing_folder);
      return ring.sync(large_folder, false, large.completion);
    case syncing_folder:
      if (error != 0) return fail_large(large, error);
      large.step = recording;
      to_record.push_back(&large);
      return;
    case unlinking:
      large.step = idle;
      return large.handler(large.owner, large, 0);  // what stays behind, recovery removes
    case idle:
    case ready:
    case recording:
      POSTERN_ASSERT(false);
  }
}

// The files are safe: their records go into the next commits, as soon as these have room.
void Spool::Implementation::record_large() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < to_record.size(); ++i) {
    LargeBody& large = *to_record[i];
    RecordHeader header;
    header.type = RecordType::item;
    header.flags = kRecordLarge;
    header.content_flags = large.content_flags;
    header.id = large.id;
    header.accepted_unix_ns = large.accepted_unix_ns;
    header.body_bytes = large.bytes;
    header.file_crc = large.crc;
    const int error = log_item(header, large.head, {}, *large.durable);
    if (error == ENOBUFS) {
      to_record[kept++] = &large;
      continue;
    }
    large.step = idle;
    if (error != 0) {
      unlinks.push_back(large.id);
      tell_later(Kind::durable, large.durable, error);
    }
  }
  to_record.resize(kept);
}

void Spool::Implementation::fail_large(LargeBody& large, int error) {
  large.step = idle;
  unlinks.push_back(large.id);
  large.durable->handler(large.durable->owner, *large.durable, error);
}

void Spool::Implementation::on_large_finished(void* owner, ItemId id) {
  static_cast<Implementation*>(owner)->unlinks.push_back(id);
}

void Spool::Implementation::unlink_next() {
  if (unlinks.empty() || unlink_completion.in_flight) return;
  unlink_name = large_file_name(unlinks.back());
  unlinks.pop_back();
  ring.unlink(large_folder, unlink_name.c_str(), unlink_completion);
}

// Whatever came of it: a file that stays has no record, and recovery removes it.
void Spool::Implementation::on_unlinked(Completion&, const Outcome&) noexcept {}

void Spool::begin_large(LargeBody& large) {
  implementation_->begin_large(large);
}

void Spool::write_large(LargeBody& large, std::string_view piece) {
  implementation_->write_large(large, piece);
}

void Spool::append_large(LargeBody& large, std::string_view head, std::uint16_t content_flags,
                         std::int64_t accepted_unix_ns, Durable& durable) {
  POSTERN_ASSERT(head.size() <= kHeadBytesMax);
  durable.id = large.id;
  large.durable = &durable;
  large.head = head;
  large.content_flags = content_flags;
  large.accepted_unix_ns = accepted_unix_ns;
  implementation_->append_large(large);
}

void Spool::abandon_large(LargeBody& large) {
  implementation_->abandon_large(large);
}

}  // namespace postern::core
