"""How levels are searched for: settings only, so that whoever makes no JPEG need not load a compiler."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """Rounds of descent on the levels. `price` and `drift` are in units of what one step of luma costs on average.

    Shrinking a level saves bits, and a loss may like what it does not understand: `drift` and `limits` hold levels
    near the picture's own. With `shares` each loss is divided by what it is for plainly rounded levels, so that
    weights are shares of the whole.
    """

    rounds: int = 12
    probes: int = 3  # of curvature before the first round; then one for every few rounds
    share: float = 0.5  # of the blocks, in each round
    price: float = 0.3  # of a bit, unless a loss of the rate says what it costs
    drift: float = 0.7  # of one step away from the ideal, growing with its cube
    limits: tuple[float, float, float] = (0.8, 1.2, 0.6)  # steps: AC below the ideal, ideal that may be 0, DC off it
    refit: bool = True  # whether the tables move with the levels
    shares: bool = True
    threshold: float = 0.62  # fraction of a step from which AC is rounded up at the start

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.probes < 1:
            raise ValueError(f"rounds, probes: found {self.rounds} and {self.probes}, expected at least 0 and 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share: found {self.share}, expected above 0, at most 1")
        if self.price < 0 or self.drift < 0:
            raise ValueError(f"price, drift: found {self.price} and {self.drift}, expected at least 0")
