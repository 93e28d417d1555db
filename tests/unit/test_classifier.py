from dataclasses import replace

import numpy as np
import pytest

from edge_fer.backends import open_backend
from edge_fer.backends.fake import FakeBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import Golden, OutputSpec, Quantisation, TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile, read_model
from edge_fer.models import find

MODEL = read_model(find("expression"))
FACE = np.full((1, 48, 48, 1), 128, np.uint8)


def classifier(model: ModelFile = MODEL, **backend_changes: object) -> Classifier:
    real = open_backend("auto", MODEL.flatbuffer)
    made = FakeBackend(real.input, real.outputs, real.run)
    for name, value in backend_changes.items():
        setattr(made, name, value)
    return Classifier(model, made)


def with_contract(**changes: object) -> ModelFile:
    return replace(MODEL, contract=MODEL.contract.with_(**changes))


def answering(logits: list[float], **contract: object) -> Classifier:
    """The shipped contract around a backend that always gives these logits."""
    tensor = TensorQuantisation(scale=0.1, zero_point=0)
    real = open_backend("auto", MODEL.flatbuffer)
    model = with_contract(
        quantisation=Quantisation(scheme="int8", input=real.input.quantisation, output=tensor),
        **contract,
    )
    raw = np.array([[round(v / 0.1) for v in logits]], np.int8)
    output = replace(real.outputs[0], quantisation=tensor)
    return Classifier(model, FakeBackend(real.input, [output], lambda array: (raw,)))


def test_probabilities_are_the_softmax_of_dequantised_logits_by_temperature() -> None:
    logits = [1.0, 2.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.5]
    found = answering(logits, output=OutputSpec(kind="logits", temperature=2.0))
    e = np.exp(np.array(logits) / 2)
    assert found.probabilities(FACE)[0] == pytest.approx(e / e.sum(), abs=1e-9)


def test_a_softmax_in_the_graph_means_the_same() -> None:
    p = [0.3, 0.4, 0.0, 0.1, 0.1, 0.1, 0.0, 0.0]
    found = answering(p, output=OutputSpec(kind="probabilities")).probabilities(FACE)[0]
    assert found == pytest.approx(p, abs=1e-6)


def test_the_answer_names_the_likeliest_label_and_all_probabilities() -> None:
    (said,) = answering([0, 5, 0, 0, 0, 0, 0, 0.0]).classify(FACE)
    assert said.label == "happiness"
    assert list(said.probabilities) == list(MODEL.contract.labels)
    assert sum(said.probabilities.values()) == pytest.approx(1)
    assert 0 < said.entropy < np.log(8)


def test_below_the_contracts_threshold_it_is_unknown_with_the_reason() -> None:
    output = OutputSpec(kind="logits", unknown={"min_probability": 0.5})
    (unsure,) = answering([0.0] * 8, output=output).classify(FACE)
    assert (unsure.label, unsure.reason) == ("unknown", "low_confidence")
    (sure,) = answering([9.0] + [0.0] * 7, output=output).classify(FACE)
    assert (sure.label, sure.reason) == ("neutral", None)


def test_no_faces_no_answers() -> None:
    assert classifier().classify(np.empty((0, 48, 48, 1), np.uint8)) == ()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": ("a", "b"), "label_scheme": "custom"}, "output"),
        ({"input": MODEL.contract.input.model_copy(update={"height": 64})}, "input"),
        ({"quantisation": Quantisation(scheme="float32")}, "int8, stated float32"),
        (
            {
                "quantisation": MODEL.contract.quantisation.model_copy(
                    update={"input": TensorQuantisation(scale=0.5, zero_point=0)}
                )
            },
            "scale=0.5",
        ),
    ],
)
def test_a_graph_that_breaks_its_contract_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ModelError, match="breaks its contract") as caught:
        classifier(with_contract(**changes))
    assert says in caught.value.message


def test_a_model_for_another_task_is_refused() -> None:
    with pytest.raises(ModelError, match="expression-sequence"):
        classifier(with_contract(task="expression-sequence"))


def test_golden_vectors_hold_here() -> None:
    for name in ("expression", "expression.float"):
        model = read_model(find(name))
        found = Classifier(model, open_backend("auto", model.flatbuffer)).check_golden()
        assert found is not None
        assert found[0] >= 4


def test_golden_vectors_that_are_off_by_two_steps_are_refused() -> None:
    contract = MODEL.contract
    assert contract.golden is not None
    expected = contract.golden.expected("int8", 8).copy()
    pixels = contract.golden.pixels(contract.input)
    expected[0, 0] = np.clip(int(expected[0, 0]) + 1, -128, 127)
    one_off = classifier(with_contract(golden=Golden.of(pixels, expected)))
    assert one_off.check_golden() == (contract.golden.n, 1.0)
    expected[0, 0] = expected[0, 0] + 1 if expected[0, 0] < 127 else -100
    with pytest.raises(ModelError, match="golden"):
        classifier(with_contract(golden=Golden.of(pixels, expected))).check_golden()


def test_close_closes_the_backend() -> None:
    found = classifier()
    found.close()
    with pytest.raises(ModelError, match="closed"):
        found.classify(FACE)
