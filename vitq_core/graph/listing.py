"""The sites that families have in common, and the roles of what norms and activations give."""

from __future__ import annotations

from torch import nn

from ..common.errors import VitqError
from .site import WEIGHT, Site

GELUS = ("GELU", "GELUTanh", "QuickGELU", "GeluTanh", "QuickGelu")
MLP_LINEARS = ("fc1", "fc1_g", "fc1_x", "fc2")


def linear_sites(name: str, role: str) -> list[Site]:
    """Of a layer with a weight; ``role``: of what it reads."""
    return [Site(name, "input", role), Site(name, WEIGHT, "weight")]


def product_sites(name: str, key: str = "key") -> list[Site]:
    """Of the two products in the attention ``name``; ``key``: the role of its keys."""
    return [
        Site(f"{name}.matmul1", "input", "query"),
        Site(f"{name}.matmul1", "input2", key),
        Site(f"{name}.matmul2", "input", "post_softmax"),
        Site(f"{name}.matmul2", "input2", "value"),
    ]


def mlp_sites(name: str, mlp: nn.Module, entry: str, family: str) -> list[Site]:
    """Mlp, GluMlp and SwiGLU: every linear but the last (``fc2``) reads the ``entry``.

    Raises VitqError for an MLP of another build, in the name of ``family``.
    """
    linears = [child for child, _ in mlp.named_children() if child in MLP_LINEARS]
    if "fc2" not in linears:
        raise VitqError(f"MLP class {type(mlp).__name__} of {name} is not one the {family} family knows")
    sites = [
        site for linear in linears if linear != "fc2" for site in linear_sites(f"{name}.{linear}", entry)
    ]
    return sites + linear_sites(f"{name}.fc2", _hidden_role(mlp))


def _hidden_role(mlp: nn.Module) -> str:
    plain = not hasattr(mlp, "gate_last") and not hasattr(mlp, "fc1_g")
    return activation_role(mlp.act) if plain and isinstance(mlp.norm, nn.Identity) else "mlp_hidden"


def activation_role(activation: nn.Module) -> str:
    """Of what ``activation`` gives."""
    return "post_gelu" if type(activation).__name__ in GELUS else "mlp_hidden"


def norm_role(norm: nn.Module) -> str:
    """Of what ``norm`` gives."""
    if isinstance(norm, nn.Identity):
        return "residual_stream"
    return "post_layernorm" if rescalable(norm) else "post_norm"


def rescalable(norm: nn.Module) -> bool:
    """Whether reparameterization may move a factor out of it: a LayerNorm with a weight."""
    return isinstance(norm, nn.LayerNorm) and norm.weight is not None
