import pytest
import tabulate_results
from report_factory import CHECKPOINTS, Run

from vision_r1.files import UserError
from vision_r1.report.results import read_csv


def test_writes_both_tables(tmp_path):
    run = Run(tmp_path, images=1)
    tabulate_results.main([*run.flags_of_tabulate(), "--seed", "3", "--banner", "Not comparable"])
    results = read_csv(tmp_path / "tables/results.csv")
    assert list(dict.fromkeys(result.checkpoint for result in results)) == list(CHECKPOINTS)
    assert {result.chain_seed for result in results} == {3}
    assert "**Not comparable**" in (tmp_path / "tables/results.md").read_text()


def test_a_missing_file_is_named(tmp_path):
    run = Run(tmp_path, images=1)
    run.metrics("sft", "coco").unlink()
    with pytest.raises(UserError, match=r"sft/coco\.json: no such file"):
        tabulate_results.main(run.flags_of_tabulate())
