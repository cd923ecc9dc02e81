// Handing in a job: a form made from the spec's own schema, files dropped in, the checked spec shown before it is kept.
// The form and the text say the same; what the form cannot say (layers one by one) is written in the text.

import { ask, get, upload } from "./api.js";
import { bytes, clock, fill, h, heading, section, facts, percent } from "./dom.js";
import { attempt, complain } from "./notice.js";

const KINDS = { train: "TrainSpec", predict: "PredictSpec" };
const NEEDED = new Set(["name", "data.path", "data.target", "model.hidden", "model", "input", "output", "training.epochs", "resources.memory", "resources.cpu"]);
const FILES = new Set(["data.path", "data.target_path", "data.validation_path", "data.validation_target_path", "input"]);
const BEGIN = {
  train: { kind: "train", name: "", data: { path: "", target: "" }, model: { hidden: [32, 16] }, training: { epochs: 100 } },
  predict: { kind: "predict", name: "", model: "", input: "", output: "answers.csv" },
};

export function view(place) {
  let schemas = null, models = [], spec = structuredClone(BEGIN.train);
  const form = h("form", { class: "spec", onsubmit: (event) => { event.preventDefault(); check(); } });
  const text = h("textarea", { rows: 22, spellcheck: "false", "aria-label": "The spec as JSON", oninput: readText });
  const textNote = h("p", { class: "quiet", role: "status" });
  const plan = h("div", { "aria-live": "polite" });
  const drop = h("div", { class: "drop", tabindex: "-1" }, "Drop a file of data here, or ", h("label", { class: "button" }, "choose one", h("input", { type: "file", class: "unseen", onchange: (event) => take(event.target.files) })));
  for (const [kind, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (kind === "drop") take(event.dataTransfer.files);
    });
  }
  fill(place, heading("Submit a job"), drop, h("div", { class: "columns" }, form, h("div", {}, h("h2", {}, "The same as text"), text, textNote)), plan);

  async function take(files) {
    const file = files && files[0];
    if (!file) return;
    if (/\.json$/i.test(file.name)) {
      try {
        spec = JSON.parse(await file.text());
        draw();
      } catch {
        complain({ message: `${file.name} is no JSON` });
      }
      return;
    }
    const note = h("p", { role: "status" }, `${file.name}: 0 %`);
    drop.append(note);
    try {
      const there = await upload(file, (share) => fill(note, `${file.name}: ${percent(share)}`));
      fill(note, `${file.name}: ${bytes(there.bytes)} are here`);
      if (spec.kind === "predict") spec.input = there.path;
      else spec.data = { ...(spec.data || {}), path: there.path };
      if (!spec.name) spec.name = file.name.replace(/\..*$/, "").replace(/[^A-Za-z0-9_-]+/g, "-").slice(0, 64);
      draw();
    } catch (problem) {
      note.remove();
      complain(problem);
    }
  }

  // ---- the form, out of the schema ----

  const known = (schema) => (schema && schema.$ref ? schemas[schema.$ref.split("/").at(-1)] : schema);

  // A schema without null, and with a reference followed, where that leaves one choice.
  function plain(schema) {
    const found = known(schema) || {};
    const options = (found.anyOf || []).map(known).filter((one) => one.type !== "null");
    return options.length === 1 ? { ...options[0], default: found.default, description: found.description } : { ...found, options };
  }

  function draw() {
    writeText();
    if (!schemas) return;
    const kind = KINDS[spec.kind] ? spec.kind : "train";
    const chosen = h("select", { onchange: () => { spec = structuredClone(BEGIN[chosen.value]); draw(); } }, Object.keys(KINDS).map((one) => h("option", { value: one }, one)));
    chosen.value = kind;
    const [first, rest] = [[], []];
    collect(schemas[KINDS[kind]], [], first, rest);
    fill(form, h("h2", {}, "What"), h("div", { class: "field" }, h("label", {}, "kind", chosen)), first,
      h("details", {}, h("summary", {}, "Everything else"), rest),
      h("p", { class: "actions" }, h("button", { class: "primary" }, "Check it")));
  }

  function collect(schema, path, first, rest) {
    for (const [name, raw] of Object.entries(schema.properties || {})) {
      const field = plain(raw), here = [...path, name], key = here.join(".");
      if (name === "kind") continue;
      if (field.properties && !field.options?.length) {
        const inner = [];
        collect(field, here, first, inner);
        if (inner.length) rest.push(h("fieldset", {}, h("legend", {}, name), inner));
        continue;
      }
      const input = control(field, here, key);
      if (input) (NEEDED.has(key) ? first : rest).push(input);
    }
  }

  function control(field, path, key) {
    const value = path.reduce((holder, name) => (holder === undefined || holder === null ? undefined : holder[name]), spec);
    const id = `f-${key.replaceAll(".", "-")}`;
    const hint = field.default === undefined || field.default === null ? "" : String(typeof field.default === "object" ? JSON.stringify(field.default) : field.default);
    const types = [field.type, ...(field.options || []).map((one) => one.type)].filter(Boolean);
    const list = types.includes("array"), number = types.every((one) => one === "integer" || one === "number") && types.length > 0;
    const told = value === undefined || value === null ? "" : Array.isArray(value) ? value.join(", ") : typeof value === "object" ? null : String(value);
    if (told === null || (types.length && types.every((one) => one === "object"))) return null; // the text says it
    let input;
    if (field.enum || field.type === "boolean") {
      const words = field.enum || ["true", "false"];
      input = h("select", { id }, h("option", { value: "" }, hint ? `${hint} (default)` : "–"), words.map((word) => h("option", { value: word }, String(word))));
    } else if (key === "model" && spec.kind === "predict") {
      input = h("input", { id, list: "known-models", placeholder: "name", autocomplete: "off" });
    } else {
      const size = ["memory", "storage", "network"].includes(path.at(-1));
      input = h("input", { id, placeholder: size ? (hint ? bytes(Number(hint)) : "512MiB") : hint, inputmode: number && !size ? "decimal" : null, autocomplete: "off" });
    }
    input.value = told;
    input.addEventListener("input", () => set(path, read(input.value, { list, number, boolean: types.includes("boolean"), path })));
    const extra = key === "model" && spec.kind === "predict" ? h("datalist", { id: "known-models" }, models.map((one) => h("option", { value: one.model }))) : "";
    return h("div", { class: `field${FILES.has(key) ? " file" : ""}` }, h("label", { for: id }, key), input, extra);
  }

  function read(word, { list, number, boolean, path }) {
    const value = word.trim();
    if (!value) return undefined;
    if (boolean && (value === "true" || value === "false")) return value === "true";
    const one = (text) => (text !== "" && Number.isFinite(Number(text)) && (number || path.at(-1) === "hidden") ? Number(text) : text);
    if (list && (value.includes(",") || path.at(-1) === "hidden" || path.at(-1) === "after")) return value.split(",").map((part) => one(part.trim())).filter((part) => part !== "");
    return one(value);
  }

  function set(path, value) {
    const [last, holders] = [path.at(-1), path.slice(0, -1)];
    let holder = spec;
    for (const name of holders) holder = holder[name] ??= {};
    if (value === undefined) delete holder[last];
    else holder[last] = value;
    writeText();
  }

  function writeText() {
    text.value = JSON.stringify(spec, null, 1);
    fill(textNote, "");
  }

  function readText() {
    try {
      const found = JSON.parse(text.value);
      spec = found;
      fill(textNote, "");
    } catch (error) {
      fill(textNote, `not yet JSON: ${error.message}`);
      return;
    }
    const there = text.selectionStart;
    const written = text.value;
    draw();
    text.value = written;
    text.setSelectionRange(there, there);
  }

  // When it should start and end, how likely it meets its deadline, and what would change that.
  function foreseen(outlook) {
    if (!outlook) return [];
    const times = Object.entries(outlook.eta || {}).filter(([, at]) => at).map(([name, at]) => [`${name}s `, clock(at.p50)]);
    const chance = outlook.deadline_probability;
    const likely = (share) => `${Math.round(100 * share)} %`;
    return [...times, ...(chance === null ? [] : [`meets its deadline with a probability of ${likely(chance)}`]),
      ...outlook.changes.map((one) => `with ${one.change} that is ${likely(one.deadline_probability)}`)];
  }

  // ---- checked, then kept ----

  async function check() {
    fill(plan, h("p", { class: "quiet" }, "Checking …"));
    try {
      const found = await ask("POST", "/jobs?dry_run=true", spec);
      const budget = found.budget || {};
      const key = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
      const button = h("button", { type: "button", class: "primary", onclick: () => keep(key, button) }, "Submit it");
      fill(plan, section("It is sound",
        facts({
          Name: found.spec.name, Kind: found.spec.kind,
          Cores: `${found.requests.cpu_millis / 1000}${budget.cpu_millis ? ` of ${budget.cpu_millis / 1000}` : ""}`,
          Memory: `${bytes(found.requests.memory_bytes)}${budget.memory_bytes ? ` of ${bytes(budget.memory_bytes)}` : ""}`,
        }),
        h("ul", {}, found.told.map((line) => h("li", {}, line)), foreseen(found.outlook).map((line) => h("li", {}, line))),
        h("details", {}, h("summary", {}, "The spec as it would be kept"), h("pre", { tabindex: "0" }, JSON.stringify(found.spec, null, 1))),
        h("p", { class: "actions" }, button)));
      button.focus();
    } catch (problem) {
      told(problem);
    }
  }

  function told(problem) {
    const list = problem.document?.problems || [];
    fill(plan, h("div", { class: "problem", role: "alert" }, h("p", {}, list.length ? `${list.length === 1 ? "One thing is" : `${list.length} things are`} not right:` : problem.message),
      list.length ? h("ul", {}, list.map((one) => h("li", {}, h("strong", {}, one.field), `: ${one.message}`, one.hint ? ` (${one.hint})` : ""))) : "",
      problem.hint ? h("p", { class: "hint" }, problem.hint) : ""));
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
    for (const one of list) form.querySelector(`[id="f-${one.field.replaceAll(".", "-")}"]`)?.setAttribute("aria-invalid", "true");
  }

  async function keep(key, button) {
    button.disabled = true;
    try {
      const job = await ask("POST", "/jobs", spec, { "idempotency-key": key });
      location.hash = `#/job/${job.id}`;
    } catch (problem) {
      button.disabled = false;
      told(problem);
    }
  }

  attempt(async () => {
    const [document, found] = await Promise.all([get("/openapi.json"), get("/models")]);
    schemas = document.components.schemas;
    models = found.models;
    draw();
  });
  draw();
}
