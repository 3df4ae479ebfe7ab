"""Benchmarks: what the library costs, as ratios to the barest way of doing the same.

`python -m benchmarks` measures all cases, one module of `benchmarks.cases` each. A case has several
contenders, which do the same work in the same run, turn by turn, so that a busy machine disturbs all
of them alike. Trust the ratios; the absolute rates belong to the machine.
"""
