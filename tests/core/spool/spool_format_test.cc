// The format alone: what is written is read, what is changed or moved is not, and nothing of a former life passes.
#include "core/spool_format.h"

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <string>
#include <vector>

namespace postern::core {
namespace {

constexpr std::uint64_t kLife = 0x1122334455667788;
constexpr std::uint64_t kSegmentBytes = 256u << 10;

// A segment in memory, written commit by commit.
struct Image {
  std::string octets = std::string(kSegmentBytes, '\0');
  std::uint64_t at = kBlockBytes;
  std::uint64_t number = 0;

  // Returns the offsets of the records.
  std::vector<std::uint64_t> commit(const std::vector<std::string>& bodies, std::uint64_t first_id,
                                    std::uint64_t life = kLife) {
    std::vector<std::uint64_t> offsets;
    std::uint64_t used = kRecordHeaderBytes;
    for (std::size_t i = 0; i < bodies.size(); ++i) {
      char* record = octets.data() + at + used;
      std::memcpy(record + kRecordHeaderBytes, bodies[i].data(), bodies[i].size());
      RecordHeader header;
      header.id = first_id + i;
      header.body_bytes = bodies[i].size();
      finish_record(header, record);
      seal_record(record, life, at + used);
      offsets.push_back(at + used);
      used += record_bytes_for(bodies[i].size());
    }
    CommitHeader header;
    header.life = life;
    header.chain = 5;
    header.number = number++;
    header.used_bytes = static_cast<std::uint32_t>(used);
    header.commit_bytes = static_cast<std::uint32_t>(round_up(used, kBlockBytes));
    header.records = static_cast<std::uint32_t>(bodies.size());
    seal_commit(header, octets.data() + at, at);
    at += header.commit_bytes;
    return offsets;
  }
};

struct Walked {
  std::vector<std::uint64_t> ids;
  std::vector<std::uint64_t> commits;
  std::vector<std::uint64_t> damaged;
  std::vector<std::uint64_t> holes;
};

Walked walk(const std::string& octets, std::uint64_t life = kLife) {
  Walked walked;
  RecordScanner scanner(life, octets.size());
  for (;;) {
    const auto step = scanner.next(octets, 0);
    if (scanner.after_hole() && step != RecordScanner::Step::end) walked.holes.push_back(scanner.hole_begin());
    if (step == RecordScanner::Step::end) return walked;
    if (step == RecordScanner::Step::commit) walked.commits.push_back(scanner.commit().number);
    if (step == RecordScanner::Step::record) walked.ids.push_back(scanner.header().id);
    if (step == RecordScanner::Step::damaged_payload) walked.damaged.push_back(scanner.header().id);
    if (step == RecordScanner::Step::more) {
      ADD_FAILURE() << "a whole segment was given";
      return walked;
    }
  }
}

using Ids = std::vector<std::uint64_t>;

TEST(SpoolFormat, SegmentHeaderRoundTrip) {
  std::array<char, kBlockBytes> block;
  SegmentHeader header{3, 17, kLife, 32u << 20, 99};
  encode_segment_header(header, block);
  SegmentHeader read;
  ASSERT_EQ(decode_segment_header(block, read), HeaderState::valid);
  EXPECT_EQ(read.log_number, 3u);
  EXPECT_EQ(read.sequence, 17u);
  EXPECT_EQ(read.life, kLife);
  EXPECT_EQ(read.segment_bytes, 32u << 20);
  EXPECT_EQ(read.id_floor, 99u);
  for (std::size_t at = 0; at < 64; ++at) {
    auto changed = block;
    changed[at] ^= 1;
    EXPECT_EQ(decode_segment_header(changed, read), HeaderState::damaged) << at;
  }
  block.fill('\0');
  EXPECT_EQ(decode_segment_header(block, read), HeaderState::blank);
}

TEST(SpoolFormat, TheHeaderIsLaidOutAsDrawn) {
  std::string record(512, '\0');
  std::memcpy(record.data() + 64, "headbody", 8);
  RecordHeader header;
  header.type = RecordType::item;
  header.flags = kRecordMoved;
  header.content_flags = 0x0201;
  header.id = 0x0807060504030201;
  header.accepted_unix_ns = 5;
  header.body_bytes = 4;
  header.head_bytes = 4;
  finish_record(header, record.data());
  seal_record(record.data(), 0x1817161514131211, 4096 + 64);
  const auto u32 = [&](std::size_t at) {
    std::uint32_t value;
    std::memcpy(&value, record.data() + at, 4);
    return value;
  };
  EXPECT_EQ(record.substr(0, 4), "PREC");
  EXPECT_EQ(record[4], 1);
  EXPECT_EQ(record[5], 2);
  EXPECT_EQ(record.substr(6, 2), std::string("\x01\x02"));
  EXPECT_EQ(record.substr(8, 8), "\x11\x12\x13\x14\x15\x16\x17\x18");
  EXPECT_EQ(record.substr(16, 8), "\x01\x02\x03\x04\x05\x06\x07\x08");
  EXPECT_EQ(u32(32), 4u);
  EXPECT_EQ(u32(40), 4u);
  EXPECT_EQ(u32(44), 0u);
  EXPECT_EQ(u32(48), 72u);
  ASSERT_TRUE(check_record_header(record.data(), 0x1817161514131211, 4096 + 64));
  EXPECT_TRUE(check_payload(*check_record_header(record.data(), 0x1817161514131211, 4096 + 64), record.data()));
}

TEST(SpoolFormat, AHeaderIsBoundToItsLifeAndItsPlace) {
  Image image;
  const auto offsets = image.commit({"one", "two"}, 1);
  const char* record = image.octets.data() + offsets[1];
  EXPECT_TRUE(check_record_header(record, kLife, offsets[1]));
  EXPECT_FALSE(check_record_header(record, kLife + 1, offsets[1]));
  EXPECT_FALSE(check_record_header(record, kLife, offsets[1] + 8));
  // Copied elsewhere as it is, as the bytes of a message might be: still nothing.
  std::string copied(kSegmentBytes, '\0');
  std::memcpy(copied.data() + 8192, record, 128);
  EXPECT_TRUE(walk(copied).ids.empty());
}

TEST(SpoolFormat, EveryChangedOctetIsNoticed) {
  Image image;
  const auto offsets = image.commit({"a body of some length"}, 1);
  const std::uint64_t length = record_bytes_for(21);
  for (std::uint64_t i = 0; i < kRecordHeaderBytes + 21; ++i) {
    std::string changed = image.octets;
    changed[offsets[0] + i] ^= 0x40;
    const Walked walked = walk(changed);
    EXPECT_TRUE(walked.ids.empty()) << i;
    EXPECT_EQ(walked.damaged.size() + (walked.ids.empty() && walked.damaged.empty() ? 1 : 0), 1u);
  }
  EXPECT_EQ(length, 88u);
}

TEST(SpoolFormat, WalksCommitsAndPadding) {
  Image image;
  image.commit({"one", std::string(5000, 'x'), ""}, 1);
  image.commit({}, 0);
  image.commit({"four"}, 4);
  const Walked walked = walk(image.octets);
  EXPECT_EQ(walked.ids, (Ids{1, 2, 3, 4}));
  EXPECT_EQ(walked.commits, (Ids{0, 1, 2}));
  EXPECT_TRUE(walked.holes.empty());
}

TEST(SpoolFormat, GoesOnBehindDamage) {
  Image image;
  const auto first = image.commit({"one", "two", "three"}, 1);
  const std::uint64_t second_at = image.at;
  image.commit({"four", "five"}, 4);
  image.commit({"six"}, 6);
  {  // a payload
    std::string octets = image.octets;
    octets[first[1] + 64] ^= 1;
    const Walked walked = walk(octets);
    EXPECT_EQ(walked.ids, (Ids{1, 3, 4, 5, 6}));
    EXPECT_EQ(walked.damaged, (Ids{2}));
  }
  {  // a record's header
    std::string octets = image.octets;
    octets[first[1] + 20] ^= 1;
    const Walked walked = walk(octets);
    EXPECT_EQ(walked.ids, (Ids{1, 3, 4, 5, 6}));
    EXPECT_EQ(walked.holes, (Ids{first[1]}));
  }
  {  // a commit's header: its records stand by themselves
    std::string octets = image.octets;
    octets[second_at + 30] ^= 1;
    const Walked walked = walk(octets);
    EXPECT_EQ(walked.ids, (Ids{1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(walked.commits, (Ids{0, 2}));
    ASSERT_FALSE(walked.holes.empty());
    EXPECT_EQ(walked.holes[0], second_at);
  }
  {  // a whole commit gone
    std::string octets = image.octets;
    std::memset(octets.data() + second_at, 0, kBlockBytes);
    const Walked walked = walk(octets);
    EXPECT_EQ(walked.ids, (Ids{1, 2, 3, 6}));
    EXPECT_EQ(walked.holes, (Ids{second_at}));
  }
}

TEST(SpoolFormat, AFormerLifeNeverShows) {
  Image image;
  for (std::uint64_t id = 1; id < 40; ++id) image.commit({std::string(id * 37 % 3000, 'm')}, id, kLife - 1);
  image.at = kBlockBytes;
  image.number = 0;
  image.commit({"new"}, 100);
  EXPECT_EQ(walk(image.octets).ids, (Ids{100}));
}

// Any window gives what the whole segment gives.
TEST(SpoolFormat, WindowsDoNotMatter) {
  std::mt19937_64 random(3);
  Image image;
  while (image.at < kSegmentBytes - (48u << 10)) {
    std::vector<std::string> bodies(random() % 4);
    for (auto& body : bodies) body = std::string(random() % 9000, 'b');
    image.commit(bodies, random() % 1000 + 1);
  }
  image.octets[20'000] ^= 1;
  image.octets[70'000] ^= 1;
  const Walked whole = walk(image.octets);
  Walked windowed;
  RecordScanner scanner(kLife, image.octets.size());
  constexpr std::uint64_t kWindow = 40'960;
  std::string_view window;
  std::uint64_t base = 0;
  for (;;) {
    const auto step = scanner.next(window, base);
    if (step == RecordScanner::Step::end) break;
    if (step == RecordScanner::Step::record) windowed.ids.push_back(scanner.header().id);
    if (step == RecordScanner::Step::commit) windowed.commits.push_back(scanner.commit().number);
    if (step == RecordScanner::Step::more) {
      base = round_down(scanner.position(), kBlockBytes);
      window = std::string_view(image.octets).substr(base, kWindow);
    }
  }
  EXPECT_EQ(windowed.ids, whole.ids);
  EXPECT_EQ(windowed.commits, whole.commits);
}

TEST(SpoolFormat, Names) {
  EXPECT_EQ(segment_file_name(42), "seg-0000002a.seg");
  EXPECT_EQ(parse_segment_file_name("seg-0000002a.seg"), 42u);
  EXPECT_FALSE(parse_segment_file_name("seg-0000002A.seg"));
  EXPECT_FALSE(parse_segment_file_name("seg-2a.seg"));
  EXPECT_EQ(parse_large_file_name(large_file_name(0xFEDCBA9876543210)), 0xFEDCBA9876543210u);
  EXPECT_EQ(log_folder_name(3), "log-0003");
  EXPECT_EQ(parse_log_folder_name("log-0003"), 3u);
  EXPECT_FALSE(parse_log_folder_name("log-9999"));
  EXPECT_FALSE(parse_log_folder_name("log-3"));
}

}  // namespace
}  // namespace postern::core
