"""What several workers cost their driver: the CPU of a row, and of a report with its answer over each kind of link.

python benchmarks/worker_costs.py               # rows, and the socket pair
python benchmarks/worker_costs.py HOST:PORT     # also the link of a Ray cluster, which must run
"""

import asyncio
import multiprocessing
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import manycall
from manycall.cluster.link import Link, open_socket_link
from manycall.records import Row, Success
from manycall.store.manifest import Manifest
from manycall.store.run_folder import RunFolder
from manycall.store.segments import Segment

ROWS, EXCHANGES, REPORT_BYTES = 100_000, 1_000, 1_500
SMALL_RUN, LARGE_RUN = 1_000, 11_000
"""The difference between two runs does not contain their start."""
SERVER = "sim:latency=0.02,token-latency=0,slots=64"
TEXT = "x" * 400


def driving() -> float:
    """Return the CPU seconds of the driver for a row: reading, handing out, merging, folding the journals."""
    cpu: list[float] = []
    for count in (SMALL_RUN, SMALL_RUN, LARGE_RUN):  # the first one imports modules
        with TemporaryDirectory() as name:
            began = time.process_time()
            manycall.generate(
                "Tell of {{ q }}", [{"id": f"row {n}", "q": TEXT} for n in range(count)], base_url=SERVER, model="any",
                max_tokens=64, out=Path(name) / "out.jsonl", progress=False, processes=2,
            )  # fmt: skip
            cpu.append(time.process_time() - began)
    return (cpu[2] - cpu[1]) / (LARGE_RUN - SMALL_RUN)


def merging() -> float:
    """Return the CPU seconds for merging one row of about 450 bytes."""
    with TemporaryDirectory() as name:
        run = RunFolder(Path(name) / "out.jsonl", Manifest("0", {}))
        number = run.segments.begin_segment()
        segment = Segment(run.folder, number)
        for index in range(ROWS):
            segment.write_row(Success(Row(f"row {index}", {}), {"text": TEXT}))
        segment.close()
        began = time.process_time()
        assert len(run.segments.merge(number).done) == ROWS
        seconds = time.process_time() - began
        run.close()
    return seconds / ROWS


async def echo(link: Link) -> None:
    """Answer each message until the link ends, as a worker that reports."""
    while (message := await link.receive()) is not None:
        link.send(message)


async def exchanging(link: Link) -> tuple[float, float]:
    """Return the seconds and the CPU seconds of this process for one message and its answer."""
    link.send(b"warm up")
    await link.receive()
    began, cpu_began = time.perf_counter(), time.process_time()
    for _ in range(EXCHANGES):
        link.send(b"x" * REPORT_BYTES)
        assert await link.receive() is not None
    return (time.perf_counter() - began) / EXCHANGES, (time.process_time() - cpu_began) / EXCHANGES


def _echo_on_socket(connected: socket.socket) -> None:
    async def main() -> None:
        await echo(await open_socket_link(connected))

    asyncio.run(main())


async def over_socket() -> tuple[float, float]:
    """Exchange messages with a process over a socket pair."""
    ours, theirs = socket.socketpair()
    process = multiprocessing.get_context("spawn").Process(target=_echo_on_socket, args=(theirs,))
    process.start()
    theirs.close()
    link = await open_socket_link(ours)
    try:
        return await exchanging(link)
    finally:
        link.close()
        process.join(10)


def echo_on_ray(task: Any, link: Link) -> None:
    """Work of an actor."""
    asyncio.run(echo(link))


async def over_ray(address: str) -> tuple[float, float]:
    """Exchange messages with an actor."""
    from manycall.cluster.ray_workers import RayStarter, connect

    connect(address)
    starter = RayStarter(echo_on_ray, None, Path(), modules=[sys.modules["__main__"]])
    worker = await starter.start(1)
    try:
        return await exchanging(worker.link)
    finally:
        worker.kill()
        await starter.close()


def main(addresses: list[str]) -> None:
    """Print a line for each cost."""
    print(f"a row: {1e6 * driving():.1f} µs of CPU in the driver, of which merging takes {1e6 * merging():.1f}")
    links: dict[str, Callable[[], Any]] = {"socket pair": over_socket}
    links |= {f"Ray, {address}": partial(over_ray, address) for address in addresses}
    for name, run in links.items():
        seconds, cpu = asyncio.run(run())
        print(f"a report and its answer over {name}: {1e3 * seconds:.2f} ms, {1e3 * cpu:.3f} ms of CPU in the driver")


if __name__ == "__main__":
    main(sys.argv[1:])
