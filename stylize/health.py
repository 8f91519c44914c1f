"""Is the game between generator and discriminator a fair one? Signs of trouble, in plain words."""

import math
from collections.abc import Mapping

from stylize.errors import StylizeError

MOST_SKIPPED = 10
"""So many steps in a row without a finite gradient end a run: nothing is learnt any more."""

_MEMORY = 0.98
"""Accuracies are averaged over about 1 / (1 - this) steps."""

_WINS, _LOSES, _FAIR = 0.95, 0.52, 0.80
_LOWEST_SHARE = 1 / 16


class Health:
    """Watches the terms of every step and the vital signs of every validation.

    `share` is the part of the discriminator's learning rate that it is allowed: halved when it wins
    always, restored when the game is even again. The state is a few numbers, so that a run that is
    resumed goes on as it would have.
    """

    def __init__(self) -> None:
        self.share = 1.0
        self.skipped = 0.0
        self.accuracy = 0.75
        self.said: set[str] = set()
        self.news: list[str] = []

    def watch(self, step: int, terms: Mapping[str, float]) -> None:
        """Take in one step's terms. StylizeError if the run cannot be saved."""
        self._watch_gradients(step, terms)
        if "accuracy_real" in terms and math.isfinite(terms["accuracy_real"]):
            now = (terms["accuracy_real"] + terms["accuracy_fake"]) / 2
            self.accuracy = _MEMORY * self.accuracy + (1 - _MEMORY) * now
            self._judge_game(step)

    def _watch_gradients(self, step: int, terms: Mapping[str, float]) -> None:
        norms = [terms[name] for name in ("gradient", "discriminator_gradient") if name in terms]
        if all(math.isfinite(norm) for norm in norms):
            self.skipped = 0.0
            return
        self.skipped += 1
        self.news.append(f"Step {step}: a gradient was not finite; the step was left out.")
        if self.skipped >= MOST_SKIPPED:
            raise StylizeError(
                f"{MOST_SKIPPED} steps in a row had no finite gradient, so the run was stopped; run it again "
                "with a lower --rate or --dtype fp32. The last checkpoint is as it was."
            )

    def _judge_game(self, step: int) -> None:
        percent = round(100 * self.accuracy)
        if self.accuracy > _WINS and self.share > _LOWEST_SHARE:
            self.share /= 2
            self.accuracy = (_WINS + _FAIR) / 2  # wait and see what it brings
            self.news.append(
                f"Step {step}: the discriminator wins ({percent} % right), so the generator learns little "
                f"from it; its learning rate is now {self.share:g} of what was set."
            )
        elif self.accuracy < _FAIR and self.share < 1:
            self.share *= 2
            self.accuracy = (_WINS + _FAIR) / 2
            self.news.append(f"Step {step}: the game is even again; the discriminator may learn faster.")
        self._say_once(
            "loses", self.accuracy < _LOSES,
            f"Step {step}: the discriminator guesses ({percent} % right) and hardly teaches the generator; "
            "more steps may help, or a higher --set discriminator_rate.",
        )  # fmt: skip

    def judge(self, step: int, vitals: Mapping[str, float]) -> None:
        """Take in the vital signs of a validation (see `stylize.validation`)."""
        self._say_once(
            "collapse", vitals.get("variety", 1) < 0.15,
            f"Step {step}: the results hardly differ from photograph to photograph (mode collapse); "
            "raise --content-weight, or lower --adversarial.",
        )  # fmt: skip
        self._say_once(
            "one style", vitals.get("style_variety", 1) < 0.02,
            f"Step {step}: all styles look alike; train longer, or raise --style.",
        )  # fmt: skip
        self._say_once(
            "copies", vitals.get("change", 1) < 0.02,
            f"Step {step}: the results are copies of the photographs; raise --style, or lower "
            "--content-weight and --set identity.",
        )  # fmt: skip

    def _say_once(self, what: str, true: bool, sentence: str) -> None:
        """Once when it begins, and again only if it went away in between."""
        if true and what not in self.said:
            self.news.append(sentence)
        (self.said.add if true else self.said.discard)(what)

    def take_news(self) -> list[str]:
        """The sentences since the last time."""
        news, self.news = self.news, []
        return news

    def state(self) -> dict[str, object]:
        """What a checkpoint keeps, fit for JSON."""
        return {
            "share": self.share, "skipped": self.skipped, "accuracy": self.accuracy, "said": sorted(self.said)
        }  # fmt: skip

    def load_state(self, state: Mapping[str, object]) -> None:
        """Go on from what a checkpoint kept."""
        for name in ("share", "skipped", "accuracy"):
            setattr(self, name, float(str(state[name])))
        said = state["said"]
        self.said = set(said) if isinstance(said, list) else set()
