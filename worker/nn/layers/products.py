"""The product of rows with weights, x W^T: as fast as it gets for training, row by row the same bits for prediction.

BLAS adds up in an order that depends on the shape of the whole product, and within one product on where a row lies:
OpenBLAS on AVX2 machines gives equal rows different last bits at different places of a 64-row product. Among 16 rows
that lie along the vector lanes of its kernels nothing tells one from another. So the bits of a prediction are those
of 16 rows in lanes, and it multiplies them so, or in any other way that has come to the same bits: more rows at once
(to take the weights in hand for 16 rows costs a third to a half of the product's speed), fewer, or with the answers
row after row, where they are wanted so. Training, which always sees the same batches, need not.

These are properties of kernels and no laws: OpenBLAS's for Sandybridge lacks the first where there is one output, and
for AVX2 much of the second. `lanes_are_equal` and `way` try them out; where the first fails, `one_by_one` gives each
row a product of its own, at several times the price. All of it holds at one number of BLAS threads: what is bound at
one and called at another promises nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import cache, lru_cache, partial
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from threadpoolctl import LibController, ThreadpoolController

from singlepoint.worker.nn.arrays import Array, Memory, aligned_zeros, rows_in_a_run

LANES = 16  # rows in one product of a prediction, at least
WIDER = (512, 256, 128, 64, 32)  # and where that changes no bit
ALONE = 2  # of which a single row is one: a product with a vector is another thing
TRIED_VALUES = 1 << 20  # at most, of weights, rows and products each, to try that out
TRIED_PRODUCTS = 1 << 12  # at least: of a few, some might agree by chance
ALIKE = 256  # outputs more or fewer change nothing in how a large product is divided

# Which way is fast, by what was measured of OpenBLAS. It multiplies small matrices as they lie, and others after it has
# copied them into an order of its own, which for few rows is most of the work.
SMALL = 1_000_000  # multiplications
SMALL_ALONG = 1200  # values of a product whose factors both lie along the sums
ALONG = 256  # rows for which such factors are copied in no more time than others
CUT_UNIT, SUMMED_AT_ONCE = 16, (512, 448, 384, 320, 256)  # see `cuts`
MOST_PARTS, MOST_LANES_IN_PARTS = 16, 32
TILE = 64  # outputs
MOST_IN_TILES, FEW_TILES = 64, 2  # rows; of more, to copy the factors is less of the work, unless they are few
MANY = 64  # rows for which it pays to keep larger weights once more, turned
TURNED, TURNED_FOR_FEW = 1 << 20, 1 << 17  # weights that are kept so, turned or in tiles

Product = Callable[[Array, Array, Array], object]
"""Called with w (outputs, inputs), x (blocks, inputs, lanes) and where w x is to be put, (blocks, outputs, lanes)."""

in_lanes: Product = np.matmul
"""All lanes of a block together."""


def one_by_one(w: Array, x: Array, out: Array) -> None:
    """Each lane by itself, from the same place in memory."""
    row, answer = aligned_zeros(w.shape[1], x.dtype), aligned_zeros(len(w), x.dtype)
    for block in range(len(x)):
        for lane in range(x.shape[-1]):
            row[...] = x[block, :, lane]
            np.matmul(w, row, answer)
            out[block, :, lane] = answer


def lanes_are_equal(product: Product = in_lanes) -> bool:
    """Whether equal rows among others have equal bits, wherever they lie: tried out on shapes and layouts of every
    kind that the layers use."""
    source = np.random.Philox(key=(0, 0))
    shapes = [(outputs, inputs) for outputs in (1, 2, 3, 10, 33) for inputs in (3, 40, 100, 129, 500)]
    return all(_holds(product, source, outputs, inputs) for outputs, inputs in shapes)


def _holds(product: Product, source: np.random.Philox, outputs: int, inputs: int) -> bool:
    w, rows, row = (_drawn(source, shape) for shape in ((outputs, inputs), (3, LANES, inputs), (inputs,)))
    rows[:, ::3] = row
    lanes, out = rows.transpose(0, 2, 1), np.empty((3, outputs, LANES), np.float32)
    for weights in (w, np.ascontiguousarray(w.T).T):
        for x in (lanes, np.ascontiguousarray(lanes)):
            product(weights, x, out)
            if not (out[:, :, ::3] == out[:1, :, :1]).all():
                return False
    return True


def _drawn(source: np.random.Philox, shape: tuple[int, ...]) -> Array:
    words = source.random_raw(int(np.prod(shape)))
    return (words.astype(np.float64) * 2.0**-63 - 1.0).astype(np.float32).reshape(shape)


class Way(NamedTuple):
    """How rows are multiplied: so many `lanes` at a time, and in which order the factors and the product lie in memory.

    entering_by_row, leaving_by_row: one row's values side by side, or one value of all lanes.
    turned: w by inputs, not by outputs.  parts: products that the outputs are divided among.
    tile: so many outputs in a product, whose weights lie by themselves, turned; 0: all of them.
    cuts: where long sums are taken apart, to be added at the end.
    """

    lanes: int
    entering_by_row: bool
    leaving_by_row: bool
    turned: bool = False
    parts: int = 1
    tile: int = 0
    cuts: tuple[int, ...] = ()

    @property
    def is_divided(self) -> bool:
        """Whether the outputs are."""
        return bool(self.tile) or self.parts > 1

    def of(self, w: Array, x: Array) -> list[tuple[Array, Array]]:
        """The factors that a `Product` is called with for each piece of the sums. x: (..., blocks, inputs, lanes).

        w: as `weights` has it. The products are put where they are `divided`.
        """
        if self.is_divided:
            w = (w if self.tile else w.reshape(self.parts, -1, w.shape[1]))[:, None]
            x = x[..., None, :, :, :]
        ends = pairwise((0, *self.cuts, w.shape[-1]))
        return [(w[..., begin:end], x[..., begin:end, :]) for begin, end in ends] if self.cuts else [(w, x)]

    def divided(self, out: Array) -> Array:
        """out (..., blocks, outputs, lanes) as (..., parts, blocks, outputs of a part, lanes), so that the weights
        of a part, once in the cache, meet all blocks. As it is where outputs are not divided."""
        if not self.is_divided:
            return out
        each = self.tile or out.shape[-2] // self.parts
        return out.reshape(*out.shape[:-2], -1, each, out.shape[-1]).swapaxes(-3, -4)

    def weights(self, memory: Callable[[tuple[int, ...]], Array], outputs: int, inputs: int) -> Array:
        """Memory for weights: (outputs, inputs), or in tiles (tiles, outputs of one, inputs)."""
        if self.tile:
            return memory((outputs // self.tile, inputs, self.tile)).swapaxes(-1, -2)
        return memory((inputs, outputs)).T if self.turned else memory((outputs, inputs))


def cuts(inputs: int, at_once: int) -> tuple[int, ...]:
    """Where BLAS cuts a sum that is longer than it adds up at once, when it copies the factors.

    Source: OpenBLAS, driver/level3/level3.c: pieces as long as can be, and of the last two each about half.
    """
    found, begun = [], 0
    while inputs - begun > at_once:
        left = inputs - begun
        begun += at_once if left >= 2 * at_once else -(-(left // 2) // CUT_UNIT) * CUT_UNIT
        found.append(begun)
    return tuple(found)


BY_ROW = Way(LANES, entering_by_row=True, leaving_by_row=False)  # whose bits rows have that come one after another
BY_LANE = Way(LANES, entering_by_row=False, leaving_by_row=False)  # and those that come side by side
IN_TILES = Way(LANES, entering_by_row=True, leaving_by_row=True, turned=True, tile=TILE)
ONE_BY_ROW = Way(ALONE, entering_by_row=True, leaving_by_row=True, turned=True)


def laid(memory: Callable[[tuple[int, ...]], Array], shape: tuple[int, ...], by_row: bool) -> Array:
    """Memory for (..., values, lanes)."""
    *blocks, values, lanes = shape
    return memory((*blocks, lanes, values)).swapaxes(-1, -2) if by_row else memory(shape)


def way(rows: int, shapes: Sequence[tuple[int, int]], product: Product, ways: Sequence[Way]) -> Way:
    """The first of the ways in which these rows fill all lanes, and have the bits that the last gives them, in products
    with weights of these shapes, (outputs, inputs); else the last."""
    *others, last = ways
    for other in others if product is in_lanes else ():
        fits = rows % other.lanes == 0 or other.lanes == ALONE > rows
        if fits and all(_is_like(last, other, *shape, blas_threads()) for shape in shapes):
            return other
    return last


def ways_by_lane(rows: int, shapes: Sequence[tuple[int, int]], product: Product) -> Sequence[Way]:
    """For rows that can be laid side by side; one alone is the quicker if it need not be, and others in small products:
    those take the weights in hand as they lie."""
    if rows == 1:
        return ONE_BY_ROW, BY_LANE
    few = BY_LANE._replace(lanes=MOST_LANES_IN_PARTS)
    small = all(_is_small(in_parts(few, *shape, product), *shape) for shape in shapes)
    return (*((few,) if small else ()), *(BY_LANE._replace(lanes=lanes) for lanes in WIDER), BY_LANE)


def ways_by_row(rows: int, outputs: int, inputs: int) -> Sequence[Way]:
    """For rows that come one after another, and whose products are wanted so."""
    sizes = (ALONE,) if rows == 1 else (*WIDER, LANES)
    others = chain.from_iterable(_ways_of(lanes, outputs, inputs) for lanes in sizes)
    return (*_in_tiles(rows, outputs, inputs), *others, BY_ROW)


def _ways_of(lanes: int, outputs: int, inputs: int) -> Iterator[Way]:
    if outputs > 1 and inputs > 1:  # others are products with a vector
        if _pays_to_turn(lanes, outputs * inputs):
            yield Way(lanes, entering_by_row=True, leaving_by_row=True, turned=True)
        if lanes * outputs <= SMALL_ALONG or lanes >= ALONG:
            yield Way(lanes, entering_by_row=True, leaving_by_row=True)
        if lanes == ALONE and _pays_to_turn(lanes, outputs * inputs):
            yield from _cut(ONE_BY_ROW, inputs)
    if lanes > LANES:
        yield BY_ROW._replace(lanes=lanes)


def _in_tiles(rows: int, outputs: int, inputs: int) -> Iterator[Way]:
    """So many outputs together that all products are small, and take the weights in hand as they lie."""
    lanes = ALONE if rows == 1 else MOST_LANES_IN_PARTS if rows % MOST_LANES_IN_PARTS == 0 else LANES
    if outputs % TILE or outputs == TILE or inputs == 1 or outputs * max(inputs, lanes) > TURNED:
        return
    if rows == 1 and _pays_to_turn(lanes, outputs * inputs):
        return
    if rows > MOST_IN_TILES and outputs > FEW_TILES * TILE:
        return
    tiled = IN_TILES._replace(lanes=lanes)
    for by in (tiled, *_cut(tiled, inputs)):
        if _is_small(by, outputs, inputs):
            yield by


def _cut(whole: Way, inputs: int) -> Iterator[Way]:
    """It with its sums cut, in every way in which a kernel does."""
    for at in dict.fromkeys(cuts(inputs, at_once) for at_once in SUMMED_AT_ONCE):
        if at:
            yield whole._replace(cuts=at)


def _pays_to_turn(lanes: int, weights: int) -> bool:
    if lanes == ALONE:
        return lanes * weights <= SMALL
    return weights <= (TURNED if lanes >= MANY else TURNED_FOR_FEW)


def in_parts(whole: Way, outputs: int, inputs: int, product: Product) -> Way:
    """A way by lanes with the outputs divided into small products, where there are few lanes and no bit changes."""
    if whole.entering_by_row or whole.lanes > MOST_LANES_IN_PARTS or product is not in_lanes:
        return whole
    divided = whole
    while not _is_small(divided, outputs, inputs) and divided.parts < MOST_PARTS and outputs % (2 * divided.parts) == 0:
        divided = divided._replace(parts=2 * divided.parts)
    if divided.parts == 1 or not _is_small(divided, outputs, inputs):
        return whole
    return divided if _is_like(BY_LANE, divided, outputs, inputs, blas_threads()) else whole


def _is_small(way: Way, outputs: int, inputs: int) -> bool:
    longest = max(end - begin for begin, end in pairwise((0, *way.cuts, inputs)))
    return way.lanes * longest * (way.tile or outputs // way.parts) <= SMALL


@cache
def _blas() -> tuple[LibController, ...]:
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


def blas_threads() -> tuple[int, ...]:
    """On how many threads a product is computed now: large ones are divided among them, and end in other bits."""
    return tuple(library.num_threads for library in _blas())


@lru_cache(maxsize=4096)
def _is_like(few: Way, other: Way, outputs: int, inputs: int, _threads: tuple[int, ...]) -> bool:
    """Whether rows have the same bits both ways: tried out, on as many threads as there are now. Of a product too large
    to be tried, with fewer outputs, which end alike."""
    if inputs * max(other.lanes, ALIKE) > TRIED_VALUES:
        return False
    while outputs * max(inputs, other.lanes) > TRIED_VALUES:
        outputs -= ALIKE
    rows = max(other.lanes, LANES)
    rows *= max(1, min(TRIED_PRODUCTS // (rows * outputs), TRIED_VALUES // (rows * inputs)))
    chance = np.random.Generator(np.random.Philox(key=(0, 1)))
    half = np.float32(0.5)  # uniform ones are drawn in a third of the time of normal ones
    w, x = (chance.random((count, inputs), np.float32) - half for count in (outputs, rows))
    return bool((_multiplied(few, w, x).view(np.uint32) == _multiplied(other, w, x).view(np.uint32)).all())


def _multiplied(by: Way, w: Array, rows: Array) -> Array:
    """(rows, outputs): the rows' products, this way."""
    given, count = w, len(rows)
    (outputs, inputs), blocks = w.shape, count // by.lanes
    memory = partial(np.empty, dtype=np.float32)
    if by.turned:
        w = by.weights(memory, outputs, inputs)
        w[...] = given.reshape(w.shape)
    x = laid(memory, (blocks, inputs, by.lanes), by.entering_by_row)
    x[...] = rows.reshape(blocks, by.lanes, -1).swapaxes(1, 2)
    out, piece = (laid(memory, (blocks, outputs, by.lanes), by.leaving_by_row) for _ in range(2))
    first, *others = by.of(w, x)
    in_lanes(*first, by.divided(out))
    for factors in others:
        in_lanes(*factors, by.divided(piece))
        np.add(out, piece, out=out)
    return np.ascontiguousarray(out.swapaxes(1, 2)).reshape(count, outputs)


class RowProduct:
    """y = x W^T + b for `rows` rows that come one after another. w: (outputs, inputs).  b: (outputs,).

    name: of the weights among those of the network, for what is made of them.
    y: (rows, outputs), overwritten by every call.
    """

    def __init__(
        self, name: Hashable, rows: int, w: Array, b: Array, memory: Memory, product: Product = in_lanes
    ) -> None:
        self.rows, self.given_w, self.given_b, self._multiply = rows, w, b, product
        outputs, inputs = w.shape
        self.way = way(rows, [w.shape], product, ways_by_row(rows, outputs, inputs))
        blocks, lanes = -(-rows // self.way.lanes), self.way.lanes
        self.w = w
        if self.way.turned:
            self.w = self.way.weights(partial(memory.lasting, (name, "turned", self.way.tile)), outputs, inputs)
        self._bind(blocks, name, memory)
        self._shape, self._row_places = (blocks, lanes, inputs), None
        if rows < blocks * lanes:
            filled_up = memory.zeros((blocks, lanes, inputs))
            self._row_places = filled_up.reshape(blocks * lanes, -1)[:rows]
            self._factors = self.way.of(self.w, filled_up.swapaxes(1, 2))

    def _bind(self, blocks: int, name: Hashable, memory: Memory) -> None:
        """Buffers: of the product, and of its sum with the bias, which are the same where rows leave as rows."""
        outputs, lanes, by_row, self.b = len(self.given_b), self.way.lanes, self.way.leaving_by_row, self.given_b
        self._product = laid(memory.array, (blocks, outputs, lanes), by_row)
        self._piece = laid(memory.array, (blocks, outputs, lanes), by_row) if self.way.cuts else self._product
        self._product_parts, self._piece_parts = map(self.way.divided, (self._product, self._piece))
        held = self._product.swapaxes(1, 2)
        if by_row:
            self.y = held.reshape(-1, outputs)[: self.rows]
            together = rows_in_a_run(self.rows, outputs)
            if together > 1:
                self.b = memory.lasting((name, "bias", together), (together * outputs,))
            self._lanes = self._sum = self.y.reshape(-1, together * outputs)
        else:
            self._lanes = held[:, : self.rows]
            self._sum = memory.array(self._lanes.shape)
            self.y = self._sum.reshape(-1, outputs)[: self.rows]

    def prepare(self) -> None:
        """Makes of the weights what all calls take."""
        if self.w is not self.given_w:
            np.copyto(self.w, self.given_w.reshape(self.w.shape))
        if self.b is not self.given_b:
            np.copyto(self.b.reshape(-1, len(self.given_b)), self.given_b)

    def __call__(self, x: Array) -> Array:
        """`y` for x (rows, inputs)."""
        if self._row_places is not None:
            np.copyto(self._row_places, x)
            self._sum_up(self._factors)
        elif not self.way.cuts and not self.way.is_divided:  # as below, with fewer calls
            self._multiply(self.w, x.reshape(self._shape).swapaxes(1, 2), self._product)
        else:
            self._sum_up(self.way.of(self.w, x.reshape(self._shape).swapaxes(1, 2)))
        np.add(self._lanes, self.b, out=self._sum)
        return self.y

    def _sum_up(self, factors: Sequence[tuple[Array, Array]]) -> None:
        first, *others = factors
        self._multiply(*first, self._product_parts)
        for piece in others:
            self._multiply(*piece, self._piece_parts)
            np.add(self._product, self._piece, out=self._product)
