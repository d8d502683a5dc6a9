import csv

import pytest
import tabulate_results
from report_factory import CHECKPOINTS
from report_run import Run

from vision_r1.files import UserError
from vision_r1.report.results import read_csv
from vision_r1.report.style import SHEETS


def test_writes_every_table(tmp_path):
    run = Run(tmp_path, images=1)
    run.configure({"seed": 3})
    tabulate_results.main(run.words)
    results = read_csv(tmp_path / "tables/results.csv")
    assert list(dict.fromkeys(result.checkpoint for result in results)) == list(CHECKPOINTS)
    assert {result.chain_seed for result in results} == {3}
    assert "**Miniature: not comparable with the paper's numbers.**" in (tmp_path / "tables/results.md").read_text()
    assert {result.significant for result in results if result.checkpoint == "sft"} == {"yes", ""}
    for name in SHEETS:
        assert "Miniature: not comparable" in (tmp_path / f"tables/{name}.md").read_text()
        assert (tmp_path / f"tables/{name}.tex").read_text().count(r"\begin{tabular}") == 1
        with open(tmp_path / f"tables/{name}.csv", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) > 1 and {len(row) for row in rows} == {len(rows[0])}


def test_a_missing_file_is_named(tmp_path):
    run = Run(tmp_path, images=1)
    run.metrics("sft", "coco").unlink()
    with pytest.raises(UserError, match=r"sft/coco\.json: no such file"):
        tabulate_results.main(run.words)
