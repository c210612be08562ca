"""What a driver needs of the place where its workers run."""

from typing import Protocol

from manycall.cluster.link import Link


class StartedWorker(Protocol):
    """A worker process that was started.

    Attributes:
        link: the connection to it.
    """

    link: Link

    def kill(self) -> None:
        """End the process at once, also if it is frozen."""

    async def wait(self) -> str:
        """Wait until the process has certainly ended. Return why, if it was not by itself; "" otherwise."""
        ...


class WorkerStarter(Protocol):
    """Starts workers: on this machine (local_workers.py) or on others (ray_workers.py).

    Attributes:
        cores: number of cores that workers may use.
        is_local: the workers run on this machine.
    """

    cores: int
    is_local: bool

    async def start(self, number: int) -> StartedWorker:
        """Start a worker. It builds the job and then waits for its setup.

        Args:
            number: number of its segment.

        Raises:
            RunStopped: workers cannot be started.
        """
        ...

    async def close(self) -> None:
        """Release what the workers needed."""
