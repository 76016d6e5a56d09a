r"""Directional derivatives of networks by dual numbers, in less than three forward passes.

A :class:`Dual` is a tensor with a tangent; functions of torch that are given one return one,

.. math:: f(x + \epsilon v) = f(x) + \epsilon\, J_f(x)\, v, \qquad \epsilon^2 = 0.

``torch.func.jvp`` says the same, and takes more than five for it on a CPU: it convolves with
a tangent of the weights that is zero, and breaks normalisation and attention up into elementwise
operations. What a denoiser spends its time on has a rule here, in terms of torch's own kernels: a
linear function is applied twice, and where the Jacobian is symmetric (normalisation without its
weights, activations, softmax) its product with a tangent is the kernel of the backward pass.
Every other function is differentiated by ``torch.func.jvp``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

Function = Callable[..., Any]


class Dual(Tensor):
    """A tensor and its tangent of the same shape."""

    value: Tensor
    tangent: Tensor

    @staticmethod
    def of(value: Tensor, tangent: Tensor) -> Dual:
        """The pair of both."""
        dual = value.as_subclass(Dual)
        dual.value, dual.tangent = value, tangent
        return dual

    @classmethod
    def __torch_function__(
        cls,
        function: Function,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if function in LINEAR:
            return _twice(function, args, named)
        others = (*args[1:], *named.values())
        alone = args and isinstance(args[0], Dual) and not _any_dual(others)
        if function in RULES or (function in OF_ONE and alone):
            return (RULES.get(function) or OF_ONE[function])(*args, **named)
        return _differentiated(function, args, named)


@torch.no_grad()
def jvp(function: Callable[[Tensor], Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """``f(x)`` and its derivative along ``v``, both without a graph.

    Raises:
        NotImplementedError: ``function`` changes one of its intermediate tensors in place.
    """
    # A copy, which a function may have changed before it is refused.
    result = function(Dual.of(x.clone(), v))
    return _value(result), _tangent(result)


def _any_dual(given: Any) -> bool:
    return any(isinstance(one, Dual) for one in tree_flatten(given)[0])


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Dual) else x


def _tangent(x: Any) -> Any:
    """The tangent of what has one, zeros for another tensor, and anything else as it is."""
    if isinstance(x, Dual):
        return x.tangent
    return torch.zeros_like(x) if isinstance(x, Tensor) and x.is_floating_point() else x


def _paired(values: Any, tangents: Any) -> Any:
    """Both joined where a value is a tensor that can have a tangent."""

    def pair(value: Any, tangent: Any) -> Any:
        has_one = isinstance(value, Tensor) and value.is_floating_point()
        return Dual.of(value, tangent) if has_one else value

    return tree_map(pair, values, tangents)


def _twice(function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A function that is linear in all its tensors of floating point."""
    given = tree_map(_value, (tuple(args), kwargs))
    along = tree_map(_tangent, (tuple(args), kwargs))
    return _paired(function(*given[0], **given[1]), function(*along[0], **along[1]))


def _differentiated(function: Function, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Any other function, by ``torch.func.jvp``."""
    flat, structure = tree_flatten((tuple(args), kwargs))
    places = [i for i, one in enumerate(flat) if isinstance(one, Dual)]
    values = tuple(flat[i].value for i in places)

    def call(*duals: Tensor) -> Any:
        given = list(flat)
        for i, dual in zip(places, duals, strict=True):
            given[i] = dual
        arguments, keywords = tree_unflatten(given, structure)
        return function(*arguments, **keywords)

    # What is written into a tensor without tangent would lose its own, too.
    tensors = [_value(one) for one in flat if isinstance(one, Tensor)]
    before = [one._version for one in tensors]
    plain = call(*values)
    if [one._version for one in tensors] != before:
        name = getattr(function, "__name__", "a function")
        raise NotImplementedError(f"{name} changes a tensor in place")
    parts = tree_flatten(plain)[0]
    if not all(isinstance(one, Tensor) and one.is_floating_point() for one in parts):
        return plain  # a size, a comparison: nothing that has a derivative
    return _paired(*torch.func.jvp(call, values, tuple(flat[i].tangent for i in places)))


def _converted(x: Any, *args: Any, **kwargs: Any) -> Any:
    """``x.to(...)``, where ``x`` or what it is made like may be without tangent."""
    args, kwargs = tree_map(_value, (args, kwargs))
    value = _value(x).to(*args, **kwargs)
    return _paired(value, x.tangent.to(*args, **kwargs)) if isinstance(x, Dual) else value


def _sum(a: Any, b: Any, *, alpha: float = 1, sign: float = 1) -> Dual:
    """``a + sign alpha b``, where either may be a number or a tensor without tangent."""
    weight = sign * alpha
    value = _value(a) + weight * _value(b) if weight != 1 else _value(a) + _value(b)
    if not isinstance(b, Dual):
        tangent = a.tangent
    elif not isinstance(a, Dual):
        tangent = b.tangent if weight == 1 else weight * b.tangent
    else:
        tangent = torch.add(a.tangent, b.tangent, alpha=weight)
    return Dual.of(value, tangent.to(value.dtype).expand(value.shape))


def _difference(a: Any, b: Any, *, alpha: float = 1) -> Dual:
    return _sum(a, b, alpha=alpha, sign=-1)


def _product(a: Any, b: Any) -> Dual:
    value = _value(a) * _value(b)
    if not isinstance(b, Dual):
        tangent = a.tangent * b
    elif not isinstance(a, Dual):
        tangent = a * b.tangent
    else:
        tangent = torch.addcmul(a.value * b.tangent, a.tangent, b.value)
    return Dual.of(value, tangent)


def _quotient(a: Any, b: Any) -> Any:
    if isinstance(b, Dual):
        return _differentiated(torch.div, (a, b), {})
    return Dual.of(a.value / b, a.tangent / b)


def _linear(x: Any, weight: Tensor, bias: Tensor | None = None) -> Dual:
    return Dual.of(functional.linear(x.value, weight, bias), functional.linear(x.tangent, weight))


def _convolution(
    x: Any, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Dual:
    return Dual.of(
        functional.conv2d(x.value, weight, bias, *args, **kwargs),
        functional.conv2d(x.tangent, weight, None, *args, **kwargs),
    )


def _silu(x: Any, inplace: bool = False) -> Dual:
    if inplace:
        raise NotImplementedError("silu changes a tensor in place")
    return Dual.of(functional.silu(x.value), torch.ops.aten.silu_backward(x.tangent, x.value))


def _gelu(x: Any, approximate: str = "none") -> Dual:
    tangent = torch.ops.aten.gelu_backward(x.tangent, x.value, approximate=approximate)
    return Dual.of(functional.gelu(x.value, approximate=approximate), tangent)


def _dropout(x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Dual:
    if training and p:
        raise NotImplementedError("dropout of a network that is being trained")
    return Dual.of(x.value, x.tangent)


def _group_norm(
    x: Any,
    groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Dual:
    value = x.value.contiguous()
    sizes = len(value), value.shape[1], value[0, 0].numel(), groups
    normalised, *moments = torch.native_group_norm(value, weight, bias, *sizes, eps)
    tangent = torch.ops.aten.native_group_norm_backward(
        x.tangent.contiguous(), value, *moments, None, *sizes, [True, False, False]
    )[0]
    if weight is not None:
        tangent = tangent * weight.view(-1, *[1] * (value.ndim - 2))
    return Dual.of(normalised, tangent)


def _layer_norm(
    x: Any,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Dual:
    normalised, *moments = torch.native_layer_norm(x.value, shape, weight, bias, eps)
    tangent = torch.ops.aten.native_layer_norm_backward(
        x.tangent.contiguous(), x.value, shape, *moments, None, None, [True, False, False]
    )[0]
    return Dual.of(normalised, tangent if weight is None else tangent * weight)


def _softmax(x: Any, dim: int, *args: Any, dtype: torch.dtype | None = None, **_: Any) -> Dual:
    given = (one for one in (*args, dtype) if isinstance(one, torch.dtype))
    x = x.to(next(given, x.dtype))
    value = torch.softmax(x.value, dim)
    return Dual.of(
        value, torch.ops.aten._softmax_backward_data(x.tangent, value, dim, value.dtype)
    )


def _matmul(a: Any, b: Any) -> Dual:
    """A bilinear product; the factor without tangent is a weight, or what a prompt gave."""
    value = torch.matmul(_value(a), _value(b))
    terms = []
    if isinstance(a, Dual):
        terms.append(torch.matmul(a.tangent, _value(b)))
    if isinstance(b, Dual):
        terms.append(torch.matmul(_value(a), b.tangent))
    return Dual.of(value, terms[0] if len(terms) == 1 else terms[0] + terms[1])


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention in plain products, of whichever parts have tangents."""
    if is_causal or dropout_p or enable_gqa:
        raise NotImplementedError("attention of another kind than denoisers have")
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.mT
    if attn_mask is not None:
        allowed = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if allowed else scores + attn_mask
    return torch.softmax(scores, -1) @ value


_SAME: Any = Tensor  # its methods are functions here, by which rules are found

#: Linear in all tensors that they are given.
LINEAR: set[Function] = {
    *(torch.cat, torch.stack, torch.chunk, torch.permute, torch.flatten, torch.reshape),
    *(_SAME.chunk, _SAME.split, _SAME.unbind, _SAME.reshape, _SAME.view, _SAME.flatten),
    *(_SAME.unflatten, _SAME.transpose, _SAME.permute, _SAME.expand, _SAME.repeat),
    *(_SAME.unsqueeze, _SAME.squeeze, _SAME.contiguous, _SAME.clone, _SAME.float),
    *(_SAME.type, _SAME.__getitem__, _SAME.mT.__get__, _SAME.mean, _SAME.sum, _SAME.neg),
    *(functional.interpolate, functional.avg_pool2d),  # a pad may add what is no zero
}

#: What takes the place of a function whose first argument alone has a tangent.
OF_ONE: dict[Function, Function] = {
    functional.linear: _linear,
    functional.conv2d: _convolution,
    functional.silu: _silu,
    functional.gelu: _gelu,
    functional.dropout: _dropout,
    functional.group_norm: _group_norm,
    functional.layer_norm: _layer_norm,
    **dict.fromkeys((functional.softmax, torch.softmax, _SAME.softmax), _softmax),
}

#: What takes the place of another function, whatever has tangents.
RULES: dict[Function, Function] = {
    functional.scaled_dot_product_attention: _attention,
    _SAME.to: _converted,
    _SAME.__radd__: lambda a, b: _sum(a, b),
    _SAME.__rsub__: lambda a, b: _difference(b, a),
    **dict.fromkeys((torch.add, _SAME.add, _SAME.__add__), _sum),
    **dict.fromkeys((torch.sub, _SAME.sub, _SAME.__sub__), _difference),
    **dict.fromkeys((torch.mul, _SAME.mul, _SAME.__mul__, _SAME.__rmul__), _product),
    **dict.fromkeys((torch.div, _SAME.div, _SAME.__truediv__), _quotient),
    **dict.fromkeys((torch.matmul, torch.bmm, _SAME.matmul, _SAME.bmm, _SAME.__matmul__), _matmul),
}
