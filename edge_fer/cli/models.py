"""``edge-fer models``: list, show, verify, adopt."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Backend, Json, Quiet, Talk, emit_json

if TYPE_CHECKING:
    from edge_fer.graphfile import GraphTable

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at, check and adopt model files."
)
Which = Annotated[str, typer.Argument(help="A shipped model's name, or a .tflite file.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the shipped models.

    Example: edge-fer models list
    """
    from edge_fer.modelfile import read_model
    from edge_fer.models import shipped

    rows: list[dict[str, Any]] = []
    for name, path in shipped().items():
        model = read_model(path)
        rows.append(
            {
                "name": name,
                "bytes": path.stat().st_size,
                "scheme": model.contract.quantisation.scheme,
                "label_scheme": model.contract.label_scheme,
                "sha256": model.sha256,
            }
        )
    if json:
        emit_json({"schema": "edge-fer/models/1", "models": rows})
        return
    for row in rows:
        typer.echo(
            f"{row['name']:<20} {row['scheme']:<8} {row['label_scheme']:<10} "
            f"{row['bytes'] / 1000:>7.0f} kB  {row['sha256'][:12]}"
        )


@app.command()
def show(model: Which, json: Json = False) -> None:
    """Show a model's contract and its graph.

    The contract holds labels, preprocessing, recorded figures and provenance; the graph is one line
    for each operator, with what it makes and what it weighs.

    Example: edge-fer models show expression
    """
    from edge_fer.graphfile import read_graph
    from edge_fer.modelfile import read_model
    from edge_fer.models import find

    file = read_model(find(model))
    graph = read_graph(file.flatbuffer)
    contract = file.contract.model_dump(mode="json", by_alias=True)
    if contract["golden"]:
        # Kilobytes of base64 that nobody reads.
        contract["golden"] = {"n": contract["golden"]["n"]}
    document = {
        "schema": "edge-fer/model/1",
        "path": str(file.path),
        "sha256": file.sha256,
        "contract": contract,
    }
    if json:
        emit_json({**document, "graph": graph.to_json()})
    else:
        _tree("", document)
        _graph(graph)


@app.command()
def verify(
    models: Annotated[list[str], typer.Argument(help="Shipped names or .tflite files.")],
    backend: Backend = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a file on this device: hash, contract against the graph, golden vectors within 1 step.

    Example: edge-fer models verify expression mine.tflite
    """
    from edge_fer.assemble import open_classifier

    talk = Talk(quiet=quiet)
    rows = []
    for name in models:
        classifier = open_classifier(name, backend=backend, on_skip=talk.say)
        error = classifier.check_golden()
        rows.append(
            {
                "path": str(classifier.model.path),
                "sha256": classifier.model.sha256,
                "backend": classifier.backend.name,
                "golden": None if error is None else {"n": error[0], "max_error": error[1]},
            }
        )
        if not json:
            golden = (
                "no golden vectors" if error is None else f"golden {error[0]}, off by {error[1]:g}"
            )
            typer.echo(f"{name}: good ({classifier.backend.name}; {golden})")
    if json:
        emit_json({"schema": "edge-fer/verify/1", "models": rows})


@app.command()
def adopt(
    file: Annotated[Path, typer.Argument(help="Somebody else's .tflite classifier.")],
    labels: Annotated[
        str, typer.Option(help="ferplus8, fer2013-7, or the names in order: sad,happy,neutral.")
    ],
    input_range: Annotated[
        str, typer.Option(help="LO,HI that black and white are mapped to: 0,1 or -1,1 or 0,255.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")],
    kind: Annotated[
        str, typer.Option(help="What the graph ends in: logits, probabilities or sigmoid.")
    ] = "probabilities",
    licence: Annotated[str, typer.Option(help="Of the weights.")] = "unknown",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output.")] = False,
    json: Json = False,
) -> None:
    """Write a contract into a .tflite that has none, so that edge-fer can run it.

    The graph cannot say its labels or its input range: ask whoever trained it, then check the
    answer with edge-fer evaluate.

    Example: edge-fer models adopt theirs.tflite --labels fer2013-7 --input-range 0,1 -o mine.tflite
    """
    from edge_fer.adopt import adopt as make
    from edge_fer.errors import ConfigError
    from edge_fer.files import write_bytes
    from edge_fer.modelfile import read_model

    if output.exists() and not force:
        raise ConfigError(f"{output} exists.", "Add --force to overwrite it.")
    write_bytes(
        output, make(file, labels=labels, input_range=input_range, kind=kind, licence=licence)
    )
    model = read_model(output)
    if json:
        emit_json({"schema": "edge-fer/adopt/1", "path": str(output), "sha256": model.sha256})
    else:
        typer.echo(f"{output}: {len(model.contract.labels)} labels, {model.sha256[:12]}")


def _graph(graph: GraphTable) -> None:
    typer.echo("graph:")
    head = ("operator", "v", "output", "type", "scale", "zero", "weights", "MACs")
    rows = [
        (
            line.operator,
            str(line.version),
            "x".join(map(str, line.shape)),
            line.dtype,
            "-" if line.scale is None else f"{line.scale:.6g}",
            "-" if line.zero_point is None else str(line.zero_point),
            f"{line.weight_bytes} B" if line.weight_bytes else "-",
            "?" if line.macs is None else f"{line.macs:,}" if line.macs else "-",
        )
        for line in graph.lines
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numbers = ["#", *(str(line.number) for line in graph.lines)]
    for number, row in zip(numbers, [head, *rows], strict=True):
        words = zip(row, widths, strict=True)
        typer.echo(
            f"{number:>5}  {'  '.join(f'{word:<{width}}' for word, width in words).rstrip()}"
        )
    macs = "an unknown number of" if graph.macs is None else f"{graph.macs:,}"
    typer.echo(
        f"  {len(graph.lines)} operators, {graph.parameters:,} parameters, "
        f"{graph.weight_bytes:,} bytes of constants, {macs} multiply-accumulates"
    )


def _tree(indent: str, value: dict[str, Any]) -> None:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            typer.echo(f"{indent}{key}:")
            _tree(indent + "  ", item)
        elif isinstance(item, list) and item and isinstance(item[0], dict):
            for part in item:
                typer.echo(f"{indent}{key}:")
                _tree(indent + "  ", part)
        else:
            text = ", ".join(map(str, item)) if isinstance(item, list) else item
            typer.echo(f"{indent}{key}: {text}")
