"""A profile for a runtime with several threads: profiles as they are shipped stand for one."""

from dataclasses import replace

from harness.arithmetic.profile import ArithmeticProfile
from harness.emulator.ops.mean import IN_BLOCKS, MOST_THREADS, in_parts


def for_threads(profile: ArithmeticProfile, threads: int) -> ArithmeticProfile:
    """The profile for that many threads.

    LiteRT's optimized MEAN is what depends on them: each thread takes a part of the channels, with
    a rest of its own. With more than `MOST_THREADS` it is unknown.
    """
    if threads == 1:
        return profile
    return replace(
        profile,
        entries=tuple(
            replace(entry, semantics=in_parts(threads)) if entry.semantics == IN_BLOCKS else entry
            for entry in profile.entries
            if entry.semantics != IN_BLOCKS or threads <= MOST_THREADS
        ),
    )
