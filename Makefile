# Every target installs what it needs into .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Many tests wait for processes and clocks: a third worker keeps two cores busy.
PYTEST_ARGS ?= -n 3 --dist worksteal
# What decides about consent, identifiers and retries: every branch is tested.
EXACT := app/consent/*,app/hashing/*,app/delivery/retry.py,app/gate.py,app/pipeline.py

.DEFAULT_GOAL := help
.PHONY: help install run test check format unit chaos browser bench backlog live-alerts pictures policy lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Convey needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The locked files are complete: resolving again could only find a newer release that no hash is known of.
$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt
	@touch $@

install: $(VENV)/.runtime  ## make .venv with the convey command in it
	@echo "Installed. Try: $(BIN)/convey --help"

run: $(VENV)/.runtime  ## the main job: gateway, sandbox and sample orders; stays up until Ctrl-C
	@$(BIN)/convey demo

check: $(VENV)/.dev  ## static checks: format, lint, types, import contracts, generated pages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/generate_docs.py --check

unit: $(VENV)/.dev  ## all tests, without the static checks; fetches redis-server, helm and promtool where there are none
	@sh scripts/get_redis.sh >/dev/null || [ "$${CI:-}" != true ]  # without one, its tests are skipped, but not in CI
	@PYTHON=$(BIN)/python sh scripts/get_valkey.sh >/dev/null || [ "$${CI:-}" != true ]
	@sh scripts/get_tools.sh helm promtool crds >/dev/null || [ "$${CI:-}" != true ]  # as above
	$(BIN)/python -m pytest $(PYTEST_ARGS) --cov=app --cov-branch --cov-report=
	$(BIN)/coverage report --precision=1 --fail-under=90 >/dev/null || $(BIN)/coverage report --fail-under=90
	$(BIN)/coverage report --fail-under=100 --include='$(EXACT)'

test: check unit  ## check and all tests: what CI runs

format: $(VENV)/.dev  ## format and fix what can be fixed; write the generated pages
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python scripts/generate_docs.py

chaos: $(VENV)/.dev  ## break many processes, Redis, a Sentinel group and a cluster for a quarter of an hour; prints the figures
	@sh scripts/get_redis.sh >/dev/null || [ "$${CI:-}" != true ]
	CONVEY_CHAOS=long $(BIN)/python -m pytest -n 0 -q tests/chaos

browser: $(VENV)/.dev  ## the pages of docs/pixels.md in a real Chromium: pixels, receipts, audit; two minutes
	@sh scripts/get_chromium.sh >/dev/null || [ "$${CI:-}" != true ]
	$(BIN)/python -m pytest -n 0 -q tests/browser/pixels.py

bench: $(VENV)/.dev  ## CPU per event against a straight-line script, accept rate against an empty 202, sick platforms
	$(BIN)/python -m bench.run
	$(BIN)/python -m bench.failing

live-alerts: $(VENV)/.dev  ## make each alert fire in a Prometheus of our own; two minutes
	@sh scripts/get_redis.sh >/dev/null
	@sh scripts/get_tools.sh prometheus >/dev/null
	$(BIN)/python -m tests.ops.live.alerts

pictures: $(VENV)/.dev  ## draw the dashboards of a gateway under load and faults, for the docs; four minutes
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/plots.txt
	@sh scripts/get_tools.sh prometheus >/dev/null
	$(BIN)/python -m tests.ops.live.pictures

# Left out: 21 the namespace is said to helm; 11 a CPU limit slows answers without need; 15 a digest needs no pull each
# time; 8 and 9 the pod of `helm test` runs once (the others' probes are tested).
policy: | $(BIN)/python  ## hold chart and Dockerfile to checkov's policies, in an environment of its own
	@test -x .venv-policy/bin/checkov || { $(PYTHON) -m venv .venv-policy && .venv-policy/bin/python -m pip install --quiet checkov==3.3.30; }
	@mkdir -p build/policy
	@$$(sh scripts/get_tools.sh helm) template shop helm/convey --namespace ads -f helm/convey/ci/hardened-values.yaml >build/policy/hardened.yaml
	.venv-policy/bin/checkov --file build/policy/hardened.yaml --framework kubernetes --compact --quiet --skip-download --skip-check CKV_K8S_21,CKV_K8S_11,CKV_K8S_15,CKV_K8S_8,CKV_K8S_9
	.venv-policy/bin/checkov --file Dockerfile --framework dockerfile --compact --quiet --skip-download --skip-check CKV_DOCKER_7

backlog: $(VENV)/.dev  ## a million deliveries waiting, on Redis and on SQLite: memory, CPU per event, how fast they leave
	@sh scripts/get_redis.sh >/dev/null
	$(BIN)/python -m bench.backlog
	$(BIN)/python -m bench.redis
	$(BIN)/python -m bench.ids

lock: | $(BIN)/python  ## resolve the locked requirements anew
	$(BIN)/python -m pip install --quiet 'uv>=0.13,<0.14'
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -o requirements/runtime.txt
	$(BIN)/uv pip compile requirements/build.in --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -o requirements/build.txt
	$(BIN)/uv pip compile pyproject.toml --group plots --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -o requirements/plots.txt
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet -o requirements/dev.txt

clean:  ## remove the environment and every cache
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage* build dist *.egg-info
