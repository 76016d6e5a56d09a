"""What every diffusion model offers to detectors and mitigations.

Latents have the shape ``[n, C, H, W]``. One NFE is one latent through the network under one
conditioning. :mod:`anisomem.models.prediction` says what a network's output stands for.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from anisomem.errors import UserError
from anisomem.models import dual
from anisomem.models.attention import Attention, Edit
from anisomem.models.capability import Capability
from anisomem.models.conditioning import Conditioning
from anisomem.models.prediction import Parameterisation, Prediction
from anisomem.models.schedule import Schedule
from anisomem.models.trajectory import Correct, Evaluate, Guidance, Step, steps
from anisomem.models.weights import WeightFiles


class DiffusionModel(ABC):
    """A text-conditional diffusion model, one subclass per family.

    Attributes:
        latent_shape: ``(C, H, W)``.
        parameterisation: What the network predicts.
        schedule: Its timesteps and their scales.
        device, dtype: Of the network; latents are handed to it in both.
        stands_for: Key of the published model whose detector weights apply, or None.
        repository, revision: Where it was loaded from on the hub and the commit, or None.
        variant: The variant of the weights' files that were loaded, such as ``fp16``, or None.
        weights: The files that its weights were read from, or None.
        adapters: LoRA and learned embeddings that were put on it, as a card says them.
        cautions: What a reader of its scores must know about how it was loaded.
        baseline: An earlier checkpoint of it, or what it was tuned from, which some detectors
            compare it with; None where none is given.
        nfe: Latents evaluated so far; a directional derivative counts in ``jvps`` instead.
        declares: What models of the class can do; :attr:`capabilities` are what this one can.
    """

    declares: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.PICTURES, Capability.DERIVATIVES}
    )

    latent_shape: tuple[int, int, int]
    parameterisation: Parameterisation
    schedule: Schedule
    device: torch.device = torch.device("cpu")
    dtype: torch.dtype = torch.float32
    stands_for: str | None = None
    repository: str | None = None
    revision: str | None = None
    variant: str | None = None
    weights: WeightFiles | None = None
    adapters: Sequence[Mapping[str, Any]] = ()
    cautions: Sequence[str] = ()
    baseline: "DiffusionModel | None" = None
    nfe: int = 0
    jvps: int = 0

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """The conditioning of each prompt; "" is the unconditional one."""

    @abstractmethod
    def _network(self, x: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The network's raw output, ``[n, C, H, W]``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> np.ndarray:
        """Pictures, uint8 ``[n, H, W, 3]``."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this model can do; :attr:`declares`, less what it was loaded without."""
        return self.declares

    def require(self, capability: Capability, advice: str) -> None:
        """Checks a capability, which is known before anything is evaluated.

        Arguments:
            capability: What is needed.
            advice: Who needs it, or how to do without.

        Raises:
            UserError: The model cannot do it.
        """
        if capability not in self.capabilities:
            raise UserError(f"the model ({type(self).__name__}) {capability.value}; {advice}")

    def unlike(self, other: "DiffusionModel") -> str:
        """Why another model's predictions cannot be compared with its own, "" if they can."""
        if type(self) is not type(other):
            return f"it is a {type(other).__name__}, and the model a {type(self).__name__}"
        if self.latent_shape != other.latent_shape:
            return f"its latents are {other.latent_shape}, and the model's {self.latent_shape}"
        if self.parameterisation != other.parameterisation:
            return f"it predicts {other.parameterisation}, and the model {self.parameterisation}"
        steps = self.timesteps()
        if steps != other.timesteps():
            return "its timesteps are others than the model's"
        t = torch.tensor(steps)
        if not all(map(torch.allclose, self.scales(t), other.scales(t))):
            return "its noise schedule is another than the model's"
        return ""

    @property
    def counted(self) -> tuple[int, int]:
        """NFE and directional derivatives so far, those of its baseline included."""
        nfe, jvps = self.baseline.counted if self.baseline else (0, 0)
        return self.nfe + nfe, self.jvps + jvps

    @contextmanager
    def aside(self) -> Iterator[None]:
        """It is not evaluated meanwhile, and leaves an accelerator's memory to others."""
        yield

    def scales(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r""":math:`\alpha_t` and :math:`\sigma_t` in float64, for timesteps ``[n]``."""
        return self.schedule.scales(t)

    def timesteps(self, num_steps: int = 50) -> list[float]:
        """The timesteps of a trajectory, from noise to data."""
        return self.schedule.timesteps(num_steps)

    def truncated(self, prompts: Sequence[str]) -> int:
        """How many prompts exceed a text encoder's limit and are cut."""
        return 0

    def initial_noise(
        self, seed: int, n: int, shape: tuple[int, int, int] | None = None
    ) -> Tensor:
        """What ``torch.manual_seed(seed); torch.randn(n, C, H, W)`` gives on the CPU.

        Samples of a smaller n are the first of a larger one, for latents of a multiple of 16
        numbers (PyTorch draws in blocks of that size).

        Arguments:
            seed: The seed.
            n: How many.
            shape: ``(C, H, W)``; the model's own if not given.
        """
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, *(shape or self.latent_shape), generator=generator)

    def predict(self, x: Tensor, t: Tensor | float, conditioning: Conditioning) -> Prediction:
        """One evaluation of the network per row; ``t`` is one timestep or one per row."""
        steps = torch.as_tensor(t).expand(len(x))
        raw = self._network(x, steps, conditioning)
        self.nfe += len(x)  # not those that ran out of memory
        return self._prediction(raw, x, steps)

    def attend(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, first: int = 0
    ) -> tuple[Prediction, Attention]:
        """The prediction, and what the rows from ``first`` on attend to.

        Raises:
            UserError: The model lacks :attr:`Capability.ATTENTION`.
        """
        self.require(Capability.ATTENTION, "leave out the detectors that read it")
        raise NotImplementedError

    def represent(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning
    ) -> tuple[Prediction, Tensor]:
        """The prediction, and what the first up-sampling block makes of the latents.

        Of each of the block's residual layers, the activation behind its last nonlinearity, the
        largest over positions: float32 or better, ``[n, layers, channels]``.

        Raises:
            UserError: The model lacks :attr:`Capability.REPRESENTATION`.
        """
        self.require(Capability.REPRESENTATION, "leave out the detectors that read them")
        raise NotImplementedError

    def edited(self, edit: Edit) -> AbstractContextManager[None]:
        """Meanwhile predictions attend to the prompts' tokens as ``edit`` says.

        Raises:
            UserError: The model lacks :attr:`Capability.EDITING`.
        """
        self.require(Capability.EDITING, "choose a mitigation that changes none")
        raise NotImplementedError

    @property
    def picture_size(self) -> tuple[int, int]:
        """Height and width of its pictures.

        Raises:
            UserError: The model lacks :attr:`Capability.ENCODER`.
        """
        self.require(Capability.ENCODER, "leave out what compares with pictures")
        raise NotImplementedError

    def latents_of(self, pictures: np.ndarray) -> Tensor:
        """What :meth:`decode` inverts.

        Arguments:
            pictures: uint8 ``[n, H, W, 3]`` of :attr:`picture_size`.

        Returns:
            ``[n, C, h, w]`` float32, on the CPU.

        Raises:
            UserError: The model lacks :attr:`Capability.ENCODER`.
        """
        self.require(Capability.ENCODER, "leave out what compares with pictures")
        raise NotImplementedError

    def random_token(self, rng: np.random.Generator) -> str:
        """A token of the vocabulary as text, none of the special ones.

        Raises:
            UserError: The model lacks :attr:`Capability.VOCABULARY`.
        """
        self.require(Capability.VOCABULARY, "choose a mitigation that draws no tokens")
        raise NotImplementedError

    def padded_with(self, token: str) -> AbstractContextManager[None]:
        """Meanwhile :meth:`encode` fills prompts up with another token.

        Raises:
            UserError: The model lacks :attr:`Capability.VOCABULARY`.
        """
        self.require(Capability.VOCABULARY, "choose a mitigation that changes no padding")
        raise NotImplementedError

    def jvp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, tangent: Tensor
    ) -> tuple[Prediction, Tensor]:
        """The prediction and the derivative of its *raw output* along ``tangent``.

        Forward-mode differentiation by :mod:`~anisomem.models.dual`, and of a network that changes
        its tensors in place by ``torch.func.jvp``, with attention in plain matrix products.

        Raises:
            UserError: The model lacks :attr:`Capability.DERIVATIVES`.
        """
        self.require(Capability.DERIVATIVES, "or leave out the detectors that take them")
        steps = torch.as_tensor(t).expand(len(x))

        def network(latents: Tensor) -> Tensor:
            return self._network(latents, steps, conditioning)

        try:
            raw, derivative = dual.jvp(network, x, tangent)
        except NotImplementedError:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                raw, derivative = torch.func.jvp(network, (x,), (tangent,))[:2]
        self.jvps += len(x)
        return self._prediction(raw, x, steps), derivative

    def vjp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, cotangent: Tensor
    ) -> Tensor:
        """The transposed derivative of the *raw output* applied to ``cotangent``.

        Reverse-mode differentiation; counts as a directional derivative.

        Raises:
            UserError: The model lacks :attr:`Capability.DERIVATIVES`.
        """
        self.require(Capability.DERIVATIVES, "or leave out what takes them")
        steps = torch.as_tensor(t).expand(len(x))
        with torch.enable_grad():  # type: ignore[no-untyped-call]
            latents = x.detach().requires_grad_()
            raw = self._network(latents, steps, conditioning)
            (pulled,) = torch.autograd.grad(raw, latents, cotangent.to(raw))
        self.jvps += len(x)
        return pulled

    def condition_vjp(
        self, x: Tensor, t: Tensor | float, conditioning: Conditioning, cotangent: Tensor
    ) -> Tensor:
        """The same for the derivative in the embeddings of tokens, ``[n, tokens, width]``.

        Raises:
            UserError: The model lacks :attr:`Capability.DERIVATIVES` or
                :attr:`Capability.EMBEDDINGS`.
        """
        for capability in (Capability.DERIVATIVES, Capability.EMBEDDINGS):
            self.require(capability, "or leave out what takes them")
        steps = torch.as_tensor(t).expand(len(x))
        with torch.enable_grad():  # type: ignore[no-untyped-call]
            embeddings = conditioning.required_embeddings().detach().requires_grad_()
            raw = self._network(x, steps, replace(conditioning, embeddings=embeddings))
            (pulled,) = torch.autograd.grad(raw, embeddings, cotangent.to(raw))
        self.jvps += len(x)
        return pulled

    @contextmanager
    def offset(self, offset: Tensor) -> Iterator[None]:
        """Meanwhile :meth:`encode` adds to the embeddings of every prompt but the empty one.

        Arguments:
            offset: ``[tokens, width]``; what is encoded is differentiable in it.

        Raises:
            UserError: The model lacks :attr:`Capability.EMBEDDINGS`.
        """
        self.require(Capability.EMBEDDINGS, "there is nothing to add to")
        own = self.encode

        def encode(prompts: Sequence[str]) -> Conditioning:
            given = own(prompts)
            embeddings = given.required_embeddings()
            said = torch.tensor([bool(prompt) for prompt in prompts], device=embeddings.device)
            moved = embeddings + said[:, None, None] * offset.to(embeddings.device)
            return replace(given, embeddings=moved.to(embeddings.dtype))

        vars(self)["encode"] = encode
        try:
            yield
        finally:
            del vars(self)["encode"]

    def sample(
        self,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int = 50,
        guidance: float | Guidance = 7.5,
        evaluate: Evaluate | None = None,
        correct: Correct | None = None,
        gamma: float | None = None,
    ) -> Tensor:
        """Latents at the end of a :meth:`trajectory`, ``[n, C, H, W]``."""
        steps = self.trajectory(x, conditioning, num_steps, guidance, evaluate, correct, gamma)
        for step in steps:
            x = step.after
        return x

    def trajectory(
        self,
        x: Tensor,
        conditioning: Conditioning,
        num_steps: int = 50,
        guidance: float | Guidance = 7.5,
        evaluate: Evaluate | None = None,
        correct: Correct | None = None,
        gamma: float | None = None,
    ) -> Iterator[Step]:
        r"""Deterministic sampling with classifier-free guidance from the noise ``x``.

        :math:`x_s = \alpha_s \hat x_0 + \sigma_s \hat\varepsilon` with the guided prediction
        :math:`u + w (c - u)`: DDIM (Song et al., ICLR 2021, eq. 12 with eta = 0) and, for flow
        matching, Euler's method, :math:`x_t + (\sigma_s - \sigma_t)(\hat\varepsilon - \hat x_0)`.
        Where the schedule clips, :math:`\hat x_0` is clipped; the noise stays as predicted.
        2 NFE per prompt and step, 1 with w = 1, which needs no u.

        Arguments:
            x: The noise that it begins with.
            conditioning: The encoded prompts.
            num_steps: How many steps the schedule has.
            guidance: The guidance scale w, or what gives every row's in each step.
            evaluate: What evaluates the model in each step; its own batched pass if not given.
            correct: What gives the latents to go on from, from the step that was taken.
            gamma: The share of the schedule that ``x`` is noised to, where it is no pure noise
                (:meth:`~anisomem.models.schedule.Schedule.partial`).
        """
        empty = self.encode([""])[[0] * len(x)]

        def both(x: Tensor, t: float) -> tuple[Prediction, Prediction | None]:
            if guidance == 1:
                return self.predict(x, t, conditioning), None
            pair = self.predict(torch.cat([x, x]), t, Conditioning.cat([empty, conditioning]))
            return pair[len(x) :], pair[: len(x)]

        if gamma is None:
            timesteps, targets = self.timesteps(num_steps), self.schedule.targets(num_steps)
        else:
            timesteps, targets = self.schedule.partial(gamma, num_steps)
        through = list(zip(timesteps, targets, strict=True))
        return steps(x, self.schedule, through, guidance, evaluate or both, correct)

    def _prediction(self, raw: Tensor, x: Tensor, steps: Tensor) -> Prediction:
        return Prediction(raw, x, *self.scales(steps), self.parameterisation)
