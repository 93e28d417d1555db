"""The house rules that a linter does not know."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import edge_fer

ROOT = Path(__file__).resolve().parents[2]
DEVICE_MODULES = sorted(m.name for m in pkgutil.walk_packages(edge_fer.__path__, "edge_fer."))


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_device_module_imports_with_the_build_host_blocked() -> None:
    """A fresh interpreter in which TensorFlow, Keras and torch cannot be imported."""
    assert len(DEVICE_MODULES) > 30
    code = f"""
import importlib, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('tensorflow', 'keras', 'torch', 'ai_edge_quantizer'):
            raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
for name in {DEVICE_MODULES!r}:
    importlib.import_module(name)
print('done')
"""
    assert run(code).strip() == "done"


def test_a_whole_prediction_never_loads_the_build_host(tmp_path: Path) -> None:
    code = """
import sys, json
from edge_fer.assemble import build
from edge_fer.config import load_settings
pipeline = build(load_settings(None, {'source': 'synthetic?frames=2'}))
while pipeline.step(): pass
print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))
"""
    loaded = set(json.loads(run(code)))
    assert not loaded & {"tensorflow", "keras", "torch", "ai_edge_quantizer", "edge_fer_convert"}
    assert "ai_edge_litert" in loaded


def test_import_edge_fer_is_light() -> None:
    loaded = run("import sys, edge_fer; print(' '.join(sys.modules))").split()
    assert not {"cv2", "numpy", "pydantic", "typer", "ai_edge_litert"} & set(loaded)


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from edge_fer.cli import main
try: main(['--help'])
except SystemExit: pass
print(' '.join(sys.modules))
"""
    loaded = set(run(code).splitlines()[-1].split())
    assert not {"cv2", "numpy", "pydantic", "ai_edge_litert", "tensorflow", "jinja2"} & loaded


def test_every_module_of_the_device_says_what_it_is_and_what_it_offers() -> None:
    import importlib

    for name in DEVICE_MODULES:
        module = importlib.import_module(name)
        assert module.__doc__, name
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.{public}"


def test_no_module_is_too_long() -> None:
    folders = ("edge_fer", "converters", "benchmarks", "firmware_configs")
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


def test_the_oldest_constraints_are_the_bounds_of_pyproject() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["mqtt"]]
    bounds = dict(d.split(",")[0].split(">=") for d in needed)
    lines = (ROOT / "tests" / "constraints-oldest.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert pinned.pop("click")  # typer's own, of its time
    assert set(pinned) == set(bounds)
    for name, version in pinned.items():
        assert version.split(".")[: bounds[name].count(".") + 1] == bounds[name].split("."), name
