"""Samples the reference posteriors, judges them together, and prints one markdown table."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from benchmarks.posteriordb.run import CASES, beside, judge_together, table
from sursum.errors import DiagnosticWarning


def main() -> int:
    """0 where every posterior agrees."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.posteriordb", description=__doc__)
    parser.add_argument("words", nargs="*", help="judge those whose names hold one of these words; all of them otherwise")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nutpie", action="store_true", help="sample each by nutpie as well, for its steps and its ESS")
    parser.add_argument("--write", type=Path, help="write the table to this file as well")
    options = parser.parse_args()
    chosen = [case for case in CASES if not options.words or any(word in case.name for word in options.words)]
    warnings.simplefilter("ignore", DiagnosticWarning)  # the rule judges, more strictly
    verdicts = judge_together(chosen, seed=options.seed, say=lambda text: print(text, file=sys.stderr, flush=True))
    if options.nutpie:
        verdicts = [beside(verdict, options.seed) for verdict in verdicts]
    print(table(verdicts), end="")
    if options.write:
        options.write.write_text(table(verdicts))
    return 0 if all(verdict.agrees for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
