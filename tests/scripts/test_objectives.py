"""The shipped objectives train; killed and resumed, each ends with the weights of its undisturbed training."""

import pytest
from configurations import load
from train_grpo import main, parse_args
from training_helpers import arguments, check_outputs, interrupt_twice, largest_change, weights_hash

from vision_r1.files import UserError, read_jsonl

OBJECTIVES = ("gspo", "cispo", "gdpo", "dr_grpo", "clip_higher", "kl_free", "four_updates")
# Completions of one token, as in test_train_grpo.py: released_2025 rewards a bare number.
TINY = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "temperature": 1.0, "max_completion_length": 1},
    **{"loss_type": "grpo", "criterion": "released_2025", "beta": 0.0},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}
OTHERS = {  # objectives that no shipped experiment has
    "adaptive_entropy": {"use_adaptive_entropy": True, "entropy_coef": 0.01, "entropy_target": 5.0},
    "high_entropy": {"top_entropy_quantile": 0.5},
    "two_sided": {"num_iterations": 2, "delta": 4.0, "epsilon_high": 0.28},
}


@pytest.fixture(scope="module")
def objective(root):
    """Return a function: name -> keys of an experiment's section grpo, with two updates per generation, not four."""
    experiments = load(root, "miniature")["experiments"]

    def keys(name):
        own = dict(OTHERS.get(name) or experiments[name]["grpo"])
        return own | ({"steps_per_generation": 2} if own.pop("updates_per_generation", None) else {})

    return keys


@pytest.fixture(scope="module")
def trained(objective, tiny_checkpoint, train_file, tmp_path_factory):
    """Return a function: name -> the folder of an objective's undisturbed training of six steps."""
    folders = {}

    def train(name):
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name) / "grpo_stage1"
            main(arguments(tiny_checkpoint, train_file, folders[name], **TINY | objective(name)))
        return folders[name]

    return train


@pytest.mark.parametrize("name", [*OBJECTIVES, *OTHERS])
def test_a_killed_training_ends_with_the_same_weights(
    name, trained, objective, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    check_outputs(trained(name), tiny_checkpoint, steps=6)
    words = arguments(tiny_checkpoint, train_file, tmp_path / "grpo_stage1", **TINY | objective(name))
    # A signal during the first of a generation's two updates takes effect after the second.
    sent = 2 if objective(name).keys() & {"steps_per_generation", "num_iterations"} else 3
    interrupt_twice(main, words, tmp_path / "grpo_stage1/state", monkeypatch, first=4, sent=sent)
    main(words)
    assert weights_hash(tmp_path / "grpo_stage1/model") == weights_hash(trained(name) / "model")


def test_gspo_differs_from_grpo_only_with_several_updates_per_generation(
    trained, tiny_checkpoint, train_file, tmp_path
):
    """With one update per generation the ratio is 1, and in both its gradient is the mean over tokens."""
    once = tmp_path / "once"
    main(arguments(tiny_checkpoint, train_file, once, **TINY | {"importance_sampling_level": "sequence"}))
    assert largest_change(once / "model", trained("kl_free") / "model") < 1e-6
    assert largest_change(trained("four_updates") / "model", trained("kl_free") / "model") > 1e-6


def test_without_sharing_the_first_update_is_the_same(trained, tiny_checkpoint, train_file, tmp_path):
    main(arguments(tiny_checkpoint, train_file, tmp_path / "own", **TINY, share_copies=False))
    first, own = (read_jsonl(folder / "history.jsonl")[0] for folder in (trained("kl_free"), tmp_path / "own"))
    for name in ("reward", "grad_norm", "entropy"):
        assert own[name] == pytest.approx(first[name], rel=1e-4), name


def test_trls_errors_are_one_line(tiny_checkpoint, train_file, tmp_path):
    words = arguments(tiny_checkpoint, train_file, tmp_path / "out", **TINY, router_aux_loss_coef=0.1)
    with pytest.raises(UserError, match="TRL: .*router_aux_loss_coef.* is set to 0.1") as error:
        main(words)
    assert "\n" not in str(error.value)


def test_an_unknown_field_of_trl_is_an_error(tiny_checkpoint, train_file, tmp_path):
    with pytest.raises(UserError, match="importance_sampling_levle"):
        parse_args(arguments(tiny_checkpoint, train_file, tmp_path, **TINY, importance_sampling_levle="sequence"))
