"""Measuring: load generator, suites, and reports that read only records.

    suite -> servers -> generator (its own interpreter) -> records.jsonl -> summary -> report

`mixed`, `overhead` and `demo` are the suites; `load` and `generator` are the two ends of the
pipe to the outside world; `records` is the only file format; `summary`, `report` and
`picture` read nothing else.
"""
