"""The C library's memory allocator, set for large blocks that come and go."""

import ctypes
import platform


def keep_freed_memory() -> None:
    """Ask glibc not to return freed blocks to the system; elsewhere do nothing.

    A 1024 px picture goes through blocks of 64 MB. By default glibc maps each anew, and having
    the system zero their pages takes as long as drawing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    mallopt(M_MMAP_THRESHOLD, 2**30)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
