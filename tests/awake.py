"""A clock that stands still while the machine does, for checks that something is not slow.

A busy host stops a guest for half a second now and then, and that says nothing of Groxy. For checks
that something takes at least so long, `time.monotonic` is the right one.
"""

import threading
import time

_TICK_S = 0.005
_MOST_S = 0.025
"""What counts of the time between two ticks: more was not this machine's."""


class _Clock:
    def __init__(self) -> None:
        self._counted_s = 0.0
        self._at = time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(target=self._tick, name="awake", daemon=True).start()

    def read(self) -> float:
        """Return the seconds counted so far."""
        with self._lock:
            now = time.monotonic()
            self._counted_s += min(now - self._at, _MOST_S)
            self._at = now
            return self._counted_s

    def _tick(self) -> None:
        while True:
            time.sleep(_TICK_S)
            self.read()


_clocks: list[_Clock] = []


def awake_s() -> float:
    """Return for how many seconds this machine has run since some moment."""
    if not _clocks:
        _clocks.append(_Clock())
    return _clocks[0].read()
