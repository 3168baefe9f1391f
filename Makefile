# Everything a developer runs. `make` lists it.
.DEFAULT_GOAL := help
.PHONY: help demo test lint faults soak bench clean

help:
	@echo "make demo   see orch work on this machine: a real sshd, the shipped jobs.yaml, results at the end"
	@echo "make test   the whole test suite; ARGS='-k name' narrows it"
	@echo "make lint   ruff and mypy, as CI runs them"
	@echo "make faults rounds of kills, cut lines, reboots and full disks, then an independent reader; ROUNDS= SEED="
	@echo "make soak   the same until it is stopped; it prints the seed to replay with SEED="
	@echo "make bench  orch beside rsync, ssh and task-spooler, in one run; ARGS=--quick for a small one"
	@echo "make clean  remove .venv and caches"

demo:
	@sh tools/prepare.sh demo
	@.venv/bin/orch demo

test:
	@sh tools/prepare.sh test
	.venv/bin/python -m pytest -n 4 --dist worksteal $(ARGS)

lint:
	@sh tools/prepare.sh test
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

bench:
	@sh tools/prepare.sh test
	.venv/bin/python -m bench --json bench/results/$$(date +%F).json $(ARGS)

faults:
	@sh tools/prepare.sh test
	.venv/bin/python -m tests.faults.run --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak:
	@sh tools/prepare.sh test
	.venv/bin/python -m tests.faults.run --rounds $(or $(ROUNDS),0) $(if $(SEED),--seed $(SEED)) --keep $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
