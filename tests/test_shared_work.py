"""Several workers share rows, limits and a budget: nothing is exceeded whatever happens to messages and processes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from manycall.control.shares import SHARE_PARTS
from worker_model import PER_CALL, Driver, Grant, Report, Worker

ROWS = 60
DRIFTS = st.sampled_from([-0.01, 0.0, 0.01])
WHICH = st.integers(0, 1000)


class SharedWork(RuleBasedStateMachine):
    """A run of 60 rows. The rules are what may happen; after the last one all is quiet, and the run must end."""

    @initialize(workers=st.lists(DRIFTS, min_size=1, max_size=4), drift=DRIFTS, budget=st.integers(1, 100))
    def start(self, workers: list[float], drift: float, budget: int) -> None:
        self.time = 0.0
        self.budget = PER_CALL * budget - 1
        self.driver = Driver(ROWS, self.budget, drift, smallest_part=SHARE_PARTS // 8)
        self.workers: list[Worker] = []
        self.messages: list[Grant | Report] = []
        self.done: dict[str, int] = {}
        self.used_by_dead = 0.0
        for each in workers:
            self.join(each)

    def join(self, drift: float) -> None:
        self.workers.append(Worker(len(self.workers), drift))
        self.messages.append(self.workers[-1].report(self.time))

    def pick(self, which: int, *, frozen: bool = False) -> Worker | None:
        found = [each for each in self.workers if each.is_alive and each.is_frozen == frozen]
        return found[which % len(found)] if found else None

    def deliver(self, message: Grant | Report) -> None:
        if isinstance(message, Report):
            self.messages += self.driver.receive(message, self.time)
            return
        worker = self.workers[message.worker]
        if worker.is_frozen:
            worker.inbox.append(message)
        elif worker.is_alive:
            worker.apply(message)
            self.messages.append(worker.report(self.time))  # what has changed is confirmed at once

    @rule(seconds=st.sampled_from([0.002, 0.3, 1.0, 3.0, 9.95]))
    def time_passes(self, seconds: float) -> None:
        self.time += seconds

    @rule()
    def a_second_passes(self) -> None:
        self.time += 1.0
        for worker in self.workers:
            if worker.is_alive and not worker.is_frozen:
                self.messages.append(worker.report(self.time))
        self.tick()

    @rule()
    def tick(self) -> None:
        self.driver.units.record_done(self.done)
        self.messages += self.driver.tick(self.time)

    @precondition(lambda self: self.messages)
    @rule(which=WHICH)
    def a_message_arrives(self, which: int) -> None:
        self.deliver(self.messages.pop(which % len(self.messages)))

    @precondition(lambda self: self.messages)
    @rule()
    def all_messages_arrive(self) -> None:
        messages, self.messages = self.messages, []
        for message in messages:
            self.deliver(message)

    @precondition(lambda self: self.messages)
    @rule(which=WHICH)
    def a_message_arrives_and_will_arrive_again(self, which: int) -> None:
        self.deliver(self.messages[which % len(self.messages)])

    @precondition(lambda self: self.messages)
    @rule(which=WHICH)
    def a_message_is_lost(self, which: int) -> None:
        self.messages.pop(which % len(self.messages))

    @rule(which=WHICH, count=st.integers(1, 20))
    def rows_begin(self, which: int, count: int) -> None:
        worker = self.pick(which)
        for _ in range(count):
            if worker is not None and worker.can_begin(self.time):
                worker.begin()

    @rule(which=WHICH, count=st.integers(1, 20))
    def rows_end(self, which: int, count: int) -> None:
        worker = self.pick(which)
        for _ in range(count):
            if worker is not None and worker.in_flight:
                row = worker.end()
                self.done[row] = self.done.get(row, 0) + 1

    @rule(which=WHICH, factor=st.sampled_from([1.0, 2.0]))
    def calls_seem_to_cost(self, which: int, factor: float) -> None:
        if worker := self.pick(which):
            worker.expected = factor * PER_CALL

    @rule(which=WHICH)
    def a_worker_is_frozen(self, which: int) -> None:
        if worker := self.pick(which):
            worker.is_frozen = True

    @rule(which=WHICH)
    def a_frozen_worker_goes_on(self, which: int) -> None:
        if worker := self.pick(which, frozen=True):
            worker.is_frozen = False
            inbox, worker.inbox = worker.inbox, []
            for message in inbox:
                self.deliver(message)

    @rule(which=WHICH, is_noticed=st.booleans())
    def a_worker_is_killed(self, which: int, is_noticed: bool) -> None:
        if worker := self.pick(which):
            worker.is_alive = False
            if is_noticed:
                self.driver.units.record_done(self.done)
                self.driver.record_end(worker.name, worker.used)

    @precondition(lambda self: len(self.workers) < 6)
    @rule(drift=DRIFTS)
    def a_worker_joins(self, drift: float) -> None:
        self.join(drift)

    # T1: the shares in use never exceed the limit

    @invariant()
    def shares_add_up_to_the_limit_at_most(self) -> None:
        assert sum(each.part for each in self.workers if each.has_lease(self.time)) <= SHARE_PARTS

    # T4

    @invariant()
    def a_row_is_with_one_worker_that_may_begin_it(self) -> None:
        rows = [row for each in self.workers if each.has_lease(self.time) for row in each.not_begun + each.in_flight]
        assert len(rows) == len(set(rows))

    # T6

    @invariant()
    def the_budget_is_exceeded_by_one_call_of_each_worker_at_most(self) -> None:
        spent = sum(each.used + PER_CALL * len(each.in_flight) for each in self.workers if each.is_alive)
        gone = sum(each.used for each in self.workers if not each.is_alive)
        assert spent + gone <= self.budget + PER_CALL * len(self.workers)

    # T2, T3, T5: what must happen once all is quiet

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        for worker in self.workers:
            while worker.is_frozen and worker.is_alive:
                self.a_frozen_worker_goes_on(0)
        for second in range(200):
            self.quiet_second(factor=1 + second % 2 if second < 40 else 1)
            if second == 13:  # leases of workers that are gone are over after 10.5 s
                self.check_shares()
            if self.driver.units.is_finished or self.is_budget_used:
                break
        if self.driver.units.is_finished:
            assert self.done.keys() == set(map(str, range(ROWS)))
        else:
            assert self.is_budget_used or not self.held(), "rows are left, but no worker has any to do"

    @property
    def is_budget_used(self) -> bool:
        return self.driver.amount.used >= self.budget

    def held(self) -> list[Worker]:
        return [each for each in self.workers if each.has_lease(self.time) and each.name in self.driver.newest]

    def quiet_second(self, factor: float) -> None:
        for worker in range(len(self.workers)):
            self.calls_seem_to_cost(worker, factor)
            self.rows_end(worker, 2)
        self.a_second_passes()
        while self.messages:
            self.all_messages_arrive()
            for each in self.workers:  # which changes what the next reports say
                if each.can_begin(self.time):
                    each.begin()
        for worker in range(len(self.workers)):
            self.rows_begin(worker, 20)
        self.shares_add_up_to_the_limit_at_most()
        self.a_row_is_with_one_worker_that_may_begin_it()
        self.the_budget_is_exceeded_by_one_call_of_each_worker_at_most()

    def check_shares(self) -> None:
        """No worker starves, and what those that are gone had is with the others."""
        parts = [each.part for each in self.held()]
        assert all(parts), f"a worker got no share: {parts}"
        assert not parts or sum(parts) == SHARE_PARTS


TestSharedWork = SharedWork.TestCase
TestSharedWork.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)
