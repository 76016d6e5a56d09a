"""Which families there are: each file of this package that has one; and whose a pipeline is.

What a family declares is a :class:`~anisomem.models.layout.Layout`; loading is in ``loading``.
"""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from diffusers import DiffusionPipeline

from anisomem import models
from anisomem.errors import UserError
from anisomem.models import agreement, architecture, files, loading
from anisomem.models.loading import Source
from anisomem.models.outline import Outline
from anisomem.models.pipeline import PipelineModel


@cache
def families() -> list[type[PipelineModel]]:
    """All that a file of this package defines."""
    named = sorted(file.name for file in pkgutil.iter_modules(models.__path__))
    modules = [import_module(f"{models.__name__}.{name}") for name in named]
    return [
        made
        for module in modules
        for made in vars(module).values()
        if isinstance(made, type)
        and issubclass(made, PipelineModel)
        and made is not PipelineModel
        and made.__module__ == module.__name__
    ]


def family_of(index: dict[str, Any], path: str) -> type[PipelineModel]:
    """Finds the family of a pipeline.

    Arguments:
        index: Its model_index.json.
        path: What the user calls it.

    Raises:
        UserError: It is of none.
    """
    named = str(index["_class_name"])[:80]
    for family in families():
        if named in family.layout.names:
            return family
    expected = " or a ".join(sorted(family.layout.name for family in families()))
    raise UserError(f"{path!r} is a {named}; expected a {expected}")


def load(path: str, revision: str | None = None, **settings: Any) -> PipelineModel:
    """The model at ``path``, of the family that its model_index.json names.

    Arguments:
        path: A local folder or checkpoint or a hub repository.
        revision: A commit, branch or tag of the repository.
        settings: The other attributes of :class:`~anisomem.models.loading.Source`.

    Raises:
        UserError: What :meth:`PipelineModel.load` refuses, or it is of no family.
    """
    source = Source(path, revision, **settings)
    return family_of(source.index, path).read(source)


def of(
    pipeline: DiffusionPipeline, stands_for: str | None = None, device: str | None = None
) -> PipelineModel:
    """The model of a pipeline that is in memory, as one that is read from a folder.

    Its networks are put into the mode of evaluation, without gradients.

    Arguments:
        pipeline: The pipeline, whose parts are used and not copied.
        stands_for: Key of the published model whose detector weights apply.
        device: Where to, ``auto`` being CUDA if there is one; if not given, where its network is.

    Raises:
        UserError: It is of no family, there is no such device, or its parts do not belong
            together, wait elsewhere or differ in their precision.
    """
    kind = type(pipeline).__name__
    model = family_of({"_class_name": kind}, f"the pipeline in memory ({kind})")(
        pipeline, stands_for
    )
    agreement.require_text(model.readers)
    networks = [network for some in model.networks.values() for network in some]
    if any(hasattr(part, "_hf_hook") for network in networks for part in network.modules()):
        raise UserError(
            f"parts of the pipeline in memory ({kind}) are offloaded; undo it with"
            " pipeline.remove_all_hooks(), or load its folder with offload=model"
        )
    read = [model.denoiser, *model.text_encoders]
    if len(kinds := {str(network.dtype).removeprefix("torch.") for network in read}) > 1:
        raise UserError(
            f"parts of the pipeline in memory ({kind}) are {' and '.join(sorted(kinds))}; bring"
            " them together with pipeline.to(dtype)"
        )
    for network in networks:
        network.eval().requires_grad_(False)
    place = loading.placed(device) if device else str(model.device)
    model.place(place)
    return model


def outline(path: str) -> Outline | None:
    """What is known of a local folder or a shipped architecture; None of another repository.

    Raises:
        UserError: It is of no family.
    """
    try:
        folder = architecture.folder(path)
    except UserError:
        return None
    return Outline(family_of(files.read_index(folder), path), folder)
