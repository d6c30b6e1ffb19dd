"""Classes as projects have them, for the tests of this folder."""

from __future__ import annotations

import dataclasses
import enum
from collections import namedtuple
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import attr
import attrs
import scrapy


class Colour(enum.Enum):
    RED = "red"
    BLUE = object()  # a value that could not be stored


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(str, enum.Enum):
    BOOK = "book"
    ALIAS = "book"


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: Any = None


Old = namedtuple("Old", "a b")


class ScrapyItem(scrapy.Item):
    title = scrapy.Field()
    price = scrapy.Field(serializer=str)


@dataclasses.dataclass
class Offer:
    price: float
    tags: list[str] = dataclasses.field(default_factory=list)
    derived: str = dataclasses.field(init=False, default="")
    made: ClassVar[int] = 0

    def __post_init__(self) -> None:
        type(self).made += 1
        self.derived = f"{self.price} EUR"

    @cached_property
    def costly(self) -> int:
        return 7


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    kind: Kind
    inner: Offer | None = None


@attrs.define
class Book:
    title: str
    pages: int = 0
    notes: list[str] = attrs.field(factory=list)


@attr.s(auto_attribs=True)
class OldBook:
    title: str


class Row(dict):  # type: ignore[type-arg]
    def total(self) -> int:
        return len(self)


class Rows(list):  # type: ignore[type-arg]
    pass


class Names(set):  # type: ignore[type-arg]
    pass


class Shop:
    class Status(enum.Enum):
        OPEN = 1

    @dataclasses.dataclass
    class Address:
        street: str


class Money:
    """Of no kind that can be taken apart."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    def __hash__(self) -> int:
        return self.amount


try:
    import pydantic
except ImportError:
    PYDANTIC: list[Any] = []
else:

    class Price(pydantic.BaseModel):
        amount: float
        at: dict[str, Any] = {}
        later: int = 3
        _private: int = pydantic.PrivateAttr(default=1)

    class Loose(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow", frozen=True)
        name: str = pydantic.Field(alias="Name")

    class Numbers(pydantic.RootModel[list[int]]):
        pass

    @pydantic.dataclasses.dataclass
    class Checked:
        n: int

    _price = Price(amount=2, at={"x": (1,)})
    _price._private = 5
    PYDANTIC = [_price, Price.model_construct(amount=1.0), Loose(Name="n", more={1}), Numbers([1, 2]), Checked(1)]

ITEMS: list[Any] = [
    *Colour,
    Level.HIGH,
    Kind.ALIAS,
    Flags.A,
    Flags.A | Flags.B,
    Flags(0),
    Point(1),
    Point(1, y=Point(2, (3,))),
    Old(1, "b"),
    ScrapyItem(title="t", price=(1, 2)),
    ScrapyItem(),
    Offer(1.5, ["a"]),
    Frozen(Kind.BOOK, Offer(2.0)),
    Frozen(Kind.BOOK),
    Book("t", 3, ["n"]),
    OldBook("t"),
    Row(a=1, b=Row()),
    Rows([1, Rows()]),
    Names({1, 2}),
    Shop.Status.OPEN,
    Shop.Address("s"),
    *PYDANTIC,
]
