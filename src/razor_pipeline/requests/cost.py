"""What a batch costs beside one run for each of its requests, in CPU seconds; measured on a copy of the line."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.intake import Intake
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.places import LEDGER
from razor_pipeline.requests.signing import make_keys
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.submission import submit_all
from razor_pipeline.requests.validation import validate
from razor_pipeline.tracking.settings import SERVER

ACTOR, CASE = "bench-1", "BENCH-001"
SHARED, LINKED = ("conf", "src", "pyproject.toml"), ("data/01_raw",)


@dataclass(frozen=True)
class Cost:
    """CPU seconds, user and system, of processes that did the same work.

    Attributes:
        separate: of each run with one request, in their order; each starts from the champion of the one before.
        batch: of one run with all of them.
    """

    separate: tuple[float, ...]
    batch: float

    @property
    def ratio(self) -> float:
        """The batch beside the sum of the separate runs."""
        return self.batch / sum(self.separate)

    def expected(self, requests: int) -> float:
        """The ratio for another number of requests, if each adds what these add on average.

        What a run costs without a request is (sum - batch) / (n - 1).
        """
        count, total = len(self.separate), sum(self.separate)
        fixed = (total - self.batch) / (count - 1)
        return (fixed + requests * (total / count - fixed)) / (requests * total / count)


def measure(
    project: Path, env: str | None, params: RequestsParams, targets: Sequence[str], root: Path
) -> Cost:
    """Run the targets one by one, then as one batch, each from the base model.

    Args:
        project: whose configuration, code and data are used; nothing is written there.
        env: configuration.
        params: of the requests.
        targets: at least two.
        root: empty folder for everything that is made.

    Raises:
        ValueError: fewer than two targets.
        RuntimeError: a run failed or promoted nothing; with the end of its log.
    """
    if len(targets) < 2:
        raise ValueError(f"{len(targets)} target was given; a batch has two or more: write A|B")
    bench = _Bench(_copy(project, root), env, params)
    bench.run("dataset_preparation", root / "none")  # not counted: once for all runs that follow
    bar = tqdm(total=2 * len(targets), unit="request", desc="separate")
    ledger = bench.line("separate")
    separate = []
    for target in targets:
        bench.approve(ledger, [target])
        separate.append(bench.run("requests", root / "separate"))
        bar.update()
    bar.set_description("batch")
    ledger = bench.line("batch")
    bench.approve(ledger, targets)
    together = bench.run("requests", root / "batch")
    bar.update(len(targets))
    bar.close()
    return Cost(tuple(separate), together)


@dataclass(frozen=True)
class _Bench:
    root: Path
    env: str | None
    params: RequestsParams

    def line(self, name: str) -> Ledger:
        """A ledger, a key and a tracking store that are set up before the clock starts."""
        from razor_pipeline.requests.registry import EXPERIMENT
        from razor_pipeline.tracking.store import open_store

        folder = self.root / name
        folder.mkdir()
        make_keys(folder / "key.pem", folder / "key.pub.pem")
        open_store(f"sqlite:///{folder}/mlflow.db", EXPERIMENT, folder)
        return Ledger(open_database(f"sqlite:///{folder}/requests.db"))

    def approve(self, ledger: Ledger, targets: Sequence[str]) -> None:
        """Requests that may run."""
        fields = {"requester": CASE, "model": self.params.model}
        intakes = [Intake.model_validate({"target": target, **fields}) for target in targets]
        names = [request.id for request in submit_all(ledger, intakes, ACTOR)]
        validate(ledger, self.params.model, self.root)
        for name in names:
            ledger.approve(name, ACTOR, 1)

    def run(self, pipeline: str, folder: Path) -> float:
        """CPU seconds of one `kedro run`."""
        changes = {
            "requests.folder": folder / "models",
            "requests.reports": folder / "reports",
            "requests.private_key": folder / "key.pem",
            "requests.promotion": "automatic",
        }
        given = ",".join(f"{name}={value}" for name, value in changes.items())
        command = [str(Path(sys.executable).with_name("kedro")), "run", "--pipelines", pipeline]
        variables = {LEDGER: f"sqlite:///{folder}/requests.db", SERVER: f"sqlite:///{folder}/mlflow.db"}
        before = _used()
        done = subprocess.run(
            [*command, *(["--env", self.env] if self.env else []), "--params", given],
            cwd=self.root,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        spent = _used() - before
        if done.returncode or not _all_promoted(variables[LEDGER], pipeline):
            raise RuntimeError(f"a run of the measurement failed: {(done.stderr or done.stdout)[-600:]}")
        return spent


def _all_promoted(ledger: str, pipeline: str) -> bool:
    return pipeline != "requests" or {
        request.state for request in Ledger(open_database(ledger)).requests()
    } == {Status.PROMOTED}


def _copy(project: Path, root: Path) -> Path:
    """Kedro takes no source folder that lies outside of its project, behind a link either."""
    for name in SHARED:
        source = project / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    for name in LINKED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to((project / name).resolve())
    return root


def _used() -> float:
    """CPU seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
