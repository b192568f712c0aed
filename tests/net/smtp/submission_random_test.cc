// The filter against a plain one that has the whole message in strings; headers that are longer than what is held; memory.
#include <algorithm>
#include <gtest/gtest.h>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "net/smtp/address_fields.h"
#include "net/smtp/submission.h"

#include "tests/net/smtp/submission_harness.h"
#include "tests/sim/sim_seeds.h"

namespace postern::net::smtp::test {
namespace {

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

// ---- the plain one: of headers that are held as a whole, with lines of any length ----

class PlainFilter {
 public:
  explicit PlainFilter(const Submission& what) : what_(what) {}

  Submitted run(const std::string& content) {
    split(content);
    signed_names();
    check_line_ends();
    for (const Field& field : fields_) {
      if (out_.code == 0) take(field);
    }
    if (cut_return_) refuse(550, "5.6.11");
    add_missing();
    if (out_.code != 0) {
      out_.content.clear();
      out_.added = out_.removed = out_.changes = 0;
      return out_;
    }
    if (!has_empty_line_ && header_ != content.size()) {
      out_.content += "\r\n";
      out_.added += 2;
      out_.changes |= added_empty_line;
    }
    out_.content += content.substr(header_);
    return out_;
  }

 private:
  struct Field {
    std::string name;  // lower case; empty: none
    std::string text;
    std::string value;
  };

  std::string seen(const std::string& line) const {
    return what_.dot_stuffed && line.starts_with('.') ? line.substr(1) : line;
  }

  static std::size_t colon_of(const std::string& line) {
    std::size_t at = 0;
    while (at < line.size() && line[at] > ' ' && line[at] <= '~' && line[at] != ':') ++at;
    if (at == 0) return std::string::npos;
    while (at < line.size() && (line[at] == ' ' || line[at] == '\t')) ++at;
    return at < line.size() && line[at] == ':' ? at : std::string::npos;
  }

  void split(const std::string& content) {
    while (header_ < content.size()) {
      const std::size_t feed = content.find('\n', header_);
      const std::string line = content.substr(header_, feed == std::string::npos ? feed : feed + 1 - header_);
      has_empty_line_ = line == "\r\n";
      if (has_empty_line_) return;
      const std::string plain = seen(line);
      if (plain.starts_with(' ') || plain.starts_with('\t')) {
        if (fields_.empty()) return;
        fields_.back().text += line;
        fields_.back().value += line;
      } else {
        const std::size_t colon = colon_of(plain);
        if (colon == std::string::npos) return;
        std::string name = lower(plain.substr(0, colon));
        name = name.substr(0, name.find_first_of(" \t"));
        fields_.push_back({name, line, plain.substr(colon + 1)});
      }
      header_ += line.size();
    }
  }

  void signed_names() {
    for (const Field& field : fields_) {
      if (field.name != "dkim-signature" && field.name != "arc-message-signature") continue;
      std::string tags;
      for (std::size_t i = 0; i < field.value.size(); ++i) {
        const char c = field.value[i];
        const bool is_dot = c == '.' && what_.dot_stuffed && i > 0 && field.value[i - 1] == '\n';
        if (!is_dot && c != '\r' && c != '\n' && c != ' ' && c != '\t') tags += c;
      }
      for (const std::string& tag : parts(tags, ';')) {
        if (!tag.starts_with("h=")) continue;
        for (const std::string& name : parts(tag.substr(2), ':')) signed_.insert(lower(name));
      }
    }
  }

  static std::vector<std::string> parts(const std::string& text, char separator) {
    std::vector<std::string> out(1);
    for (const char c : text) {
      if (c == separator) {
        out.emplace_back();
      } else {
        out.back() += c;
      }
    }
    return out;
  }

  void check_line_ends() {
    std::string header;
    for (const Field& field : fields_) header += field.text;
    for (std::size_t i = 0; i < header.size(); ++i) {
      const bool after_return = i > 0 && header[i - 1] == '\r';
      if ((header[i] == '\n') != after_return) refuse(550, "5.6.11");
    }
    cut_return_ = header.ends_with('\r');
  }

  void refuse(std::uint16_t code, const std::string& enhanced) {
    if (out_.code != 0) return;
    out_.code = code;
    out_.enhanced = enhanced;
  }

  void keep(const std::string& text) { out_.content += text; }

  void take(const Field& field) {
    static const std::set<std::string> kLists = {"from",        "sender",        "reply-to",  "to",       "cc",
                                                 "resent-from", "resent-sender", "resent-to", "resent-cc"};
    if (field.name == "from" && present_.contains("from")) refuse(554, "5.6.0");
    present_.insert(field.name);
    const bool unwanted = field.name == "bcc" || field.name == "resent-bcc" || field.name == "return-path";
    if (unwanted && !signed_.contains(field.name)) {
      out_.removed += field.text.size();
      out_.changes |= removed_fields;
    } else if (kLists.contains(field.name)) {
      take_list(field);
    } else {
      keep(field.text);
    }
  }

  void take_list(const Field& field) {
    const bool completes = !what_.domain.empty() && !signed_.contains(field.name);
    std::vector<std::size_t> places;  // back to front
    std::vector<std::string> local;
    std::vector<std::string> domain;
    AddressListReader reader(field.value, what_.dot_stuffed);
    FieldMailbox box;
    auto result = reader.next(box);
    for (; result == AddressListReader::Result::mailbox; result = reader.next(box)) {
      local.emplace_back(box.mailbox.local_part);
      domain.emplace_back(box.mailbox.domain);
      if (box.mailbox.domain.empty()) places.insert(places.begin(), box.domain_goes);
    }
    if (result == AddressListReader::Result::malformed || (local.empty() && field.name == "from")) {
      unreadable(field.name);
      return keep(field.text);
    }
    if (!places.empty() && what_.domain.empty()) return refuse(554, "5.6.0");
    std::string text = field.text;
    const std::size_t value_at = text.size() - field.value.size();
    for (const std::size_t place : places) {
      if (completes) text.insert(value_at + place, "@" + what_.domain);
    }
    if (completes && !places.empty()) {
      out_.added += places.size() * (what_.domain.size() + 1);
      out_.changes |= completed_addresses;
    }
    keep(text);
    for (std::size_t i = 0; i < local.size() && out_.code == 0; ++i) {
      author(field.name, local[i], completes && domain[i].empty() ? what_.domain : domain[i]);
    }
  }

  void unreadable(const std::string& name) {
    if (!what_.authenticated || (name != "from" && name != "sender")) return;
    if (what_.own_header_from) refuse(554, "5.6.0");
    if (name == "from") strange_ = true;
  }

  void author(const std::string& name, const std::string& local, const std::string& domain) {
    if (name != "from" && name != "sender") return;
    const std::string address = local + "@" + domain;
    if (name == "from") {
      ++from_;
      from_is_submitter_ = lower(address) == lower(what_.submitter);
    }
    const bool asks = what_.authenticated && (what_.own_header_from || (name == "from" && from_ == 1));
    if (!asks) return;
    out_.asked += (out_.asked.empty() ? "" : " ") + address;
    if (std::count(what_.owned.begin(), what_.owned.end(), address) != 0) return;
    if (what_.own_header_from) refuse(550, "5.7.1");
    if (name == "from") strange_ = true;
  }

  void add(const std::string& text, std::uint8_t change) {
    const std::string added = (out_.content.empty() || out_.content.ends_with('\n') ? "" : "\r\n") + text + "\r\n";
    out_.content += added;
    out_.added += added.size();
    out_.changes |= change;
  }

  void add_missing() {
    if (out_.code != 0) return;
    if (!present_.contains("from")) {
      if (signed_.contains("from") || what_.submitter.empty()) return refuse(554, "5.6.0");
      const std::size_t at = what_.submitter.rfind('@');
      author("from", what_.submitter.substr(0, at), what_.submitter.substr(at + 1));
      add("From: " + what_.submitter, added_from);
    }
    const auto lacks = [&](const char* name) { return !present_.contains(name) && !signed_.contains(name); };
    if (lacks("date")) add("Date: Tue, 24 Nov 2026 03:48:27 +0000", added_date);
    const bool needs_sender = from_ > 1 || (strange_ && !from_is_submitter_);
    if (needs_sender && lacks("sender") && !present_.contains("resent-from") && !what_.submitter.empty()) {
      add("Sender: " + what_.submitter, added_sender);
    }
    if (lacks("message-id")) add("Message-ID: <1795492107.QUEUEID@mail.example.net>", added_message_id);
  }

  const Submission& what_;
  Submitted out_;
  std::vector<Field> fields_;
  std::size_t header_ = 0;
  bool has_empty_line_ = false;
  bool cut_return_ = false;
  std::set<std::string> signed_;
  std::set<std::string> present_;
  int from_ = 0;
  bool strange_ = false;
  bool from_is_submitter_ = false;
};

// ---- messages at random ----

class MessageMaker {
 public:
  explicit MessageMaker(std::uint64_t seed) : random_(seed) {}

  Submission what() {
    Submission what;
    what.dot_stuffed = pick(2) == 0;
    if (pick(8) == 0) what.domain = "";
    if (pick(10) == 0) what.submitter = "";
    if (pick(4) == 0) what.submitter = "list@example.org";
    what.authenticated = pick(2) == 0;
    what.own_header_from = pick(3) == 0;
    what.owned = {"anna@example.net", "anna@"};
    return what;
  }

  std::string content(bool dot_stuffed) {
    std::string text;
    for (auto n = pick(12); n > 0; --n) text += field();
    if (pick(12) == 0) text.insert(0, one_of({" x\r\n", "\t\r\n", "\r\n"}));
    if (pick(10) == 0)
      text += one_of({"no field\r\n", ": x\r\n", "\xc3\xbc: x\r\n", "a b: c\r\n", "..x\r\n", "..x: y\r\n"});
    if (pick(5) != 0) text += "\r\nbody\r\nBcc: x\r\n\r\nFrom: y\r\n";
    if (dot_stuffed) return stuffed(text);
    if (pick(20) == 0 && !text.empty()) text.insert(pick(text.size()), one_of({"\r", "\n"}));
    if (pick(3) == 0) text.resize(pick(text.size() + 1));
    return text;
  }

  // As DATA carries it; now and then a dot more than needed.
  std::string stuffed(const std::string& text) {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::string line = text.substr(at, text.find('\n', at) + 1 - at);
      at += line.size();
      if (line.starts_with('.') || (line != "\r\n" && pick(6) == 0)) out += '.';
      out += line;
    }
    return out;
  }

  std::size_t pick(std::size_t below) { return random_() % below; }
  std::string one_of(std::vector<std::string> texts) { return texts[pick(texts.size())]; }

 private:
  std::string field() {
    std::string name = one_of({"From", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Resent-Bcc", "Return-Path",
                               "Date", "Message-ID", "Subject", "Received", "Resent-From", "DKIM-Signature",
                               "ARC-Message-Signature", "X-From", "..", ".From"});
    if (name == "From" && pick(2) == 0) return "From: anna@example.net\r\n";
    const std::string value = name.ends_with("Signature") ? tags() : list();
    if (pick(4) == 0) name = lower(name);
    if (pick(8) == 0) name += one_of({" ", "\t "});
    return name + ":" + value + "\r\n";
  }
  std::string blank() { return one_of({" ", " ", "", "\t", "\r\n ", "\r\n\t", " (c)", "(\r\n )"}); }
  std::string list() {
    std::string text = " ";
    for (auto n = pick(4); n > 0; --n) {
      text += one_of({"anna", "anna@example.net", "boss@example.org", "Anna B. <anna>", "<list@example.org>", "\"a b\"",
                      "team: anna, x@y;", "nobody:;", "\"q\\\" ,\" <ann@x>", "\xc3\xbc@\xc3\xbc.example"});
      text += blank();
      if (n > 1) text += "," + blank();
    }
    if (pick(15) == 0) text += one_of({"a b", "<", "(", "@", "\"", ";", "\x01"});
    return text;
  }
  std::string tags() {
    std::string text = one_of({" ", " v=1;", " v=1; bh=from:to;", " h=x;"});
    text += blank().substr(0, 3) == " (c" ? "" : " h=";
    for (auto n = pick(4); n > 0; --n) {
      text += one_of({"from", "To", "bcc", "date", "MESSAGE-ID", "sender", "resent-bcc", "subject", "x-from", ""});
      text += one_of({":", " :\r\n ", ":\r\n\t", ";"});
    }
    return text + " b=from";
  }

  std::mt19937_64 random_;
};

// Texts are the filter's own.
Submitted without_text(Submitted one) {
  one.text.clear();
  return one;
}

TEST(SubmissionRandom, LikeThePlainOne) {
  std::uint32_t accepted = 0;
  std::uint32_t refused = 0;
  sim::for_each_seed(30'000, [&](std::uint64_t seed) {
    MessageMaker maker(seed);
    const Submission what = maker.what();
    const std::string content = maker.content(what.dot_stuffed);
    SCOPED_TRACE(testing::PrintToString(content));
    const Submitted whole = submit(what, content);
    EXPECT_EQ(without_text(whole), PlainFilter(what).run(content));
    core::BlockPool pool(1 << 17);
    SubmissionFilter filter(pool);
    for (const std::size_t most : {1U, 3U, 40U}) {
      EXPECT_EQ(submit(filter, what, content, [&] { return 1 + maker.pick(most); }), whole);
      EXPECT_EQ(pool.used_bytes(), 0U);
    }
    (whole.code == 0 ? accepted : refused) += 1;
  });
  if (accepted + refused < 1000) return;  // one seed only
  // Both are common, or the messages prove little.
  EXPECT_GT(accepted, (accepted + refused) / 8);
  EXPECT_GT(refused, (accepted + refused) / 8);
}

// What is longer than kHeldBytes goes on in parts; with the signature in front, or none, the parts cannot be told.
TEST(SubmissionRandom, LongHeadersLikeThePlainOne) {
  sim::for_each_seed(60, [&](std::uint64_t seed) {
    MessageMaker maker(seed);
    Submission what = maker.what();
    what.own_header_from = false;
    std::string text = maker.one_of({"", "DKIM-Signature: h=from:to\r\n", "DKIM-Signature: h=bcc:date\r\n"});
    text += "From: anna@example.net\r\n";
    for (int n = 0; n < 400; ++n) {
      text +=
          maker.one_of({"To: anna, b@c,\r\n\tanna\r\n", "Bcc: x,\r\n y\r\n", "Cc: anna@example.net\r\n", "X: y\r\n"});
      text += maker.one_of({"Received: ", "bcc:", "Subject:", "..:"}) + std::string(maker.pick(1000), 'x') + "\r\n";
    }
    text += maker.one_of({"\r\nbody\r\n", "no field\r\n", ""});
    if (what.dot_stuffed) text = maker.stuffed(text);
    ASSERT_GT(text.size(), 2 * SubmissionFilter::kHeldBytes);
    const Submitted whole = submit(what, text);
    const bool is_alike = without_text(whole) == PlainFilter(what).run(text);  // too long to be printed
    EXPECT_TRUE(is_alike) << whole.code << ' ' << whole.text;
    core::BlockPool pool(1 << 18);
    SubmissionFilter filter(pool);
    for (const std::size_t most : {100U, 3000U, 100'000U}) {
      const bool is_same = submit(filter, what, text, [&] { return 1 + maker.pick(most); }) == whole;
      EXPECT_TRUE(is_same) << most;
    }
  });
}

// ---- one field that is longer than what is held ----

const std::string kWhole = "From: Anna <anna@example.net>\r\nDate: x\r\nMessage-ID: <y@z>\r\n";

std::string long_list(std::string_view name, std::size_t octets, std::string_view each = "bert") {
  std::string text = std::string(name) + ": " + std::string(each);
  while (text.size() < octets) text += ",\r\n. " + std::string(each);
  return text + "\r\n";
}

Submitted long_cuts(const Submission& what, const std::string& content) {
  const Submitted whole = submit(what, content);
  std::mt19937_64 random(7);
  core::BlockPool pool(1 << 18);
  SubmissionFilter filter(pool);
  for (const std::size_t most : {1U, 10U, 1000U, 65536U, 65537U, 70'000U}) {
    const bool is_same = submit(filter, what, content, [&] { return 1 + random() % most; }) == whole;
    EXPECT_TRUE(is_same) << most;
    EXPECT_EQ(pool.used_bytes(), 0U);
  }
  return whole;
}

TEST(SubmissionLongField, AroundTheBound) {
  // The field's end is known by the octet behind it, so all sizes around the bound are of interest.
  for (std::size_t size = SubmissionFilter::kHeldBytes - 12; size < SubmissionFilter::kHeldBytes + 12; ++size) {
    const std::string field = "X: " + std::string(size - 5, 'x') + "\r\n";
    ASSERT_EQ(field.size(), size);
    for (const std::string behind : {"Bcc: b\r\n", ". folded\r\nBcc: b\r\n", ".Bcc: b\r\n"}) {
      const std::string kept = behind.starts_with(". ") ? ". folded\r\n" : "";
      const Submitted one = long_cuts({}, field + behind + kWhole + "\r\nbody\r\n");
      EXPECT_TRUE(one.content == field + kept + kWhole + "\r\nbody\r\n") << size << ' ' << behind;
      EXPECT_EQ(one.removed, behind.size() - kept.size());
    }
    const std::string list = "To: " + std::string(size - 11, ' ') + "anna\r\n" + ". ";
    const Submitted one = submit({}, list + "\r\n" + kWhole + "\r\n");
    EXPECT_EQ(one.changes, list.size() + 3 <= SubmissionFilter::kHeldBytes ? completed_addresses : 0) << size;
  }
}

TEST(SubmissionLongField, PassesAsItIs) {
  const std::string list = long_list("To", 200'000);
  const std::string content = kWhole + list + "Cc: bert\r\nBcc: c\r\n\r\nbody\r\n";
  EXPECT_TRUE(long_cuts({}, content).content == kWhole + list + "Cc: bert@example.net\r\n\r\nbody\r\n");
  // ... and with the lines behind it, to the content's end.
  Submission chunks;
  chunks.dot_stuffed = false;
  const std::string field = "X: " + std::string(100'000, 'x');
  EXPECT_TRUE(long_cuts(chunks, kWhole + field).content == kWhole + field);
  EXPECT_TRUE(long_cuts(chunks, field + "\r\n y\r\n").content.starts_with(field + "\r\n y\r\nFrom: anna"));
  EXPECT_TRUE(long_cuts(chunks, field).content.starts_with(field + "\r\nFrom: anna"));
  EXPECT_TRUE(long_cuts(chunks, field + "\r\nno field\r\n").content.ends_with(">\r\n\r\nno field\r\n"));
  EXPECT_EQ(long_cuts(chunks, kWhole + field + "\rFrom: b@c\r\n\r\n").enhanced, "5.6.11");
  EXPECT_EQ(long_cuts(chunks, kWhole + field + "\r").enhanced, "5.6.11");
}

TEST(SubmissionLongField, BlindCopiesAreDroppedAllTheSame) {
  const std::string list = long_list("Bcc", 200'000);
  const Submitted one = long_cuts({}, kWhole + list + ".To: b\r\n\r\nbody\r\n");
  EXPECT_TRUE(one.content == kWhole + ".To: b@example.net\r\n\r\nbody\r\n");
  EXPECT_EQ(one.removed, list.size());
  EXPECT_EQ(one.changes, removed_fields | completed_addresses);
  EXPECT_TRUE(long_cuts({}, kWhole + list).content == kWhole);
  const std::string signature = "DKIM-Signature: h=bcc\r\n";
  EXPECT_TRUE(long_cuts({}, kWhole + signature + list).content == kWhole + signature + list);
}

TEST(SubmissionLongField, AuthorsThatCannotBeRead) {
  const std::string list = long_list("From", 70'000, "anna@example.net");
  const std::string rest = "Date: x\r\nMessage-ID: y\r\n";
  EXPECT_TRUE(long_cuts({}, list + rest + "\r\n").content == list + rest + "\r\n");
  Submission anna;
  anna.authenticated = true;
  anna.owned = {"anna@example.net"};
  EXPECT_TRUE(long_cuts(anna, list + rest + "\r\n").content == list + rest + "Sender: anna@example.net\r\n\r\n");
  anna.own_header_from = true;
  EXPECT_EQ(long_cuts(anna, list + rest + "\r\n").code, 554);
  EXPECT_EQ(long_cuts(anna, kWhole + long_list("Sender", 70'000) + "\r\n").code, 554);
  EXPECT_EQ(long_cuts({}, list + list + rest + "\r\n").text, "More than one From field in the header");
}

TEST(SubmissionLongField, ASignatureThatCannotBeHeld) {
  const std::string signature = "DKIM-Signature: h=bcc:date; b=" + std::string(100'000, 'x') + "\r\n";
  const std::string fields = "From: a@b\r\nMessage-ID: y\r\nBcc: c\r\n";
  EXPECT_TRUE(long_cuts({}, signature + fields + "\r\n").content == signature + fields + "\r\n");
}

TEST(SubmissionLongField, ALineThatIsStillNoField) {
  const std::string line(SubmissionFilter::kHeldBytes, 'x');
  const Submitted one = long_cuts({}, kWhole + line + "x: y\r\n");
  EXPECT_TRUE(one.content == kWhole + "\r\n" + line + "x: y\r\n");
  EXPECT_EQ(one.changes, added_empty_line);
}

TEST(SubmissionMemory, IsRefusedWithoutAndGivenBack) {
  core::BlockPool pool(core::BlockPool::kLargest);  // one slab
  char* taken = pool.take(core::BlockPool::kLargest);
  {
    SubmissionFilter filter(pool);
    // A header that comes in one piece needs none.
    EXPECT_EQ(submit(filter, {}, kWhole + "\r\nbody\r\n", [] { return 0; }).content, kWhole + "\r\nbody\r\n");
    const Submitted one = submit(filter, {}, kWhole + "\r\nbody\r\n", [] { return 5; });
    EXPECT_EQ(one.code, 452);
    EXPECT_EQ(one.enhanced, "4.3.2");
    pool.give_back(taken, core::BlockPool::kLargest);
    EXPECT_EQ(submit(filter, {}, kWhole + "\r\nbody\r\n", [] { return 5; }).content, kWhole + "\r\nbody\r\n");

    // Abandoned within its header.
    const ContentSink sink{nullptr, [](void*, std::string_view) noexcept {}};
    filter.begin(true);
    filter.push("From: a", {}, sink);
    EXPECT_TRUE(filter.in_header());
    EXPECT_GT(pool.used_bytes(), 0U);
    filter.begin(true);
    EXPECT_EQ(pool.used_bytes(), 0U);
    filter.push("From: a", {}, sink);
  }
  EXPECT_EQ(pool.used_bytes(), 0U);
}

}  // namespace
}  // namespace postern::net::smtp::test
