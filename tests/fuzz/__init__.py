"""Fuzzing: what no test thought of. `scripts/fuzz` runs it for long, tests/fuzz/test_short_runs.py for moments."""
