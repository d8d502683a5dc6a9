import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_r1.files import UserError
from vision_r1.report.provenance import RuleCost
from vision_r1.report.rulegraph import draw_rulegraph, layers, read_rulegraph, reduced, without_circles

DOT = """digraph snakemake_dag {
    node[shape=box, style=rounded];
	0[label = "all", color = "0.00 0.6 0.85", style="rounded"];
	1[label = "score_suite", color = "0.49 0.6 0.85", style="rounded"];
	2[label = "predict_suite", color = "0.39 0.6 0.85", style="rounded,dashed"];
	3[label = "make_scenes", color = "0.31 0.6 0.85", style="rounded"];
	1 -> 0
	2 -> 1
	3 -> 1
	3 -> 2
}
"""
NEEDS = {"score_suite": {"predict_suite", "make_scenes"}, "predict_suite": {"make_scenes"}, "make_scenes": set()}


def test_snakemakes_graph_is_read_without_its_target():
    assert read_rulegraph(DOT) == NEEDS
    with pytest.raises(UserError, match="snakemake --rulegraph"):
        read_rulegraph("Nothing to be done\n")


def test_edges_that_follow_from_others_are_left_out():
    assert reduced(NEEDS) == NEEDS | {"score_suite": {"predict_suite"}}


def test_a_rule_whose_jobs_need_each_other_is_drawn(tmp_path):
    """Stage 2 of GRPO needs stage 1, and both wait for the base model's scores."""
    needs = NEEDS | {
        "check_anchors": {"score_suite"},
        "train_grpo": {"train_grpo", "check_anchors", "make_scenes"},
        "predict_suite": {"train_grpo", "make_scenes"},
    }
    cut = without_circles(needs)
    assert cut == needs | {"train_grpo": {"make_scenes"}}
    draw_rulegraph(needs, [], tmp_path / "rulegraph")
    assert (tmp_path / "rulegraph.svg").is_file()


def reachable(needs, name):
    return needs[name].union(*(reachable(needs, each) for each in needs[name]))


@settings(deadline=None)
@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda pair: pair[0] < pair[1])))
def test_the_reduced_graph_has_the_same_paths_and_layers_rise(edges):
    needs = {str(node): {str(a) for a, b in edges if b == node} for node in range(7)}
    small, depth = reduced(needs), layers(needs)
    assert all(reachable(small, name) == reachable(needs, name) for name in needs)
    assert all(depth[source] < depth[name] for name in needs for source in needs[name])


def test_the_picture_names_each_rule_and_its_time(tmp_path):
    stages = [RuleCost("predict_suite", 12, 111.0, 20.0, 506.0, 0)]
    draw_rulegraph(NEEDS, stages, tmp_path / "rulegraph")
    svg = (tmp_path / "rulegraph.svg").read_text()
    for text in ("score_suite", "predict_suite", "12 jobs · 1 min 51 s", "not run, or not measured"):
        assert f"<!-- {text} -->" in svg
    assert (tmp_path / "rulegraph.png").read_bytes().startswith(b"\x89PNG")
    draw_rulegraph(NEEDS, stages, tmp_path / "again")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "rulegraph.svg").read_bytes()
