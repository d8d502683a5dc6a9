"""The processor that the run will use, built before the run, so that bad files of the model show at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vision_r1.data.tokens import token_lengths
from vision_r1.families import Family, family
from vision_r1.model_folder import check_model, check_weights, weight_files
from vision_r1.models import check_checkpoint

if TYPE_CHECKING:
    from vision_r1.processors import ImageOnlyProcessor


LENGTHS = {"prompt_tokens", "image_tokens", "answer_tokens"}


def find_processor(config: Mapping[str, Any], models: Path) -> "ImageOnlyProcessor | None":
    """Return the run's processor, None where it has yet to be fetched from the hub.

    Looked for in this order: a folder that model.id names, the run's base model, its processor.

    Raises UserError for a folder that can't be trained from, or from whose files no processor can be built.
    """
    from vision_r1.miniature.processor import made_processor
    from vision_r1.processors import load_processor

    model = config["model"]
    if model["source"] == "made":
        return made_processor(config)
    places = [models / "base/model", models / "processor"]
    if model["source"] == "folder":
        places = [Path(model["id"])]
        check_model(places[0])
        check_weights(places[0], weight_files(places[0]))
    model_family = family(model["family"])
    for folder in places:
        if folder.is_dir():
            check_checkpoint(folder, model_family)
            return load_processor(folder, model_family, model["min_pixels"], model["max_pixels"])
    return None


def with_lengths(
    rows: list[dict[str, Any]], processor: "ImageOnlyProcessor", model_family: Family
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows with their lengths in tokens, counted here where curation didn't, and notes for the reader.

    A row has more tokens than its question: the template adds turns, and for some models a system message.
    """
    from vision_r1.data.tokens import ProcessorTokens

    tokens = ProcessorTokens(processor)
    if LENGTHS <= rows[0].keys():
        (counted,) = tokens.count(rows[:1])
        now = token_lengths(rows[0], counted, model_family)
        if now == {name: rows[0][name] for name in now}:
            return rows, []
        return rows, ["The existing training file was counted with another processor: make it again."]
    counts = tokens.count(rows)
    return [row | token_lengths(row, counted, model_family) for row, counted in zip(rows, counts, strict=True)], []
