# `make demo` and `make test` set up on their own; nothing else is needed.
PYTHON ?= $(firstword $(foreach p,python3.11 python3.10 python3 python,$(shell command -v $(p) 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Containers set it. Without compiled files each worker of the tests writes all asserts anew, and each process compiles us.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test test-full check lint lock bindings axe clean docs docs-lock

$(STAMP): requirements/lock.txt requirements/uv.txt pyproject.toml
	@$(if $(PYTHON),,echo "jetlane needs Python 3.10 or 3.11 on the PATH (found none); or say: make PYTHON=/path/to/python3.11" && exit 1)
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if v in ((3, 10), (3, 11)) else "jetlane needs Python 3.10 or 3.11 to train (TensorFlow 2.15 has no other wheels); this is %d.%d. Say: make PYTHON=python3.11" % v)'
	@echo "set-up, 1 of 3: an environment of $$($(PYTHON) --version) in $(VENV), and uv, which installs the rest"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "set-up, 2 of 3: $$(grep -c '^[A-Za-z].*==' requirements/lock.txt) packages, TensorFlow and Prefect among them: a minute or two, longer on a slow line"
	@$(call aloud,$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/lock.txt)
	@echo "set-up, 3 of 3: jetlane itself"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps -e .
	@touch $(STAMP)

# An installation, which says nothing for long, with a line every ten seconds: what uv does it does in this order, and only
# what it installs is seen in the folder. While Python's files are compiled that grows little.
WHOLE := 3.7G
aloud = (seconds=0; while sleep 10 >/dev/null 2>&1; do seconds=$$((seconds + 10)); size=$$(du -sm $(VENV) 2>/dev/null | cut -f1); \
	if test "$${size:-0}" -lt 500; then now="packages are downloaded, or looked up in uv's cache"; \
	elif test "$$size" -lt 3200; then now="packages are installed"; else now="their Python files are compiled"; fi; \
	printf '  ... %s s: %s, %s of about $(WHOLE) in $(VENV)\n' "$$seconds" "$$now" "$$(du -sh $(VENV) 2>/dev/null | cut -f1)"; done) & beat=$$!; \
	$(1); code=$$?; kill $$beat; exit $$code

setup: $(STAMP)
	@echo "jetlane is installed: call it as $(BIN)/jetlane, or as jetlane after: export PATH=\"$(abspath $(BIN)):\$$PATH\""

demo: $(STAMP)
	$(BIN)/jetlane demo

test: bindings axe $(VENV)/docs/.installed lint
	$(BIN)/python -m pytest -n 3 --dist loadfile -m "not slow"

test-full: bindings axe mlflow $(VENV)/docs/.installed lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Seconds for a small change: the linters, and the tests that the change concerns, but for those that start servers or TensorFlow.
check: lint
	@tests=$$($(BIN)/python tests/affected_tests.py); if test -z "$$tests"; then echo "no test names what was changed"; \
	else $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow and not prefect and not tensorflow and not sshd" $$tests || test $$? = 5; fi

# NVIDIA's own Python modules, without TensorRT: what the tests hold the agent's adapters to. They are for Linux alone.
BINDINGS := 8.6.1 10.3.0 10.16.1.11 11.4.0.106

bindings: $(STAMP) $(BINDINGS:%=$(VENV)/bindings/%/.installed)

$(VENV)/bindings/%/.installed: requirements/bindings-%.txt $(STAMP)
	@rm -rf $(@D)
	@if $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(@D) -r $<; then touch $@; \
	else echo "NVIDIA's bindings $* cannot be installed here; the tests that need them are skipped"; fi

# axe-core (MPL-2.0), which judges the accessibility of pages in the tests; from npm, and only what its digest says.
AXE := $(VENV)/axe/axe.min.js

axe: $(STAMP) $(AXE)

$(AXE): requirements/axe-core.txt $(STAMP)
	@rm -rf $(@D) && mkdir -p $(@D)
	@read -r package digest < $<; \
	if (cd $(@D) && npm pack --silent --ignore-scripts --fetch-retries 1 "$$package" >/dev/null) \
	&& test "sha512-$$(openssl dgst -sha512 -binary $(@D)/*.tgz | base64 -w0)" = "$$digest" \
	&& tar -xzf $(@D)/*.tgz -C $(@D) --strip-components=1 package/axe.min.js; then touch $@; \
	else echo "axe-core cannot be had here (npm, openssl); pages are not held against it"; fi

# NVIDIA's own UFF parsers, without a GPU; downloads them (tests/uffparser/README.md). No part of `make test`.
UFFPARSER := 5.1,6.0,7.0,7.1,7.2
.PHONY: uffparser
uffparser: $(STAMP)
	JETLANE_UFFPARSER=$(UFFPARSER) $(BIN)/python -m pytest -n 2 tests/uffparser

# What each of them makes of every pattern and golden graph that is written otherwise than when they were run, and what is
# shipped of that (tasks/converter/uff/evidence.json, docs/uff-evidence.md).
.PHONY: evidence
evidence: $(STAMP)
	$(BIN)/python -m tests.uffparser.make_evidence --versions $(UFFPARSER)

# NVIDIA's TensorRT 8.6.1 on this machine's GPU (tests/tensorrt/README.md): UFF and ONNX files, then precisions and
# whole deliveries of a release, RELEASE=.jetlane/releases/... No part of `make test`.
KIT := build/tensorrt/kit
RUNS := build/tensorrt/runs
.PHONY: tensorrt tensorrt-release
tensorrt: $(STAMP)
	tests/tensorrt/fetch $(KIT) $(BIN)
	$(BIN)/python -m tests.tensorrt.cases $(RUNS)/cases
	PYTHONPATH=. $(KIT)/python tests/tensorrt/engines.py $(RUNS)/cases/jobs.jsonl $(RUNS)/engines 3
	$(BIN)/python -m tests.tensorrt.judge $(RUNS)/cases

tensorrt-release: $(STAMP)
	tests/tensorrt/fetch $(KIT) $(BIN)
	$(BIN)/python -m tests.tensorrt.precision prepare $(RELEASE) $(RUNS)/precision
	PYTHONPATH=. $(KIT)/python tests/tensorrt/engines.py $(RUNS)/precision/jobs.jsonl $(RUNS)/precision 3
	$(BIN)/python -m tests.tensorrt.precision table $(RUNS)/precision
	$(BIN)/python -m tests.tensorrt.deliveries $(RUNS)/precision/releases $(RUNS)/deliveries --python $(abspath $(KIT)/python) --at-once 1
	$(BIN)/python -m tests.tensorrt.deliveries $(RUNS)/precision/releases $(RUNS)/killed --python $(abspath $(KIT)/python) --at-once 1 --kill

# MLflow's client, for its tests alone: laid over the project's environment, with the same versions of what both need.
.PHONY: mlflow mlflow-lock
mlflow: $(STAMP) $(VENV)/mlflow/.installed

$(VENV)/mlflow/.installed: requirements/mlflow.txt $(STAMP)
	@rm -rf $(@D)
	@if $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(@D) -r $<; then touch $@; \
	else echo "MLflow's client cannot be installed here; the tests that need it are skipped"; fi

mlflow-lock: $(STAMP)
	$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --quiet -c requirements/lock.txt -o requirements/mlflow.txt requirements/mlflow.in

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages that are made from the code (docs/supported-models.md is not among them: minutes), and the site, in build/site.
docs: $(STAMP) $(VENV)/docs/.installed
	$(BIN)/python -m jetlane.specs.document > docs/spec.md
	$(BIN)/python -m jetlane.specs.troubleshooting > docs/troubleshooting.md
	$(BIN)/python -m tests.pages.write
	$(BIN)/python tests/rooms.py
	NO_MKDOCS_2_WARNING=true $(VENV)/docs/bin/mkdocs build --strict
	@echo "the site: build/site/index.html"

$(VENV)/docs/.installed: requirements/docs.txt $(STAMP)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/docs
	@if $(BIN)/uv pip install --quiet --python $(VENV)/docs/bin/python --require-hashes -r $<; then touch $@; \
	else echo "MkDocs cannot be installed here; the test that builds the site is skipped"; fi

docs-lock: $(STAMP)
	$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements/docs.txt requirements/docs.in

# The lock is universal (Python 3.10 and 3.11) and names no index. It has every extra but mlflow.
EXTRAS := data flow dask postgres rtx train bench dev

lock: $(STAMP)
	$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --quiet $(EXTRAS:%=--extra %) --upgrade -o requirements/lock.txt pyproject.toml

clean:
	rm -rf $(VENV) build dist .jetlane

# Side by side with others; those from the package index get an environment of their own (bench/README.md).
.PHONY: bench bench-lock
bench: $(STAMP)
	$(BIN)/python -m bench.convert --json build/bench/convert.json
	$(BIN)/python -m bench.inference --json build/bench/inference.json
	$(BIN)/python -m bench.transfer --json build/bench/transfer.json
	$(BIN)/python -m bench.fanout --json build/bench/fanout.json
	$(BIN)/python -m bench.dataset --json build/bench/dataset.json
	$(BIN)/python -m bench.large_images --json build/bench/large_images.json

bench-lock: $(STAMP)
	$(BIN)/uv pip compile --universal --python-version 3.10 --generate-hashes --no-emit-index-url --no-header --quiet -o requirements/bench.txt requirements/bench.in
