"""Derivatives by dual numbers, against ``torch.func.jvp`` of the same functions."""

import pytest
import torch
from torch.nn import functional as F

from anisomem.models import dual
from anisomem.models.dual import Dual


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


X, V = drawn(2, 8, 4, 4, seed=1), drawn(2, 8, 4, 4, seed=2)
OTHER = drawn(2, 8, 4, 4, seed=3)
KERNEL, WEIGHT, SHIFT = drawn(6, 8, 3, 3), drawn(5, 4), drawn(8)
MASK = drawn(4, 4) > 0


def rows(x):
    """As tokens: ``[2, 8, 16]``."""
    return x.flatten(2)


FUNCTIONS = {
    "convolution": lambda x: F.conv2d(x, KERNEL, SHIFT[:6], padding=1, stride=2),
    "linear": lambda x: F.linear(x, WEIGHT, SHIFT[:5]),
    "linear without a bias": lambda x: F.linear(x, WEIGHT),
    "group norm": lambda x: F.group_norm(x, 4, SHIFT, SHIFT, 1e-3),
    "group norm without weights": lambda x: F.group_norm(x.permute(0, 1, 3, 2), 2),
    "group norm of tokens": lambda x: F.group_norm(rows(x), 4, SHIFT, SHIFT),
    "layer norm": lambda x: F.layer_norm(x, (4,), SHIFT[:4], SHIFT[4:], 1e-3),
    "layer norm without weights": lambda x: F.layer_norm(x.mT, (4, 4)),
    "activations": lambda x: F.silu(x) + F.gelu(x) - F.gelu(x, approximate="tanh"),
    "functions without a rule": lambda x: torch.tanh(x) * x.pow(2).mean(-1, keepdim=True).rsqrt(),
    "softmax": lambda x: torch.softmax(x, 1) + x.softmax(dim=-1) * F.softmax(x, dim=2),
    "softmax in another precision": lambda x: x.softmax(-1, torch.float32),
    "attention": lambda x: F.scaled_dot_product_attention(x, x.sin(), x * 2),
    "attention to a prompt": lambda x: F.scaled_dot_product_attention(x, OTHER, SHIFT[:4] * OTHER),
    "masked attention": lambda x: F.scaled_dot_product_attention(
        x, x, x, MASK | MASK.mT.logical_not()
    ),
    "scaled attention": lambda x: F.scaled_dot_product_attention(
        x, x, OTHER, attn_mask=OTHER[0, 0], scale=0.3
    ),
    "products": lambda x: x * x * OTHER + 3 * x * 0.5 - x * SHIFT[:4],
    "broadcasting": lambda x: x.mean(1, keepdim=True) + OTHER - x[:, :1] * OTHER + (SHIFT[:4] - x),
    "quotients": lambda x: x / 3 + x / OTHER + OTHER / (x * x + 1) + 2 / (x * x + 1),
    "differences": lambda x: 1 - x - (x - 2) + torch.sub(x, OTHER, alpha=3) + torch.add(x, x),
    "matrix products": lambda x: x @ OTHER + OTHER @ x + torch.bmm(x[:, 0], x[:, 1])[:, None],
    "parts and joints": lambda x: torch.cat([x, OTHER, x.chunk(2, 1)[1]], 1)[:, 3:].transpose(
        1, 2
    ),
    "joined with what has no tangent": lambda x: torch.stack([OTHER, x.reshape(2, 8, 4, 4)]),
    "sizes": lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest") * x.numel() / x.shape[1],
    "a pad of another value": lambda x: F.pad(x, (1, 1), value=3.0) * OTHER[..., :1],
    "weights that depend on it": lambda x: (
        F.linear(OTHER, x[0, 0], x[0, 1, 0]) + F.linear(x, x[0, 0])
    ),
    "a filter that depends on it": lambda x: F.conv2d(OTHER, x[:, :, :1, :1], SHIFT[:2]),
    "an affine norm that depends on it": lambda x: F.layer_norm(x, (4,), x[0, 0, 0], x[0, 0, 1]),
    "pooling": lambda x: F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2),
    "choices": lambda x: torch.where(x > 0, x, 0.2 * x) + (x > 1).to(x) + MASK.to(x),
    "conversions": lambda x: x.to(torch.float32).to(x.dtype) + OTHER.float().to(x),
    "dropout at rest": lambda x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_derivative_that_torch_says(name):
    function = FUNCTIONS[name]
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = torch.func.jvp(function, (X,), (V,))
    for actual, wanted in zip(dual.jvp(function, X, V), expected, strict=True):
        assert type(actual) is torch.Tensor and actual.dtype == wanted.dtype
        single = wanted.dtype == torch.float32 or name == "conversions"
        rtol = 1e-4 if single else 1e-9
        torch.testing.assert_close(actual, wanted, rtol=rtol, atol=rtol / 1000)


def test_the_derivative_of_a_constant_is_zero_and_of_a_linear_function_itself():
    value, tangent = dual.jvp(lambda x: x * 0 + OTHER, X, V)
    assert torch.equal(value, OTHER) and not tangent.any()
    value, tangent = dual.jvp(lambda x: -x, X, V)
    assert torch.equal(value, -X) and torch.equal(tangent, -V)


def test_answers_about_a_tensor_are_plain():
    x = Dual.of(X, V)
    assert (x.shape, x.numel(), x.dtype) == (X.shape, X.numel(), X.dtype)
    assert type(x > 0) is torch.Tensor and type(x.argmax()) is torch.Tensor


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.add_(1),
        lambda x: x.__iadd__(1),
        lambda x: x.__setitem__(0, 0),
        lambda x: F.leaky_relu(x, 0.1, True),
        lambda x: F.mish(x, inplace=True),
        lambda x: F.silu(x, inplace=True),
        lambda x: torch.sigmoid_(x[:, 1:]),
        lambda x: _written_into_another(x),  # as sliced attention fills its output
        lambda x: torch.exp(x, out=torch.empty_like(X)),
        lambda x: torch.zeros_like(X).copy_(x),
    ],
)
def test_what_is_changed_in_place_is_refused_and_left_as_it_was(change):
    given = X.clone()
    with pytest.raises(NotImplementedError, match="in place"):
        dual.jvp(change, given, V)
    assert torch.equal(given, X)


def _written_into_another(x):
    filled = torch.zeros_like(X)
    filled[1:] = x[1:]
    return filled


def test_dropout_that_draws_is_refused():
    with pytest.raises(NotImplementedError, match="trained"):
        dual.jvp(lambda x: F.dropout(x, 0.5, training=True), X, V)
