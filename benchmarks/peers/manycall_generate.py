"""`manycall generate -p "{{ prompt }}" ROWS -o OUT -j IN_FLIGHT`, through its Python function."""

import manycall
from contract import Job, drive


def run(job: Job) -> int:
    """Run a complete job: rows, journal, output, summary."""
    report = manycall.generate(
        "{{ prompt }}", job.rows, model="mock", base_url=job.url, out=job.out, concurrency=job.in_flight,
        limit=job.count, progress=False,
    )  # fmt: skip
    return report.done


if __name__ == "__main__":
    drive(run)
