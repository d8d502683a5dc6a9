"""What a process uses of the machine."""

import resource
import sys


def peak_rss_mb() -> int:
    """Return the most memory that this process has held so far, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))  # macOS counts bytes, Linux kilobytes
