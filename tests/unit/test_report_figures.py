import pytest

from vision_r1.report.figures import _joined


@pytest.mark.parametrize("second", [[5, 10], [15, 20]], ids=["restarted", "continued"])
def test_both_stages_stand_on_one_axis(second):
    stages = {
        "grpo_stage1": [{"step": 5, "reward": 1.0}, {"step": 10, "reward": 2.0}],
        "grpo_stage2": [{"step": step, "reward": 3.0} for step in second],
    }
    assert _joined(stages, "reward") == ([5, 10, 15, 20], [1.0, 2.0, 3.0, 3.0], 10)
