# The two commands of the README are `make demo` and `make test`; each does `make setup` first when it is needed.

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench gpu-check chaos soak fuzz vm-test arm64-test wheels kit lock clean

READY := .venv/.ready
PYPROJECTS := pyproject.toml runtime/pyproject.toml export/pyproject.toml calibration/pyproject.toml

help:  ## Show the targets.
	@sed -nE 's/^([a-z0-9-]+):.*  ## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(READY)  ## Create .venv with the three distributions and what the tests need.

$(READY): requirements.lock $(PYPROJECTS) scripts/setup
	@scripts/setup
	@touch $@

demo: $(READY)  ## From generated scenes to explained alerts; leaves demo/index.html.
	@.venv/bin/whycam demo -o demo

test: $(READY)  ## Run the tests, and the runtime's on Python 3.10 too where there is one.
	@scripts/test

check: $(READY)  ## Lint, format, types, and the rules of the house.
	@scripts/check

bench: $(READY)  ## All speeds that are claimed, against Keras, ONNX Runtime, OpenVINO, LiteRT. BENCH="--only decisions" or --quick
	@.uv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes --no-deps -r bench/requirements.lock || \
	  echo "OpenVINO and LiteRT cannot be installed here: the run goes on without them"
	@.venv/bin/python -m bench $(BENCH)

gpu-check: $(READY)  ## On a machine with an NVIDIA GPU: the tests that need one, then bench/gpu. GPU=--quick
	@scripts/gpu-check $(GPU)

chaos: $(READY)  ## Inject faults into the running service, count what its subscribers lose: nothing. CHAOS="--only broker"
	@.venv/bin/python -m tests.chaos $(CHAOS)

fuzz: $(READY)  ## Mutate bundles at random, 10,000 times: each is refused with one line, or harmless. FUZZ="--seed 1"
	@.venv/bin/python -m tests.runtime.bundle.fuzz $(FUZZ)

soak: $(READY)  ## A million frames through the service, as fast as it goes; memory and open files must stay flat.
	@.venv/bin/python -m bench.soak

vm-test: $(READY)  ## The kit in a virtual machine: kills, power cuts, upgrades, bad bundles. MACHINES="--only alerts" or --write
	@scripts/machines vm $(MACHINES)

arm64-test: $(READY)  ## The arm64 kit in an emulated aarch64 Debian: installed, examined, compared with x86-64. MACHINES=--write
	@scripts/machines arm64 $(MACHINES)

wheels: $(READY)  ## Build the wheels of the three distributions into dist/.
	@for name in runtime export calibration; do \
	  .uv/bin/uv build --quiet --wheel --no-build-isolation --python .venv/bin/python -o dist $$name || exit; done

kit: $(READY)  ## Make a device kit in dist/ (needs the package index). PLATFORM=debian-arm64 ONNXRUNTIME=wheel.whl
	@.venv/bin/python -m deploy.kit "$(PLATFORM)" $(if $(ONNXRUNTIME),--onnxruntime "$(ONNXRUNTIME)")

lock: $(READY)  ## Renew requirements.lock and those of the kits (needs the package index).
	@scripts/lock

clean:  ## Remove what the other targets made.
	rm -rf .venv .venv310 .uv build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find runtime export calibration tests bench -type d -name __pycache__ -prune -exec rm -rf {} +
