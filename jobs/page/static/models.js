// Every model that jobs made, and one of them in full.

import { get, listen } from "./api.js";
import { bytes, entitle, facts, figure, fill, h, heading, section, table } from "./dom.js";
import { attempt } from "./notice.js";

export function view(place) {
  const list = h("div");
  const search = h("input", { type: "search", placeholder: "name", "aria-label": "Name", oninput: draw });
  fill(place, heading("Models", search), list);
  let models = [];

  async function load() {
    const found = await attempt(() => get("/models"));
    if (found) models = found.models;
    draw();
  }

  function draw() {
    const shown = models.filter((one) => one.model.includes(search.value.trim()));
    const names = [...new Set(shown.flatMap((one) => Object.keys(one.metrics)))].slice(0, 6);
    fill(list, table("Models", [
      ["Model", "name", (one) => h("a", { href: `#/model/${one.model}` }, one.model)],
      ["Task", "", (one) => one.task || ""],
      ["Layers", "reason", layers],
      ["Size", "figure", (one) => bytes(one.bytes)],
      ...names.map((name) => [name.replaceAll("_", " "), "figure", (one) => figure(one.metrics[name])]),
    ], shown, models.length ? "None of that name." : "No models yet: a training that succeeds leaves one."));
  }

  const stop = listen((kind, document) => {
    if (kind === "job" && document.state === "succeeded" && document.kind === "train") load();
  });
  load();
  return stop;
}

function layers(model) {
  const words = (model.layers || []).map((layer) => layer.type + (layer.units ? ` ${layer.units}` : ""));
  return words.length > 8 ? `${words.slice(0, 7).join(", ")}, … ${words.length - 7} more` : words.join(", ");
}

export function one(place, name, version) {
  fill(place, heading(`${name}/${version}`));
  attempt(async () => {
    const model = await get(`/models/${name}/${version}`);
    const origin = model.provenance || {};
    fill(place, heading(model.model, h("span", { class: "id" }, model.task || "")),
      facts({ Size: bytes(model.bytes), Classes: (model.classes || []).join(", "), "Input shape": JSON.stringify(model.input_shape) }),
      section("Metrics", Object.keys(model.metrics).length ? facts(Object.fromEntries(Object.entries(model.metrics).map(([key, value]) => [key.replaceAll("_", " "), figure(value)]))) : h("p", { class: "quiet" }, "None were measured.")),
      section("Layers", h("ol", { class: "layers" }, (model.layers || []).map((layer) => h("li", {}, h("strong", {}, layer.type), " ",
        Object.entries(layer).filter(([key, value]) => key !== "type" && value !== null && typeof value !== "object").map(([key, value]) => `${key} ${figure(value)}`).join(", "))))),
      section("Origin", origin.job ? h("p", {}, "made by ", h("a", { href: `#/job/${origin.job}` }, origin.job)) : "", h("pre", { tabindex: "0" }, JSON.stringify(origin, null, 1))),
      section("Use it", h("pre", { tabindex: "0" }, `singlepoint submit predict --model ${model.model} --input rows.csv --output answers.csv`)));
    entitle(model.model);
  });
}
