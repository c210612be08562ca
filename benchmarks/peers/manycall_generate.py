"""`manycall generate -p "{{ prompt }}" ROWS -o OUT -j IN_FLIGHT`, through its Python function."""

import manycall
from contract import Job, drive


def run(job: Job) -> int:
    """A whole run: rows, journal, output, report."""
    report = manycall.generate(
        "{{ prompt }}", job.rows, model="mock", url=job.url, out=job.out, concurrency=job.in_flight, limit=job.count,
        progress=False,
    )  # fmt: skip
    return report.done


if __name__ == "__main__":
    drive(run)
