"""Two commands on one output: the second is refused, and the first does not notice."""

import signal

from shell import finish, sim
from torture.trial import Plan, Result
from torture.work import Output, wait_until, works

AT_ONCE = 8


def trial(plan: Plan) -> Result:
    """A second one in the middle of the first; then several at the same moment, of which one may win."""
    result = Result()
    work = works(plan.folder)[0]
    ids = {f"row {n}" for n in range(work.rows)}
    with sim("--latency", "0.1", seconds=300) as server:
        with result.case("a second one") as case:
            out = Output(plan.folder / "out.jsonl")
            first = work.begin(server.url, out)
            assert wait_until(lambda: out.calls > 0, first)
            first.send_signal(signal.SIGSTOP)  # or on a busy machine it might be done before the second begins
            second = work.run(server.url, out)
            first.send_signal(signal.SIGCONT)
            case.faults += 1
            if second.code != 2 or f"process {first.pid} " not in second.err:
                case.violations.append(f"the second ended with {second.code}: {second.err}")
            ended = finish(first)
            case.violations += [f"the first ended with {ended.code}: {ended.err}"] * bool(ended.code)
            case.violations += out.audit(ids, calls=work.rows, finished=server.stats["finished"], most=work.rows)
        with result.case(f"{AT_ONCE} at once") as case:
            out, before = Output(plan.folder / "race.jsonl"), server.stats["finished"]
            ends = [finish(process) for process in [work.begin(server.url, out) for _ in range(AT_ONCE)]]
            case.faults += AT_ONCE - 1
            codes = sorted(end.code for end in ends)
            case.violations += [f"they ended with {codes}"] * (codes != [0] + [2] * (AT_ONCE - 1))
            paid = server.stats["finished"] - before
            case.violations += out.audit(ids, calls=work.rows, finished=paid, most=work.rows)
    return result
