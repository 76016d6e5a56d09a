"""Runs the notebooks of ``examples/`` and keeps what they show.

Progress is not kept, since it says how long something took.

    python scripts/notebooks.py
"""

import argparse
import os
from pathlib import Path

import nbclient
import nbformat

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def executed(file: Path, folder: Path) -> nbformat.NotebookNode:
    """A notebook with what it shows, run anew.

    Arguments:
        file: The notebook.
        folder: Where it runs.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell fails.
    """
    notebook = nbformat.read(file, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


def main() -> None:
    """Runs all."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    for file in sorted(EXAMPLES.glob("*.ipynb")):
        nbformat.write(executed(file, EXAMPLES), file)


if __name__ == "__main__":
    main()
