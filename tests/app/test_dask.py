"""A Dask cluster runs the same work: its executor is one as any other, and nothing of ours lies between."""

import json
import logging
import os
import signal
from unittest.mock import patch

import dask
import pytest
from distributed import Client, LocalCluster

import vlm_inspect
from tests.published import GEMMA_3_4B, LLAVA_1_5_7B, PALIGEMMA_3B
from vlm_inspect.app import batch
from vlm_inspect.core.errors import InvalidConfigError, WorkerDiedError

CONFIGS = {"llava": LLAVA_1_5_7B, "gemma": GEMMA_3_4B, "broken": "no object", "paligemma": PALIGEMMA_3B}


def die_at_seven(number):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


@pytest.fixture(scope="module")
def executor():
    """The executor of a cluster of two processes, with one task in hand each: a death is blamed on one."""
    with (
        patch.dict(os.environ),  # a cluster sets variables of threads and leaves them set
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0, "distributed.scheduler.allowed-failures": 1}),
        # any free port: with None the scheduler takes 8787, and a second cluster on the machine warns
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


@pytest.fixture
def folders(tmp_path):
    for name, config in CONFIGS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return [str(tmp_path / name) for name in CONFIGS]


def test_the_rows_of_a_cluster_are_those_of_this_process(executor, folders):
    here = list(batch.run(folders, vlm_inspect.inspect))  # from then on they are cached, and no worker imports torch
    outcomes = list(batch.run_on(executor, folders, vlm_inspect.inspect))
    assert [outcome.model for outcome in outcomes] == folders
    for outcome, expected in zip(outcomes, here, strict=True):
        if isinstance(expected, batch.Inspected):
            assert outcome == expected
        else:
            assert isinstance(outcome.error, InvalidConfigError)
            assert str(outcome.error) == str(expected.error)


def test_inspect_many_takes_the_executor_of_a_cluster(executor, folders):
    unseen = {**LLAVA_1_5_7B, "image_token_index": 31_999}  # one worker builds it; the others are cached
    models = [*folders, unseen]
    there = list(vlm_inspect.inspect_many(models, executor=executor))
    here = vlm_inspect.inspect_many(models, cache=False)
    for outcome, expected in zip(there, here, strict=True):
        if isinstance(expected, vlm_inspect.Inspected):
            assert outcome == expected
        else:
            assert isinstance(outcome.error, InvalidConfigError)


def test_a_model_that_kills_every_worker_it_is_given_to_costs_one_row(executor):
    """Dask gives it to others first; by then the cluster has restarted each of them."""
    outcomes = list(batch.run_on(executor, range(20), die_at_seven))
    answers = [outcome.answer for outcome in outcomes if isinstance(outcome, batch.Inspected)]
    assert answers == [2 * number for number in range(20) if number != 7]
    assert isinstance(outcomes[7].error, WorkerDiedError)
    assert outcomes[7].error.hint
