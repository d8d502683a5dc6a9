"""Did it work? One sentence per experiment, computed from the numbers, also when training made things worse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import BASE, SFT, with_training_seed
from vision_r1.report.results import STAGE_TITLES, Checkpoint, Result, lookup, pairs, sft_before
from vision_r1.report.text import points

# A difference below one point counts as no clear change (ours), and so does a larger one whose interval over test
# images includes 0, or that has none. The interval leaves out the randomness of training, so this is a low bar.
CLEAR = 0.01

Intervals = Mapping[tuple[str, str, str, str], tuple[float, float]]  # of evaluation.compare.mean_intervals


@dataclass(frozen=True)
class Conclusion:
    """answer: Yes | Partly | No | Unclear | Unknown; reasons: why, in a few words each; sentence: the numbers behind
    it.

    Unknown has no reasons: its sentence names what is missing.
    """

    answer: str
    sentence: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Change:
    """A difference of two checkpoints' mean AP, with its 95 % interval over test images where it has one."""

    size: float
    interval: tuple[float, float] | None

    @property
    def clear(self) -> bool:
        if abs(self.size) < CLEAR or self.interval is None:
            return False
        return self.interval[0] > 0 if self.size > 0 else self.interval[1] < 0

    @property
    def gained(self) -> bool:
        return self.clear and self.size > 0

    @property
    def lost(self) -> bool:
        return self.clear and self.size < 0


class _Numbers:
    """Mean APs and their differences on one benchmark; None where something was not measured."""

    def __init__(self, results: Sequence[Result], intervals: Intervals, suite: str, protocol: str) -> None:
        self._results, self._intervals, self._about = lookup(results), intervals, (suite, protocol)

    def ap(self, checkpoint: str) -> float | None:
        result = self._results.get((checkpoint, *self._about, MEAN))
        return None if result is None else result.AP

    def change(self, checkpoint: str, reference: str) -> _Change | None:
        own, other = self.ap(checkpoint), self.ap(reference)
        if own is None or other is None:
            return None
        return _Change(own - other, self._intervals.get((checkpoint, reference, *self._about)))


def conclusion(
    results: Sequence[Result], chains: Sequence[Sequence[str]], suite: str, protocol: str, intervals: Intervals
) -> Conclusion:
    """Compare base, SFT baseline and all that one experiment trains or starts from by AP on one benchmark.

    chains: the experiment's checkpoints in their order, for each training seed; the sentence is about the first seed,
    the others give the range. A change is clear from one point on, with a 95 % interval over test images that leaves
    out 0. Yes: a clear gain over base, and over SFT where GRPO started from it, not clearly lost in the last training,
    not clearly below SFT, clear with every training seed, and no clear loss on another benchmark. Partly: a clear gain
    with one of these faults. No: a clear loss. Unclear: no clear change. Unknown: no number.
    """
    chain, numbers = chains[0], _Numbers(results, intervals, suite, protocol)
    place = Checkpoint.of(chain[-1])
    if missing := [Checkpoint.of(name).title for name in (BASE, *chain) if numbers.ap(name) is None]:
        names = ", ".join(missing)
        return Conclusion("Unknown", f"{suite} AP ({protocol}) is missing for {place.experiment}: {names}.")

    gain = numbers.change(chain[-1], BASE)
    sentence, reason = _against_base(numbers, chain, place, suite, protocol)
    reasons, faults = [reason], []
    if len(chain) > 1 and numbers.change(chain[-1], chain[-2]).lost:
        faults.append(f"worse after {_title(chain[-1], place)} than before it")
    baseline = with_training_seed(SFT, place.training_seed)
    sft = numbers.change(chain[-1], baseline)
    if chain[-1] == baseline:
        sentence += "."
    elif sft is None:
        sentence += "; the SFT baseline is missing."
    else:
        side = "higher than SFT" if sft.gained else "lower than SFT" if sft.lost else "no clear difference from SFT"
        if sft.interval is None:
            side = "no interval for the difference from SFT"
        sentence += f"; the SFT baseline reached {points(numbers.ap(baseline))} ({_in_points(sft)})."
        (faults if sft.lost else reasons).append(side)
    start = sft_before(chain)
    if start and not numbers.change(chain[-1], start).gained:
        faults.append("no clear gain over the SFT that it started from")
    if len(chains) > 1:
        gains = [change for each in chains if (change := numbers.change(each[-1], BASE)) is not None]
        sizes = [change.size for change in gains]
        sentence += (
            f" This is training seed {place.training_seed}; over {len(gains)} of {len(chains)} training seeds "
            f"the change from base is {points(min(sizes), signed=True)} to {points(max(sizes), signed=True)}."
        )
        if len(gains) < len(chains):
            faults.append(f"{len(gains)} of {len(chains)} training seeds measured")
        gained = sum(_gained(numbers, each) for each in chains)
        if gained < len(gains):
            over = " over base and SFT" if start else ""
            faults.append(f"a clear gain{over} with {gained} of {len(gains)} training seeds")
    if lost := _lost(results, intervals, chain[-1], (suite, protocol)):
        sentence += f" It made the model worse on {', '.join(lost)}."
        faults.append(f"lower than base on {len(lost)} other benchmark{'s' if len(lost) > 1 else ''}")

    answer = "No" if gain.lost else "Unclear" if not gain.clear else "Partly" if faults else "Yes"
    return Conclusion(answer, sentence, (*reasons, *faults))


def _gained(numbers: _Numbers, chain: Sequence[str]) -> bool:
    """Tell whether the end of a chain is clearly above base, and above the SFT from which its GRPO started."""
    changes = [numbers.change(chain[-1], start) for start in (BASE, sft_before(chain)) if start]
    return all(change is not None and change.gained for change in changes)


def _against_base(
    numbers: _Numbers, chain: Sequence[str], place: Checkpoint, suite: str, protocol: str
) -> tuple[str, str]:
    """Return the beginning of the sentence, and the reason: from base to the end of the chain."""
    gain = numbers.change(chain[-1], BASE)
    method = "SFT" if place.stage == SFT else "SFT, then GRPO" if sft_before(chain) else "GRPO"
    move, reason = "did not clearly move", "no clear change from base"
    if gain.gained:
        move, reason = "raised", "higher than base"
    elif gain.lost:
        move, reason = "made the model worse: it lowered", "lower than base"
    elif gain.interval is None:
        move, reason = "moved", "no interval for the change from base"
    ends = (points(numbers.ap(name)) for name in (BASE, chain[-1]))
    sentence = f"{method} ({place.experiment}) {move} {suite} AP ({protocol}) from {' to '.join(ends)}"
    if len(chain) > 1:
        changes = ((after, numbers.change(after, before).size) for before, after in pairwise((BASE, *chain)))
        parts = (f"{_title(after, place)} {points(size, signed=True)}" for after, size in changes)
        sentence += f" ({', '.join(parts)})"
    if gain.interval is None:
        return f"{sentence}, without an interval of the change", reason
    chance = gain.interval[0] <= 0 <= gain.interval[1]
    return (
        f"{sentence}, 95 % interval of the change {_range(gain.interval)}"
        f"{', which includes 0: it may be sampling noise' if chance else ''}"
    ), reason


def _in_points(change: _Change) -> str:
    return f"difference {points(change.size, signed=True)}, " + (
        "without an interval" if change.interval is None else f"95 % interval {_range(change.interval)}"
    )


def _range(interval: tuple[float, float]) -> str:
    return " to ".join(points(end, signed=True) for end in interval)


def _title(checkpoint: str, last: Checkpoint) -> str:
    """Name a training, with its experiment where that differs from the last one's."""
    place = Checkpoint.of(checkpoint)
    others = place.experiment not in ("", last.experiment)
    return STAGE_TITLES[place.stage] + (f" of {place.experiment}" if others else "")


def _lost(results: Sequence[Result], intervals: Intervals, checkpoint: str, benchmark: tuple[str, str]) -> list[str]:
    """List the other benchmarks whose AP clearly fell from base to a checkpoint, each with its loss."""
    lost = []
    for suite, protocol in pairs(results):
        change = _Numbers(results, intervals, suite, protocol).change(checkpoint, BASE)
        if (suite, protocol) != benchmark and change is not None and change.lost:
            lost.append(f"{suite} ({protocol}, AP {points(change.size, signed=True)})")
    return lost
