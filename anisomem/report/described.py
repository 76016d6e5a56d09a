"""The table of everything that is known of every detector that can be named."""

from anisomem.config import compose, registry
from anisomem.detection.configured import detectors
from anisomem.errors import UserError
from anisomem.report.table import Table


def described() -> Table:
    """Where every detector comes from, what it reads and what that costs."""
    broken, lines = {}, []
    names = dict.fromkeys(one.name for one in registry.known())
    for name in names:
        try:
            registry.offer(name)
        except UserError as error:
            broken[name] = str(error)
    chosen = [name for name in names if name not in broken]
    nodes = compose.cases([f"detector=[{','.join(chosen)}]"])[0].detector
    for name in chosen:
        try:
            detector = detectors({name: nodes[name]})[0]
        except Exception as error:  # whatever a class does while it is made
            broken[name] = f"{name}: {' '.join(str(error).split()) or type(error).__name__}"
            continue
        info = detector.info
        if info is None:
            lines.append([name, registry.find(name).title(), *["–"] * 11])
            continue
        paper, cost = info.paper, detector.cost()
        cells = [paper.authors, paper.venue, str(paper.year), paper.arxiv, paper.code]
        cells += [paper.licence, info.reads, str(detector.n), str(cost.nfe), str(cost.jvps)]
        lines.append([name, paper.title, *(cell or "–" for cell in cells), info.orientation])
    headings = ["detector", "title", "authors", "venue", "year", "arXiv", "code", "licence"]
    headings += ["reads", "n", "NFE", "JVPs", "orientation"]
    notes = [
        "NFE and JVPs (directional derivatives) are of one prompt on its own with n noise samples;"
        " what prompts or detectors share is evaluated once.",
        "Licence: of the released code; – where none is given.",
    ]
    return Table("Detectors", headings, lines, [*notes, *broken.values()])
