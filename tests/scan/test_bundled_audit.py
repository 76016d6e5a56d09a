"""The bundled LoRA's captions, scanned as its experiment says."""

import pyarrow.parquet as pq

from anisomem.cli.main import main
from anisomem.config import catalog, compose


def test_it_is_the_lora_less_its_base():
    (case,) = compose.cases(["experiment=audit_testbed"])
    assert case.model_name == "testbed_tuned"
    assert case.model["path"] == case.baseline_model.path == catalog.testbed("epsilon")
    assert case.model["adapters"] == [f"{catalog.testbed('tuned')}/lora.safetensors"]
    assert case.prompts == f"{catalog.testbed('tuned')}/prompts.parquet"
    assert next(iter(case.detector)) == "relative_wen"


def test_it_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["limit=12", "gallery=1", "workers=1", "scan.ordinary=40"]
    assert main(["scan", "experiment=audit_testbed", *small]) == 0
    assert "scored by relative_wen" in " ".join(capsys.readouterr().out.split())
    assert "from anisomem/testbed/tuned/pictures" in (
        next((tmp_path / "runs" / "audit_testbed").glob("*/scan.md")).read_text()
    )
    (folder,) = (tmp_path / "runs" / "audit_testbed").glob("*/")
    assert len(pq.read_table(folder / "scan.parquet")) == 12
    # The nearest of its sixty training pictures were looked for.
    assert len(pq.read_table(folder / "leaks.parquet")) == 60
