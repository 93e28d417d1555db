"""``edge-fer models``: list, pull, show, verify, adopt."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Backend, Json, Quiet, Talk, emit_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edge_fer.graphfile import GraphTable

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Look at, get, check and adopt model files."
)
Which = Annotated[str, typer.Argument(help="A shipped model's name, or a .tflite file.")]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List the models that are here, shipped or pulled, and those that can be pulled.

    Example: edge-fer models list
    """
    from edge_fer.models import pulled, shipped
    from edge_fer.models.catalogue import CATALOGUE

    ours = shipped()
    theirs = {name: path for name, path in pulled().items() if name not in ours}
    rows = [_here(name, path, "shipped") for name, path in ours.items()]
    rows += [_here(name, path, "pulled") for name, path in theirs.items()]
    rest = [entry for entry in CATALOGUE.values() if entry.name not in theirs]
    available = [
        {
            "name": entry.name,
            "state": "available",
            "task": entry.task,
            "bytes": entry.size,
            "sha256": entry.sha256,
            "url": entry.url,
            "licence": entry.licence,
            "description": entry.description,
            "caveat": entry.caveat or None,
        }
        for entry in rest
    ]
    if json:
        emit_json({"schema": "edge-fer/models/1", "models": rows, "available": available})
        return
    for row in rows:
        typer.echo(
            f"{row['name']:<20} {row['scheme'] or '-':<8} {row['label_scheme'] or '-':<10} "
            f"{row['bytes'] / 1000:>7.0f} kB  {row['sha256'][:12]}  {row['state']}"
        )
        if row["error"]:
            typer.echo(f"  {row['error']}")
    if rest:
        typer.echo("\nNot here yet; get one with: edge-fer models pull NAME")
    for entry in rest:
        typer.echo(
            f"{entry.name:<20} {entry.licence:<19} {entry.size / 1000:>7.0f} kB  "
            f"{entry.sha256[:12]}  {entry.description}"
        )


def _here(name: str, path: Path, state: str) -> dict[str, Any]:
    """The row of a model on this machine; one that cannot be used says why."""
    import hashlib

    from edge_fer.errors import ModelError
    from edge_fer.models import load
    from edge_fer.models.catalogue import CATALOGUE

    data = path.read_bytes()
    row: dict[str, Any] = {
        "name": name,
        "state": state,
        "task": None,
        "bytes": len(data),
        "scheme": None,
        "label_scheme": None,
        "sha256": hashlib.sha256(data).hexdigest(),
        "path": str(path),
        "error": None,
    }
    entry = CATALOGUE.get(name)
    if entry and not entry.contract and entry.sha256 == row["sha256"]:
        return row | {"task": entry.task}
    try:
        contract = load(path).contract
    except ModelError as err:
        return row | {"error": str(err)}
    return row | {
        "task": contract.task,
        "scheme": contract.quantisation.scheme,
        "label_scheme": contract.label_scheme,
    }


@app.command()
def pull(
    names: Annotated[
        list[str], typer.Argument(help="blazeface-full, blazeface-front, yunet: see models list.")
    ],
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="A folder or an http(s) address with copies, instead of the official addresses. "
            "A copy is called NAME.tflite (NAME.onnx) or as in its official address; in a folder "
            "it may have any name.",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="The folder to pull to. Default: $EDGE_FER_MODELS, else ~/.local/share/edge-fer/"
            "models. For every user of this machine: /var/lib/edge-fer/models."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Pull it again, and replace another file of its name.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a server may say nothing.")
    ] = 30.0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Get a model from its official address: the one command that downloads, and only when typed.

    A file is checked by size and sha256 before it takes its place. What a lost connection or
    Ctrl-C leaves (NAME.tflite.part) is gone on with the next time.

    Example: edge-fer models pull blazeface-full --mirror /media/usb
    """
    from edge_fer.models.download import Patience
    from edge_fer.models.folders import folders
    from edge_fer.models.pulling import Watcher, entries
    from edge_fer.models.pulling import pull as pull_one

    talk = Talk(quiet=quiet)
    rows = []
    for entry in entries(names):
        with talk.progress() as bar:
            task = bar.add_task(f"{entry.name}, kB", total=entry.size // 1000)
            done = pull_one(
                entry,
                mirror=mirror,
                to=to,
                force=force,
                patience=Patience(timeout_s=timeout),
                watcher=Watcher(bytes=partial(_advance, bar, task), say=talk.say),
            )
        rows.append(
            {
                "name": entry.name,
                "status": "present" if done.source is None else "pulled",
                "path": str(done.path),
                "bytes": entry.size,
                "sha256": entry.sha256,
                "source": done.source,
                "resumed_at": done.resumed_at,
                "licence": entry.licence,
                "caveat": entry.caveat or None,
            }
        )
        if json or quiet:
            continue
        if done.source is None:
            typer.echo(f"{entry.name}: here already, and right: {done.path}")
        else:
            typer.echo(f"{entry.name}: {entry.size:,} bytes, right, {entry.licence}: {done.path}")
            if done.path.parent not in folders():
                typer.echo("  Not a folder that edge-fer looks in: name it by its path.")
        if entry.caveat:
            typer.echo(f"  {entry.caveat}")
    if json:
        emit_json({"schema": "edge-fer/pull/1", "models": rows})


def _advance(bar: Progress, task: TaskID, have: int) -> None:
    bar.update(task, completed=have // 1000)


@app.command()
def show(model: Which, json: Json = False) -> None:
    """Show a model's contract and its graph.

    The contract holds labels, preprocessing, recorded figures and provenance; the graph is one line
    for each operator, with what it makes and what it weighs.

    Example: edge-fer models show expression
    """
    from edge_fer.graphfile import read_graph
    from edge_fer.models import load

    file = load(model)
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
    models: Annotated[
        list[str], typer.Argument(help="Names of shipped or pulled models, or .tflite files.")
    ],
    backend: Backend = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Check a file on this device: hash, contract against the graph, golden vectors.

    int8 outputs may be off by 1 step, or by as many as the contract allows a detector (max_steps);
    float ones by 0.001. A pulled model that carries no contract (yunet) is checked by its sha256.

    Example: edge-fer models verify expression mine.tflite
    """
    from edge_fer.assemble import open_model
    from edge_fer.models import published
    from edge_fer.models.catalogue import CATALOGUE

    talk = Talk(quiet=quiet)
    rows: list[dict[str, Any]] = []
    for name in models:
        entry = CATALOGUE.get(name)
        if entry and not entry.contract:
            path = published(name)
            rows.append(
                {"path": str(path), "sha256": entry.sha256, "backend": None, "golden": None}
            )
            if not json:
                typer.echo(f"{name}: good (the published file; it carries no contract)")
            continue
        loaded = open_model(name, backend=backend, on_skip=talk.say)
        error = loaded.check_golden()
        rows.append(
            {
                "path": str(loaded.model.path),
                "sha256": loaded.model.sha256,
                "backend": loaded.backend.name,
                "golden": None if error is None else {"n": error[0], "max_error": error[1]},
            }
        )
        if not json:
            golden = (
                "no golden vectors" if error is None else f"golden {error[0]}, off by {error[1]:g}"
            )
            typer.echo(f"{name}: good ({loaded.backend.name}; {golden})")
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
