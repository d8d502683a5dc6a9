"""Did it work? One sentence per experiment, computed from the numbers, also when training made things worse."""

from collections.abc import Sequence
from dataclasses import dataclass

from vision_r1.experiments import STAGES, split_training_seed, with_training_seed
from vision_r1.report.results import MEAN, STAGE_TITLES, Result, lookup, pairs
from vision_r1.report.text import points

# A difference below one point is called no clear change (ours), and so is a larger one whose interval over test
# images holds 0. The interval leaves out the randomness of training, so this is a low bar.
CLEAR = 0.01


@dataclass(frozen=True)
class Verdict:
    """answer: Yes | Partly | No | Unclear | Unknown; sentence: the numbers behind it, without the answer."""

    answer: str
    sentence: str


def verdict(results: Sequence[Result], arms: Sequence[str], suite: str, protocol: str) -> Verdict:
    """Compare base, SFT and both stages of one experiment by AP on one benchmark.

    arms: the experiment's name with each training seed (`strict`, `strict_s1`); the first one is told, the others
    give the range. Yes: a clear gain over base, not lost in stage 2, not clearly below SFT, clear with every training
    seed, and no loss on another benchmark. Partly: a clear gain with one of these faults. No: a clear loss. Unclear:
    a change below one point, or one whose 95 % interval over test images holds 0. Unknown: a number is missing.
    """
    scores = _scores(results, arms[0], suite, protocol)
    experiment, training_seed = split_training_seed(arms[0])
    missing = [stage for stage in ("base", *STAGES) if stage not in scores]
    if missing:
        titles = ", ".join(STAGE_TITLES[stage] for stage in missing)
        return Verdict("Unknown", f"{suite} AP ({protocol}) is missing for {experiment}: {titles}.")

    base, first, last = (scores[stage] for stage in ("base", *STAGES))
    gain, second = last - base, last - first
    measured = lookup(results)
    low, high = _interval(measured[f"{arms[0]}/{STAGES[-1]}", suite, protocol, MEAN])
    chance = low is not None and low <= 0 <= high
    clear = abs(gain) >= CLEAR and not chance
    move = "did not clearly move" if not clear else "raised" if gain > 0 else "made the model worse: it lowered"
    sentence = (
        f"GRPO ({experiment}) {move} {suite} AP from {points(base)} to {points(last)} "
        f"(stage 1 {points(first - base, signed=True)}, stage 2 {points(second, signed=True)})"
    )
    if low is not None:
        sentence += (
            f", 95 % interval of the change {points(low, signed=True)} to {points(high, signed=True)}"
            f"{', which holds 0: the choice of test images may be all of it' if chance else ''}"
        )
    fault = second <= -CLEAR
    if "sft" in scores:
        ahead = last - scores["sft"]
        side = "about as good" if abs(ahead) < CLEAR else "lower" if ahead > 0 else "higher"
        sentence += f"; SFT on the same data reached {points(scores['sft'])}, {side}."
        fault |= ahead <= -CLEAR
    else:
        sentence += "; SFT is missing."
    if len(arms) > 1:
        ends = [_scores(results, arm, suite, protocol).get(STAGES[-1]) for arm in arms]
        gains = [end - base for end in ends if end is not None]
        sentence += (
            f" This is training seed {training_seed}; over {len(gains)} of {len(arms)} training seeds the change "
        )
        sentence += f"is {points(min(gains), signed=True)} to {points(max(gains), signed=True)}."
        fault |= min(gains) < CLEAR

    lost = _lost(results, arms[0], (suite, protocol))
    if lost:
        sentence += f" It made the model worse on {', '.join(lost)}."
    fault |= bool(lost)

    if not clear:
        return Verdict("Unclear", sentence)
    if gain < 0:
        return Verdict("No", sentence)
    return Verdict("Partly" if fault else "Yes", sentence)


def _scores(results: Sequence[Result], arm: str, suite: str, protocol: str) -> dict[str, float]:
    """Return stage -> mean AP of what was measured: base, the SFT arm of the same training seed, both stages."""
    index = lookup(results)
    names = {"base": "base", "sft": with_training_seed("sft", split_training_seed(arm)[1])}
    names |= {stage: f"{arm}/{stage}" for stage in STAGES}
    found = {stage: index.get((name, suite, protocol, MEAN)) for stage, name in names.items()}
    return {stage: result.AP for stage, result in found.items() if result is not None and result.AP is not None}


def _interval(result: Result) -> tuple[float | None, float | None]:
    known = result.delta_low is not None and result.delta_high is not None
    return (result.delta_low, result.delta_high) if known else (None, None)


def _lost(results: Sequence[Result], arm: str, told: tuple[str, str]) -> list[str]:
    """List the other benchmarks whose AP clearly fell from base to the last stage, each with its loss."""
    index, lost = lookup(results), []
    for suite, protocol in pairs(results):
        own, base = (index.get((name, suite, protocol, MEAN)) for name in (f"{arm}/{STAGES[-1]}", "base"))
        if (suite, protocol) == told or own is None or base is None or None in (own.AP, base.AP):
            continue
        change, (_, high) = own.AP - base.AP, _interval(own)
        if change <= -CLEAR and (high is None or high < 0):
            lost.append(f"{suite} ({protocol}, AP {points(change, signed=True)})")
    return lost
