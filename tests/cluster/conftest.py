"""One PostgreSQL for all tests of a process, with its password in the environment; one Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import worker_targets

from tests.cluster import nodes
from tests.cluster.nodes import Cluster
from tests.cluster.postgres import Postgres, entrusted, running


@pytest.fixture(scope="session")
def server() -> Iterator[Postgres]:
    with running() as made:
        yield made


@pytest.fixture
def postgres(server: Postgres) -> Iterator[Postgres]:
    """The same; the test has its password, and connections that it leaves open are closed."""
    with entrusted(server):
        yield server


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    with nodes.running() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(ray_cluster: Cluster) -> Iterator[Cluster]:
    """The same; the tests of a module, and what they start, are in its network."""
    with ray_cluster.network.entered():
        yield ray_cluster


@pytest.fixture(scope="module")
def connected(cluster: Cluster) -> Iterator[Cluster]:
    """This process is connected; what workers run travels as a file of the working directory."""
    import ray

    from nas.workers.connection import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(worker_targets.__file__).parent)
        assert connect(nodes.ADDRESS, ["worker_targets.py"])
    yield cluster
    ray.shutdown()
