"""The resuming runner: what counts as done, and what runs again."""

import subprocess
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from razor_pipeline.datasets.files import JSONDataset
from razor_pipeline.datasets.pretrained import PretrainedDataset
from razor_pipeline.datasets.retrained import RetrainedDataset
from razor_pipeline.params.data import SplitCounts
from razor_pipeline.params.pretraining import PretrainingParams, RetrainingParams
from razor_pipeline.runner import Record, ResumingRunner, content, fingerprint
from razor_pipeline.settings import CONFIG_LOADER_ARGS

ROOT = Path(__file__).parents[1]
CALLS: list[str] = []


def first(counts: SplitCounts) -> int:
    CALLS.append("first")
    return counts.edit


def middle(number: int) -> int:
    CALLS.append("middle")
    return number * 2


def last(number: int) -> dict[str, int]:
    CALLS.append("last")
    return {"number": number}


PIPELINE = Pipeline(
    [
        Node(first, "params:counts", "a", name="first"),
        Node(middle, "a", "b", name="middle"),
        Node(last, "b", "c", name="last"),
    ]
)


def catalog(folder: Path, edit: int = 1, in_memory: str = "") -> DataCatalog:
    names = [name for name in "abc" if name != in_memory]
    files = {name: JSONDataset(filepath=str(folder / f"{name}.json")) for name in names}
    return DataCatalog({**files, "params:counts": MemoryDataset(SplitCounts(edit=edit))})


def ran(datasets: DataCatalog, **options: bool) -> list[str]:
    CALLS.clear()
    ResumingRunner(**options).run(PIPELINE, datasets)
    return list(CALLS)


def test_nothing_runs_twice(tmp_path):
    assert ran(catalog(tmp_path)) == ["first", "middle", "last"]
    assert ran(catalog(tmp_path)) == []


def test_force_runs_all(tmp_path):
    ran(catalog(tmp_path))
    assert ran(catalog(tmp_path), force=True) == ["first", "middle", "last"]


def test_a_changed_parameter_runs_what_depends_on_it(tmp_path):
    ran(catalog(tmp_path))
    assert ran(catalog(tmp_path, edit=2)) == ["first", "middle", "last"]
    assert catalog(tmp_path).load("c") == {"number": 4}


def test_going_back_to_an_old_parameter_does_not_trust_the_new_files(tmp_path):
    ran(catalog(tmp_path))
    ran(catalog(tmp_path, edit=2))
    ran(catalog(tmp_path))
    assert catalog(tmp_path).load("c") == {"number": 2}


@pytest.mark.parametrize("harm", [lambda f: f.write_text("7"), lambda f: f.write_text(""), Path.unlink])
def test_an_altered_truncated_or_missing_output_is_made_again(tmp_path, harm):
    ran(catalog(tmp_path))
    good = (tmp_path / "b.json").read_bytes()
    harm(tmp_path / "b.json")
    assert ran(catalog(tmp_path)) == ["middle"]  # its outputs are as before, so the last step need not run
    assert (tmp_path / "b.json").read_bytes() == good


def test_a_half_written_record_counts_as_none(tmp_path):
    ran(catalog(tmp_path))
    (tmp_path / ".done/last-c.json.json").write_text('{"fingerpr')
    assert ran(catalog(tmp_path)) == ["last"]


def test_the_maker_of_a_dataset_in_memory_runs_only_when_it_is_needed(tmp_path):
    assert ran(catalog(tmp_path, in_memory="b")) == ["first", "middle", "last"]
    again = ran(catalog(tmp_path, in_memory="b"))
    assert "first" not in again
    assert "last" not in again
    (tmp_path / "c.json").unlink()
    assert ran(catalog(tmp_path, in_memory="b")) == ["middle", "last"]


def test_changed_code_changes_the_fingerprint(tmp_path, monkeypatch):
    datasets, node = catalog(tmp_path), PIPELINE.nodes[0]
    before = fingerprint(node, datasets, {})
    assert fingerprint(node, datasets, {}) == before
    monkeypatch.setattr("razor_pipeline.runner.code_sha256", lambda _: "other")
    assert fingerprint(node, datasets, {}) != before


def test_a_changed_library_changes_the_fingerprint(tmp_path, monkeypatch):
    datasets, node = catalog(tmp_path), PIPELINE.nodes[0]
    before = fingerprint(node, datasets, {})
    monkeypatch.setattr("razor_pipeline.runner.environment", lambda: {"torch": "0.1"})
    assert fingerprint(node, datasets, {}) != before


def test_a_model_of_a_hub_is_hashed_by_id_and_revision():
    def described(revision: str) -> object:
        model = PretrainedDataset(family="clip", source="someone/clip", revision=revision)
        return content(DataCatalog({"base_model": model}), "base_model")

    assert described("a" * 40) == described("a" * 40)
    assert described("a" * 40) != described("b" * 40)


@pytest.mark.parametrize("revision", [None, "a" * 40])  # an environment's, whose model a directory replaces
def test_a_model_directory_is_hashed_by_what_is_in_it(tmp_path, revision):
    model = PretrainedDataset(family="clip", source=str(tmp_path), revision=revision)
    datasets = DataCatalog({"base_model": model})
    (tmp_path / "model.safetensors").write_bytes(b"1")
    before = content(datasets, "base_model")
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert content(datasets, "base_model") != before


def test_the_family_that_opens_a_model_directory_counts(tmp_path):
    """One directory is that of two families: with its U-Net edited as well, and without."""
    (tmp_path / "model.safetensors").write_bytes(b"1")

    def held(family: str) -> list[object]:
        sources = {"source": str(tmp_path)}, {"folder": str(tmp_path)}
        datasets = DataCatalog(
            {
                "base_model": PretrainedDataset(family=family, **sources[0]),
                "retrained_models": RetrainedDataset(family=family, **sources[1]),
            }
        )
        return [content(datasets, name) for name in ("base_model", "retrained_models")]

    shallow, deep = held("diffusion3"), held("diffusion3_deep")
    assert shallow == held("diffusion3")
    assert all(one != other for one, other in zip(shallow, deep, strict=True))


def test_models_that_a_training_is_built_on_count_by_what_they_hold(tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae/model.safetensors").write_bytes(b"1")
    built_on = {"diffusion": {"autoencoder": str(tmp_path / "vae")}}
    records = [
        PretrainingParams.model_validate({"family": "diffusion", **built_on}),
        RetrainingParams(differences=built_on),
    ]
    datasets = DataCatalog({f"params:{i}": MemoryDataset(record) for i, record in enumerate(records)})
    before = [content(datasets, f"params:{i}") for i in range(len(records))]
    assert before == [content(datasets, f"params:{i}") for i in range(len(records))]
    (tmp_path / "vae/model.safetensors").write_bytes(b"2")
    assert all(content(datasets, f"params:{i}") != one for i, one in enumerate(before))


def test_one_step_that_makes_several_outputs_in_turn_has_a_record_of_each(tmp_path):
    """As one pipeline does in several environments, whose outputs lie side by side."""

    def made(folder: str) -> tuple[DataCatalog, Pipeline]:
        file = JSONDataset(filepath=str(tmp_path / f"{folder}.json"))
        return DataCatalog({"params:n": MemoryDataset(folder), "out": file}), Pipeline(
            [Node(told, "params:n", "out")]
        )

    def told(name: str) -> dict[str, str]:
        CALLS.append(name)
        return {"name": name}

    CALLS.clear()
    for folder in ("vit", "style", "vit"):
        datasets, pipeline = made(folder)
        ResumingRunner().run(pipeline, datasets)
    assert CALLS == ["vit", "style"]


def test_a_step_that_fails_is_not_done(tmp_path):
    def fail(number: int) -> int:
        raise ValueError(f"no {number}")

    node, datasets = Node(fail, "a", "b", name="fail"), catalog(tmp_path)
    datasets.save("a", 1)
    with pytest.raises(ValueError, match="no 1"):
        ResumingRunner().run(Pipeline([node]), datasets)
    assert not Record(node, datasets).vouches_for(fingerprint(node, datasets, {}))


def test_a_failure_leaves_what_was_done_before(tmp_path, monkeypatch):
    ran(catalog(tmp_path))
    monkeypatch.setattr(JSONDataset, "write", lambda *_: 1 / 0)
    with pytest.raises(Exception, match="division"):
        ran(catalog(tmp_path, edit=2))
    monkeypatch.undo()
    assert ran(catalog(tmp_path)) == []
    assert ran(catalog(tmp_path, edit=2)) == ["first", "middle", "last"]


def test_a_step_killed_between_its_outputs_is_not_done(tmp_path):
    def pair(counts: SplitCounts) -> tuple[int, int]:
        CALLS.append("pair")
        return counts.edit, counts.edit

    def run(edit: int) -> list[str]:
        CALLS.clear()
        ResumingRunner().run(
            Pipeline([Node(pair, "params:counts", ["a", "b"], name="pair")]), catalog(tmp_path, edit)
        )
        return list(CALLS)

    assert run(1) == ["pair"]
    assert run(1) == []
    catalog(tmp_path).save("a", 2)  # as a run with 2 leaves it that is killed before it saves b
    assert run(2) == ["pair"]
    catalog(tmp_path).save("a", 1)
    assert run(1) == ["pair"]


def test_a_part_of_the_pipeline_resumes_like_the_whole(tmp_path):
    ran(catalog(tmp_path))
    CALLS.clear()
    part = Pipeline(PIPELINE.nodes[1:])
    ResumingRunner().run(part, catalog(tmp_path))
    assert CALLS == []
    (tmp_path / "a.json").write_text("7")
    ResumingRunner().run(part, catalog(tmp_path))
    assert CALLS == ["middle", "last"]


def of_training(env: str) -> tuple[str, ...]:
    """What the pretraining step writes in an environment: model, report and learning curve."""
    entries = OmegaConfigLoader(str(ROOT / "conf"), env=env, **CONFIG_LOADER_ARGS)["catalog"]
    files = (entries[name]["filepath"] for name in ("pretraining_report", "learning_curve"))
    return (entries["base_model"]["source"], *files)


def test_training_one_model_leaves_what_another_training_wrote():
    """Otherwise the runner would train the other again."""
    folders = (path.name for path in (ROOT / "conf").iterdir() if path.is_dir() and path.name != "local")
    trainings = {of_training(env) for env in folders}
    written = [file for training in trainings for file in training]
    assert len(trainings) > 5
    assert len(set(written)) == len(written)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_training_the_zoo_leaves_no_learning_curve_in_git():
    model, _, curve = of_training("base")
    ignored = subprocess.run(
        ["git", "check-ignore", f"{model}/config.json", curve],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ignored.stdout.split() == [curve]
