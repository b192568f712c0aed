#include "core/spool_folder.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

#include "core/files.h"
#include "core/spool.h"
#include "core/spool_format.h"
#include "core/spool_recovery.h"

namespace postern::core {
namespace {

constexpr std::size_t kMarkBytesMax = 256;

Result<std::string> read_text(int file) {
  std::array<char, kMarkBytesMax> text;
  auto got = files::read_at(file, text, 0);
  if (!got) return std::unexpected(got.error());
  return std::string(text.data(), *got);
}

Result<void> compare_mark(const std::string& path, const std::string& text) {
  if (text == kFormatText) return {};
  std::string shown = text.substr(0, text.find('\n'));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return fail(path + " says \"" + shown + "\"; this program reads and writes only \"" +
              std::string(kFormatText.substr(0, kFormatText.size() - 1)) +
              "\": run the release that wrote it until the spool is empty, or give another spool folder");
}

}  // namespace

std::string spool_folder_of(const std::string& log_directory) {
  const std::size_t end = log_directory.find_last_not_of('/');
  const std::size_t slash = log_directory.rfind('/', end);
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : log_directory.substr(0, slash);
}

Result<void> sync_folder(const std::string& directory) {
  auto opened = files::open_directory(directory);
  if (!opened) return std::unexpected(opened.error());
  auto synced = files::sync(*opened);
  files::close(*opened);
  return synced;
}

namespace {

// A power cut during the very first start leaves the beginning of the mark, or its length without its octets.
bool is_unfinished(std::string_view text) {
  return (text.size() < kFormatText.size() && kFormatText.starts_with(text)) ||
         text.find_first_not_of('\0') == std::string_view::npos;
}

}  // namespace

// Several logs may be opened at once and find no mark: all write the same octets, so it does not matter who is first.
Result<void> mark_format(const std::string& spool_directory) {
  const std::string path = spool_directory + "/FORMAT";
  auto opened = files::open(path, O_RDWR | O_CREAT);
  if (!opened) return std::unexpected(opened.error());
  auto text = read_text(*opened);
  Result<void> done;
  if (!text) {
    done = std::unexpected(text.error());
  } else if (is_unfinished(*text)) {
    done = files::write_at(*opened, kFormatText, 0);
  } else {
    done = compare_mark(path, *text);
  }
  // Also when it was there: a run that was killed may have written it and not synced it. The octets come before the name.
  if (done) done = files::sync(*opened);
  files::close(*opened);
  return done ? sync_folder(spool_directory) : done;
}

Result<void> check_format(const std::string& spool_directory) {
  const std::string path = spool_directory + "/FORMAT";
  auto opened = files::open(path, O_RDONLY);
  if (!opened) {
    if (opened.error().code == ENOENT) return fail(spool_directory + " is no spool: it has no FORMAT file", ENOENT);
    return std::unexpected(opened.error());
  }
  auto text = read_text(*opened);
  files::close(*opened);
  if (!text) return std::unexpected(text.error());
  return compare_mark(path, *text);
}

Result<int> lock_log(const std::string& log_directory) {
  const std::string path = log_directory + "/lock";
  auto opened = files::open(path, O_RDWR | O_CREAT);
  if (!opened) return opened;
  auto locked = files::try_lock(*opened);
  if (locked && *locked) {
    char text[24];
    const int length = std::snprintf(text, sizeof text, "%-12ld\n", static_cast<long>(getpid()));
    // Only to tell others who we are: not worth failing for (the disk may be full).
    (void)files::write_at(*opened, {text, static_cast<std::size_t>(length)}, 0);
    return opened;
  }
  std::string holder;
  if (auto text = read_text(*opened)) holder = text->substr(0, text->find_first_not_of("0123456789"));
  files::close(*opened);
  if (!locked) return std::unexpected(locked.error());
  return fail(
      "the log " + log_directory + " is in use by " + (holder.empty() ? "another process" : "process " + holder),
      EWOULDBLOCK);
}

Result<std::vector<LogFolder>> list_logs(const std::string& spool_directory) {
  auto names = files::list(spool_directory);
  if (!names) {
    if (names.error().code == ENOENT) return std::vector<LogFolder>{};
    return std::unexpected(names.error());
  }
  std::vector<LogFolder> logs;
  for (const std::string& name : *names) {
    if (const auto number = parse_log_folder_name(name)) logs.push_back({*number, spool_directory + "/" + name});
  }
  return logs;
}

// The lock file goes last but one, the folder last: whoever comes between finds an empty log, or none.
Result<void> Spool::remove(const std::string& log_directory) {
  const std::string folder = spool_folder_of(log_directory);
  const auto number = parse_log_folder_name(std::string_view(log_directory).substr(folder.size() + 1));
  if (!number) return fail(log_directory + " is not the folder of a log");
  auto lock = lock_log(log_directory);
  if (!lock) return std::unexpected(lock.error());
  RecoveryReport report;
  auto found = scan_log(log_directory, *number, report);
  Result<void> done;
  if (!found) {
    done = std::unexpected(found.error());
  } else if (found->items.size() > 0) {
    done = fail(log_directory + " still holds " + std::to_string(found->items.size()) + " items");
  } else if (report.damaged_records > 0) {
    done = fail(log_directory + " holds damaged records: look at it with \"postern spool dump\" first");
  } else {
    for (const std::string& name : found->orphans) {
      if (done) done = files::unlink(log_directory + "/large/" + name);
    }
    if (done) done = files::remove_directory(log_directory + "/large");
    if (!done && done.error().code == ENOENT) done = {};
    for (const FoundSegment& segment : found->segments) {
      if (done) done = files::unlink(log_directory + "/" + segment.name);
    }
    if (done) done = files::unlink(log_directory + "/lock");
    if (done) done = files::remove_directory(log_directory);
  }
  files::close(*lock);
  return done;
}

}  // namespace postern::core
