// Curves over epochs, several jobs laid over each other. Drawn by uPlot; a table beside says the same in figures, and
// the arrow keys move along the curve.

import { fill, figure, h } from "./dom.js";

export const PALETTE = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
const AXES = new Set(["epoch", "step", "wall_s"]);

// A colour of the style sheet as a canvas takes it, for light or dark as it is now.
const probe = h("span", { class: "unseen", "aria-hidden": "true" });
function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

// The figures that any of the jobs has, the losses first.
function figures(curves) {
  const names = new Set(curves.flatMap(({ columns }) => Object.keys(columns).filter((name) => !AXES.has(name))));
  const rank = (name) => (name === "loss" ? 0 : name === "validation_loss" ? 1 : 2);
  return [...names].sort((one, other) => rank(one) - rank(other) || one.localeCompare(other));
}

// A group of charts that is drawn anew when its curves grow. axis: what x counts.
export class Charts {
  constructor(place, axis = "epoch") {
    this.place = place;
    this.axis = axis;
    this.charts = new Map();
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.repaint = () => { for (const chart of this.charts.values()) chart.plot.redraw(); };
    this.dark.addEventListener("change", this.repaint);
    this.resizer = new ResizeObserver(() => { for (const chart of this.charts.values()) fit(chart); });
  }

  end() {
    this.dark.removeEventListener("change", this.repaint);
    this.resizer.disconnect();
    for (const chart of this.charts.values()) chart.plot.destroy();
  }

  // panels: [[title, [{label, x, y, hue, dashed}]]]
  draw(panels) {
    for (const [title, series] of panels) {
      const key = series.map((one) => one.label).join("|");
      let chart = this.charts.get(title);
      if (chart && chart.key !== key) {
        chart.plot.destroy();
        chart.box.remove();
        chart = null;
      }
      if (!chart) {
        chart = made(title, series, key, this.axis);
        this.charts.set(title, chart);
        this.place.append(chart.box);
        this.resizer.observe(chart.frame);
        fit(chart);
      }
      chart.plot.setData(joined(series));
      tell(chart, series);
    }
  }
}

// The panels of trainings. curves: [{label, columns}]
export function overEpochs(curves) {
  return [...grouped(figures(curves))].map(([title, names]) => [title, curves.flatMap(({ label, columns }, job) => names
    .filter((name) => columns[name])
    .map((name, figure) => ({
      hue: PALETTE[(curves.length > 1 ? job : figure) % PALETTE.length],
      label: label ? (names.length > 1 ? `${label} ${name}` : label) : name,
      x: columns.epoch, y: columns[name], dashed: name.startsWith("validation"),
    })))]);
}

// Losses share one chart, since they share their unit; every other figure has its own, with its validation twin.
function grouped(names) {
  const groups = new Map();
  for (const name of names) {
    const plain = name.replace(/^validation_/, "");
    groups.set(plain, [...(groups.get(plain) || []), name]);
  }
  return groups;
}

function joined(series) {
  return series.length ? uPlot.join(series.map((one) => [one.x, one.y])) : [[]];
}

function made(title, series, key, counted) {
  const frame = h("div", { class: "frame", tabindex: "0", role: "img", "aria-label": `${title} by ${counted}; arrow keys read it` });
  const reading = h("p", { class: "unseen", "aria-live": "polite" });
  const summary = h("tbody");
  const box = h("figure", { class: "chart" },
    h("figcaption", {}, title), frame, reading,
    h("details", {}, h("summary", {}, "In figures"),
      h("table", {}, h("thead", {}, h("tr", {}, ["", "last", "lowest", "highest", counted].map((word) => h("th", { scope: "col" }, word)))), summary)));
  const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { stroke: () => colour("--line"), width: 1 }, font: "12px system-ui, sans-serif" };
  const plot = new uPlot({
    width: 320, height: 220, scales: { x: { time: false } },
    legend: { live: true }, cursor: { drag: { x: true, y: false } },
    axes: [{ ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick : "")) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(figure) }],
    series: [{ label: counted, value: (_, value) => figure(value) }, ...series.map((one) => ({
      label: one.label, stroke: () => colour(one.hue), width: 1.75, dash: one.dashed ? [5, 4] : undefined,
      spanGaps: true, points: { show: one.x.length < 2 }, value: (_, value) => figure(value),
    }))],
  }, [[]], frame);
  const chart = { key, box, frame, plot, reading, summary, counted };
  frame.addEventListener("keydown", (event) => step(chart, event));
  return chart;
}

function fit({ plot, frame }) {
  const width = Math.floor(frame.clientWidth);
  if (width > 50 && width !== plot.width) plot.setSize({ width, height: 220 });
}

function step(chart, event) {
  const [x, ...columns] = chart.plot.data;
  const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -Math.ceil(x.length / 20), PageDown: Math.ceil(x.length / 20), Home: -x.length, End: x.length };
  if (!(event.key in moves) || !x.length) return;
  event.preventDefault();
  const from = chart.plot.cursor.idx ?? 0;
  const n = Math.max(0, Math.min(x.length - 1, from + moves[event.key]));
  chart.plot.setCursor({ left: chart.plot.valToPos(x[n], "x"), top: 20 });
  const names = chart.plot.series.slice(1).map((one) => one.label);
  fill(chart.reading, `${chart.counted} ${figure(x[n])}: ${columns.map((column, m) => `${names[m]} ${figure(column[n])}`).join(", ")}`);
}

function tell(chart, series) {
  fill(chart.summary, series.map((one) => {
    const known = one.y.filter((value) => value !== null);
    const ends = known.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    return h("tr", {}, h("th", { scope: "row" }, one.label),
      [known.at(-1), known.length ? ends[0] : null, known.length ? ends[1] : null, one.x.at(-1)].map((value) => h("td", { class: "figure" }, figure(value))));
  }));
}
