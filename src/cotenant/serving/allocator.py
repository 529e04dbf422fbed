"""Tells the C library to keep freed memory for the next tensor; nothing comes back.

By default glibc hands a freed block of tensor size back to the system and asks for a fresh one
at the next request, whose pages then fault in one by one. For a 602 kB gRPC request that was
half of its whole cost.
"""

import ctypes
import logging

_log = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT_BYTES = 32 * 2**20
"""The largest block that glibc lets us keep."""
_KEPT_BYTES = 128 * 2**20


def keep_freed_memory() -> None:
    """Do so for this process, where the C library knows how; elsewhere do nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        _log.debug("this C library has no mallopt; freed memory goes back to the system")
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
