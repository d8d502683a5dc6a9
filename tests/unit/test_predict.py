"""Batches of a prediction are prepared one ahead, answered in order, and kept up to the image that fails."""

import re
import threading

import coco_factory
import pytest
from PIL import Image

from vision_r1.data.coco import read_coco
from vision_r1.evaluation.predict import Share, ahead, predict
from vision_r1.evaluation.protocols import Protocol, requests
from vision_r1.families import family
from vision_r1.files import UserError, read_jsonl
from vision_r1.stamps import Stamps


def test_only_the_next_item_is_prepared_meanwhile():
    begun = [threading.Event() for _ in range(4)]

    def work(item):
        begun[item].set()
        return item * 10

    made = ahead(work, range(4))
    for item in range(4):
        assert next(made) == item * 10
        if item < 3:
            assert begun[item + 1].wait(10)
        if item < 2:
            assert not begun[item + 2].wait(0.05)
    assert next(made, None) is None and not list(ahead(work, []))


def test_an_error_is_raised_when_its_item_is_due():
    def work(item):
        return 6 // (2 - item)

    made = ahead(work, range(4))
    assert [next(made), next(made)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(made)


class Backend:
    """Answers with the names of the prepared images, or fails for the image named `bad`."""

    def __init__(self, bad=None):
        self.bad, self.threads = bad, set()

    def prepare(self, questions):
        self.threads.add(threading.current_thread())
        for question in questions:
            if question.path == self.bad:
                raise UserError(f"{question.path}: not a readable image")
        return [question.path for question in questions]

    def answer(self, questions, prepared):
        assert prepared == [question.path for question in questions]
        return [{"completion": f"{question.prompt} {path}"} for question, path in zip(questions, prepared, strict=True)]


def test_prediction_imports_no_packages_of_training(root):
    stamps = Stamps()
    stamps.of(root / "workflow/scripts/predict_suite.py")
    assert any(file.name == "generation.py" for file in stamps.modules)
    for file in stamps.modules:
        assert not re.search(r"^\s*(import|from) (trl|peft|datasets|accelerate)\b", file.read_text(), re.M), file


def test_a_bad_image_is_named_and_the_batches_before_it_are_kept(tmp_path):
    dataset = read_coco("set", *coco_factory.write(tmp_path / "data"))
    asked = requests(Protocol("every", "per-category", 8, 784, 7056), dataset)
    (tmp_path / "model").mkdir()
    output, bad = tmp_path / "suite.jsonl", dataset.images[2].path

    def run(backend):
        arguments = (asked, tmp_path / "model", family("qwen2_5_vl"), lambda: backend, 3, output, {}, Share(0, 1))
        predict(*arguments)

    with pytest.raises(UserError, match=f"{bad}: not a readable image"):
        run(Backend(bad))
    assert [number for number, _ in read_jsonl(tmp_path / "suite.partial.jsonl")[1:]] == [0, 1]
    backend = Backend()
    run(backend)
    assert threading.current_thread() not in backend.threads
    lines = read_jsonl(output)
    assert [line["completion"] for line in lines] == [f"{each.prompt} {each.image.path}" for each in asked]
    run(None)  # nothing is left to answer
    Image.effect_noise(Image.open(bad).size, 50).save(bad)  # another image of this name and size
    again = Backend()
    run(again)
    assert again.threads
