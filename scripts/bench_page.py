"""How long pages take to open in a headless Chromium, and how large they are:

    python scripts/bench_page.py runs/quickstart/report/report.html

Prints JSON: megabytes, and of five openings the median seconds until the page could first be read and until it has
loaded. Charts are drawn as they come near the window, so those further down cost nothing until then.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.report.chromium import Page, chromium

OPENINGS = 5
TIMES = """
(() => {
  const opened = performance.getEntriesByType("navigation")[0];
  const painted = performance.getEntriesByName("first-contentful-paint")[0];
  return {loaded: opened.loadEventEnd / 1000, readable: painted ? painted.startTime / 1000 : null};
})()
"""


def measure(page: Page, file: Path) -> dict[str, Any]:
    """Open the file again and again, each time from nothing."""
    openings = []
    for _ in range(OPENINGS):
        page.open(file.resolve().as_uri())
        page.wait("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
        openings.append(page.evaluate(TIMES))
    medians = {
        f"{name}_s": round(statistics.median(found), 3)
        for name in ("readable", "loaded")
        if (found := [each[name] for each in openings if each[name] is not None])
    }
    return {"page": str(file), "megabytes": round(file.stat().st_size / 1e6, 2), **medians}


def main() -> None:
    """Measure the pages named on the command line."""
    files = [Path(name) for name in sys.argv[1:]]
    if not files or not all(file.is_file() for file in files):
        sys.exit("bench_page: name one or more pages that are there, such as runs/quickstart/report/report.html")
    with chromium() as page:
        print(json.dumps([measure(page, file) for file in files], indent=2))


if __name__ == "__main__":
    main()
