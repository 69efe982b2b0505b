"""Parameters of requests: the ledger, and what a result must show before it serves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from razor_pipeline.params.base import Count, Params, Positive, Recognised, Share

ACTOR = "[a-z]{2,8}-[0-9]{1,6}"  # who acts, by role and number; never a person's name
MODEL = "[a-z][a-z0-9_]{0,31}"  # name of a line of models


class GateParams(Params):
    """What a request must show on the test split to be promoted; shares of 0 to 1, drops against the line's base model.

    ``max_forget_accuracy`` holds for the target, for every target forgotten before it and for their quantized copies.
    ``max_class_loss`` is what any one class that is kept may lose of its images or drawings, beyond doubt: the lower
    end of the 95 % interval counts. The membership AUC has a wide window: on test even a retrained model's lies
    anywhere (docs/benchmarks.md). Where the data has no never-seen classes, it is not asked for.
    """

    max_forget_accuracy: Recognised = 0.02
    max_retain_drop: Share = 0.02
    max_class_loss: Share = 0.25
    max_general_drop: Share = 0.03
    max_quantized_retain_drop: Share = 0.02
    max_membership_auc: Share = 0.75
    min_relearn_steps: Annotated[int, Field(ge=0)] = 0


class RequestsParams(Params):
    """The ledger of requests and what happens to those that are due.

    Attributes:
        model: name of the line of models of this environment, in the ledger and in MLflow's registry.
        ledger: address of the database; the environment variable ``RAZOR_LEDGER`` wins.
        folder: versions of the models, each with its evidence.
        reports: dashboard and anchors of the audit log.
        data_root: folder of the images that requests bring along.
        approvals: different people who must approve a request before it runs.
        promotion: whether what passes its gates serves at once, or after an approval.
        lease_seconds: how long a worker that gives no sign keeps the others waiting.
        wait_seconds: how long to wait for another worker on the same model, or another run in this folder; 0 refuses at
            once.
        private_key: signs evidence; made by ``kedro unlearning key``.
        public_key: checks it.
        only: ids to run; all that are approved where none is given.
        take_out: id of a promoted request whose edit is to be taken out instead.
        actor: who does that.
    """

    model: Annotated[str, Field(pattern=f"^{MODEL}$")] = "clip"
    ledger: str = "sqlite:///data/requests.db"
    folder: str = "data/06_models/requests"
    reports: str = "data/08_reporting/requests"
    data_root: str = "data/01_raw/requests"
    approvals: Count = 1
    promotion: Literal["automatic", "approval"] = "automatic"
    lease_seconds: Positive = 120.0
    wait_seconds: Annotated[float, Field(ge=0.0)] = 0.0
    private_key: str = "conf/local/evidence_key.pem"
    public_key: str = "conf/local/evidence_key.pub.pem"
    only: tuple[str, ...] = ()
    take_out: str | None = None
    actor: Annotated[str, Field(pattern=f"^{ACTOR}$")] = "system-0"
    gates: GateParams = GateParams()

    @property
    def reads_files(self) -> bool:
        """The ledger changes without a parameter changing: the step is never up to date."""
        return True
