"""A model card: front matter that the Hugging Face hub reads, and Markdown for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from markupsafe import Markup

from vision_r1 import asking, configuration
from vision_r1.data import places
from vision_r1.evaluation.published import MEAN
from vision_r1.experiments import (
    BASE,
    SFT,
    VISION_R1,
    experiment_config,
    parent_checkpoint,
    split_checkpoint,
    training_values,
)
from vision_r1.families import FAMILIES
from vision_r1.model_folder import ASKING
from vision_r1.processors import IMAGE
from vision_r1.report.disclosures import coarse_labels, disclosures
from vision_r1.report.provenance import commit, flatten
from vision_r1.report.results import Checkpoint
from vision_r1.report.template import environment
from vision_r1.report.text import markdown_text
from vision_r1.text import shorten, visible

LONGEST = 300  # characters of a text from outside, such as a label, in a card


@dataclass(frozen=True)
class Example:
    """A question as the model reads it: `before` the image, `between` it and the `question`, and `after` both."""

    before: str
    between: str
    question: str
    after: str

    @classmethod
    def of(cls, prompt: str, question: str) -> "Example":
        """Split what the chat template makes of a question about one image."""
        before, _, rest = prompt.partition(IMAGE)
        between, _, after = rest.partition(question)
        return cls(before, between, question, after)


def card(
    name: str,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
    curation: Mapping[str, Any],
    comparison: Mapping[str, Any],
    licences: Mapping[str, str],
    labels: Sequence[str],
    example: Example,
    licence_files: Sequence[str] = (),
    warning: str | None = None,
) -> str:
    """Return the card of one trained checkpoint as Markdown with YAML front matter; foreign text is escaped.

    name: sft, <experiment>/<stage> or one with a training seed; config: resolved; training: its metrics.json;
    curation: of curate_train.py; comparison: of compare_checkpoints.py; licences: training source -> licence;
    labels: some that it was trained on; example: its question about them; licence_files: that came with the base model;
    warning: what the numbers are not comparable with.
    """
    place, lines = Checkpoint.of(name), _lines(comparison, name)
    own = experiment_config(config, split_checkpoint(name)[0])
    settings = training_values(config, name) | ({"lora": own["lora"]} if own["lora"] else {})
    markdown = environment(_finalize, autoescape=False)
    markdown.filters["literal"] = lambda text: Markup(ascii(text))
    made, sources = config["model"]["source"] == "made", list(curation.get("datasets", ()))
    of_scenes = all(licences.get(source) == places.MADE_HERE for source in sources)
    licence = "as-the-base-model" if not made else "made-here" if of_scenes else "as-the-training-data"
    body = markdown.get_template("card.md.j2").render(
        checkpoint=place,
        title=config["report"]["title"],
        warning=None if warning is None else Markup(markdown_text(warning, 10 * LONGEST)),
        criterion=own["reward"]["criterion"],
        vision_r1=VISION_R1,
        run=configuration.run_name(config),
        config=config,
        coarse_labels=coarse_labels(config),
        disclosures=disclosures(config),
        labels=labels,
        **asdict(example),
        image=Markup(IMAGE),
        max_new_tokens=asking.of_run(config)["max_new_tokens"],
        transformers=Markup(version("transformers")),
        asking=Markup(ASKING),
        frame=FAMILIES[config["model"]["family"]].frame,
        parent=parent_checkpoint(config, name),
        curation=curation,
        tasks={task: counts for task, counts in curation.get("samples", {}).items() if counts.get("written")},
        sources=sources,
        licence=licence,
        licences=licences,
        seed=settings.pop("seed"),
        settings=flatten(settings),
        training=training,
        lines=lines,
        commit=commit(),
        licence_files=licence_files,
    )
    return f"---\n{_front_matter(config, place, lines, licence).to_yaml()}\n---\n\n{body}"


def _front_matter(
    config: Mapping[str, Any], place: Checkpoint, lines: Sequence[Mapping[str, Any]], licence: str
) -> ModelCardData:
    model, own = config["model"], config["model"]["source"] == "made"
    return ModelCardData(
        license="apache-2.0" if licence == "made-here" else "other",
        license_name=None if licence == "made-here" else licence,
        language="en",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        base_model=visible(model["id"]) if model["source"] == "hub" else None,
        tags=["vision-r1", "object-detection", "trl", "sft" if place.stage == SFT else "grpo"],
        model_name=visible(shorten(f"{configuration.run_name(config)} {place.name}")),
        # Numbers on synthetic scenes must not appear among the hub's benchmark results.
        eval_results=None
        if own
        else [
            EvalResult(
                task_type="object-detection",
                dataset_type=visible(shorten(line["suite"])),
                dataset_name=visible(shorten(f"{line['suite']}, {line['protocol']}")),
                dataset_config=visible(shorten(line["protocol"])),  # without it, two protocols become one entry
                metric_type="AP",
                metric_value=line["value"],
            )
            for line in lines
            if line["value"] is not None
        ],
    )


def _lines(comparison: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Return the comparison's lines about a suite's mean, against the base model."""
    wanted = {"checkpoint": name, "reference": BASE, "dataset": MEAN, "metric": "AP"}
    return [line for line in comparison["lines"] if wanted.items() <= line.items()]


def _finalize(value: Any) -> Any:
    return markdown_text(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value
