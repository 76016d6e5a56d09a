"""The papers that detectors and mitigations come from, each said once.

Whoever implements one names it in its ``info`` or ``paper``; numbers that papers report are cards
in ``results/published``.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Paper:
    """A paper, and the code that its authors released.

    Attributes:
        authors: Their surnames.
        arxiv: Its number there, such as ``2407.21720``.
        code: Where the released code lies.
        licence: The licence of that code; None where it has none.
    """

    title: str
    authors: str
    venue: str
    year: int
    arxiv: str | None = None
    code: str | None = None
    licence: str | None = None

    @property
    def cited(self) -> str:
        """Authors, venue, year and number, in one line."""
        arxiv = f", arXiv {self.arxiv}" if self.arxiv else ""
        return f"{self.authors}, {self.venue} {self.year}{arxiv}"


ANISOMEM = Paper("Measured and described in this project alone", "anisomem", "this package", 2026)
ASTHANA = Paper(
    "Detecting and Mitigating Memorization in Diffusion Models through Anisotropy of the "
    "Log-Probability",
    "Asthana and Belagiannis",
    "ICLR",
    2026,
    arxiv="2601.20642",
    code="https://github.com/rohanasthana/memorization-anisotropy",
    licence="MIT",
)
BROKMAN = Paper(
    "Identifying Memorization of Diffusion Models through p-Laplace Analysis",
    "Brokman, Giloni, Hofman, Vainshtein, Kojima and Gilboa",
    "SSVM",
    2025,
    arxiv="2505.08246",
)
CARLINI = Paper(
    "Extracting Training Data from Diffusion Models",
    "Carlini, Hayes, Nasr, Jagielski, Sehwag, Tramèr, Balle, Ippolito and Wallace",
    "USENIX Security",
    2023,
    arxiv="2301.13188",
)
CHEN = Paper(
    "Exploring Local Memorization in Diffusion Models via Bright Ending Attention",
    "Chen, Liu, Shah and Xu",
    "ICLR",
    2025,
    arxiv="2410.21665",
    code="https://github.com/chenchen-usyd/BE-PRSS",
    licence="MIT",
)
CHEN_PRSS = Paper(
    "Enhancing Privacy-Utility Trade-offs to Mitigate Memorization in Diffusion Models",
    "Chen, Liu, Shah and Xu",
    "CVPR",
    2025,
    arxiv="2504.18032",
    code="https://github.com/chenchen-usyd/BE-PRSS",
    licence="MIT",
)
CONDITION = Paper(
    "Detection by the condition Jacobian, OpenReview pY2P28M9Iv", "anonymous", "OpenReview", 2026
)
EARLY = Paper(
    "Early Detection of Memorization in Diffusion Models",
    "anonymous",
    "ICML",
    2026,
    code="https://github.com/randomnameforicml/icml-2026",
    licence="MIT",
)
HAN = Paper(
    "Adjusting Initial Noise to Mitigate Memorization in Text-to-Image Diffusion Models",
    "Han, Kim, Joo, Hong and Lee",
    "NeurIPS",
    2025,
    arxiv="2510.08625",
    code="https://github.com/hygnhan/init_noise_diffusion_memorization",
)
HINTERSDORF = Paper(
    "Finding NeMo: Localizing Neurons Responsible For Memorization in Diffusion Models",
    "Hintersdorf, Struppek, Kersting, Dziedzic and Boenisch",
    "NeurIPS",
    2024,
    arxiv="2406.02366",
    code="https://github.com/ml-research/localizing_memorization_in_diffusion_models",
    licence="MIT",
)
HONG = Paper(
    "MemBench: Memorized Image Trigger Prompt Dataset for Diffusion Models",
    "Hong, Oh and Cho",
    "arXiv",
    2024,
    arxiv="2407.17095",
)
HUANG = Paper(
    "Broken Memories: Detecting and Mitigating Memorization in Diffusion Models with Degraded "
    "Generations",
    "Huang, Zhang, Chen, Li, Hong, You and Yang",
    "KDD",
    2026,
    arxiv="2605.22050",
)
JAIN = Paper(
    "Classifier-Free Guidance inside the Attraction Basin May Cause Memorization",
    "Jain, Kobayashi, Shibuya, Takida, Memon, Togelius and Mitsufuji",
    "CVPR",
    2025,
    arxiv="2411.16738",
    code="https://github.com/SonyResearch/mitigating_memorization",
)
JEON = Paper(
    "Understanding and Mitigating Memorization in Diffusion Models via Sharpness of Probability "
    "Landscapes",
    "Jeon, Kim and No",
    "ICML",
    2025,
    arxiv="2412.04140",
    code="https://github.com/Dongjae0324/sharpness_memorization_diffusion",
)
KAMKARI = Paper(
    "A Geometric View of Data Complexity: Efficient Local Intrinsic Dimension Estimation with "
    "Diffusion Models",
    "Kamkari, Ross, Hosseinzadeh, Cresswell and Loaiza-Ganem",
    "NeurIPS",
    2024,
    arxiv="2406.03537",
    code="https://github.com/layer6ai-labs/dgm_geometry",
)
KIM_LEE = Paper(
    "Localizing Memorized Regions in Diffusion Models via Coordinate-Wise Curvature Differences",
    "Kim and Lee",
    "ICML",
    2026,
    arxiv="2605.26756",
    code="https://github.com/Gwangho99/mem-curv-diff",
)
KIM_NO = Paper(
    "Memorization In Stable Diffusion Is Unexpectedly Driven by CLIP Embeddings",
    "Kim and No",
    "CVPR Findings",
    2026,
    arxiv="2605.02908",
)
KOWALCZUK = Paper(
    "Finding DoRI: Discovery of Retained Images in Diffusion Models",
    "Kowalczuk, Hintersdorf, Struppek, Kersting, Dziedzic and Boenisch",
    "ICML",
    2026,
    arxiv="2507.16880",
    code="https://github.com/sprintml/finding_dori",
)
REN = Paper(
    "Unveiling and Mitigating Memorization in Text-to-image Diffusion Models through Cross "
    "Attention",
    "Ren, Li, Zeng, Xu, Lyu, Xing and Tang",
    "ECCV",
    2024,
    arxiv="2403.11052",
    code="https://github.com/renjie3/MemAttn",
    licence="MIT",
)
SOMEPALLI = Paper(
    "Understanding and Mitigating Copying in Diffusion Models",
    "Somepalli, Singla, Goldblum, Geiping and Goldstein",
    "NeurIPS",
    2023,
    arxiv="2305.20086",
    code="https://github.com/somepago/DCR",
)
VERMA = Paper(
    "Early Signatures of Memorization in Diffusion Models via Basin Geometry and Cyclic Denoising",
    "Verma, Dileep, Singh, Sastry, Hebbalaguppe, Ranu and Krishnan",
    "arXiv",
    2026,
    arxiv="2610.11670",
)
WATSON = Paper(
    "On the Importance of Difficulty Calibration in Membership Inference Attacks",
    "Watson, Guo, Cormode and Sablayrolles",
    "ICLR",
    2022,
    arxiv="2111.08440",
)
WEBSTER = Paper(
    "A Reproducible Extraction of Training Images from Diffusion Models",
    "Webster",
    "arXiv",
    2023,
    arxiv="2305.08694",
    code="https://github.com/ryanwebster90/onestep-extraction",
)
WEN = Paper(
    "Detecting, Explaining, and Mitigating Memorization in Diffusion Models",
    "Wen, Liu, Chen and Lyu",
    "ICLR",
    2024,
    arxiv="2407.21720",
    code="https://github.com/YuxinWenRick/diffusion_memorization",
)
ZHANG = Paper(
    "Generalization of Diffusion Models Arises with a Balanced Representation Space",
    "Zhang, Li, Li, Shi, Wu, Tao and Qu",
    "ICLR",
    2026,
    arxiv="2512.20963",
    code="https://github.com/la0ka1/diffusion-gen-from-rep",
)
ZHAO = Paper(
    "You Don't Need All That Attention: Surgical Memorization Mitigation in Text-to-Image "
    "Diffusion Models",
    "Zhao, Triantafillou and Triantafillou",
    "ICML",
    2026,
    arxiv="2603.00133",
    code="https://github.com/kairanzhao/GUARD",
    licence="MIT",
)
