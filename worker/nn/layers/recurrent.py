"""Recurrent layers: SimpleRNN, GRU and LSTM, in one direction or both.

Training works in one block of all rows, prediction in blocks of LANES or more, or one row alone, to the same bits (see
`products`); `cells` has the arithmetic of a step. A layer's parameters lie in the flat vector as one matrix, direction
after direction.

Padding is at the end of a row. There the state is held at zero, which is PyTorch's packed sequence: outputs are zero,
the last state is that of the last real step, and the backward direction begins at it.
"""

from __future__ import annotations

from math import prod

import numpy as np

from singlepoint.jobs.spec.network import GRU, LSTM, Glorot, Orthogonal, SimpleRNN
from singlepoint.worker.nn.arrays import Array

from .base import Kernel, LayerPlan, Moment, Parameter, Place, Setting, Tensors
from .cells import STRETCH, Cell, GRUCell, LSTMCell, SimpleCell
from .products import BY_LANE, Way, way, ways_by_lane

Recurrent = SimpleRNN | GRU | LSTM

BUFFER_VALUES = 512
"""Numpy copies runs that are shorter than its buffer into that, at up to twice the price of the rest."""

CELLS: dict[type[Recurrent], type[Cell]] = {SimpleRNN: SimpleCell, GRU: GRUCell, LSTM: LSTMCell}


def plan(layer: Recurrent, place: Place) -> LayerPlan:
    place.need_rank(2, "(steps, features)", 'text needs a layer of type "embedding" before it')
    (steps, features), units, gates = place.input_shape, layer.units, CELLS[type(layer)].gates
    parameters: list[Parameter] = []
    for suffix in _directions(layer):
        shapes = {"ih": (gates * units, features), "hh": (gates * units, units)}
        drawn = {"ih": layer.initialiser or Glorot(), "hh": layer.recurrent_initialiser or Orthogonal()}
        for source, shape in shapes.items():
            fans = shape[1], units  # of one gate: the others do not add to its input
            parameters += [
                Parameter(
                    f"weight_{source}_{suffix}", shape, drawn[source], *fans, (1, 0), gates, l1=layer.l1, l2=layer.l2
                ),
                Parameter(f"bias_{source}_{suffix}", shape[:1], layer.bias_initialiser, *fans, axes=(0,)),
            ]
    width = units * len(_directions(layer))
    per_step = len(_directions(layer)) * ((3 * gates + 4) * units + 4 * features)
    output = (steps, width) if layer.return_sequence else (width,)
    # A prediction keeps what enters a stretch of steps, and what one step comes to.
    places = min(steps, STRETCH) + 1
    entering = steps * features + len(_directions(layer)) * places * (features + units + 2)
    answering = entering + (3 * gates + 4) * width + 2 * prod(output)
    return place.plan(output, steps * (per_step + 2 * width), tuple(parameters), answering_floats_per_row=answering)


def _directions(layer: Recurrent) -> tuple[str, ...]:
    return ("l0", "l0_reverse") if layer.bidirectional else ("l0",)


class _Direction:
    """One way through time. Slots are steps in the order they are taken, for the backward direction from the end."""

    def __init__(self, cell: Cell, reverse: bool) -> None:
        self.cell, self.reverse = cell, reverse

    def time(self, slot: int) -> int:
        return self.cell.count - 1 - slot if self.reverse else slot

    @property
    def times(self) -> slice:
        """Of the real steps, in the order they are taken."""
        return slice(self.cell.count - 1, None, -1) if self.reverse else slice(0, self.cell.count)


class RecurrentKernel(Kernel):
    """Fills its cells with the input step by step, and reads the states off.

    block: (blocks, lanes that hold rows).
    steps_real: of each row.  alive: (steps, blocks, 1, lanes), 1 where a step is real.  full: steps real in every row.
    """

    def __init__(self, plan: LayerPlan, tensors: Tensors, setting: Setting) -> None:
        super().__init__(plan, tensors, setting)
        layer, memory, rows = plan.layer, setting.memory, setting.rows
        assert isinstance(layer, Recurrent)
        self.units, self.sequence, self.training = layer.units, layer.return_sequence, setting.training
        self.steps = plan.input_shape[0]
        self.input_lengths, self.lengths = setting.lengths, setting.lengths if self.sequence else None
        shapes = CELLS[type(layer)].shapes(layer.units, plan.input_shape[1])
        by = BY_LANE._replace(lanes=rows)
        if not setting.training:
            by = way(rows, shapes, setting.product, ways_by_lane(rows, shapes, setting.product))
        blocks = -(-rows // by.lanes)
        # Of a lonely row only its own lane: what happens between products is then a part of the work.
        self.rows, self.block = rows, (blocks, 1 if rows == 1 else by.lanes)
        places = self.block[0] * self.block[1]
        # Prediction fills the last block up with rows of nothing.
        self.x = memory.zeros((places, *plan.input_shape)) if places > rows else None
        self.steps_real = np.zeros(places, np.intp)
        self.directions = self._bind(plan, tensors, setting, by)
        self.filled_up = memory.array((places, *plan.output_shape))
        self.y = self.filled_up[:rows]
        self.alive = memory.array((self.steps, self.block[0], 1, self.block[1]))
        if setting.training:
            self.outer = memory.array((self.steps, *self.block[:1], self.units, self.block[1]))
        self.dx = memory.array((rows, *plan.input_shape)) if setting.input_gradient else self.y

    def _bind(self, plan: LayerPlan, tensors: Tensors, setting: Setting, by: Way) -> list[_Direction]:
        layer, features = plan.layer, plan.input_shape[1]
        assert isinstance(layer, Recurrent)
        kind, names = CELLS[type(layer)], _directions(layer)
        shape = (len(names), features + layer.units + 2, kind.gates * layer.units)
        w = tensors.flat.reshape(shape)
        dw = tensors.flat_gradient.reshape(shape) if setting.training else (None, None)
        (blocks, used), memory, product = self.block, setting.memory, setting.product
        cells = [
            kind((plan.index, name), w[i], dw[i], layer.units, self.steps, blocks, by, used, memory, product)
            for i, name in enumerate(names)
        ]
        return [_Direction(cell, reverse=i == 1) for i, cell in enumerate(cells)]

    def prepare(self) -> None:
        for direction in self.directions:
            direction.cell.prepare()

    def forward(self, x: Array, moment: Moment | None) -> Array:
        if self.training:  # every step has other weights
            self.prepare()
        count = self._note_lengths()
        if self.x is not None:
            self.x[: self.rows] = x
            x = self.x
        x = x.reshape(*self.block, self.steps, -1)
        for i, direction in enumerate(self.directions):
            direction.cell.begin(count)
            y = self.filled_up[..., i * self.units : (i + 1) * self.units]
            with np.errstate():  # which puts back the size of the buffer, too
                if self.block[0] > 1:
                    np.setbufsize(BUFFER_VALUES)
                self._take_steps(direction, x[:, :, direction.times].transpose(2, 0, 3, 1), y)
        return self.y

    def _take_steps(self, direction: _Direction, x: Array, y: Array) -> None:
        """x: (steps, blocks, features, lanes), in the order in which they are taken.  y: see `_read_states`."""
        cell = direction.cell
        for begun in range(0, cell.count, cell.stretch):
            if begun:
                cell.go_on()
            entering = x[begun : begun + cell.stretch]
            np.copyto(cell.x[: len(entering)], entering)
            for step in range(len(entering)):
                cell.forward(step)
                time = direction.time(begun + step)
                if time >= self.full:
                    cell.hold(step, self.alive[time])
            self._read_states(direction, begun, len(entering), y)

    def _note_lengths(self) -> int:
        """How many steps have to be taken; sets `alive` and `full`."""
        if self.input_lengths is None:
            self.full = self.steps
            return self.steps
        self.steps_real[: self.rows] = self.input_lengths
        self.steps_real[self.rows :] = self.input_lengths.max()
        lengths = self.steps_real.reshape(self.block[0], 1, self.block[1])
        np.greater(lengths, np.arange(self.steps).reshape(-1, 1, 1, 1), out=self.alive)
        self.full = int(lengths.min())
        return max(int(lengths.max()), 1)

    def _read_states(self, direction: _Direction, begun: int, taken: int, y: Array) -> None:
        """y (rows, [steps,] units) := the states after every step, or the last one that is real, as far as they are
        among those after the steps that were just taken."""
        count, h = direction.cell.count, direction.cell.h
        if self.sequence:
            y = y.reshape(*self.block, self.steps, self.units)
            np.copyto(y[:, :, direction.times][:, :, begun : begun + taken].transpose(2, 0, 3, 1), h[1 : taken + 1])
            if begun == 0:
                y[:, :, count:] = 0
        elif direction.reverse or self.full == count:
            if begun + taken == count:
                np.copyto(y.reshape(*self.block, self.units).transpose(0, 2, 1), h[taken])
        else:
            last = np.maximum(self.steps_real - 1, 0)
            for row in np.flatnonzero((begun <= last) & (last < begun + taken)).tolist():
                np.copyto(y[row], h[self.steps_real[row] - begun, row // self.block[1], :, row % self.block[1]])

    def backward(self, dy: Array) -> Array:
        for i, direction in enumerate(self.directions):
            cell, part = direction.cell, dy[..., i * self.units : (i + 1) * self.units]
            given = self._spread(direction, part)
            cell.begin_backward()
            for slot in reversed(range(cell.count)):
                if slot in given:
                    np.add(cell.dh, self.outer[slot], out=cell.dh)
                if direction.time(slot) >= self.full:
                    cell.hold_backward(self.alive[direction.time(slot)])
                cell.backward(slot)
            cell.finish()
            if self.dx is not self.y:
                self._give_back(direction, first=i == 0)
        return self.dx

    def _spread(self, direction: _Direction, dy: Array) -> range | set[int]:
        """outer[slot] := the gradient that reaches the state after each slot from outside; returns which slots."""
        count = direction.cell.count
        if self.sequence:
            np.copyto(self.outer[:count, 0], dy[:, direction.times].transpose(1, 2, 0))
            return range(count)
        if direction.reverse or self.full == count:
            np.copyto(self.outer[count - 1, 0], dy.T)
            return {count - 1}
        last = {length - 1 for length in self.steps_real.tolist()} - {-1}
        for slot in last:
            np.multiply(dy.T, self.steps_real == slot + 1, out=self.outer[slot, 0])
        return last

    def _give_back(self, direction: _Direction, first: bool) -> None:
        """The input's gradient: of the first direction, then with the second's added."""
        count = direction.cell.count
        dx = direction.cell.input_gradient().transpose(2, 1, 0)
        if first:
            self.dx[:, count:] = 0
            self.dx[:, direction.times] = dx
        else:
            self.dx[:, direction.times] += dx
