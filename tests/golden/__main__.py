"""`python -m tests.golden DIR [CASE …]`: a line per case; exits with 1 if one fails."""

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.golden import adapters  # noqa: F401  (registers the adapters)
from tests.golden.runner import Report, cases, run


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with <case>.json and <case>.npz")
    parser.add_argument("case", nargs="*", help="only these cases")
    arguments = parser.parse_args(given)
    chosen = [c for c in cases(arguments.folder) if not arguments.case or c.name in arguments.case]
    unknown = set(arguments.case) - {c.name for c in chosen}
    if not chosen or unknown:
        print(
            f"no case {', '.join(sorted(unknown)) or ''} in {arguments.folder}".replace("  ", " ")
        )
        return 2

    reports = []
    for case in chosen:
        start = time.perf_counter()
        try:
            report = run(case)
        except Exception:  # a crash in one case must not hide the others
            report = Report(case.name, note=traceback.format_exc().strip().splitlines()[-1])
        reports.append(report)
        print(f"{report.line()}  [{time.perf_counter() - start:.1f} s]", flush=True)

    passed = sum(r.passed for r in reports)
    skipped = sum(r.skipped for r in reports)
    failed = len(reports) - passed - skipped
    print(f"{passed} passed, {failed} failed, {skipped} without an adapter")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
