// The frame: which view is shown, what is said above it, and whether we are in touch with the service.

import { connect, listen } from "./api.js";
import { entitle, fill, h, heading } from "./dom.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as machine from "./machine.js";
import * as models from "./models.js";
import { complain, say } from "./notice.js";
import * as submit from "./submit.js";

// pattern of the address -> view(place, words): draws, and answers how to end
const VIEWS = [
  [/^\/$/, jobs.view, "#/"],
  [/^\/job\/([\w~-]+)$/, job.view, "#/"],
  [/^\/compare\/([\w,~-]+)$/, job.compare, "#/"],
  [/^\/models$/, models.view, "#/models"],
  [/^\/model\/([\w-]+)\/(\d+)$/, models.one, "#/models"],
  [/^\/submit$/, submit.view, "#/submit"],
  [/^\/machine$/, machine.view, "#/machine"],
];

const main = document.getElementById("main");
const pulse = document.getElementById("pulse");
let end = () => {};

async function show() {
  end();
  end = () => {};
  const path = location.hash.replace(/^#/, "") || "/";
  const [pattern, view, tab] = VIEWS.find(([one]) => one.test(path)) || [/(.*)/, unknown, ""];
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  say("");
  const place = h("div", { class: "view" });
  fill(main, place);
  try {
    const ended = view(place, ...pattern.exec(path).slice(1));
    end = typeof ended === "function" ? ended : () => {};
    const title = place.querySelector("h1");
    entitle(title ? title.textContent : "");
    if (title && shown++) title.focus({ preventScroll: true });
  } catch (problem) {
    complain(problem);
  }
}

let shown = 0;

function unknown(place) {
  fill(place, heading("There is no such view"), h("p", {}, h("a", { href: "#/" }, "All jobs")));
}

listen((kind) => {
  if (kind === "connected") fill(pulse, h("span", { class: "dot live" }), "live");
  if (kind === "lost") fill(pulse, h("span", { class: "dot" }), "not in touch");
});

addEventListener("hashchange", show);
show();
connect();
