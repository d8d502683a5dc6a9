import json

import make_scenes
import pytest


def test_writes_images_and_annotations(tmp_path):
    arguments = ["--count", "3", "--seed", "1", "--shift", "wide"]
    arguments += ["--output_annotations", str(tmp_path / "a.json"), "--output_images", str(tmp_path / "images")]
    make_scenes.main(arguments)
    coco = json.loads((tmp_path / "a.json").read_text())
    assert [(tmp_path / "images" / image["file_name"]).is_file() for image in coco["images"]] == [True] * 3
    first = (tmp_path / "a.json").read_bytes()
    make_scenes.main(arguments)
    assert (tmp_path / "a.json").read_bytes() == first


def test_a_folder_may_have_the_name_of_the_world_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--count", "1", "--seed", "1", "--world", "miniature"]
    for _ in range(2):
        make_scenes.main([*words, "--output_annotations", "a.json", "--output_images", "miniature"])


@pytest.mark.parametrize("wrong", [["--shift", "fog"], ["--count", "0"], ["--seed", "-1"]])
def test_refuses_impossible_arguments(wrong, tmp_path, capsys):
    arguments = [
        "--count",
        "1",
        "--seed",
        "1",
        "--output_annotations",
        str(tmp_path / "a"),
        "--output_images",
        str(tmp_path / "b"),
    ]
    with pytest.raises(SystemExit):
        make_scenes.main(arguments + wrong)
    assert wrong[0] in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
