// The text that monitors read. https://prometheus.io/docs/instrumenting/exposition_formats/, format 0.0.4.
#include "net/admin/metrics.h"

#include <gtest/gtest.h>
#include <vector>

namespace postern::net::admin {
namespace {

TEST(Metrics, PrometheusText) {
  const std::vector<Metric> metrics = {
      {"messages_accepted", "messages acknowledged", false, {}, {}, 18446744073709551615u},
      {"queue_messages", "messages in the queue now", true, {}, {}, 0},
      {"logins_recorded", "logins", false, "source", "dovecot", 3},
      {"logins_recorded", "logins", false, "source", "control", 4},
  };
  EXPECT_EQ(prometheus_text(metrics),
            "# HELP postern_messages_accepted_total messages acknowledged\n"
            "# TYPE postern_messages_accepted_total counter\n"
            "postern_messages_accepted_total 18446744073709551615\n"
            "# HELP postern_queue_messages messages in the queue now\n"
            "# TYPE postern_queue_messages gauge\n"
            "postern_queue_messages 0\n"
            "# HELP postern_logins_recorded_total logins\n"
            "# TYPE postern_logins_recorded_total counter\n"
            "postern_logins_recorded_total{source=\"dovecot\"} 3\n"
            "postern_logins_recorded_total{source=\"control\"} 4\n");
  EXPECT_EQ(prometheus_text({}), "");
}

}  // namespace
}  // namespace postern::net::admin
