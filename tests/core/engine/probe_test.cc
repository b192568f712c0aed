// What the operator is told when the machine refuses a ring or descriptors: the messages, and some real refusals.
#include "core/uring/probe.h"

#include <cstddef>
#include <functional>
#include <gtest/gtest.h>
#include <limits>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/resource_limits.h"
#include "core/ring.h"
#include "core/uring/uring_compat.h"

namespace postern::core {
namespace {

using uring::Step;
using uring::Surroundings;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// Runs `body` in a child process and returns what it returns.
std::string in_child(const std::function<std::string()>& body) {
  int pipe_ends[2];
  EXPECT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string text = body();
    const bool written = write(pipe_ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written ? 0 : 1);
  }
  ::close(pipe_ends[1]);
  std::string text;
  char chunk[512];
  for (ssize_t got = 0; (got = read(pipe_ends[0], chunk, sizeof chunk)) > 0;) {
    text.append(chunk, static_cast<std::size_t>(got));
  }
  ::close(pipe_ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  return text;
}

std::string try_to_make_a_ring() {
  const auto ring = Ring::create({});
  return ring ? "made" : ring.error().text;
}

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Probe, SaysThatTheSysctlForbidsRings) {
  const std::string everyone = explain(Step::setup, EPERM, {2, -1, true, kUnlimited});
  EXPECT_SAYS(everyone, "kernel.io_uring_disabled to 0 (it is 2)");
  const std::string group = explain(Step::setup, EPERM, {1, 105, false, kUnlimited});
  EXPECT_SAYS(group, "kernel.io_uring_disabled is 1");
  EXPECT_SAYS(group, "kernel.io_uring_group is 105");
}

TEST(Probe, SaysThatASeccompFilterRefuses) {
  for (const auto disabled : {std::optional<int>(0), std::optional<int>(), std::optional<int>(1)}) {
    EXPECT_SAYS(explain(Step::setup, EPERM, {disabled, -1, true, kUnlimited}), "seccomp filter refuses io_uring_setup");
  }
}

TEST(Probe, SaysWhichMemoryLimitToRaise) {
  const std::string limited = explain(Step::receive_buffers, ENOMEM, {0, -1, false, 8u << 20});
  EXPECT_SAYS(limited, "register the ring's receive buffers");
  EXPECT_SAYS(limited, "RLIMIT_MEMLOCK) is 8192 KiB");
  EXPECT_SAYS(limited, "LimitMEMLOCK=infinity");
  EXPECT_SAYS(limited, "ulimit -l unlimited");
  // Neither root nor an unlimited user runs into that limit.
  for (const auto& around : {Surroundings{0, -1, true, 8u << 20}, Surroundings{0, -1, false, kUnlimited}}) {
    const std::string text = explain(Step::setup, ENOMEM, around);
    EXPECT_EQ(text.find("MEMLOCK"), std::string::npos) << text;
    EXPECT_SAYS(text, "no memory for the ring");
  }
}

TEST(Probe, SaysWhatTheKernelLacks) {
  EXPECT_SAYS(explain(Step::setup, ENOSYS, {}), "Linux 6.1 or later");
  EXPECT_SAYS(explain(Step::setup, EINVAL, {}), "DEFER_TASKRUN");
  EXPECT_SAYS(explain(Step::setup, EMFILE, {}), "LimitNOFILE=");
  EXPECT_EQ(uring::explain_missing("opcode MSG_RING, feature NODROP"),
            "this kernel's io_uring lacks opcode MSG_RING, feature NODROP: use Linux 6.1 or later");
}

TEST(Probe, NamesWhatIsMissing) {
  io_uring ring{};
  ASSERT_EQ(io_uring_queue_init(4, &ring, 0), 0);
  EXPECT_TRUE(uring::check_features(ring).has_value());
  ring.features &= ~static_cast<unsigned>(IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP);
  const auto checked = uring::check_features(ring);
  ASSERT_FALSE(checked.has_value());
  EXPECT_EQ(checked.error().text,
            "this kernel's io_uring lacks feature NODROP, feature EXT_ARG: use Linux 6.1 or later");
  io_uring_queue_exit(&ring);
}

TEST(Probe, ARestrictedRingRefusesAllThatItIsNotMadeFor) {
  io_uring ring{};
  ASSERT_EQ(io_uring_queue_init(8, &ring, IORING_SETUP_R_DISABLED), 0);
  ASSERT_EQ(uring::restrict_ring(ring), 0);
  ASSERT_EQ(io_uring_enable_rings(&ring), 0);
  const auto result_of = [&ring](const std::function<void(io_uring_sqe*)>& prepare) {
    prepare(io_uring_get_sqe(&ring));
    io_uring_submit(&ring);
    io_uring_cqe* cqe = nullptr;
    EXPECT_EQ(io_uring_wait_cqe(&ring, &cqe), 0);
    const int result = cqe->res;
    io_uring_cqe_seen(&ring, cqe);
    return result;
  };
  EXPECT_EQ(result_of([](io_uring_sqe* sqe) { io_uring_prep_nop(sqe); }), -EACCES);
  EXPECT_EQ(result_of([](io_uring_sqe* sqe) { io_uring_prep_renameat(sqe, -1, "a", -1, "b", 0); }), -EACCES);
  EXPECT_EQ(result_of([](io_uring_sqe* sqe) {
              io_uring_prep_close(sqe, 1 << 30);
              sqe->flags |= IOSQE_IO_DRAIN;
            }),
            -EACCES);
  EXPECT_EQ(result_of([](io_uring_sqe* sqe) { io_uring_prep_close(sqe, 1 << 30); }), -EBADF) << "allowed, and tried";
  int descriptor = 0;
  EXPECT_EQ(io_uring_register_files(&ring, &descriptor, 1), -EACCES);
  io_uring_queue_exit(&ring);
}

TEST(Probe, ARealLockedMemoryLimit) {
  const std::string text = in_child([] {
    const rlimit tiny{16384, 16384};
    if (setrlimit(RLIMIT_MEMLOCK, &tiny) != 0) return std::string("setrlimit failed");
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return std::string("setresuid failed");
    return try_to_make_a_ring();
  });
  EXPECT_SAYS(text, "RLIMIT_MEMLOCK) is 16 KiB");
  EXPECT_SAYS(text, "LimitMEMLOCK=infinity");
}

TEST(Probe, ARealSeccompFilter) {
  if (Surroundings::look().io_uring_disabled.value_or(0) != 0) GTEST_SKIP() << "the sysctl refuses first";
  const std::string text = in_child([] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{sizeof program / sizeof program[0], program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return std::string("no_new_privs failed");
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) return std::string("seccomp failed");
    return try_to_make_a_ring();
  });
  EXPECT_SAYS(text, "cannot make an io_uring (Operation not permitted): a seccomp filter refuses io_uring_setup");
}

TEST(Probe, ARealDescriptorLimitWhileMakingARing) {
  const std::string text = in_child([] {
    const rlimit none{3, 3};  // standard input, output and error
    if (setrlimit(RLIMIT_NOFILE, &none) != 0) return std::string("setrlimit failed");
    return try_to_make_a_ring();
  });
  EXPECT_SAYS(text, "LimitNOFILE=");
}

TEST(ResourceLimits, TheVerdictSaysWhatToSet) {
  EXPECT_FALSE(descriptor_problem(1000, 1000 + kOtherDescriptors).has_value());
  EXPECT_FALSE(descriptor_problem(100'000, kUnlimited).has_value());
  const auto problem = descriptor_problem(100'000, 20'000);
  ASSERT_TRUE(problem.has_value());
  EXPECT_SAYS(*problem, "100000 connections need 100256 open files");
  EXPECT_SAYS(*problem, "RLIMIT_NOFILE) is 20000");
  EXPECT_SAYS(*problem, "LimitNOFILE=100256");
  EXPECT_SAYS(*problem, "limits.connections to 19744 or less");
  EXPECT_SAYS(*descriptor_problem(10, 100), "to 0 or less");
  EXPECT_FALSE(descriptor_problem(1000, 2000 + kOtherDescriptors, 2).has_value());
  const auto two_each = descriptor_problem(10'000, 20'000, 2);
  ASSERT_TRUE(two_each.has_value());
  EXPECT_SAYS(*two_each, "10000 connections, each with one to a mail store, need 20256 open files");
  EXPECT_SAYS(*two_each, "limits.connections to 9872 or less");
}

TEST(ResourceLimits, RaisesTheSoftLimitWithinTheHardOne) {
  const std::string text = in_child([] {
    const rlimit limit{64, 1024};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return std::string("setrlimit failed");
    const auto raised = reserve_descriptors(500);
    if (!raised) return raised.error().text;
    rlimit now{};
    getrlimit(RLIMIT_NOFILE, &now);
    const auto refused = reserve_descriptors(1000);
    return std::to_string(*raised) + " " + std::to_string(now.rlim_cur) + " " +
           (refused ? "allowed" : refused.error().text);
  });
  EXPECT_SAYS(text, "756 756 1000 connections need 1256 open files");
}

TEST(ResourceLimits, MemoryIsNotDumped) {
  const std::string text = in_child([] {
    const int before = prctl(PR_GET_DUMPABLE);
    forbid_core_dumps();
    rlimit now{};
    getrlimit(RLIMIT_CORE, &now);
    return std::to_string(before) + " " + std::to_string(prctl(PR_GET_DUMPABLE)) + " " + std::to_string(now.rlim_max);
  });
  EXPECT_SAYS(text, "1 0 0");
}

}  // namespace
}  // namespace postern::core
