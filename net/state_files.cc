#include "net/state_files.h"

#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <unistd.h>

#include "core/files.h"

namespace postern::net {
namespace {

core::Result<void> write_new(const std::string& path, std::string_view octets) {
  const auto file = core::files::open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return std::unexpected(file.error());
  core::Result<void> done = core::files::write_at(*file, octets, 0);
  if (done) done = core::files::sync(*file);
  core::files::close(*file);
  return done;
}

}  // namespace

core::Result<std::string> read_file(const std::string& path, std::uint64_t bytes_max) {
  const auto file = core::files::open(path, O_RDONLY);
  if (!file) return std::unexpected(file.error());
  const auto size = core::files::size(*file);
  std::string text;
  core::Result<std::size_t> got = 0;
  if (size && *size <= bytes_max) {
    text.resize(*size);
    got = core::files::read_at(*file, text, 0);
  }
  core::files::close(*file);
  if (!size) return std::unexpected(size.error());
  if (*size > bytes_max) return core::fail(path + ": larger than " + std::to_string(bytes_max) + " octets", EFBIG);
  if (!got) return std::unexpected(got.error());
  text.resize(*got);
  return text;
}

core::Result<void> write_file(const std::string& path, std::string_view octets) {
  const std::string beside = path + ".new";
  if (auto written = write_new(beside, octets); !written) return written;
  if (std::rename(beside.c_str(), path.c_str()) != 0) return core::fail_errno("rename " + beside, errno);
  const auto folder = core::files::open_directory(path.substr(0, path.rfind('/')));
  if (!folder) return std::unexpected(folder.error());
  auto synced = core::files::sync(*folder);
  core::files::close(*folder);
  return synced;
}

}  // namespace postern::net
