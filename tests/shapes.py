"""Row functions that call in every way they can; also as a file for `manycall run tests/shapes.py:NAME`.

None depends on anything but its row, so every one of them makes the same calls again when a run is resumed.
"""

import asyncio
import contextlib
import functools
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

Shape = Callable[[dict[str, Any], Any], Awaitable[dict[str, Any]]]
BLOCKED_SECONDS = 600.0


async def sequential(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    return {"texts": [(await llm.chat(f"{row['id']} {n}")).text for n in range(3)]}


async def gather(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    return {"n": len(await asyncio.gather(*(llm.chat(f"{row['id']} {n}") for n in range(5))))}


async def gather_many(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    return {"n": len(await asyncio.gather(*(llm.chat(f"{row['id']} {n}") for n in range(25))))}


async def gather_exceptions(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    replies = await asyncio.gather(*(llm.chat(f"{row['id']} {n}") for n in range(5)), return_exceptions=True)
    return {"failed": sum(isinstance(each, BaseException) for each in replies)}


async def task_group(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(llm.chat(f"{row['id']} {n}")) for n in range(5)]
    return {"texts": [task.result().text for task in tasks]}


async def as_completed(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    calls = [llm.chat(f"{row['id']} {n}") for n in range(5)]
    return {"texts": sorted([(await each).text for each in asyncio.as_completed(calls)])}


async def two_rounds(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    async def branch(n: int) -> str:
        draft = await llm.chat(f"{row['id']} draft {n}")
        return str((await llm.chat(f"{row['id']} judge {n} {draft.text}")).text)

    return {"texts": await asyncio.gather(*map(branch, range(3)))}


async def impatient(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Times out on the first call, which is on its way, and makes another."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(llm.chat(f"{row['id']} first"), 0.01)
    return {"text": (await llm.chat(f"{row['id']} second")).text}


async def cancelled_subtasks(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    tasks = [asyncio.create_task(llm.chat(f"{row['id']} {n}")) for n in range(4)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return {"texts": [task.result().text for task in done][:1]}


async def outliving(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Leaves tasks behind, which go on calling."""

    async def go_on() -> None:
        for n in range(3):
            await llm.chat(f"{row['id']} later {n}")

    row["task"] = asyncio.create_task(go_on())
    return {"text": (await llm.chat(row["id"])).text}


async def outliving_forever(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Leaves a task behind that calls again and again."""

    async def go_on() -> None:
        while True:
            with contextlib.suppress(Exception):
                await llm.chat(f"{row['id']} later")

    row["task"] = asyncio.create_task(go_on())
    return {"text": (await llm.chat(row["id"])).text}


async def retrying(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Calls until it gets an answer."""
    while True:
        try:
            return {"text": (await llm.chat(row["id"])).text}
        except Exception:
            await asyncio.sleep(0.01)


async def retrying_at_once(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    while True:
        with contextlib.suppress(Exception):
            return {"text": (await llm.chat(row["id"])).text}


async def made_up(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Hides whatever happens."""
    try:
        return {"text": (await llm.chat(row["id"])).text}
    except BaseException:
        return {"text": "made up"}


async def suppressing(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Suppresses its cancellation, too."""
    text = (await llm.chat(row["id"])).text
    for _ in range(3):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
    return {"text": text}


async def never_ending(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Every third row waits for ever, after its call."""
    text = (await llm.chat(row["id"])).text
    if row["q"] % 3 == 2:
        await asyncio.Event().wait()
    return {"text": text}


async def cancels_itself(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    text = (await llm.chat(f"{row['id']} 0")).text
    if row["q"] % 3 == 1:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if row["q"] % 2:
            await llm.chat(f"{row['id']} 1")
    return {"text": text}


async def cancelled_by_subtask(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    parent = asyncio.current_task()
    assert parent is not None

    async def cancel() -> None:
        await llm.chat(f"{row['id']} 0")
        parent.cancel()

    task = asyncio.create_task(cancel())
    await llm.chat(f"{row['id']} 1")
    await task
    return {"n": 1}


def _raising(error: Callable[[], BaseException]) -> Shape:
    async def function(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        text = (await llm.chat(f"{row['id']} 0")).text
        if row["q"] % 3 == 1:
            raise error()
        return {"text": text}

    return function


def _raising_in_subtask(error: Callable[[], BaseException]) -> Shape:
    async def function(row: dict[str, Any], llm: Any) -> dict[str, Any]:
        async def subtask(n: int) -> None:
            await llm.chat(f"{row['id']} {n}")
            if n == 1 and row["q"] % 3 == 1:
                raise error()

        await asyncio.gather(*map(subtask, range(3)))
        return {"n": 3}

    return function


raises = _raising(lambda: ValueError("no"))
exits = _raising(lambda: SystemExit(7))
interrupts = _raising(KeyboardInterrupt)
cancelled_error = _raising(asyncio.CancelledError)
generator_exit = _raising(GeneratorExit)
subtask_raises = _raising_in_subtask(lambda: ValueError("no"))
subtask_exits = _raising_in_subtask(lambda: SystemExit(7))
subtask_interrupts = _raising_in_subtask(KeyboardInterrupt)


async def threads(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Calls from a thread."""
    loop = asyncio.get_running_loop()

    def call(n: int) -> str:
        return str(asyncio.run_coroutine_threadsafe(llm.chat(f"{row['id']} {n}"), loop).result().text)

    return {"texts": await asyncio.gather(*(asyncio.to_thread(call, n) for n in range(2)))}


async def blocked_thread(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    """Every third row is in a thread that is blocked."""
    text = (await llm.chat(row["id"])).text
    if row["q"] % 3 == 2:
        await asyncio.to_thread(threading.Event().wait, BLOCKED_SECONDS)
    return {"text": text}


async def exits_in_thread(row: dict[str, Any], llm: Any) -> dict[str, Any]:
    text = (await llm.chat(row["id"])).text
    if row["q"] % 3 == 1:
        await asyncio.to_thread(functools.partial(sys.exit, 7))
    return {"text": text}


CALM: dict[str, Shape] = {
    each.__name__: each
    for each in (
        sequential,
        gather,
        gather_many,
        gather_exceptions,
        task_group,
        as_completed,
        two_rounds,
        impatient,
        cancelled_subtasks,
        outliving,
        outliving_forever,
        retrying,
        retrying_at_once,
        made_up,
        suppressing,
    )
}
"""Those that do every row, if nothing stops them."""

FAILING: dict[str, Shape] = {
    "cancels_itself": cancels_itself,
    "cancelled_by_subtask": cancelled_by_subtask,
    "raises": raises,
    "exits": exits,
    "interrupts": interrupts,
    "cancelled_error": cancelled_error,
    "generator_exit": generator_exit,
    "subtask_raises": subtask_raises,
    "subtask_exits": subtask_exits,
    "subtask_interrupts": subtask_interrupts,
}
"""Those by which some rows fail."""

WAITING: dict[str, Shape] = {"never_ending": never_ending}
"""Those that end only if something stops them."""

THREADED: dict[str, Shape] = {"threads": threads}
"""Those that need real threads; all but `blocked_thread` and `exits_in_thread` do every row."""
