"""What a recurrent layer does in one step, forward and back.

Everything is (steps, blocks, values, lanes): a step's gates lie one after another in memory, and the rows of the batch
along the lanes; for a row alone it is the other way round (see `products`). What enters a step is the column
[x, 1, h, 1]; parameters are held as one matrix with rows in that order, so a single product does both inputs and both
biases, and after the last step a single product gives the gradient of all parameters.

Gates are squashed by exponentials or by hyperbolic tangents, whichever numpy has the quicker loop for: see `Squash`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from singlepoint.worker.nn.arrays import Array, Memory

from .products import Product, Way, in_parts, laid


class Squash:
    """Sigmoids and tangents in place, of sums whose weights were multiplied by `sigmoid` or `tangent` beforehand."""

    sigmoid: ClassVar[float]
    tangent: ClassVar[float]

    def __init__(self, memory: Memory) -> None:
        self.half, self.one, self.two = map(memory.scalar, (0.5, 1, 2))

    def __call__(self, every: Array, sigmoids: Sequence[Array], tangents: Sequence[Array]) -> None:
        """every: both kinds together."""
        raise NotImplementedError


class ByExponentials(Squash):
    """sigmoid(z) = 1 / (1 + exp(-z)), tanh(z) = 2 sigmoid(2 z) - 1."""

    sigmoid, tangent = -1.0, -2.0

    def __call__(self, every: Array, sigmoids: Sequence[Array], tangents: Sequence[Array]) -> None:
        """See `Squash`."""
        np.exp(every, out=every)
        np.add(every, self.one, out=every)
        np.divide(self.one, every, out=every)  # two thirds of the time of a reciprocal, and its bits
        for values in tangents:
            np.multiply(values, self.two, out=values)
            np.subtract(values, self.one, out=values)


class ByTangents(Squash):
    """sigmoid(z) = (1 + tanh(z / 2)) / 2, in steps of 6e-8: below z = -17 it is 0, as above 17 it is 1."""

    sigmoid, tangent = 0.5, 1.0

    def __call__(self, every: Array, sigmoids: Sequence[Array], tangents: Sequence[Array]) -> None:
        """See `Squash`."""
        np.tanh(every, out=every)
        for values in sigmoids:
            np.multiply(values, self.half, out=values)
            np.add(values, self.half, out=values)


def quicker_squash(features: Collection[str]) -> type[Squash]:
    """features: of the processor, as numpy names them. With AVX-512 a tanh takes three quarters of an exponential's
    time, with AVX2 twice as long, and without either eight times."""
    return ByExponentials if WITH_AVX512.isdisjoint(features) else ByTangents


WITH_AVX512 = frozenset({"X86_V4", "AVX512_SKX"})  # since numpy 2.4, and before
SQUASH = quicker_squash(np.show_config(mode="dicts").get("SIMD Extensions", {}).get("found", ()))  # if it has any


STRETCH = 8
"""Steps of a prediction whose input is laid out at once."""


class StepProduct:
    """w times what enters each step. Its factors are named once: to take them apart anew is a tenth of a short step.

    entering, leaving: (steps, blocks, inputs or outputs, lanes).
    """

    def __init__(self, product: Product, way: Way, w: Array, entering: Array, leaving: Array) -> None:
        self._product = product
        ((self._w, entering),) = way.of(w, entering)  # of one piece: no way of a cell's cuts its sums
        self._entering, self._leaving = list(entering), list(way.divided(leaving))

    def __call__(self, step: int, at: int) -> None:
        """at: where what the step comes to is kept."""
        self._product(self._w, self._entering[step], self._leaving[at])


class Cell:
    """A recurrence bound to its weights and buffers.

    name: of its weights among those of the network, for what is made of them.
    w: (features + 1 + units + 1, gates * units), rows as in [x, 1, h, 1].  dw: its gradient, None for prediction.
    blocks: one for training.  way, product: how they are multiplied, see `products`.  count: steps of this pass.
    used: lanes that hold rows. In the others there is nothing, and nothing is done but the product.
    x, h: what enters each step, and the state before it; a step writes the state before the next.
    Training keeps what enters every step, and what it comes to, for the backward half. A prediction takes the steps a
    stretch at a time, and works in one place, so that both stay in the cache.
    """

    gates: ClassVar[int]
    kept: ClassVar[int]  # values a unit that a step keeps for the backward half
    gradients: ClassVar[int]  # gradients a unit that a step puts by

    @classmethod
    def shapes(cls, units: int, features: int) -> list[tuple[int, int]]:
        """(outputs, inputs) of the products that a step of a prediction takes."""
        return [(cls.gates * units, features + units + 2)]

    def __init__(
        self,
        name: Hashable,
        w: Array,
        dw: Array | None,
        units: int,
        steps: int,
        blocks: int,
        way: Way,
        used: int,
        memory: Memory,
        product: Product,
    ) -> None:
        lanes, self.way, self.units, self.count, self.name = way.lanes, way, units, steps, name
        self.w, self.dw, self.features = w, dw, len(w) - units - 2
        self.w_h = w[self.features + 1 : -1]
        self.multiply = np.matmul if dw is not None else product
        self.stretch, self.kept_steps = (steps, steps) if dw is not None else (min(steps, STRETCH), 1)
        buffer = memory.array if used == lanes else memory.zeros
        self.xh = laid(buffer, (self.stretch + 1, blocks, len(w), lanes), way.entering_by_row)
        self.x, self.h = (
            part[..., :used] for part in (self.xh[:, :, : self.features], self.xh[:, :, self.features + 1 : -1])
        )
        self.h_at = list(self.h)
        self.multiplied = laid(memory.array, (self.kept_steps, blocks, self.kept * units, lanes), way.leaving_by_row)
        self.z = self.multiplied[..., :used]
        self.taken = used < lanes and not way.leaving_by_row
        if self.taken:
            self.z = memory.array((self.kept_steps, blocks, self.kept * units, used))
        self.scratch = memory.array((blocks, units, used))
        self.one, self.squash = memory.scalar(1), SQUASH(memory)
        if dw is not None:
            self.dh = memory.array((blocks, units, lanes))
            self.dz = memory.array((blocks, self.gradients * units, lanes))
            self._all_xh = memory.array((len(w) * steps * lanes,))
            self._all_dz = memory.array((self.gradients * units * steps * lanes,))
            self._inner = memory.array((2, self.features * steps * lanes))
        self.reserve(blocks, used, memory)

    def reserve(self, blocks: int, used: int, memory: Memory) -> None:
        """Buffers of the one recurrence, after those of all."""
        raise NotImplementedError

    def lasting(self, what: str, shape: tuple[int, int], memory: Memory) -> Array:
        """Where something made of the weights is kept: one for all passes that multiply alike."""
        return self.way.weights(partial(memory.lasting, (self.name, what, self.way.turned, self.way.tile)), *shape)

    def step_product(self, w: Array, entering: Array, leaving: Array) -> StepProduct:
        """w times a part of what enters each step."""
        way = self.way if self.dw is not None else in_parts(self.way, len(w), w.shape[1], self.multiply)
        return StepProduct(self.multiply, way, w, entering, leaving)

    def part(self, array: Array, index: int, end: int | None = None) -> Array:
        """Gate `index`, or gates index..end, of (..., gates * units, lanes)."""
        return array[..., index * self.units : (end or index + 1) * self.units, :]

    def kept_at(self, step: int) -> int:
        """Where what a step comes to is kept."""
        return step if self.dw is not None else 0

    def take(self, at: int) -> None:
        """After the products, z := the lanes that hold rows, side by side, for what is done value by value."""
        if self.taken:
            np.copyto(self.z[at], self.multiplied[at, ..., : self.z.shape[-1]])

    def prepare(self) -> None:
        """Makes of the weights what the products of all steps take."""
        raise NotImplementedError

    def begin(self, count: int) -> None:
        """State zero, before `count` steps."""
        self.count = count
        self.xh[:count, :, self.features] = 1
        self.xh[:count, :, -1] = 1
        self.h[0] = 0

    def go_on(self) -> None:
        """After a stretch, before the next."""
        np.copyto(self.h[0], self.h[-1])

    def forward(self, step: int) -> None:
        """The state after a step from what enters it."""
        raise NotImplementedError

    def hold(self, step: int, alive: Array) -> None:
        """State zero after a step, where a row is over. alive: (blocks, 1, lanes), 1 or 0."""
        np.multiply(self.h[step + 1], alive, out=self.h[step + 1])

    def begin_backward(self) -> None:
        shape = (-1, self.count, self.dz.shape[-1])
        self.all_dz = self._all_dz[: self.dz.size * self.count].reshape(shape)
        self.dh[...] = 0

    def hold_backward(self, alive: Array) -> None:
        np.multiply(self.dh, alive, out=self.dh)

    def backward(self, step: int) -> None:
        """From the gradient `dh` of the state after a step to that of the state before it."""
        raise NotImplementedError

    def finish(self) -> None:
        """dw, from all steps at once."""
        np.dot(self.inputs(), self.flat(self.all_dz).T, out=self.dw)

    def inputs(self) -> Array:
        """(len(w), count * lanes): what entered the steps, side by side."""
        entered = self.xh[: self.count, 0].transpose(1, 0, 2)
        side_by_side = self._all_xh[: entered.size].reshape(entered.shape)
        np.copyto(side_by_side, entered)
        return self.flat(side_by_side)

    @staticmethod
    def flat(array: Array) -> Array:
        """(values, count, lanes) as (values, count * lanes)."""
        return array.reshape(len(array), -1)

    def input_gradient(self) -> Array:
        """(features, count, lanes)."""
        dx = self._dx()
        np.dot(self.w[: self.features], self.flat(self.all_dz), out=self.flat(dx))
        return dx

    def _dx(self, which: int = 0) -> Array:
        """One of two buffers for `input_gradient`."""
        size = self.features * self.count * self.dh.shape[-1]
        return self._inner[which, :size].reshape(self.features, self.count, -1)


class SimpleCell(Cell):
    gates = kept = gradients = 1

    def reserve(self, blocks: int, used: int, memory: Memory) -> None:
        self.w_turned = self.lasting("turned", (self.units, len(self.w)), memory)
        self.product = self.step_product(self.w_turned, self.xh, self.multiplied)

    def prepare(self) -> None:
        np.copyto(self.w_turned, self.w.T)

    def forward(self, step: int) -> None:
        at = self.kept_at(step)
        self.product(step, at)
        self.take(at)
        np.tanh(self.z[at], out=self.h_at[step + 1])

    def backward(self, step: int) -> None:
        h, dz = self.h[step + 1], self.dz
        np.multiply(h, h, out=dz)
        np.subtract(self.one, dz, out=dz)
        np.multiply(dz, self.dh, out=dz)
        np.copyto(self.all_dz[:, step], dz[0])
        if step:
            np.matmul(self.w_h, dz, out=self.dh)


class LSTMCell(Cell):
    """Gates i, f, g, o: c := f c + i g, h := o tanh(c)."""

    gates = kept = gradients = 4

    def reserve(self, blocks: int, used: int, memory: Memory) -> None:
        self.c = memory.array((self.kept_steps + 1, blocks, self.units, used))
        self.tanh_c = memory.array((self.kept_steps, blocks, self.units, used))
        self.w_scaled = self.lasting("scaled", (4 * self.units, len(self.w)), memory)
        sigmoid, tangent = self.squash.sigmoid, self.squash.tangent
        self.factors = np.repeat(np.array([sigmoid, sigmoid, tangent, sigmoid], self.w.dtype), self.units)[:, None]
        self.product = self.step_product(self.w_scaled, self.xh, self.multiplied)
        if self.dw is not None:
            self.dc = memory.array((blocks, self.units, used))
        self.views = [self._views(at) for at in range(self.kept_steps)]

    def _views(self, at: int) -> tuple[Array, ...]:
        """What a step works on: z, i and f together, the gates, the memory before and after, tanh of the latter."""
        z = self.z[at]
        gates = (self.part(z, gate) for gate in range(4))
        return z, self.part(z, 0, 2), *gates, self.c[at], self.c_after(at), self.tanh_c[at]

    def prepare(self) -> None:
        np.copyto(self.w_scaled, self.w.T)  # alone: turning and multiplying at once takes three times as long
        np.multiply(self.w_scaled, self.factors, out=self.w_scaled)

    def begin(self, count: int) -> None:
        super().begin(count)
        self.c[0] = 0

    def forward(self, step: int) -> None:
        at = self.kept_at(step)
        z, i_f, i, f, g, o, before, c, tanh_c = self.views[at]
        self.product(step, at)
        self.take(at)
        self.squash(z, (i_f, o), (g,))
        np.multiply(f, before, out=c)
        np.multiply(i, g, out=self.scratch)
        np.add(c, self.scratch, out=c)
        np.tanh(c, out=tanh_c)
        np.multiply(o, tanh_c, out=self.h_at[step + 1])

    def c_after(self, step: int) -> Array:
        """Where a step puts its memory; in a prediction, which keeps none, over the one before."""
        kept: Array = self.c[step + 1 if self.dw is not None else 0]
        return kept

    def hold(self, step: int, alive: Array) -> None:
        super().hold(step, alive)
        c = self.c_after(step)
        np.multiply(c, alive, out=c)

    def begin_backward(self) -> None:
        super().begin_backward()
        self.dc[...] = 0

    def hold_backward(self, alive: Array) -> None:
        super().hold_backward(alive)
        np.multiply(self.dc, alive, out=self.dc)

    def backward(self, step: int) -> None:
        z, dz, tanh_c, dh, dc, scratch = self.z[step], self.dz, self.tanh_c[step], self.dh, self.dc, self.scratch
        i, f, g, o = (self.part(z, gate) for gate in range(4))
        di, df, dg, do = (self.part(dz, gate) for gate in range(4))
        # First the slopes of the gates by their own values: s - s^2 of the sigmoids, 1 - g^2 of the tanh.
        np.multiply(z, z, out=dz)
        np.subtract(self.part(z, 0, 2), self.part(dz, 0, 2), out=self.part(dz, 0, 2))
        np.subtract(self.one, dg, out=dg)
        np.subtract(o, do, out=do)
        np.multiply(do, dh, out=do)
        np.multiply(do, tanh_c, out=do)
        np.multiply(tanh_c, tanh_c, out=scratch)
        np.subtract(self.one, scratch, out=scratch)
        np.multiply(scratch, o, out=scratch)
        np.multiply(scratch, dh, out=scratch)
        np.add(dc, scratch, out=dc)
        for gradient, factor in ((di, g), (df, self.c[step]), (dg, i)):
            np.multiply(dc, factor, out=scratch)
            np.multiply(gradient, scratch, out=gradient)
        np.multiply(dc, f, out=dc)
        np.copyto(self.all_dz[:, step], dz[0])
        if step:
            np.matmul(self.w_h, dz, out=dh)


class GRUCell(Cell):
    """Gates r, z, n: n := tanh(x part + r * h part), h := n + z (h - n). The parts of n are kept apart.

    kept: r, z, n, and the h part of n.  gradients: x part of n, r, z, h part of n; the last three are those of h.
    """

    gates, kept, gradients = 3, 4, 4

    @classmethod
    def shapes(cls, units: int, features: int) -> list[tuple[int, int]]:
        """See `Cell`."""
        return [(2 * units, features + units + 2), (units, features + 1), (units, units + 1)]

    def reserve(self, blocks: int, used: int, memory: Memory) -> None:
        own, units = self.features + 1, self.units
        # A product that is handed a turned matrix turns it at every step.
        self.w_gates = self.lasting("gates", (2 * units, len(self.w)), memory)
        self.w_nx = self.lasting("nx", (units, own), memory)
        self.w_nh = self.lasting("nh", (units, units + 1), memory)
        gates, n_x, n_h = (self.part(self.multiplied, *which) for which in ((0, 2), (2,), (3,)))
        self.products = (
            self.step_product(self.w_gates, self.xh, gates),
            self.step_product(self.w_nx, self.xh[:, :, :own], n_x),
            self.step_product(self.w_nh, self.xh[:, :, own:], n_h),
        )
        if self.dw is not None:
            self.dh_through = memory.array((blocks, units, used))
        self.views = [self._views(at) for at in range(self.kept_steps)]

    def _views(self, at: int) -> tuple[Array, ...]:
        """Both gates together, and the parts of z."""
        z = self.z[at]
        return self.part(z, 0, 2), *(self.part(z, index) for index in range(4))

    def prepare(self) -> None:
        np.copyto(self.w_gates, self.w[:, : 2 * self.units].T)
        np.multiply(self.w_gates, self.squash.sigmoid, out=self.w_gates)
        own = self.features + 1
        np.copyto(self.w_nx, self.w[:own, 2 * self.units :].T)
        np.copyto(self.w_nh, self.w[own:, 2 * self.units :].T)

    def forward(self, step: int) -> None:
        at = self.kept_at(step)
        gates, r, update, n, n_h = self.views[at]
        h, after = self.h_at[step], self.h_at[step + 1]
        for product in self.products:
            product(step, at)
        self.take(at)
        self.squash(gates, (gates,), ())
        np.multiply(r, n_h, out=self.scratch)
        np.add(n, self.scratch, out=n)
        np.tanh(n, out=n)
        np.subtract(h, n, out=self.scratch)
        np.multiply(self.scratch, update, out=self.scratch)
        np.add(n, self.scratch, out=after)

    def backward(self, step: int) -> None:
        z, dz, dh, scratch, through = self.z[step], self.dz, self.dh, self.scratch, self.dh_through
        r, update, n, n_h = (self.part(z, gate) for gate in range(4))
        dn_x, dr, dupdate, dn_h = (self.part(dz, gate) for gate in range(4))
        np.multiply(dh, update, out=through)  # what reaches the state before without a product
        # n: dh (1 - update) (1 - n^2)
        np.subtract(dh, through, out=dn_x)
        np.multiply(n, n, out=scratch)
        np.subtract(self.one, scratch, out=scratch)
        np.multiply(dn_x, scratch, out=dn_x)
        # update: dh (h - n) update (1 - update) = through (h - n) (1 - update)
        np.subtract(self.h[step], n, out=dupdate)
        np.multiply(dupdate, through, out=dupdate)
        np.subtract(self.one, update, out=scratch)
        np.multiply(dupdate, scratch, out=dupdate)
        # r: dn n_h r (1 - r)
        np.multiply(dn_x, r, out=dn_h)
        np.multiply(dn_h, n_h, out=dr)
        np.subtract(self.one, r, out=scratch)
        np.multiply(dr, scratch, out=dr)
        np.copyto(self.all_dz[:, step], dz[0])
        if step:
            np.matmul(self.w_h, self.part(dz, 1, 4), out=dh)
            np.add(dh, through, out=dh)

    def finish(self) -> None:
        assert self.dw is not None
        inputs, own, gates = self.inputs(), self.features + 1, 2 * self.units
        dn_x, dgates, dn_h = (self.flat(self.of_all(first, last)) for first, last in ((0, 1), (1, 3), (3, 4)))
        np.matmul(inputs, dgates.T, out=self.dw[:, :gates])
        np.matmul(inputs[:own], dn_x.T, out=self.dw[:own, gates:])
        np.matmul(inputs[own:], dn_h.T, out=self.dw[own:, gates:])

    def of_all(self, first: int, last: int) -> Array:
        """Gradients first..last of all steps: (units each, count, lanes)."""
        return self.all_dz[first * self.units : last * self.units]

    def input_gradient(self) -> Array:
        w, gates, dx, part = self.w[: self.features], 2 * self.units, self._dx(0), self._dx(1)
        np.matmul(w[:, :gates], self.flat(self.of_all(1, 3)), out=self.flat(dx))
        np.matmul(w[:, gates:], self.flat(self.of_all(0, 1)), out=self.flat(part))
        return np.add(dx, part, out=dx)
