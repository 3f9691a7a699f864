"""From Lipschitz constants of logits to those of class probabilities, which Theorem 3.5 takes."""

import math

from certmix.certifiers.arguments import check_lipschitz


def softmax_lipschitz_constant(logit_lipschitz: float, *, temperature: float = 1.0, joint: bool = True) -> float:
    """Lipschitz constant of every class probability softmax(z / temperature)_k, given that of the logits z.

    With the logit vector jointly l-Lipschitz into l2 (a composition of layers of spectral norm 1: l = 1), it is
    l sqrt(2) / (4 temperature); with each logit l-Lipschitz by itself, in any l_p, it is l / (2 temperature).
    Proof: grad h_k = h_k sum_j h_j (grad z_k - grad z_j) = J^T v with v = h_k (e_k - h), and
    |v|_2^2 = h_k^2 [(1 - h_k)^2 + sum_{j != k} h_j^2] <= 2 h_k^2 (1 - h_k)^2 <= 2/16, while |J^T v| <= l |v|_2;
    and separately |grad h_k|_* <= h_k (1 - h_k) 2 l <= l/2. Both are attained with two classes at h_k = 1/2.

    Args:
        logit_lipschitz: l, > 0, per pixel unit, in the norm of the certificate (joint: l2).
        temperature: > 0; logits are divided by it.
        joint: whether l bounds the logit vector or each logit.
    Returns: the constant, per pixel unit; rounded up.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> round(softmax_lipschitz_constant(1.0), 5), softmax_lipschitz_constant(1.0, joint=False) < 0.5 + 1e-9
        (0.35355, True)
    """
    slope = float(check_lipschitz("logit_lipschitz", logit_lipschitz))
    scale = float(check_lipschitz("temperature", temperature))
    return (math.sqrt(2.0) / 4.0 if joint else 0.5) * slope / scale * (1.0 + 1e-14)
