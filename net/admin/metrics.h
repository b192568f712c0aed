// What the server counts, gathered from all workers: for `postern status` and, in Prometheus' text format, for monitors.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace postern::net {
class Server;
}

namespace postern::net::admin {

struct Metric {
  std::string_view name;  // without "postern_"; metrics of one name follow each other and differ by label
  std::string_view help;
  bool is_gauge = false;   // a state that goes up and down, not a count since the start
  std::string label_name;  // empty: none
  std::string label;
  std::uint64_t value = 0;
};

// Sums over all workers. Error: a worker did not answer within `patience`. Thread: any but a worker's.
[[nodiscard]] core::Result<std::vector<Metric>> gather_metrics(Server& server, std::chrono::seconds patience);

// Text format 0.0.4: names with "postern_" in front, and "_total" behind where they count. Pure.
[[nodiscard]] std::string prometheus_text(std::span<const Metric> metrics);

// Whether mail is taken in and can be kept. Empty: it is; else why not.
[[nodiscard]] std::string why_not_ready(Server& server, std::chrono::seconds patience);

}  // namespace postern::net::admin
