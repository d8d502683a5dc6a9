"""What a training records besides TRL's own logs."""

from types import SimpleNamespace

from vision_r1.files import write_jsonl
from vision_r1.training.recording import AddMetrics, sampled


def test_speed_is_of_the_steps_since_the_last_log(monkeypatch):
    clock = SimpleNamespace(monotonic=iter([10.0, 12.0, 20.0]).__next__)
    monkeypatch.setattr("vision_r1.training.recording.time", clock)
    state = SimpleNamespace(global_step=100, log_history=[{"loss": 1.0}, {"loss": 0.5}])
    metrics = AddMetrics(SimpleNamespace(), samples_per_step=3)
    metrics.on_train_begin(None, state, None)
    found = []
    for state.global_step in (104, 108):
        logs = {"loss": 0.5}
        metrics.on_log(None, state, None, logs=logs)
        assert state.log_history[-1] == logs and state.log_history[0] == {"loss": 1.0}
        found.append(logs["samples_per_second"])
    assert found == [6.0, 1.5]


def test_samples_of_steps_after_the_last_checkpoint_are_left_out(tmp_path):
    for step in (9, 10, 11):
        write_jsonl(tmp_path / f"completions/{step:08d}.jsonl", [{"step": step}])
    assert sampled(tmp_path, 10) == [{"step": 9}, {"step": 10}]
