# `make demo`: the device set (no TensorFlow), then the main job. `make test`: everything, tested.
# Needs python3 (3.11 or newer) with venv and pip; PYTHON=python3.13 chooses another one.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
DEVICE := .venv-demo-$(VERSION)
BUILD := .venv-test-$(VERSION)
OLDEST := .venv-oldest-$(VERSION)
LEGACY := .venv-legacy-$(VERSION)
SECONDS ?= 8
PYTEST ?= -m "not slow"

.PHONY: demo test lint legacy oldest lab-arm lab-device lab-boot clean python

demo: $(DEVICE)/ready
	@$(DEVICE)/bin/edge-fer benchmark --seconds $(SECONDS) --report demo
	@echo "Wrote demo/report.html and demo/annotated.png"

test: $(BUILD)/ready
	$(BUILD)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

lint: $(BUILD)/ready
	$(BUILD)/bin/ruff format --check .
	$(BUILD)/bin/ruff check .
	$(BUILD)/bin/mypy
	$(BUILD)/bin/lint-imports

# The same seam on tflite-runtime 2.14, which has wheels up to Python 3.11, and what is converted for
# it: made in the build venv, run in this one.
legacy: $(LEGACY)/ready $(BUILD)/ready
	$(LEGACY)/bin/python -m pytest tests/contract/test_backend.py \
	  tests/contract/test_camera.py tests/contract/test_sink.py tests/unit/test_video_camera.py
	$(LEGACY)/bin/edge-fer models verify expression expression.float --backend tflite-runtime
	$(LEGACY)/bin/edge-fer run --source "synthetic?frames=5" --backend tflite-runtime
	EDGE_FER_LEGACY_PYTHON=$(LEGACY)/bin/python $(BUILD)/bin/python -m pytest \
	  tests/integration/test_convert_legacy.py

# The device's tests (no build host, no cards) on the oldest releases that pyproject.toml allows.
oldest: $(OLDEST)/ready
	$(OLDEST)/bin/python -m pytest tests/contract tests/integration/test_cli.py tests/unit \
	  --ignore-glob='*convert*' --ignore-glob='*train*' --ignore-glob='*mean_faces*' --ignore-glob='*peers*' --ignore-glob='*provision*' \
	  --ignore=tests/unit/test_house.py

# Emulated machines: tests/lab/README.md. Each installs what it needs (root, Debian) and says how long it takes.
lab-arm lab-device lab-boot: lab-%: $(BUILD)/ready
	bash tests/lab/install.sh $*
	EDGE_FER_LANE=$* $(BUILD)/bin/python -m pytest -s tests/lab

clean:
	rm -rf .venv-demo-* .venv-test-* .venv-legacy-* .venv-oldest-* demo

# The stamp makes an interrupted install start afresh.
$(DEVICE)/ready: pyproject.toml | python
	$(PYTHON) -m venv --clear $(DEVICE)
	$(DEVICE)/bin/python -m pip install --quiet -e .
	@touch $@

$(BUILD)/ready: pyproject.toml | python
	$(PYTHON) -m venv --clear $(BUILD)
	$(BUILD)/bin/python -m pip install --quiet -e '.[convert,dev,mqtt,provision]'
	@touch $@

$(LEGACY)/ready: pyproject.toml firmware_configs/constraints-tflite-runtime.txt | python
	$(PYTHON) -m venv --clear $(LEGACY)
	$(LEGACY)/bin/python -m pip install --quiet -c firmware_configs/constraints-tflite-runtime.txt \
	  tflite-runtime numpy opencv-python-headless flatbuffers typer pydantic-settings rich jinja2 pytest
	$(LEGACY)/bin/python -m pip install --quiet --no-deps -e .
	@touch $@

$(OLDEST)/ready: pyproject.toml tests/constraints-oldest.txt | python
	$(PYTHON) -m venv --clear $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet -c tests/constraints-oldest.txt \
	  -e '.[mqtt]' pytest hypothesis scikit-image
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "edge-fer needs Python 3.11 or newer as '$(PYTHON)'; try: make PYTHON=python3.13"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' has no venv; on Debian: apt install python3-venv"; exit 2; }
