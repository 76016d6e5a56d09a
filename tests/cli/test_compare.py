"""Detectors of finished runs compared from the command line."""

import subprocess
import sys

import pytest
from pyarrow import parquet

from anisomem.cli.main import main


def test_comparison_needs_the_stores_alone(gallery_run, tmp_path):
    code = (
        "import sys; from anisomem.cli.main import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 9 * ('torch' in sys.modules or 'matplotlib' in sys.modules))"
    )
    arguments = ["compare", "wen", "anisotropy", "wen,n=1", "--in", str(gallery_run[1])]
    shown = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "| wen, n=4 " in shown.stdout and "Traceback" not in shown.stderr
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        *(f"compare-prompts.{suffix}" for suffix in ("md", "tex", "csv")),
        *(f"critical_difference-prompts.{suffix}" for suffix in ("png", "svg")),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["wen"], "two detectors or more"),
        (["wen", "jeno"], "no detector in prompts named 'jeno'"),
        (["wen", "wen,n=4"], "are the same detector"),
    ],
)
def test_mistakes_are_one_line(gallery_run, capsys, arguments, message):
    assert main(["compare", *arguments, "--in", str(gallery_run[1])]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and message in printed.err


def test_run_is_the_quickstart_where_none_is_given(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "wen", "jeon"]) == 2
    assert "no run at 'runs/quickstart'" in capsys.readouterr().err


def test_a_part_that_cannot_be_judged_says_why(setting, tmp_path, capsys):
    kinds = ["rare" if i == 0 else "ordinary" for i in range(24)]
    file = tmp_path / "prompts.parquet"
    table = parquet.read_table(file)
    at = table.column_names.index("kind")
    parquet.write_table(table.set_column(at, "kind", [kinds]), file)
    chosen = ["detector=[wen,anisotropy_fitted]", "timing_repeats=0", "seeds=[1,2]"]
    assert main(["run", *setting, *chosen]) == 0
    capsys.readouterr()
    runs = str(tmp_path / "runs" / "quickstart")
    assert main(["compare", "wen", "anisotropy_fitted", "--in", runs]) == 0
    shown = capsys.readouterr().out
    assert "- rare: " in shown and "| rare" not in shown
    assert "means over 2 noise seeds" in shown
