#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>

#include <fmt/format.h>

#include "core/files.h"
#include "core/log_format.h"
#include "core/spool_dump.h"
#include "net/admin/commands.h"
#include "net/admin/queue_report.h"
#include "net/delivery/recipient_state.h"
#include "net/queue_id.h"
#include "net/smtp/envelope.h"

namespace postern::net {
namespace {

// The envelope as text: what another server, or a person, needs to send the message on.
std::string describe(const core::DumpedItem& item) {
  const auto reader = smtp::EnvelopeReader::open(item.head);
  if (!reader) return "the envelope cannot be read\n";
  std::string accepted;
  core::append_utc(item.info.accepted_unix_ns, accepted);
  std::string text = fmt::format("accepted {}\nclient {}\nfrom <{}>\n", accepted, reader->session().client.text(),
                                 admin::printable(reader->sender().reverse_path));
  delivery::MessageState state(reader->recipient_count());
  if (!item.state.empty() && !state.decode(item.state, reader->recipient_count())) text += "state unreadable\n";
  std::uint32_t ordinal = 0;
  for (auto at = reader->first(); const auto recipient = reader->next(at); ++ordinal) {
    const bool pending = state.status(ordinal) == delivery::RecipientStatus::pending;
    text += fmt::format("{} <{}>\n", pending ? "to" : "done", admin::printable(recipient->forward_path));
  }
  return text;
}

core::Result<void> write_file(const std::string& path, std::string_view bytes) {
  const auto file = core::files::open(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file) return std::unexpected(file.error());
  auto written = core::files::write_at(*file, bytes, 0);
  core::files::close(*file);
  return written;
}

core::Result<void> copy_file(const std::string& from, const std::string& to) {
  const auto source = core::files::open(from, O_RDONLY);
  if (!source) return std::unexpected(source.error());
  const auto target = core::files::open(to, O_WRONLY | O_CREAT | O_TRUNC);
  core::Result<void> result;
  if (!target) result = std::unexpected(target.error());
  const auto piece = std::make_unique<char[]>(1 << 20);
  for (std::uint64_t at = 0; result;) {
    const auto n = core::files::read_at(*source, {piece.get(), 1 << 20}, at);
    if (!n) result = std::unexpected(n.error());
    if (!n || *n == 0) break;
    result = core::files::write_at(*target, {piece.get(), *n}, at);
    at += *n;
  }
  core::files::close(*source);
  if (target) core::files::close(*target);
  return result;
}

core::Result<void> save(const core::DumpedItem& item, const std::string& folder) {
  const std::string base = folder + "/" + std::string(QueueId(item.info.id).text());
  if (auto saved = write_file(base + ".envelope", describe(item)); !saved) return saved;
  return item.info.is_large ? copy_file(item.body_path, base + ".eml") : write_file(base + ".eml", item.body);
}

}  // namespace

int spool_dump_command(const std::string& spool, const std::string& folder) {
  if (!folder.empty()) {
    if (const auto made = core::files::make_directory(folder); !made) {
      fmt::print(stderr, "postern: {}\n", made.error().text);
      return 1;
    }
  }
  std::uint64_t items = 0;
  std::uint64_t failed = 0;
  std::vector<core::RecoveryReport> reports;
  const auto dumped = core::dump_spool(
      spool,
      [&](const core::DumpedItem& item) {
        ++items;
        fmt::print("{} {} octets{}\n", QueueId(item.info.id).text(), item.info.body_bytes,
                   item.damage.empty() ? "" : ", damaged: " + item.damage);
        if (folder.empty()) {
          std::fputs(describe(item).c_str(), stdout);
        } else if (const auto saved = save(item, folder); !saved) {
          ++failed;
          fmt::print(stderr, "postern: {}\n", saved.error().text);
        }
      },
      &reports);
  if (!dumped) {
    fmt::print(stderr, "postern: {}\n", dumped.error().text);
    return 1;
  }
  for (const core::RecoveryReport& report : reports) {
    for (const std::string& note : report.notes) fmt::print(stderr, "postern: {}\n", note);
  }
  fmt::print("{} messages\n", items);
  return failed == 0 ? 0 : 1;
}

}  // namespace postern::net
