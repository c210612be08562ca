"""lm-evaluation-harness beside ours, on the same recorded responses: `make crosscheck`.

harness.py     runs in lm-eval's own environment, and asks its code
ours.py        asks ours
responses.py   what both are given: made-up answers, of every kind that models give
tasks.py       the other tasks, with task_cases.py (rows and responses) and task_harness.py (in lm-eval's environment)
over_http.py   both against the same endpoint, their request bodies recorded
__main__.py    compares, and notes what lm-eval said in recorded.json, for `make test` on machines without it

choices.py and choices_over_http.py do the same for multiple choice, with letters.py and choice_data.py as the input;
choice_harness.py asks lm-eval, authority_harness.py the code of simple-evals, OpenCompass and MMLU-Pro.

at_sim.py runs `lm_eval` and `manycall eval` at the simulated endpoint, with sim_cases.py as the data of each task.
"""
