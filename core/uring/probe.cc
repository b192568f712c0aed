#include "core/uring/probe.h"

#include <array>
#include <cstdio>
#include <limits>
#include <sys/resource.h>
#include <unistd.h>

#include "core/uring/uring_compat.h"

namespace postern::core::uring {

namespace {

struct Named {
  unsigned value;
  std::string_view name;
};

// Everything that Ring submits; also the list the restrictions are made from.
constexpr std::array kOpcodes = {
    Named{IORING_OP_ACCEPT, "ACCEPT"},     Named{IORING_OP_RECV, "RECV"},
    Named{IORING_OP_SEND, "SEND"},         Named{IORING_OP_SENDMSG, "SENDMSG"},
    Named{IORING_OP_CONNECT, "CONNECT"},   Named{IORING_OP_SHUTDOWN, "SHUTDOWN"},
    Named{IORING_OP_CLOSE, "CLOSE"},       Named{IORING_OP_POLL_ADD, "POLL_ADD"},
    Named{IORING_OP_OPENAT, "OPENAT"},     Named{IORING_OP_UNLINKAT, "UNLINKAT"},
    Named{IORING_OP_READ, "READ"},         Named{IORING_OP_WRITE, "WRITE"},
    Named{IORING_OP_FSYNC, "FSYNC"},       Named{IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
    Named{IORING_OP_MSG_RING, "MSG_RING"},
};

constexpr std::array kFeatures = {
    Named{IORING_FEAT_NODROP, "NODROP"},       Named{IORING_FEAT_SUBMIT_STABLE, "SUBMIT_STABLE"},
    Named{IORING_FEAT_FAST_POLL, "FAST_POLL"}, Named{IORING_FEAT_EXT_ARG, "EXT_ARG"},
    Named{IORING_FEAT_CQE_SKIP, "CQE_SKIP"},   Named{IORING_FEAT_NATIVE_WORKERS, "NATIVE_WORKERS"},
};

std::optional<int> read_setting(const char* path) {
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return std::nullopt;
  int value = 0;
  const int fields = std::fscanf(file, "%d", &value);
  std::fclose(file);
  if (fields != 1) return std::nullopt;
  return value;
}

std::string explain_permission(const Surroundings& around) {
  if (around.io_uring_disabled == 2) {
    return "this kernel has io_uring switched off for everyone: set the sysctl kernel.io_uring_disabled to 0 "
           "(it is 2), for example in /etc/sysctl.d/, and start again";
  }
  if (around.io_uring_disabled == 1 && !around.is_root) {
    return "this kernel lets only members of one group use io_uring (sysctl kernel.io_uring_disabled is 1, "
           "kernel.io_uring_group is " +
           std::to_string(around.io_uring_group.value_or(-1)) +
           "): set kernel.io_uring_group to a group the service runs with, or kernel.io_uring_disabled to 0";
  }
  return "a seccomp filter refuses io_uring_setup: allow io_uring_setup, io_uring_enter and "
         "io_uring_register in the "
         "container's seccomp profile (docker: --security-opt seccomp=..., systemd: "
         "SystemCallFilter=@io-event)";
}

std::string explain_memory(const Surroundings& around) {
  constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();
  if (!around.is_root && around.memlock_bytes != kUnlimited) {
    return "the limit of locked memory (RLIMIT_MEMLOCK) is " + std::to_string(around.memlock_bytes / 1024) +
           " KiB and ring memory counts against it: set LimitMEMLOCK=infinity in the unit, or run 'ulimit -l "
           "unlimited' "
           "as root in the shell that starts postern";
  }
  return "the kernel has no memory for the ring: lower limits.connections or the number of workers, or give "
         "the "
         "machine (or its memory cgroup) more memory";
}

std::string_view doing(Step step) {
  switch (step) {
    case Step::setup:
      return "make an io_uring";
    case Step::receive_buffers:
      return "register the ring's receive buffers";
    case Step::limit_workers:
      return "limit the ring's kernel workers";
    case Step::restrict:
      return "restrict and enable the ring";
  }
  return "";
}

}  // namespace

Surroundings Surroundings::look() {
  Surroundings around;
  around.io_uring_disabled = read_setting("/proc/sys/kernel/io_uring_disabled");
  around.io_uring_group = read_setting("/proc/sys/kernel/io_uring_group");
  around.is_root = geteuid() == 0;
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    around.memlock_bytes =
        limit.rlim_cur == RLIM_INFINITY ? std::numeric_limits<std::uint64_t>::max() : limit.rlim_cur;
  }
  return around;
}

std::string explain(Step step, int code, const Surroundings& around) {
  std::string text = "cannot ";
  text += doing(step);
  text += " (";
  text += std::strerror(code);
  text += "): ";
  if (code == EPERM || code == EACCES) return text + explain_permission(around);
  if (code == ENOMEM) return text + explain_memory(around);
  if (code == ENOSYS) {
    return text +
           "this kernel was built without io_uring, or the container's runtime hides it: use Linux 6.1 or "
           "later with "
           "CONFIG_IO_URING=y, or allow the io_uring system calls in the container's seccomp profile";
  }
  if (code == EINVAL) {
    return text +
           "this kernel lacks a ring flag or call that postern needs (SINGLE_ISSUER, DEFER_TASKRUN, "
           "SUBMIT_ALL, "
           "buffer rings, restrictions): use Linux 6.1 or later";
  }
  if (code == EMFILE || code == ENFILE) {
    return text +
           "too many open files: raise LimitNOFILE= in the unit, or 'ulimit -n' in the shell that starts "
           "postern";
  }
  return text + "use Linux 6.1 or later, and see the kernel log for what it refused";
}

std::string explain_missing(std::string_view missing) {
  std::string text = "this kernel's io_uring lacks ";
  text += missing;
  text += ": use Linux 6.1 or later";
  return text;
}

Result<void> check_features(io_uring& ring) {
  std::string missing;
  const auto note = [&missing](std::string_view kind, std::string_view name) {
    if (!missing.empty()) missing += ", ";
    missing += kind;
    missing += name;
  };
  for (const Named& feature : kFeatures) {
    if ((ring.features & feature.value) == 0) note("feature ", feature.name);
  }
  io_uring_probe* probe = io_uring_get_probe_ring(&ring);
  if (probe == nullptr) {
    note("", "the opcode probe");
  } else {
    for (const Named& opcode : kOpcodes) {
      if (io_uring_opcode_supported(probe, static_cast<int>(opcode.value)) == 0) note("opcode ", opcode.name);
    }
    io_uring_free_probe(probe);
  }
  if (missing.empty()) return {};
  return fail(explain_missing(missing));
}

int restrict_ring(io_uring& ring) {
  // Register calls are all refused once the ring is enabled: everything is registered before.
  std::array<io_uring_restriction, kOpcodes.size() + 1> allowed{};
  for (std::size_t i = 0; i < kOpcodes.size(); ++i) {
    allowed[i].opcode = IORING_RESTRICTION_SQE_OP;
    allowed[i].sqe_op = static_cast<std::uint8_t>(kOpcodes[i].value);
  }
  allowed.back().opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
  allowed.back().sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
  return -io_uring_register_restrictions(&ring, allowed.data(), static_cast<unsigned>(allowed.size()));
}

Result<void> check_multishot(io_uring& ring, std::uint16_t group, std::uint16_t (&used)[3], int& used_count) {
  used_count = 0;
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return fail_errno("socketpair", errno);
  Result<void> verdict{};
  io_uring_sqe* sqe = io_uring_get_sqe(&ring);
  io_uring_prep_recv_multishot(sqe, pair[0], nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = group;
  sqe->user_data = 0;
  const bool sent = write(pair[1], "1", 1) == 1 && write(pair[1], "2", 1) == 1;
  ::close(pair[1]);  // and the end of the stream ends the operation
  bool has_more = sent;
  while (has_more) {
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec second{.tv_sec = 1, .tv_nsec = 0};
    const int result = io_uring_submit_and_wait_timeout(&ring, &cqe, 1, &second, nullptr);
    if (result == -EINTR) continue;
    if (cqe == nullptr) break;
    has_more = (cqe->flags & IORING_CQE_F_MORE) != 0;
    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0 && used_count < 3) {
      used[used_count++] = static_cast<std::uint16_t>(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
    }
    io_uring_cqe_seen(&ring, cqe);
  }
  ::close(pair[0]);
  if (used_count < 2 || has_more) verdict = fail(explain_missing("multishot receive into a buffer ring"));
  return verdict;
}

}  // namespace postern::core::uring
