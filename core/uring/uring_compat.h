// The one door to liburing. Only files of core/uring include it, and always before anything that might
// include <linux/io_uring.h>: both headers share an include guard, and the kernel's own buffer-ring layout
// has its entries elsewhere in C++. The assertion below catches the wrong order.
//
// Debian 12's liburing 2.3 knows what Linux 6.1 has; constants of newer kernels that we use are given here by
// hand.
#pragma once

#include <cstddef>
#include <liburing.h>  // first, see above

static_assert(offsetof(io_uring_buf_ring, bufs) == 0, "liburing.h must come before linux/io_uring.h");
