#include "core/spool_dump.h"

#include <algorithm>
#include <fcntl.h>

#include "core/crc32c.h"
#include "core/files.h"
#include "core/spool_folder.h"
#include "core/spool_recovery.h"

namespace postern::core {
namespace {

// Up to `bytes` octets of the file from `offset`; an error's text goes to `damage`.
std::string read_piece(const std::string& path, std::uint64_t offset, std::uint64_t bytes, std::string& damage) {
  std::string text;
  auto opened = files::open(path, O_RDONLY);
  if (!opened) {
    damage = opened.error().text;
    return text;
  }
  text.resize(bytes);
  auto got = files::read_at(*opened, {text.data(), text.size()}, offset);
  files::close(*opened);
  text.resize(got ? *got : 0);
  if (!got) {
    damage = got.error().text;
  } else if (*got < bytes) {
    damage = path + " ends early";
  }
  return text;
}

void dump_item(const LogFolder& folder, const FoundLog& log, ItemId id,
               const std::function<void(const DumpedItem&)>& item) {
  const FoundItem& found = *log.items.find(id);
  const FoundSegment& segment = log.segments[found.entry.place.segment];
  DumpedItem dumped;
  dumped.log_number = folder.number;
  dumped.info = found.entry.info(id);
  dumped.head = found.head();
  dumped.state = found.state();
  const std::uint64_t offset = found.entry.place.offset();
  const std::string record =
      read_piece(folder.path + "/" + segment.name, offset, found.entry.record_bytes, dumped.damage);
  std::string body;
  if (dumped.damage.empty()) {
    const auto header = check_record_header(record.data(), segment.header.life, offset);
    if (!header || header->id != id || !check_payload(*header, record.data())) {
      dumped.damage = "the record changed while it was read";
    } else if (header->is_large()) {
      dumped.body_path = folder.path + "/large/" + large_file_name(id);
      body = read_piece(dumped.body_path, 0, header->body_bytes, dumped.damage);
      if (dumped.damage.empty() && crc32c(0, body) != header->file_crc) {
        dumped.damage = dumped.body_path + " does not match its checksum";
      }
      dumped.body = body;
    } else {
      dumped.body = std::string_view(record).substr(kRecordHeaderBytes + header->head_bytes + header->state_bytes,
                                                    header->body_bytes);
    }
  }
  item(dumped);
}

}  // namespace

Result<void> dump_spool(const std::string& spool_directory, const std::function<void(const DumpedItem&)>& item,
                        std::vector<RecoveryReport>* reports) {
  if (auto sound = check_format(spool_directory); !sound) return sound;
  auto folders = list_logs(spool_directory);
  if (!folders) return std::unexpected(folders.error());
  for (const LogFolder& folder : *folders) {
    RecoveryReport report;
    auto log = scan_log(folder.path, folder.number, report);
    if (reports != nullptr) {
      if (!log) report.notes.push_back(log.error().text);
      reports->push_back(report);
    }
    if (!log) {
      if (reports == nullptr) return std::unexpected(log.error());
      continue;
    }
    std::vector<ItemId> ids;
    log->items.each([&](ItemId id, const FoundItem&) { ids.push_back(id); });
    std::sort(ids.begin(), ids.end());
    for (const ItemId id : ids) dump_item(folder, *log, id, item);
  }
  return {};
}

}  // namespace postern::core
