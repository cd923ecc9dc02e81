// What is said above the view: that something was done, or why it was not.

import { fill, h } from "./dom.js";

const notice = document.getElementById("notice");

export function say(text, kind = "done") {
  notice.className = kind;
  fill(notice, text);
  notice.hidden = !text;
}

export function complain(problem) {
  say([problem.message, problem.hint ? h("span", { class: "hint" }, problem.hint) : ""], "problem");
}

// Do something that the service may refuse, and tell how it went.
export async function attempt(what, done) {
  try {
    const answer = await what();
    if (done) say(typeof done === "function" ? done(answer) : done);
    return answer;
  } catch (problem) {
    complain(problem);
    return null;
  }
}
