"""Tests of the table that `make soak` prints, on reports of pytest itself."""

from tools import soak

TESTS = """
import json
import pytest

def test_that_counts(record_property):
    record_property("tried", 40)
    record_property("times_s", json.dumps([0.01, 0.02, 0.25]))

@pytest.mark.parametrize("n", range(3))
def test_of_cases(n):
    assert n != 1

def test_that_measures(record_property):
    record_property("figures", "memory x 1.001")

def test_that_is_skipped():
    pytest.skip("not here")
"""


def test_the_table_counts_what_was_tried_and_lost(tmp_path):
    """Tries as recorded, else cases; failures as lost; times as median and worst."""
    (tmp_path / "test_them.py").write_text(TESTS)
    parts = [
        [str(tmp_path), "-q", "-k", words]
        for words in ("that_counts or of_cases", "that_measures or that_is_skipped")
    ]
    code, reports = soak.run(parts, tmp_path)
    assert code == 1
    reports.append(tmp_path / "not there.xml")
    text = soak.table([line for report in reports for line in soak.lines(report)])
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines == [
        "what was tried times lost",
        "them: that counts 40 0 median 20 ms, worst 250 ms",
        "them: of cases 3 1",
        "them: that measures 1 0 memory x 1.001",
        "them: that is skipped 0 0 1 skipped",
        "pytest, which ended without a report 0 1",
        "all 44 2",
    ]
