"""Training that is asked to stop, and stops where nothing is lost."""

import signal
from typing import Any

import jax
from jax.experimental import multihost_utils


class StopSignal:
    """Turns SIGTERM into a request that the loop reads between steps.

    Of several processes one may hear it; JAX has them agree on the step to stop after,
    and listens itself.
    """

    def __enter__(self) -> "StopSignal":
        self.requested, self._before = False, None
        if jax.process_count() == 1:
            self._before = signal.signal(signal.SIGTERM, self._request)
        return self

    def _request(self, *_: Any) -> None:
        self.requested = True

    def is_due(self, step: int) -> bool:
        """Whether training stops after `step`."""
        if jax.process_count() > 1 and not self.requested:
            self.requested = multihost_utils.reached_preemption_sync_point(step)
        return self.requested

    def __exit__(self, *exception: Any) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
