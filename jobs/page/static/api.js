// The interface, and what it tells by itself. One stream for the whole page; it is closed while the page is hidden and
// goes on where it was.

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail || document.title || `status ${status}`);
    this.document = document;
    this.status = status;
    this.hint = document.hint;
  }
}

export async function ask(method, path, body, headers = {}) {
  const options = { method, headers: { accept: "application/json", ...headers } };
  if (method !== "GET") {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body ?? {});
  }
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, options);
  } catch {
    throw new Problem({ detail: "the service does not answer", hint: "it may be starting again: try in a moment" }, 0);
  }
  if (answer.status === 401) location.reload(); // the cookie has ended: the page that lets one in is shown
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(document, answer.status);
  return document;
}

export const get = (path) => ask("GET", path);

// A file goes up in two steps: it is announced, and sent with the ticket that the answer has.
export async function upload(file, progress) {
  const name = file.name.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "file";
  const there = await ask("POST", "/uploads", { name });
  if (file.size > there.limit_bytes) throw new Problem({ detail: `a file may have ${there.limit_bytes} bytes here` }, 413);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", there.url);
    request.setRequestHeader("authorization", `Bearer ${there.ticket}`);
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(1, event.total));
    request.onload = () => {
      const document = JSON.parse(request.responseText || "{}");
      if (request.status === 201) resolve(document);
      else reject(new Problem(document, request.status));
    };
    request.onerror = () => reject(new Problem({ detail: "the connection broke" }, 0));
    request.send(file);
  });
}

// ---- what is told ----

const listeners = new Set();
let stream = null;
let last = "";

// told(kind, document); answers how to stop listening
export function listen(told) {
  listeners.add(told);
  return () => listeners.delete(told);
}

function tell(kind, document) {
  for (const told of listeners) told(kind, document);
}

export function connect() {
  if (stream || document.hidden) return;
  stream = new EventSource(`/api/v1/events${last ? `?last=${encodeURIComponent(last)}` : ""}`);
  for (const kind of ["job", "removed", "machine", "reset"]) {
    stream.addEventListener(kind, (event) => {
      last = event.lastEventId || last;
      tell(kind, JSON.parse(event.data));
    });
  }
  stream.onopen = () => tell("connected", {});
  stream.onerror = () => {
    tell("lost", {});
    if (stream && stream.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(connect, 2000);
    }
  };
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) connect();
  else if (stream) {
    stream.close();
    stream = null;
  }
});
