"""What a discriminator with two scores, realism and style, says of paintings, and what it learns."""

import torch
from torch import Tensor

from stylize import losses
from stylize.config import AdversarialForm
from stylize.discriminator import Discriminator


def adversarial_term(judge: Discriminator, painted: Tensor, codes: Tensor, form: AdversarialForm) -> Tensor:
    """The generator's loss: realism and style scores of painted pictures (N, 3, H, W), mean over scales.

    `codes` (N, C) are those that they were painted with; gradients reach neither them nor the judge.
    """
    judge.requires_grad_(False)
    features = judge.features(painted)
    scores = judge.realism_scores(features) + judge.style_scores(features, codes.detach())
    judge.requires_grad_(True)
    return losses.mean_over_scales([losses.adversarial_loss(score, form) for score in scores])


def discriminator_term(
    judge: Discriminator,
    real: Tensor,
    fake: Tensor,
    codes: Tensor,
    form: AdversarialForm,
    neighbours: bool = True,
) -> tuple[Tensor, dict[str, float]]:
    """The judge's loss, and the shares of its realism scores that are right.

    Works `real` of the style that `codes` (N, C) tell, against pictures `fake` painted in it; with
    `neighbours`, for style also against the same works with another's code.
    """
    of_real, of_fake = judge.features(real), judge.features(fake)
    realism = list(zip(judge.realism_scores(of_real), judge.realism_scores(of_fake), strict=True))
    parts = [losses.discriminator_loss(r, f, form) for r, f in realism]
    own, wrong = judge.style_scores(of_real, codes), judge.style_scores(of_fake, codes)
    if neighbours:
        others = judge.style_scores(of_real, of_neighbours(codes))
        wrong = [torch.cat(pair) for pair in zip(wrong, others, strict=True)]
    parts += [losses.discriminator_loss(r, f, form) for r, f in zip(own, wrong, strict=True)]
    return losses.mean_over_scales(parts), losses.accuracies(realism, form)


def of_neighbours(codes: Tensor) -> Tensor:
    """For each code (N, C) that of the sample before it, within groups of four where N allows."""
    group = 4 if len(codes) % 4 == 0 else len(codes)
    return codes.unflatten(0, (-1, group)).roll(1, 1).flatten(0, 1)
