# `make demo`: the device set (no TensorFlow), then the main job. `make test`: everything, tested.
# Needs python3 (3.11 or newer) with venv and pip; PYTHON=python3.13 chooses another one.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
DEVICE := .venv-demo-$(VERSION)
BUILD := .venv-test-$(VERSION)
LEGACY := .venv-legacy-$(VERSION)
SECONDS ?= 8

.PHONY: demo test lint legacy clean python

demo: $(DEVICE)/ready
	@$(DEVICE)/bin/edge-fer benchmark --seconds $(SECONDS) --report demo
	@echo "Wrote demo/report.html and demo/annotated.png"

test: $(BUILD)/ready
	$(BUILD)/bin/python -m pytest $(PYTEST)

lint: $(BUILD)/ready
	$(BUILD)/bin/ruff format --check .
	$(BUILD)/bin/ruff check .
	$(BUILD)/bin/mypy
	$(BUILD)/bin/lint-imports

# The same seam on tflite-runtime 2.14, which has wheels up to Python 3.11.
legacy: $(LEGACY)/ready
	$(LEGACY)/bin/python -m pytest tests/contract/test_backend.py
	$(LEGACY)/bin/edge-fer models verify expression expression.float --backend tflite-runtime
	$(LEGACY)/bin/edge-fer run --source "synthetic?frames=5" --backend tflite-runtime

clean:
	rm -rf .venv-demo-* .venv-test-* .venv-legacy-* demo

# The stamp makes an interrupted install start afresh.
$(DEVICE)/ready: pyproject.toml | python
	$(PYTHON) -m venv --clear $(DEVICE)
	$(DEVICE)/bin/python -m pip install --quiet -e .
	@touch $@

$(BUILD)/ready: pyproject.toml | python
	$(PYTHON) -m venv --clear $(BUILD)
	$(BUILD)/bin/python -m pip install --quiet -e '.[convert,dev]'
	@touch $@

$(LEGACY)/ready: pyproject.toml firmware_configs/constraints-tflite-runtime.txt | python
	$(PYTHON) -m venv --clear $(LEGACY)
	$(LEGACY)/bin/python -m pip install --quiet -c firmware_configs/constraints-tflite-runtime.txt \
	  tflite-runtime numpy opencv-python-headless flatbuffers typer pydantic-settings rich jinja2 pytest
	$(LEGACY)/bin/python -m pip install --quiet --no-deps -e .
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "edge-fer needs Python 3.11 or newer as '$(PYTHON)'; try: make PYTHON=python3.13"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' has no venv; on Debian: apt install python3-venv"; exit 2; }
