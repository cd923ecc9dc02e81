// One job, and several side by side: attempts on a line of time, curves as they grow, the log, the result.

import { ask, get, listen } from "./api.js";
import { Charts, overEpochs } from "./charts.js";
import { clock, at, badge, bar, bytes, duration, entitle, facts, figure, fill, h, heading, now, percent, refill, request, section, table, when } from "./dom.js";
import { attempt } from "./notice.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const LOG_LINES = 4000;

export function view(place, id) {
  const head = h("div"), acts = h("div"), top = h("div"), ledger = h("div"), result = h("div"), curves = h("div", { class: "charts" });
  const curveNote = h("p", { class: "quiet" }, "No figures yet.");
  const log = follower(id);
  const saved = h("div"), spec = h("div"), past = h("div");
  const charts = new Charts(curves);
  fill(place, head, acts, top, ledger,
    section("Curves", h("p", {}, h("a", { href: `#/compare/${id}`, class: "compare" }, "Lay another job over it")), curveNote, curves),
    log.part, result, saved, section("Spec and history", spec, past));
  fill(head, heading(id));
  let job = null;

  async function load() {
    const found = await attempt(() => get(`/jobs/${id}`));
    if (!found) return;
    const again = job !== null;
    job = found;
    draw(again);
    await Promise.all([drawCurves(), drawSaved(), log.read(job)]);
  }

  function draw(again) {
    const bits = { true: "as if never disturbed", false: "may differ from an undisturbed run" }[job.bit_identical];
    const { name, state, paused, held, asks, priority, reason, attempts: tries } = job;
    refill(head, [name, state, paused, held], () => heading(name, h("span", { class: "id" }, `${job.kind} · ${job.id}`), badge(paused || held ? "paused" : state)));
    refill(acts, [state, paused, held, asks, priority], () => actions(job, load));
    entitle(name);
    if (!again) head.querySelector("h1").focus({ preventScroll: true });
    fill(top, reason ? h("p", { class: "reason large" }, reason) : "", live(job), facts({
      "Submitted": when(job.submitted_at), "Ended": job.ended_at ? when(job.ended_at) : "",
      "Asks for": request(job).join(", "), "Priority": priority || "", "After": job.after.join(" "), "Bits": bits,
      "Begins": job.begin_at && !job.attempt ? clock(job.begin_at) : "", "Deadline": job.deadline_at ? [clock(job.deadline_at), job.deadline_probability === null ? "" : `, met with ${Math.round(100 * job.deadline_probability)} %`] : "",
      "Starts": job.eta?.start ? clock(job.eta.start.p50) : "", "Ends": job.eta ? clock(job.eta.end.p50) : "",
    }));
    if (!ledger.contains(document.activeElement)) fill(ledger, tries.length ? section("Attempts", timeline(job), attempts(job)) : "");
    refill(result, [job.result, job.metrics], () => (job.result || job.metrics ? section("Result", facts({ ...told(job.result || {}), ...told(job.metrics || {}) }),
      job.kind === "train" && job.result ? h("p", {}, h("a", { class: "button", href: `#/model/${job.result.model}` }, "The model")) : "",
      job.kind === "predict" && job.result ? h("p", {}, h("a", { class: "button", href: `/api/v1/jobs/${job.id}/output`, download: "" }, "Download the answers")) : "") : ""));
    refill(spec, job.spec, () => h("details", {}, h("summary", {}, "Spec, with every default written out"), h("pre", { tabindex: "0" }, JSON.stringify(job.spec, null, 1))));
    const lines = job.history.map((line) => JSON.stringify(line)).join("\n");
    if (!past.firstChild) fill(past, h("details", {}, h("summary", {}, "History"), h("pre", { tabindex: "0" })));
    fill(past.querySelector("pre"), lines);
  }

  async function drawCurves() {
    if (job.kind === "predict") return fill(curveNote, "A prediction has no curves.");
    const found = await attempt(() => get(`/jobs/${id}/metrics`));
    if (!found || !found.columns.epoch.length) return null;
    curveNote.hidden = true;
    return charts.draw(overEpochs([{ label: "", columns: found.columns }]));
  }

  async function drawSaved() {
    if (job.kind === "predict") return;
    const found = await attempt(() => get(`/jobs/${id}/checkpoints`));
    if (found) {
      refill(saved, [found.checkpoints, ENDED.has(job.state)], () => section("Checkpoints", table("Checkpoints", [
        ["Step", "figure", (one) => figure(one.step)], ["Size", "figure", (one) => bytes(one.bytes)], ["Saved", "figure", (one) => when(one.saved_at)],
        ["File", "", (one) => one.file], ["", "", (one) => ({ true: "sound", false: `damaged: ${one.problem}` })[one.sound] || ""],
      ], found.checkpoints, ENDED.has(job.state) ? "None is left: they go once a job has succeeded." : "None yet.")));
    }
  }

  const stop = listen((kind, document) => {
    if (kind === "removed" && document.id === job?.id) location.hash = "#/";
    if (kind === "reset" || (kind === "job" && job && document.id === job.id)) soon();
  });
  let due = null;
  function soon() {
    if (!due) due = setTimeout(() => { due = null; load(); }, 150);
  }
  load();
  return () => { stop(); log.end(); charts.end(); clearTimeout(due); };
}

function told(values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name,
    value !== null && typeof value === "object" ? JSON.stringify(value) : figure(value)]));
}

function live(job) {
  if (job.state !== "running" || job.progress === null) return "";
  const words = [percent(job.progress), job.total ? `step ${figure(job.step)} of ${figure(job.total)}` : "", job.epoch ? `epoch ${figure(job.epoch)}` : ""];
  return h("div", { class: "underway" }, bar(job.progress, percent(job.progress), "wide"), h("span", { class: "figure" }, words.filter(Boolean).join(" · ")));
}

function actions(job, load) {
  const act = (verb, label, body) => h("button", { type: "button", onclick: async () => {
    if (await attempt(() => ask("POST", `/jobs/${job.id}/${verb}`, body), `${job.id}: ${label.toLowerCase()}`)) load();
  } }, label);
  const over = ENDED.has(job.state);
  const stopped = job.held || job.paused || job.asks.includes("pause");
  const priority = h("input", { type: "number", min: -1000, max: 1000, value: job.priority, "aria-label": "Priority" });
  return h("div", { class: "actions", role: "group", "aria-label": "Actions" },
    over ? "" : stopped ? act("resume", "Resume") : act("pause", "Pause"),
    over ? "" : act("cancel", "Cancel"),
    ["failed", "cancelled"].includes(job.state) ? [act("retry", "Retry"), act("retry", "Retry from nothing", { fresh: true })] : "",
    over ? "" : h("form", { class: "inline", onsubmit: async (event) => {
      event.preventDefault();
      if (await attempt(() => ask("PUT", `/jobs/${job.id}/priority`, { priority: Number(priority.value) }), `${job.id}: priority ${priority.value}`)) load();
    } }, h("label", {}, "Priority ", priority), h("button", {}, "Set")),
    over ? h("button", { type: "button", onclick: () => confirmed(`Remove ${job.name} (${job.id})? Its spec, history and log go; its model or answers stay.`, async () => {
      if (await attempt(() => ask("DELETE", `/jobs/${job.id}`))) location.hash = "#/";
    }) }, "Remove") : "");
}

function confirmed(question, act) {
  const dialog = h("dialog", { "aria-label": "Are you sure?", onclose: () => dialog.remove() },
    h("p", {}, question),
    h("form", { method: "dialog", class: "actions" },
      h("button", { class: "danger", onclick: act }, "Remove"), h("button", { autofocus: true }, "Keep")));
  document.body.append(dialog);
  dialog.showModal();
}

// ---- attempts ----

function timeline(job) {
  const begin = at(job.submitted_at);
  const end = Math.max(at(job.ended_at) || now(), ...job.attempts.map((one) => at(one.ended_at) || 0), begin + 0.001);
  const x = (time) => `${(100 * (time - begin)) / (end - begin)}%`;
  const spans = job.attempts.filter((one) => one.started_at).map((one) => {
    const [from, to] = [at(one.started_at), at(one.ended_at) || end];
    const words = `attempt ${one.number}, ${duration(to - from)}: ${one.end || "going on"}`;
    return h("span", { class: `span ${one.end || "running"}`, title: words, style: { left: x(from), width: `max(3px, ${(100 * (to - from)) / (end - begin)}%)` } }, String(one.number));
  });
  return h("div", { class: "timeline", role: "img", "aria-label": `${job.attempts.length} attempts over ${duration(end - begin)}; the table below has them` },
    h("div", { class: "track" }, spans),
    h("div", { class: "scale" }, h("span", {}, "submitted"), h("span", {}, duration((end - begin) / 2)), h("span", {}, job.ended_at ? duration(end - begin) : "now")));
}

function attempts(job) {
  return table("Attempts", [
    ["", "figure", (one) => String(one.number)],
    ["Started", "figure", (one) => when(one.started_at)],
    ["Ran", "figure", (one) => (one.started_at ? duration((at(one.ended_at) || now()) - at(one.started_at)) : "")],
    ["End", "", (one) => badge(one.end || (one.ended_at ? "" : "running"))],
    ["Steps", "figure", (one) => figure(one.steps)],
    ["Lost", "figure", (one) => duration(one.lost_s)],
    ["Again after", "figure", (one) => duration(one.recovery_s)],
    ["Memory", "figure", (one) => bytes(one.usage && one.usage.peak_memory_bytes)],
    ["Cause", "reason", (one) => one.cause || ""],
  ], job.attempts, "None yet.");
}

// ---- the log ----

function follower(id) {
  const box = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Log", "aria-live": "off" });
  const follow = h("input", { type: "checkbox" });
  follow.checked = true;
  follow.addEventListener("change", () => { if (follow.checked) box.scrollTop = box.scrollHeight; });
  const part = section("Log", h("label", { class: "inline" }, follow, " follow"), box);
  let next = null, timer = null, over = false, reading = false;

  async function read(job) {
    over = ENDED.has(job.state);
    if (reading) return;
    reading = true;
    clearTimeout(timer);
    const found = await get(`/jobs/${id}/log?offset=${next === null ? -65536 : next}`).catch(() => null);
    reading = false;
    if (found) {
      if (found.bytes < (next ?? 0)) {
        next = null;
        box.textContent = "";
      } else {
        if (next === null && found.offset > 0) add("… (earlier lines: singlepoint logs)\n");
        next = found.next;
        add(found.text);
      }
    }
    if (!over && box.isConnected) timer = setTimeout(() => { if (!document.hidden) read(job); }, 1000);
  }

  function add(text) {
    if (!text) return;
    // A carriage return draws a line anew, as progress bars do.
    for (const line of text.split(/(?<=\n)/)) {
      box.append(h("span", {}, line.replace(/\n$/, "").split("\r").at(-1), "\n"));
    }
    while (box.childElementCount > LOG_LINES) box.firstChild.remove();
    if (follow.checked) box.scrollTop = box.scrollHeight;
  }

  return { part, read, end: () => { clearTimeout(timer); over = true; } };
}

// ---- several jobs laid over each other ----

export function compare(place, words) {
  const ids = words.split(",").filter(Boolean).slice(0, 16);
  const charts = h("div", { class: "charts" });
  const drawn = new Charts(charts);
  const other = h("select", { "aria-label": "Another job" });
  const list = h("ul", { class: "together" });
  fill(place, heading("Compare"), list,
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      if (other.value) location.hash = `#/compare/${[...ids, other.value].join(",")}`;
    } }, other, h("button", {}, "Lay over")), charts);

  async function load() {
    const [jobs, curves] = await Promise.all([
      Promise.all(ids.map((id) => get(`/jobs/${id}`).catch(() => null))),
      Promise.all(ids.map((id) => get(`/jobs/${id}/metrics`).catch(() => null))),
    ]);
    const known = ids.map((id, n) => [jobs[n], curves[n]]).filter(([job, curve]) => job && curve);
    fill(list, known.map(([job]) => h("li", {}, h("a", { href: `#/job/${job.id}` }, job.name), " ", h("span", { class: "id" }, job.id), " ", badge(job.state), " ",
      h("a", { class: "quiet", href: `#/compare/${ids.filter((id) => id !== job.id).join(",")}`, "aria-label": `Take ${job.name} ${job.id} away` }, "take away"))));
    const names = known.map(([job]) => job.name);
    drawn.draw(overEpochs(known.map(([job, curve]) => ({
      label: names.filter((name) => name === job.name).length > 1 ? `${job.name} ${job.id}` : job.name, columns: curve.columns,
    }))));
  }

  attempt(async () => {
    const all = await get("/jobs?kind=train&limit=500");
    fill(other, h("option", { value: "" }, "another job …"), all.jobs.filter((row) => !ids.includes(row.id)).map((row) => h("option", { value: row.id }, `${row.name} · ${row.id} · ${row.state}`)));
  });
  let due = null;
  const stop = listen((kind, document) => {
    if (kind === "job" && ids.includes(document.id) && !due) due = setTimeout(() => { due = null; load(); }, 500);
  });
  load();
  return () => { stop(); drawn.end(); clearTimeout(due); };
}
