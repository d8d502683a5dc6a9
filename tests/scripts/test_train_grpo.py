import pytest
from train_grpo import main, parse_args
from training_helpers import arguments, check_outputs, interrupt_twice, largest_change, weights_hash

from vision_r1.files import UserError, read_json, read_jsonl

GRPO = {
    **{"per_device_train_batch_size": 8, "num_generations": 4, "loss_type": "grpo", "temperature": 1.0},
    # One token: untrained, the model says a bare number often enough, which the official format reward takes.
    **{"max_completion_length": 1, "criterion": "official"},
    **{"recall_threshold": 0.5, "precision_low": 0.5, "precision_high": 0.75},
}


@pytest.fixture(scope="module", params=[0.0, 0.04], ids=["beta0", "beta0.04"])
def beta(request):
    return request.param


@pytest.fixture(scope="module")
def trained(beta, tiny_checkpoint, train_file, tmp_path_factory):
    """Six steps without a break: one and a half passes over the eight rows."""
    out = tmp_path_factory.mktemp("runs") / "grpo_stage1"
    main(arguments(tiny_checkpoint, train_file, out, **GRPO, beta=beta))
    return out


def test_trains_and_writes_its_outputs(trained, beta, tiny_checkpoint):
    check_outputs(trained, tiny_checkpoint, steps=6)
    history = [entry for entry in read_jsonl(trained / "history.jsonl") if "loss" in entry]
    assert any(entry["reward_std"] > 0 for entry in history)
    for name in ("dual_format", "recall", "precision"):
        assert f"rewards/{name}/mean" in history[0]
    assert ("kl" in history[0]) == (beta > 0)
    assert read_json(trained / "metrics.json")["samples_seen"] == 12


def test_interrupted_training_ends_with_the_same_weights(
    trained, beta, tiny_checkpoint, train_file, tmp_path, monkeypatch
):
    out = tmp_path / "grpo_stage1"
    words = arguments(tiny_checkpoint, train_file, out, **GRPO, beta=beta)
    interrupt_twice(main, words, out / "state", monkeypatch)
    main(words)
    check_outputs(out, tiny_checkpoint, steps=6)
    assert weights_hash(out / "model") == weights_hash(trained / "model")


def test_reference_of_the_second_stage_can_be_the_arms_first_model(
    trained, beta, tiny_checkpoint, train_file, tmp_path
):
    if not beta:
        pytest.skip("no KL term, no reference")
    options = {**GRPO, "beta": 1.0, "max_steps": 1}
    main(arguments(trained / "model", train_file, tmp_path / "own", **options))
    main(arguments(trained / "model", train_file, tmp_path / "arm", **options, reference=tiny_checkpoint))
    kl = [read_json(tmp_path / name / "metrics.json")["final"]["kl"] for name in ("own", "arm")]
    assert kl[0] == pytest.approx(0, abs=1e-6) and kl[1] > 1e-4
    assert largest_change(tmp_path / "own/model", tmp_path / "arm/model") > 0


def test_image_tokens_are_never_sampled(tiny_checkpoint, train_file, tmp_path, monkeypatch):
    import trl

    forbidden = []
    original = trl.GRPOTrainer.__init__

    def spy(self, *args, **kwargs):
        forbidden.extend(kwargs["args"].generation_kwargs["suppress_tokens"])
        original(self, *args, **kwargs)

    monkeypatch.setattr(trl.GRPOTrainer, "__init__", spy)
    main(arguments(tiny_checkpoint, train_file, tmp_path / "grpo", **{**GRPO, "max_steps": 1}))
    image = read_json(tiny_checkpoint / "config.json")["image_token_id"]
    assert len(set(forbidden)) == 4 and image in forbidden


def test_criterion_flags(tiny_checkpoint, train_file, tmp_path):
    def criterion(**options):
        return parse_args(arguments(tiny_checkpoint, train_file, tmp_path, **{**GRPO, **options}))[1]

    official = criterion()
    assert (official.quality, official.denominator, official.label_aware) == ("giou", "matched", False)
    assert (official.recall_threshold, official.precision_low, official.precision_high) == (0.5, 0.5, 0.75)
    assert official.differentiate
    strict = criterion(criterion="strict", quality="giou", label_aware=False, differentiate=False)
    assert (strict.quality, strict.denominator, strict.label_aware) == ("giou", "predictions", False)
    assert not strict.differentiate


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"criterion": "lenient"}, "--criterion: 'lenient' is none of official, strict"),
        ({"recall_threshold": None}, "required: --recall_threshold"),
        ({"precision_low": 0.9}, "precision_low, precision_high"),
        ({"quality": "area"}, "quality: 'area' is none of giou, iou"),
        ({"betta": 1}, "--betta"),
        ({"per_device_train_batch_size": 6}, "divisible by"),
        ({"per_device_train_batch_size": 64}, "8 rows, but one generation takes 16 prompts"),
        ({"num_iterations": 2, "save_steps": 3}, "--save_steps 3: .* every 2 steps"),
        ({"reference": "nowhere"}, "nowhere: no such folder"),
    ],
)
def test_wrong_argument(options, message, tiny_checkpoint, train_file, tmp_path):
    with pytest.raises(UserError, match=message):
        main(arguments(tiny_checkpoint, train_file, tmp_path / "grpo", **{**GRPO, **options}))
