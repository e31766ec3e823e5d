"""Training that is asked to stop, and stops where nothing is lost."""

import os
import signal
import socket
import sys
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
INTERRUPTED = 128 + signal.SIGINT  # the exit code of what Ctrl-C ended


class StopSignal:
    """Turns SIGTERM, SIGHUP and Ctrl-C into a request that the loop reads.

    A second Ctrl-C ends the process at once, whatever it is at: signals are read by a
    thread of their own, for Python runs no handler while XLA compiles.

    Of several processes one may hear SIGTERM; JAX has them agree on the step to stop
    after, and listens itself.

    Attributes:
        requested: whether `is_due` has said that training stops.
        name: of the signal that asked for it.
    """

    def __enter__(self) -> "StopSignal":
        self.requested, self._heard, self.name = False, False, "SIGTERM"
        self._before: dict[int, Any] = {}
        if jax.process_count() > 1:
            return self
        self._hears, self._tells = socket.socketpair()
        self._tells.setblocking(False)
        for number in _SIGNALS:
            # What nohup, or a shell for its background jobs, ignores stays ignored.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, lambda *_: None)
        self._wakeup = signal.set_wakeup_fd(self._tells.fileno())
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def _listen(self) -> None:
        while received := self._hears.recv(1):
            number = received[0]
            if number not in self._before:
                continue
            if number == signal.SIGINT and self._heard:
                os._exit(INTERRUPTED)
            self._heard, self.name = True, signal.Signals(number).name
            if number == signal.SIGINT:
                self.name = "Ctrl-C"
                print(
                    "Stopping after this step; Ctrl-C again stops at once, and loses "
                    "what was not saved yet.",
                    file=sys.stderr,
                    flush=True,
                )
        self._hears.close()

    @property
    def interrupted(self) -> bool:
        """Whether it was Ctrl-C that training stopped for."""
        return self.requested and self.name == "Ctrl-C"

    def is_due(self, step: int) -> bool:
        """Whether training stops after `step`."""
        if jax.process_count() == 1:
            self.requested = self._heard
        elif not self.requested:
            self.requested = multihost_utils.reached_preemption_sync_point(step)
        return self.requested

    def __exit__(self, *exception: Any) -> None:
        if jax.process_count() > 1:
            return
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._tells.close()
