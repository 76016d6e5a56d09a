"""Full evaluations of named prompts: what the files hold, and that they are added on demand."""

import numpy as np
from safetensors.numpy import load_file

from anisomem.benchmark.case import Case
from anisomem.benchmark.results import Results
from anisomem.cli.main import main


def test_files_hold_what_the_components_are_computed_from(large_run, tmp_path, capsys):
    overrides = [
        *large_run,
        *("detector=[wen_5]", "seeds=[1,2]", f"runs={tmp_path / 'runs'}"),
        *("timing_repeats=0", "draws=200", "workers=1", "detector.wen_5.n=[1,2]"),
    ]
    assert main(["run", *overrides]) == 0
    table = capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "quickstart").glob("prompts-*")
    before = Results(Case.stored(folder / "config.yaml")).frame

    assert main(["run", *overrides, "tensors=[p3,p300]"]) == 0
    assert capsys.readouterr().out == table
    case = Results(Case.stored(folder / "config.yaml"))
    columns = [name for name in before if "wen" in name]
    assert np.array_equal(before[columns], case.frame[columns])
    files = sorted(file.relative_to(folder / "tensors") for file in folder.rglob("*.safetensors"))
    assert [str(file) for file in files] == [
        f"seed{seed}/p{prompt}.safetensors" for seed in (1, 2) for prompt in (3, 300)
    ]
    tensors = load_file(folder / "tensors" / "seed2" / "p300.safetensors")
    difference = tensors["Conditional/901/guided"] - tensors["Unconditional/901/guided"]
    norms = np.linalg.norm(difference.reshape(2, -1), axis=1)
    recorded = case.recorded(2).components["wen/norm[step:4,guided]"][300]
    np.testing.assert_allclose(recorded, norms, rtol=1e-5)
    assert tensors["noise"].shape == (2, 4, 8, 8)

    # Finished again: nothing is evaluated, and nothing lost.
    stamps = {file: file.stat().st_mtime_ns for file in folder.rglob("*.safetensors")}
    assert main(["run", *overrides, "tensors=[p3,p300]"]) == 0
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps


def test_an_unknown_prompt_is_one_line(large_run, tmp_path, capsys):
    assert main(["run", *large_run, "detector=[wen]", "tensors=[p321]", f"runs={tmp_path}"]) == 2
    assert "no prompt id in tensors named 'p321'; did you mean 'p32" in capsys.readouterr().err
