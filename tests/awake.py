"""A clock that stands still while the machine does, for checks that something is not slow.

A busy host stops a guest for half a second now and then, and that says nothing of Groxy. What this
process itself is busy with counts in full. For checks that something takes at least so long,
`time.monotonic` is the right one.
"""

import threading
import time

_TICK_S = 0.005
_MOST_S = 0.025
"""What counts of the time between two ticks in which this process did little."""


class _Clock:
    def __init__(self) -> None:
        self._counted_s = 0.0
        self._at, self._busy_s = time.monotonic(), time.process_time()
        self._lock = threading.Lock()
        threading.Thread(target=self._tick, name="awake", daemon=True).start()

    def read(self) -> float:
        """Return the seconds counted so far."""
        with self._lock:
            now, busy_s = time.monotonic(), time.process_time()
            passed_s = now - self._at
            self._counted_s += min(passed_s, max(busy_s - self._busy_s, _MOST_S))
            self._at, self._busy_s = now, busy_s
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
