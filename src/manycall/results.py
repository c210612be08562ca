"""What the jobs of `manycall` and the functions over finished outputs return.

All of them print as tables, are shown as tables in a notebook, and have `to_dict()`.
"""

from manycall.comparison.comparison_result import Comparison
from manycall.comparison.ranking_result import Ranking
from manycall.evals.eval_result import EvalResult
from manycall.evals.suite_result import SuiteResult
from manycall.judging.judge_result import JudgeResult
from manycall.run.run_result import RunResult

__all__ = ["Comparison", "EvalResult", "JudgeResult", "Ranking", "RunResult", "SuiteResult"]
