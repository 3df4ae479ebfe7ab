"""The cases: each module has `case(quick)`, a context manager that gives a Case, ready to run."""
