"""A share of a piece of work that several processes divide among themselves."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Part `number`, counted from 0, of `total`; at most `at_once` of them are worked on at the same time."""

    number: int = 0
    total: int = 1
    at_once: int = 1

    def of(self, n: int) -> range:
        """This part's share of n things: consecutive ones, as many as the others have or one more or less."""
        return range(n * self.number // self.total, n * (self.number + 1) // self.total)


WHOLE = Part()
