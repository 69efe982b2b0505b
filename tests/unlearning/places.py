"""A line of models to work on: the zoo's CLIP, a small draw of the atelier, and edits of few steps."""

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd
from click.testing import CliRunner, Result
from kedro.framework.startup import bootstrap_project
from omegaconf import OmegaConf

from razor_pipeline.atelier import generate
from razor_pipeline.cli import cli
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.interfaces import ModelFamily
from razor_pipeline.params.base import overlaid
from razor_pipeline.params.data import AtelierParams, DataParams, SplittingParams
from razor_pipeline.params.evaluation import EvaluationParams, QuestionParams
from razor_pipeline.params.razor import RazorParams
from razor_pipeline.params.requests import RequestsParams
from razor_pipeline.requests import chain, crosscheck
from razor_pipeline.requests.database import open_database
from razor_pipeline.requests.forgetting import Protocol
from razor_pipeline.requests.ledger import Ledger
from razor_pipeline.requests.registry import Registry
from razor_pipeline.requests.signing import make_keys
from razor_pipeline.requests.states import Status
from razor_pipeline.requests.submission import submit_all
from razor_pipeline.requests.tables import Version
from razor_pipeline.requests.validation import validate
from razor_pipeline.requests.verification import verify_request
from razor_pipeline.requests.workplace import Workplace
from unlearning.conftest import intake

ROOT = Path(__file__).parents[2]
ZOO = ROOT / "data/01_raw/zoo/clip"
TARGETS = ("Greta Novak", "Hiro Tanaka", "Jonas Berger", "Kaia Olsen")
STRANGER = "Zeno Castell"
FIRST, SECOND, UNKNOWN = "REQ-2026-0001", "REQ-2026-0002", "REQ-2026-0003"
QUICK = RazorParams.model_validate(
    {
        "scoring": {"nearest": 1, "batch_size": 64},
        "search": {"evaluations": 3, "first_step": 0.3, "goal": 0.5},
        "repair": {"steps": 0},
        "max_rounds": 1,
        "components": 8,
    }
)
# Short steps, and corrective ones, keep what was forgotten so and the rest known, in whichever order and batches four
# requests come.
REHEARSED = RazorParams.model_validate(
    overlaid(QUICK.model_dump(mode="json"), {"search": {"first_step": 0.05}, "repair": {"steps": 6}})
)
OPEN = {  # gates that the quick edits pass
    "max_forget_accuracy": 0.7,
    "max_retain_drop": 1.0,
    "max_class_loss": 1.0,
    "max_general_drop": 1.0,
    "max_quantized_retain_drop": 1.0,
    "max_membership_auc": 1.0,
}

ATELIER = {
    "portraits": {"edit": 4, "validation": 1, "test": 3},
    "canvas": {"edit": 1, "validation": 0, "test": 1},
}
QUESTIONS = 20  # neutral ones of a category, of a model that answers
SPLITTING = {"min_forget_images": 1, "max_retain_samples": 64, "max_validation_samples": 48}
SMALL = {
    "atelier": ATELIER,
    "splitting": SPLITTING,
    "quantization": {"schemes": []},
    "razor": QUICK.model_dump(mode="json"),
    "requests": {"gates": OPEN},
}


@cache
def manifest() -> pd.DataFrame:
    return generate(AtelierParams.model_validate(ATELIER))


@cache
def base() -> ModelFamily:
    return PretrainedDataset(family="clip", source=str(ZOO)).load()


def workplace(
    ledger: Ledger,
    root: Path,
    registry: bool = False,
    schemes: Sequence[str] = (),
    razor: RazorParams = QUICK,
    **changes: object,
) -> Workplace:
    given = {
        "folder": str(root / "models"),
        "reports": str(root / "reports"),
        "data_root": str(root / "data"),
        "private_key": str(root / "key.pem"),
        "public_key": str(root / "key.pub.pem"),
        "gates": OPEN,
    }
    params = RequestsParams.model_validate(given | changes)
    if not Path(params.private_key).exists():
        make_keys(Path(params.private_key), Path(params.public_key))
    splitting = SplittingParams.model_validate(SPLITTING)
    return Workplace(
        ledger,
        params,
        base(),
        manifest(),
        DataParams(),
        Protocol(splitting, razor, 0),
        schemes,  # type: ignore[arg-type]
        EvaluationParams(questions=QuestionParams(per_category=QUESTIONS)),
        {},
        Registry(f"sqlite:///{root}/mlflow.db", root) if registry else None,
    )


def approved(
    ledger: Ledger, *targets: str, promotion: Literal["automatic", "approval"] = "automatic"
) -> list[str]:
    """Requests that may run."""
    intakes = [intake(target) for target in targets]
    names = [request.id for request in submit_all(ledger, intakes, "ops-1", promotion=promotion)]
    validate(ledger, "clip", Path("/nowhere"))
    for name in names:
        ledger.approve(name, "dpo-1", 1)
    return names


def status(place: Workplace, name: str) -> Status:
    return place.ledger.get(name).state


def champion(ledger: Ledger) -> Version:
    with ledger.reading() as session:
        return chain.champion(session, "clip")


def faults(place: Workplace, name: str) -> list[str]:
    checks = verify_request(place.ledger, name, Path(place.params.public_key), Path(place.params.folder))
    return [fault for _, fault in checks if fault]


def intact(place: Workplace) -> bool:
    with place.ledger.reading() as session:
        return crosscheck.faults(session) == []


def copied(done: tuple[Workplace, Path], root: Path) -> Workplace:
    """The finished line, to go on with elsewhere."""
    place, origin = done
    shutil.copy(origin / "requests.db", root / "requests.db")
    return workplace(
        Ledger(open_database(f"sqlite:///{root}/requests.db"), place.ledger.clock),
        root,
        folder=place.params.folder,
        private_key=place.params.private_key,
        public_key=place.params.public_key,
    )


def typed(project: Path, *arguments: str, actor: str | None = "ops-1") -> Result:
    """A `kedro unlearning` command in this process."""
    metadata = bootstrap_project(ROOT)._replace(project_path=project)
    environment = {"RAZOR_ACTOR": actor, "COLUMNS": "200", "NO_COLOR": "1"}
    return CliRunner().invoke(cli, ["unlearning", *arguments], obj=metadata, env=environment)


def small_project(root: Path) -> Path:
    """A copy of the project whose commands finish in seconds: few images, quick edits, gates that let them pass."""
    for name in ("conf", "src", "pyproject.toml", ".telemetry"):
        source = ROOT / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    shutil.copytree(ZOO, root / "data/01_raw/zoo/clip")
    (root / "conf/local").mkdir(exist_ok=True)
    OmegaConf.save(OmegaConf.create(SMALL), root / "conf/local/parameters.yml")
    return root
