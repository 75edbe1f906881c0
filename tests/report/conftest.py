"""The report of the finished synthetic run as it comes, built once for all tests that only read it."""

from pathlib import Path

import pytest

from rlreason.report import build_report
from tests.report.synthetic import finished_run


@pytest.fixture(scope="session")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its report.html; report.json and report.md lie beside it. Not to be written to."""
    return build_report(finished_run(tmp_path_factory.mktemp("plain")))
