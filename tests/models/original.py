"""The names that the original code of Stable Diffusion gives the weights of a U-Net."""

import re

LAYERS = 1  # in a block of the tiny pipelines


def original_unet(name):
    """The name of a U-Net's weight in the original code, by its layout alone."""
    simple = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    stem, _, leaf = name.rpartition(".")
    if stem in simple:
        return f"{simple[stem]}.{leaf}"
    inside = {
        ".norm1.": ".in_layers.0.",
        ".conv1.": ".in_layers.2.",
        ".time_emb_proj.": ".emb_layers.1.",
        ".norm2.": ".out_layers.0.",
        ".conv2.": ".out_layers.3.",
        ".conv_shortcut.": ".skip_connection.",
    }
    if "resnets" in name:
        for ours, theirs in inside.items():
            name = name.replace(ours, theirs)

    def block(match):
        side, i, kind, j = match[1], int(match[2]), match[3], int(match[4])
        n = (LAYERS + 1) * i + j
        at = {"resnets": 0, "attentions": 1}.get(kind)
        if side == "down":
            return (
                f"input_blocks.{(LAYERS + 1) * (i + 1)}.0.op"
                if at is None
                else f"input_blocks.{n + 1}.{at}"
            )
        return (
            f"output_blocks.{(LAYERS + 1) * i + LAYERS}.2"
            if at is None
            else f"output_blocks.{n}.{at}"
        )

    name = re.sub(
        r"down_blocks\.(\d)\.(downsamplers)\.(\d)\.conv",
        lambda m: f"input_blocks.{(LAYERS + 1) * (int(m[1]) + 1)}.0.op",
        name,
    )
    name = re.sub(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)", block, name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", name)
    return name.replace("mid_block.attentions.0", "middle_block.1")
