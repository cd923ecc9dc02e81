// The list: what works and waits, and why; below it what has ended, newest first.

import { ask, get, listen } from "./api.js";
import { age, at, badge, bar, bytes, duration, fill, h, heading, now, percent, request, when } from "./dom.js";
import { attempt } from "./notice.js";

const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const PAGE = 200;

export function view(place) {
  const rows = new Map(); // id -> row, newest first in each half
  const chosen = new Set();
  const state = { name: "", only: "", next: null, counts: {}, ended: true };
  const counts = h("div", { class: "chips", role: "group", "aria-label": "Show only" });
  const search = h("input", {
    type: "search", placeholder: "name, such as wdbc*", "aria-label": "Name", autocomplete: "off",
    oninput: () => { state.name = search.value.trim(); soon(load); },
  });
  const active = half("Working and waiting");
  const ended = half("Ended");
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => load(true) }, "Show more");
  const together = h("div", { class: "together", role: "group", "aria-label": "Chosen jobs", hidden: true });
  fill(place, heading("Jobs", search), counts, together, active.part, ended.part, more);

  function half(title) {
    const body = h("tbody");
    const note = h("p", { class: "quiet" });
    const head = h("tr", {}, [h("th", { scope: "col" }, h("span", { class: "unseen" }, "Choose")),
      ...["Name", "State", "Progress", "Why, or how it ended", "Asks for", "Since"].map((word) => h("th", { scope: "col" }, word))]);
    const grid = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
      h("table", { class: "jobs" }, h("caption", { class: "unseen" }, title), h("thead", {}, head), body));
    const id = `half-${title.split(" ")[0].toLowerCase()}`;
    return { body, note, grid, part: h("section", { "aria-labelledby": id }, h("h2", { id }, title), grid, note) };
  }

  // One reading at a time: whatever asks meanwhile is answered by one more.
  let reading = false, again = false;
  async function load(further = false) {
    if (reading) {
      again = true;
      return;
    }
    reading = true;
    await readAll(further);
    reading = false;
    if (again) {
      again = false;
      load();
    }
  }

  async function readAll(further) {
    const filter = `${state.name ? `&name=${encodeURIComponent(`${state.name}${/[*?]/.test(state.name) ? "" : "*"}`)}` : ""}`;
    const only = state.only ? `&state=${state.only}` : "";
    const cursor = further && state.next ? `&cursor=${encodeURIComponent(state.next)}` : "";
    const [working, past] = await Promise.all([
      further ? null : attempt(() => get(`/jobs?ended=false&limit=1000${filter}${only}`)),
      attempt(() => get(`/jobs?ended=true&limit=${PAGE}${filter}${only}${cursor}`)),
    ]);
    if (!past || (!further && !working)) return;
    if (!further) rows.clear();
    for (const row of [...(working ? working.jobs : []), ...past.jobs]) rows.set(row.id, row);
    state.next = past.next;
    state.counts = past.counts;
    draw();
  }

  function draw() {
    const all = [...rows.values()].sort((one, other) => (one.submitted_at < other.submitted_at ? 1 : -1));
    drawHalf(active, all.filter((row) => !ENDED.has(row.state)).sort(byRank), "Nothing works or waits.");
    drawHalf(ended, all.filter((row) => ENDED.has(row.state)), state.name || state.only ? "None." : "Nothing has ended yet.");
    more.hidden = !state.next;
    drawCounts();
    drawChosen();
  }

  // Running first, then those about to, then by priority and age: the order in which they are served.
  function byRank(one, other) {
    const rank = (row) => ({ running: 0, queued: 1 })[row.state] ?? 2;
    return rank(one) - rank(other) || other.priority - one.priority || (one.submitted_at < other.submitted_at ? -1 : 1);
  }

  function drawHalf(half, list, empty) {
    const there = new Map([...half.body.children].map((line) => [line.dataset.id, line]));
    const lines = list.map((row) => {
      const old = there.get(row.id);
      if (old && old.row === row) return old;
      const line = lineOf(row);
      line.row = row;
      return line;
    });
    half.body.replaceChildren(...lines);
    half.grid.hidden = !lines.length;
    fill(half.note, lines.length ? "" : empty);
    half.note.hidden = lines.length > 0;
  }

  function lineOf(row) {
    const box = h("input", {
      type: "checkbox", "aria-label": `Choose ${row.name} ${row.id}`,
      onchange: () => { chosen[box.checked ? "add" : "delete"](row.id); drawChosen(); },
    });
    box.checked = chosen.has(row.id);
    const line = h("tr", {},
      h("td", { class: "choose" }, box),
      h("td", { class: "name" }, h("a", { href: `#/job/${row.id}` }, row.name), h("span", { class: "id" }, row.id, row.kind === "train" ? "" : ` · ${row.kind}`)),
      h("td", {}, badge(row.paused || row.held ? "paused" : row.state), row.attempt > 1 ? h("span", { class: "quiet" }, ` attempt ${row.attempt}`) : ""),
      h("td", { class: "progress" }, progress(row)),
      h("td", { class: "reason" }, row.reason || "", expected(row)),
      h("td", { class: "figure" }, request(row).join(" · "), row.priority ? h("span", { class: "quiet" }, ` · priority ${row.priority}`) : ""),
      h("td", { class: "figure since" }, since(row)));
    line.dataset.id = row.id;
    return line;
  }

  function drawCounts() {
    const words = ["running", "queued", "pending", "succeeded", "failed", "cancelled"];
    fill(counts, words.map((word) => h("button", {
      type: "button", class: `chip ${word}`, "aria-pressed": String(state.only === word),
      onclick: () => { state.only = state.only === word ? "" : word; load(); },
    }, h("strong", {}, (state.counts[word] || 0).toLocaleString("en")), ` ${word}`)));
  }

  function drawChosen() {
    const ids = [...chosen].filter((id) => rows.has(id));
    together.hidden = !ids.length;
    const each = (verb, method = "POST") => async () => {
      let done = 0;
      for (const id of ids) {
        if (await attempt(() => ask(method, method === "DELETE" ? `/jobs/${id}` : `/jobs/${id}/${verb}`))) done += 1;
      }
      chosen.clear();
      await load();
      if (done) attempt(async () => done, () => `${done} of ${ids.length}: done`);
    };
    fill(together, h("strong", {}, `${ids.length} chosen`),
      h("a", { class: "button", href: `#/compare/${ids.join(",")}` }, "Compare curves"),
      ["pause", "resume", "retry", "cancel"].map((verb) => h("button", { type: "button", onclick: each(verb) }, verb[0].toUpperCase() + verb.slice(1))),
      h("button", { type: "button", onclick: each("", "DELETE") }, "Remove"),
      h("button", { type: "button", class: "plain", onclick: () => { chosen.clear(); draw(); } }, "Clear"));
  }

  let due = null;
  function soon(what) {
    clearTimeout(due);
    due = setTimeout(what, 150);
  }

  let frame = 0;
  function redraw() {
    if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); });
  }

  const matches = (row) => (!state.only || row.state === state.only)
    && (!state.name || row.name.startsWith(state.name.replace(/[*?].*$/, "")));

  const stop = listen((kind, document) => {
    if (kind === "reset") load();
    if (kind === "job") {
      const before = rows.get(document.id);
      if (!before || before.state !== document.state) {
        if (before) state.counts[before.state] -= 1;
        if (before || at(document.submitted_at) > now() - 60) state.counts[document.state] = (state.counts[document.state] || 0) + 1;
      }
      if (matches(document)) rows.set(document.id, document);
      else rows.delete(document.id);
      redraw();
    }
    if (kind === "removed" && rows.has(document.id)) {
      state.counts[rows.get(document.id).state] -= 1;
      rows.delete(document.id);
      redraw();
    }
  });
  const clock = setInterval(() => {
    for (const line of place.querySelectorAll("tr[data-id]")) fill(line.querySelector(".since"), since(line.row));
  }, 5000);
  load();
  return () => { stop(); clearInterval(clock); };
}

function progress(row) {
  if (row.state !== "running" || row.progress === null) return "";
  const text = percent(row.progress);
  return [bar(row.progress, text), h("span", { class: "figure" }, text)];
}

function expected(row) {
  const end = row.eta && row.eta.end && row.eta.end.p50;
  return end ? h("span", { class: "quiet" }, ` expected ${new Date(end).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`) : "";
}

function since(row) {
  if (ENDED.has(row.state)) return when(row.ended_at);
  if (row.state === "running" && row.started_at) return `${duration(now() - at(row.started_at))} running`;
  return h("span", { title: row.submitted_at }, age(row.submitted_at));
}
