"""What is fetched of a repository: the variant that is wanted, and a line where it has others."""

from types import SimpleNamespace

import pytest

from anisomem.models import hub
from anisomem.models.families import load
from tests.models.folders import one_line

SIZES = {
    "model_index.json": 1,
    "v1-5-pruned.safetensors": 10**6,
    "unet/config.json": 10,
    "unet/diffusion_pytorch_model.safetensors": 1_000,
    "unet/diffusion_pytorch_model.fp16.safetensors": 500,
    "unet/diffusion_pytorch_model.bin": 10**6,
    "text_encoder/model.fp16-00001-of-00002.safetensors": 70,
    "text_encoder/model.fp16-00002-of-00002.safetensors": 30,
    "text_encoder/model-00001-of-00002.safetensors": 140,
    "text_encoder/model-00002-of-00002.safetensors": 60,
    "vae/diffusion_pytorch_model.safetensors": 8,
    "safety_checker/model.safetensors": 10**6,
}


@pytest.fixture
def repository(monkeypatch):
    """A hub with one repository, of which nothing can be fetched."""

    def holding(sizes):
        class Api:
            def model_info(self, path, **settings):
                files = [SimpleNamespace(rfilename=n, size=size) for n, size in sizes.items()]
                return SimpleNamespace(siblings=files)

            def list_repo_files(self, path, revision=None):
                return list(sizes)

        asked = []

        def download(path, **settings):
            asked.append(settings["variant"])
            raise OSError("no file of that name")

        monkeypatch.setattr(hub, "HfApi", Api)
        monkeypatch.setattr(hub.DiffusionPipeline, "download", download)
        return asked

    return holding


@pytest.mark.parametrize(
    ("variant", "weights"),
    [(None, 1_000 + 140 + 60 + 8), ("fp16", 500 + 70 + 30 + 8), ("bf16", 1_000 + 140 + 60 + 8)],
)
def test_a_variants_size_is_that_of_its_files_and_of_plain_ones_where_it_has_none(
    repository, variant, weights
):
    repository(SIZES)
    assert hub.size("owner/name", None, variant) == weights + SIZES["unet/config.json"]


def test_a_repository_of_a_variant_alone_says_what_to_set(repository):
    asked = repository({name: 1 for name in SIZES if "fp16" in name or name.endswith("json")})
    one_line(
        lambda: load("owner/name", device="cpu"),
        "owner/name has weights of the variants fp16 alone; give model.variant=fp16",
    )
    one_line(lambda: load("owner/name", device="cpu", variant="fp16"), "no file of that name")
    assert asked == [None, "fp16"] and not hub.present("owner/name", None, "fp16")
    assert asked[-1] == "fp16"


def test_what_else_is_amiss_is_said_as_it_was(repository):
    repository(SIZES)
    one_line(lambda: load("owner/name", device="cpu"), "no file of that name")
