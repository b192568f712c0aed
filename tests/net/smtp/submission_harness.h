// Runs a content through a SubmissionFilter, cut in a chosen way, and keeps all that came out.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/pool.h"
#include "net/smtp/submission.h"

namespace postern::net::smtp::test {

struct Submission {
  bool dot_stuffed = true;  // it comes by DATA
  std::string domain = "example.net";
  std::string submitter = "anna@example.net";
  std::vector<std::string> owned;  // addresses of the user
  bool authenticated = false;
  bool own_header_from = false;
};

struct Submitted {
  std::string content;
  std::uint16_t code = 0;  // of the refusal; the content is then not looked at
  std::string enhanced;
  std::string text;
  std::uint8_t changes = 0;
  std::uint16_t flags = 0;
  std::uint64_t added = 0;
  std::uint64_t removed = 0;
  std::string asked;  // the addresses that policy was asked about

  bool operator==(const Submitted&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Submitted& one) {
  return out << one.code << ' ' << one.enhanced << ' ' << one.text << " changes " << int{one.changes} << " flags "
             << one.flags << " added " << one.added << " removed " << one.removed << " asked [" << one.asked
             << "] ----\n"
             << (one.content.size() > 5000 ? one.content.substr(0, 5000) + "..." : one.content) << "----";
}

// `next_cut`: octets of the next piece; 0: the rest.
inline Submitted submit(SubmissionFilter& filter, const Submission& what, std::string_view content,
                        const std::function<std::size_t()>& next_cut) {
  struct World {
    const Submission& what;
    Submitted out;
  } world{what, {}};
  const ContentSink sink{&world, [](void* object, std::string_view octets) noexcept {
                           static_cast<World*>(object)->out.content += octets;
                         }};
  SubmissionFacts facts;
  facts.domain = what.domain;
  facts.hostname = "mail.example.net";
  facts.queue_id = "QUEUEID";
  facts.unix_seconds = 1795492107;
  facts.submitter = what.submitter;
  facts.owner = &world;
  facts.own_header_from = what.own_header_from;
  if (what.authenticated) {
    facts.owns = [](void* object, const policy::Mailbox& mailbox) noexcept {
      World& in = *static_cast<World*>(object);
      const std::string address = std::string(mailbox.local_part) + "@" + std::string(mailbox.domain);
      in.out.asked += (in.out.asked.empty() ? "" : " ") + address;
      for (const std::string& owned : in.what.owned) {
        if (owned == address) return true;
      }
      return false;
    };
  }
  filter.begin(what.dot_stuffed);
  while (!content.empty()) {
    const std::size_t cut = next_cut();
    // A copy of its own, so that a view that is kept too long is seen by the sanitizer.
    const std::string piece(content.substr(0, cut == 0 ? content.size() : cut));
    content.remove_prefix(piece.size());
    filter.push(piece, facts, sink);
  }
  filter.end(facts, sink);
  Submitted out = std::move(world.out);
  out.code = filter.verdict().code;
  out.enhanced = filter.verdict().enhanced;
  out.text = filter.verdict().text;
  if (out.code != 0) {
    out.content.clear();
    return out;
  }
  out.changes = filter.changes();
  out.flags = filter.added_flags();
  out.added = filter.added_bytes();
  out.removed = filter.removed_bytes();
  return out;
}

inline Submitted submit(const Submission& what, std::string_view content, std::size_t cut = 0) {
  core::BlockPool pool(1 << 20);
  SubmissionFilter filter(pool);
  return submit(filter, what, content, [cut] { return cut; });
}

}  // namespace postern::net::smtp::test
