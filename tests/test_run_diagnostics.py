"""What a report advises: right for the run and the spec at hand, and silent where nothing is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_runs import changed, small

import sgc
from sgc.evaluation.calibration import Bin, Calibration
from sgc.evaluation.confusion import Confusion
from sgc.evaluation.diagnosis import Diagnosis
from sgc.evaluation.disentanglement import Disentanglement, Readout
from sgc.evaluation.measurement import Bounds, Evaluation
from sgc.evaluation.prediction_scores import Error
from sgc.metrics.metrics import METRICS
from sgc.run_report.diagnostic import Diagnostic, Measured
from sgc.run_report.run_diagnostics import diagnostics
from sgc.run_report.run_facts import LabelCounts, RunFacts
from sgc.run_report.training_history import History
from sgc.spec.resolver import outline

FACTS = RunFacts(
    *("runs/small", "small", "", "best", 20.0, True, 0, 100, "elbo", 1, "spec", {"unlabelled": 40, "labelled": 20}),
    *({"y": 20}, {"sgc": "0"}, "a machine", 1, ""),
)


def points(*values: float | None) -> tuple[tuple[int, float | None], ...]:
    return tuple(enumerate(values, 1))


def error(wrong: int, ece: float = 0.01, sure: float = 0.9) -> Error:
    """Make the error of y over 100 rows, of which so many zeros are taken for ones; 60 are zeros."""
    pairs = np.array([[0, 0, 60 - wrong], [0, 1, wrong], [1, 1, 40]])
    calibration = Calibration(ece, 0.3, 0.1, (Bin(0.8, 1, 100, sure, 1 - wrong / 100),))
    confusion = Confusion((0, 1), pairs[pairs[:, 2] > 0])
    return Error(METRICS["error"], wrong / 100, 100, 0.01, calibration=calibration, confusion=confusion)


def run(history: dict[str, Any] | None = None, evaluation: dict[str, Any] | None = None, **changes: Any) -> Measured:
    """Make a run in which all is well, but for what is changed; spec: changes of the small spec."""
    spec = sgc.load(changed(small(train__epochs=20), **changes.pop("spec", {})))
    diagnosis = Diagnosis({"unlabelled": {"z": {"kl": -2.0}}}, {"none": 40.0}, {"z": 2}, {"z": 2}, [], {})
    known: dict[str, Any] = {
        "rows": 100,
        "samples": 100,
        "from_q": {"y": error(5)},
        "from_posterior": {"y": error(5)},
        "bounds": Bounds(-10.0, 0.1, -9.0, 0.1, 40.0),
        "diagnosis": diagnosis,
        "total": 100,
    }
    past: dict[str, Any] = {
        "done": 20,
        "planned": 20,
        "best": 15,
        "seconds": 1.0,
        "bounds": {"unlabelled": points(*[-10.0] * 20), "validation": points(*[-10.1] * 20)},
        **{key: {} for key in ("terms", "errors", "effective", "active", "norm", "noise")},
        "rate": (),
    }
    return Measured(
        outline(spec),
        changes.pop("facts", FACTS),
        History(**{**past, **(history or {})}),
        Evaluation(**{**known, **(evaluation or {})}),
        changes.pop("counts", ()),
        changes.pop("codes", {}),
        **changes,
    )


def wrong(measured: Measured) -> list[Diagnostic]:
    return [found for found in diagnostics(measured) if found.level != "good"]


def test_of_a_good_run_nothing_is_to_be_mended() -> None:
    assert wrong(run()) == []
    assert len(diagnostics(run())) >= 4


def test_overfitting_names_the_epoch_and_what_the_spec_lacks() -> None:
    falling = {"bounds": {"unlabelled": points(-9, -8, -7), "validation": points(-9, -8.5, -9.5)}}
    (found,) = wrong(run(falling))
    assert found.text == "It overfits: the validation bound fell by 1 nats after epoch 2."
    assert "train.stop" in found.advice
    (found,) = wrong(run(falling, spec={"train__stop": {"patience": 3}}))
    assert "train.stop" not in found.advice


def test_collapse_is_advised_on_by_the_kl_weight_at_hand() -> None:
    gone = Diagnosis({"unlabelled": {"z": {"kl": -0.01}}}, {"none": 40.0}, {"z": 0}, {"z": 2}, ["z"], {})
    (found,) = wrong(run(evaluation={"diagnosis": gone}))
    assert "objective.kl_weight: {from: 0, to: 1, epochs: 5}" in found.advice
    rising = {"objective__kl_weight": {"from": 0, "to": 1, "epochs": 9}}
    (found,) = wrong(run(evaluation={"diagnosis": gone}, spec=rising))
    assert "rises over 9 epochs already" in found.advice


def test_collapse_is_told_from_training_where_no_rows_are_held_out() -> None:
    terms = {"z": {"kl": {"unlabelled": points(-3.0, -0.01)}}}
    without = replace(run({"terms": terms}), evaluation=None)
    (found,) = wrong(without)
    assert found.text.startswith(
        "z has collapsed: in the last epoch of training q(z | …) was within 0.05 nats of p: 0.01"
    )
    assert "objective.kl_weight" in found.advice
    (found,) = wrong(replace(run(), evaluation=None))
    assert found.text.startswith("Whether z has collapsed cannot be said")


def test_degenerate_weights_are_told_only_where_there_are_several_samples() -> None:
    alone = {"effective": {"y": points(1.0, 1.01)}}
    assert wrong(run(alone)) == []
    (found,) = wrong(run(alone, spec={"objective__samples": 5}))
    assert "one of 5 samples has all the weight" in found.text
    (found,) = wrong(run(evaluation={"bounds": Bounds(-10, 0.1, -9, 0.1, 2.5)}))
    assert "2.5 effective samples of 100" in found.text


@pytest.mark.parametrize(
    ("estimator", "advised"),
    [("score_function", "another estimator (enumerate, "), ("gumbel_softmax", "more objective.samples")],
)
def test_noise_is_advised_on_by_the_estimator(estimator: str, advised: str) -> None:
    (found,) = wrong(run({"noise": {"q(y)": points(50.0)}}, spec={"nodes__y__recognition__estimator": estimator}))
    assert found.guide == "Estimators"
    assert advised in found.advice


def test_uneven_and_missing_labels_are_told() -> None:
    (found,) = wrong(run(counts=(LabelCounts("y", ("a", "b"), (30, 2)),)))
    assert "train.category_weights: {y: balanced}" in found.advice
    (found,) = wrong(run(counts=(LabelCounts("y", ("a", "b"), (30, 0)),)))
    assert found.level == "warning"
    assert found.text == "No training row is labelled with 1 of the 2 categories of y: b."


def test_probabilities_and_errors_are_held_to_what_they_should_be() -> None:
    (found,) = wrong(run(evaluation={"from_q": {"y": error(5, ece=0.2, sure=1.0)}}))
    assert "q is too sure of y: it is right in 95 % of rows, and 100 % sure" in found.text
    assert found.advice.startswith("The weighted posterior, which `sgc predict` gives, is better calibrated")
    dropped = {"nodes__y__recognition__network": {"mlp": [6], "dropout": 0.5}}
    both = {"from_q": {"y": error(5, ece=0.2, sure=1.0)}, "from_posterior": {"y": error(5, ece=0.2)}}
    (found,) = wrong(run(evaluation=both, spec=dropped))
    assert found.advice.startswith("More dropout in the network of its q")
    told = [found.text for found in wrong(run(evaluation={"from_q": {"y": error(39)}}))]
    assert any("no better than by guessing: 39.0 % are wrong, and 40.0 %" in text for text in told)
    (found,) = wrong(run(evaluation={"from_posterior": {"y": error(20)}}))
    assert "q predicts y better than the weighted posterior" in found.text
    (found,) = wrong(run(explained={"y": -0.2}))
    assert "no better than by its mean" in found.text


def test_where_a_run_ended_is_said_only_of_epochs_that_are_known() -> None:
    (found,) = wrong(run({"done": 12}))
    assert found.text == "Training stopped after 12 of 20 epochs, by train.stop."
    assert not any("train.stop" in found.text for found in diagnostics(run({"done": 0, "bounds": {}})))


def test_a_best_epoch_before_the_average_begins_is_told() -> None:
    late = {"train__average": {"from": 16}}
    (found,) = wrong(run(spec=late))
    assert found.text == "The weights of the best epoch, 15, are no average: train.average begins after epoch 16."
    assert found.advice.startswith("--checkpoint last answers with the average of the last epoch.")
    ended = [found.advice for found in wrong(run({"done": 16}, spec={**late, "train__stop": {"patience": 1}}))]
    longer = "A smaller train.average.from or a longer train.stop.patience"
    assert f"{longer} lets an average be among those to choose from." in ended
    assert wrong(run(spec={"train__average": {"from": 14}})) == wrong(run(spec={"train__average": 0.9})) == []


def test_nothing_is_praised_on_little_evidence() -> None:
    few = replace(error(5), calibration=Calibration(0.02, 0.3, 0.1, (Bin(0.8, 1, 12, 0.98, 1.0),)), rows=12)
    measured = run(evaluation={"from_q": {"y": few}, "from_posterior": {}})
    (found,) = wrong(measured)
    assert found.text == "12 labelled rows are too few to say what q's probabilities of y are worth."
    assert not any("worth what they say" in found.text for found in diagnostics(measured))
    once, twice = ({"noise": {"q(y)": probes}} for probes in (points(0.01), points(0.01, 0.02)))
    spec = {"nodes__y__recognition__estimator": "gumbel_softmax"}
    assert not any("stand out" in found.text for found in diagnostics(run(once, spec=spec)))
    assert any("stand out" in found.text for found in diagnostics(run(twice, spec=spec)))


def test_latents_that_say_a_label_are_told() -> None:
    read = Readout("y", 500, 0.1, 0.7, True)
    codes = Disentanglement(("z",), np.zeros((1, 1)), np.zeros(1), (read,))
    (found,) = wrong(run(codes={"": codes}))
    assert "a forest reads from them y (10 % wrong, without them 70 %)" in found.text


def test_a_bound_that_was_not_finite_and_rows_left_out_are_the_worst() -> None:
    found = wrong(
        run(
            {"bounds": {"unlabelled": points(-9.0, None)}},
            {"broken": {3: "node 'x': log p is not finite"}},
            facts=replace(FACTS, finished=False),
        )
    )
    assert [each.level for each in found] == ["bad", "bad", "warning"]
    assert "first in epoch 2" in found[0].text
    assert "1 of 100 rows" in found[1].text
