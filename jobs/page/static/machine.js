// The machine: the budget and what of it is granted, what crashes cost, whether everything is at work, draining.

import { ask, get, listen } from "./api.js";
import { Charts, PALETTE } from "./charts.js";
import { clock, bar, badge, bytes, duration, facts, figure, fill, h, heading, section, table, when } from "./dom.js";
import { attempt } from "./notice.js";

const WORDS = { cpu_millis: "Cores", memory_bytes: "Memory", storage_bytes: "Disk", network_bytes_s: "Network" };

function amount(name, value) {
  if (name === "cpu_millis") return `${figure((value || 0) / 1000)}`;
  if (!(name in WORDS)) return figure(value || 0);
  return bytes(value || 0) + (name === "network_bytes_s" ? "/s" : "");
}

// Amounts by name, those that are counted beside the others.
const flat = ({ counted, ...amounts }) => ({ ...amounts, ...counted });

const rough = (value) => (value === undefined ? "" : value < 0.001 ? "0" : String(Number(value.toPrecision(3))));

export function view(place) {
  const now = h("div"), account = h("div"), curves = h("div", { class: "charts" }), cost = h("div"), health = h("div");
  const charts = new Charts(curves, "minutes");
  const span = h("select", { "aria-label": "Time", onchange: drawUse },
    [[900, "the last quarter of an hour"], [86400, "the last day"], [30 * 86400, "the last month"]].map(([seconds, words]) => h("option", { value: seconds }, words)));
  fill(place, heading("Machine"), now, section("Utilisation", span, curves, account), cost, health);

  async function drawUse() {
    const found = await attempt(() => get(`/utilisation?span_s=${span.value}`));
    if (!found) return;
    const minutes = found.at.map((at) => Math.round((at - found.until) / 6) / 10);
    charts.draw(Object.entries(found.shares).map(([name, readings]) => [WORDS[name] || name, Object.entries(readings).map(([reading, y], n) => ({ label: reading, x: minutes, y, hue: PALETTE[n], dashed: reading === "reserved" }))]));
    const whole = found.account.capacity_core_s;
    const part = (value) => `${duration(value)}${whole ? ` (${(100 * value / whole).toFixed(1)} %)` : ""}`;
    fill(account, found.at.length ? [h("h3", {}, "Core-seconds"), facts({
      "There were": duration(whole), "Useful": part(found.account.useful_core_s), "Spent on saves": part(found.account.saving_core_s),
      "Done again": part(found.account.repeated_core_s), "Failed": part(found.account.failed_core_s), "Singlepoint itself": part(found.account.own_core_s), "Idle": part(found.account.idle_core_s),
    })] : h("p", { class: "quiet" }, "Nothing was measured in this time."));
  }

  function drawNow(machine) {
    const [budget, granted, reserve] = [machine.budget, machine.granted, machine.reserve].map((amounts) => flat(amounts || {}));
    const since = machine.draining_since;
    fill(now,
      machine.complaint ? h("p", { class: "problem" }, machine.complaint) : "",
      machine.scheduler ? "" : h("p", { class: "problem" }, "No scheduler runs: nothing is started until `singlepoint up`."),
      machine.redis ? "" : h("p", { class: "problem" }, "Redis does not answer; what is accepted is kept on disk."),
      section("Use of the budget", machine.budget ? h("div", { class: "gauges" }, Object.keys(budget).map((name) => {
        const [had, whole] = [granted[name] || 0, budget[name]];
        const text = `${amount(name, had)} of ${amount(name, whole)} granted`;
        const own = reserve[name] ? `, ${amount(name, reserve[name])} kept for singlepoint itself` : "";
        return h("div", { class: "gauge" }, h("h3", {}, WORDS[name] || name), bar(had / whole, text, "wide"), h("p", { class: "figure" }, text, own));
      })) : h("p", { class: "quiet" }, "Known once a scheduler runs.")),
      h("p", { class: "actions" }, h("button", { type: "button", onclick: async () => {
        const found = await attempt(() => ask("PUT", "/machine/draining", { draining: !since }), since ? "work is started again" : "draining: running work is saved and handed back");
        if (found) drawNow(found);
      } }, since ? "End the drain" : "Drain"), since ? ["draining since ", when(since), machine.drain?.ends_at ? [", until ", clock(machine.drain.ends_at)] : ""] : machine.drain ? ["to be drained at ", clock(machine.drain.begins_at)] : "Nothing more is started, and running work is saved and handed back, until that is ended."));
  }

  function drawCost(report) {
    const waste = report.waste || {}, survival = report.survival_1h || {}, rate = report.failures_per_hour || {};
    const share = (value) => (value === null || value === undefined ? "not known yet" : `${(100 * value).toPrecision(3)} %`);
    const readings = report.utilisation || {};
    fill(cost, section("Reliability and cost",
      facts({
        "Attempts ran for": duration(report.exposure_s), "Failures an hour": `${rough(rate.mean)} (${rough(rate.low)} to ${rough(rate.high)})`,
        "Chance to survive an hour": share(survival.predictive), "A save costs": duration(report.save_s), "Saved every": duration(report.checkpoint_interval_s),
        "Waste predicted": share(waste.predicted), "Waste in fact": share(waste.actual), "Spent on saves": duration(waste.saving_s), "Done again": duration(waste.lost_s),
      }),
      table("Ends of attempts", [["End", "", (one) => badge(one[0])], ["Attempts", "figure", (one) => figure(one[1])]], Object.entries(report.ends || {}), "No attempt has ended yet."),
      Object.keys(readings).length ? [h("h3", {}, "Utilisation since the first job"), table("Utilisation", [
        ["", "", ([name]) => name], ...Object.keys(readings.reserved || {}).map((name) => [WORDS[name] || name, "figure", ([, values]) => share(values[name])]),
      ], Object.entries(readings), "")] : ""));
  }

  async function drawHealth() {
    const found = await attempt(() => get("/doctor"));
    if (found) {
      fill(health, section("Health", table("Health", [
        ["", "", (one) => badge(one.grade)], ["What", "", (one) => one.name], ["Found", "reason", (one) => one.found], ["What to do", "reason", (one) => one.remedy],
      ], found.checks, "")));
    }
  }

  attempt(() => get("/machine").then(drawNow));
  attempt(() => get("/report").then(drawCost));
  drawHealth();
  drawUse();
  const timer = setInterval(() => { if (!document.hidden && span.value === "900") drawUse(); }, 2000);
  const stop = listen((kind, told) => { if (kind === "machine") drawNow(told); });
  return () => { stop(); clearInterval(timer); charts.end(); };
}
