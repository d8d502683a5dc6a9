"""Did it work? One sentence per experiment, computed from the numbers, also when training made things worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE, SFT, with_training_seed
from vision_r1.report.results import STAGE_TITLES, Checkpoint, Result, lookup, pairs
from vision_r1.report.text import points

# A difference below one point counts as no clear change (ours), and so does a larger one whose interval over test
# images includes 0. The interval leaves out the randomness of training, so this is a low bar.
CLEAR = 0.01


@dataclass(frozen=True)
class Conclusion:
    """answer: Yes | Partly | No | Unclear | Unknown; reasons: why, in a few words each; sentence: the numbers behind
    it.

    Unknown has no reasons: its sentence names what is missing.
    """

    answer: str
    sentence: str
    reasons: tuple[str, ...] = ()


def conclusion(results: Sequence[Result], chains: Sequence[Sequence[str]], suite: str, protocol: str) -> Conclusion:
    """Compare base, SFT baseline and all that one experiment trains or starts from by AP on one benchmark.

    chains: the experiment's checkpoints in their order, for each training seed; the sentence is about the first seed,
    the others give the range. Yes: a clear gain over base, not lost in the last training, not clearly below SFT, clear
    with every training seed, and no loss on another benchmark. Partly: a clear gain with one of these faults. No: a
    clear loss. Unclear: a change below one point, or one whose 95 % interval over test images includes 0. Unknown: no
    number.
    """
    chain, about = chains[0], (suite, protocol)
    place = Checkpoint.of(chain[-1])
    scores = {name: _ap(results, name, about) for name in (BASE, *chain)}
    if missing := [Checkpoint.of(name).title for name, score in scores.items() if score is None]:
        names = ", ".join(missing)
        return Conclusion("Unknown", f"{suite} AP ({protocol}) is missing for {place.experiment}: {names}.")

    base, last = scores[BASE], scores[chain[-1]]
    gain, steps = last - base, list(pairwise((BASE, *chain)))
    low, high = _interval(lookup(results)[chain[-1], suite, protocol, MEAN])
    chance = low is not None and low <= 0 <= high
    clear = abs(gain) >= CLEAR and (low is None or (low > 0 if gain > 0 else high < 0))
    move = "did not clearly move" if not clear else "raised" if gain > 0 else "made the model worse: it lowered"
    against_base = ("higher than base" if gain > 0 else "lower than base") if clear else "no clear change from base"
    reasons = [against_base]
    method = "SFT" if place.stage == SFT else "GRPO"
    sentence = f"{method} ({place.experiment}) {move} {suite} AP from {points(base)} to {points(last)}"
    if len(steps) > 1:
        parts = (
            f"{_title(after, place)} {points(scores[after] - scores[before], signed=True)}" for before, after in steps
        )
        sentence += f" ({', '.join(parts)})"
    if low is not None:
        sentence += (
            f", 95 % interval of the change {points(low, signed=True)} to {points(high, signed=True)}"
            f"{', which includes 0: it may be sampling noise' if chance else ''}"
        )
    else:
        sentence += ", of which there is no interval"
    fault = len(steps) > 1 and last - scores[chain[-2]] <= -CLEAR
    if fault:
        reasons.append(f"worse after {_title(chain[-1], place)} than before it")
    sft = _ap(results, with_training_seed(SFT, place.training_seed), about)
    if sft is not None:
        own, side = "about as good as", "about as good"
        if abs(last - sft) >= CLEAR:
            own, side = ("higher than", "lower") if last > sft else ("lower than", "higher")
        sentence += f"; the SFT baseline reached {points(sft)}, {side}."
        reasons.append(f"{own} SFT")
        fault |= last - sft <= -CLEAR
    else:
        sentence += "; the SFT baseline is missing."
    if len(chains) > 1:
        ends = [_ap(results, each[-1], about) for each in chains]
        gains = [end - base for end in ends if end is not None]
        sentence += (
            f" This is training seed {place.training_seed}; over {len(gains)} of {len(chains)} training seeds "
            f"the change is {points(min(gains), signed=True)} to {points(max(gains), signed=True)}."
        )
        if len(gains) < len(chains):
            reasons.append(f"{len(gains)} of {len(chains)} training seeds measured")
            fault = True
        if min(gains) < CLEAR:
            gained = sum(gain >= CLEAR for gain in gains)
            reasons.append(f"a gain with {gained} of {len(gains)} training seeds")
            fault = True

    lost = _lost(results, chain[-1], about)
    if lost:
        sentence += f" It made the model worse on {', '.join(lost)}."
        reasons.append(f"lower than base on {len(lost)} other benchmark{'s' if len(lost) > 1 else ''}")
        fault = True

    answer = "Unclear" if not clear else "No" if gain < 0 else "Partly" if fault else "Yes"
    return Conclusion(answer, sentence, tuple(reasons))


def _ap(results: Sequence[Result], checkpoint: str, about: tuple[str, str]) -> float | None:
    """Return a checkpoint's mean AP on a benchmark, None where it was not measured."""
    result = lookup(results).get((checkpoint, *about, MEAN))
    return None if result is None else result.AP


def _title(checkpoint: str, last: Checkpoint) -> str:
    """Name a training, with its experiment where that differs from the last one's."""
    place = Checkpoint.of(checkpoint)
    others = place.experiment not in ("", last.experiment)
    return STAGE_TITLES[place.stage] + (f" of {place.experiment}" if others else "")


def _interval(result: Result) -> tuple[float | None, float | None]:
    known = result.delta_low is not None and result.delta_high is not None
    return (result.delta_low, result.delta_high) if known else (None, None)


def _lost(results: Sequence[Result], checkpoint: str, benchmark: tuple[str, str]) -> list[str]:
    """List the other benchmarks whose AP clearly fell from base to a checkpoint, each with its loss."""
    index, lost = lookup(results), []
    for suite, protocol in pairs(results):
        own, base = (index.get((name, suite, protocol, MEAN)) for name in (checkpoint, BASE))
        if (suite, protocol) == benchmark or own is None or base is None or None in (own.AP, base.AP):
            continue
        change, (_, high) = own.AP - base.AP, _interval(own)
        if change <= -CLEAR and (high is None or high < 0):
            lost.append(f"{suite} ({protocol}, AP {points(change, signed=True)})")
    return lost
