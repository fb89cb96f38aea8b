// The log viewer: a [data-log] section that asks for what is new while its target runs, follows, and searches in its lines.
// The server sends finished lines as HTML it has escaped; a line that goes on has data-part, and data-over or data-returns
// when a carriage return lets what follows replace it. A part of a long log (data-part-only) does not grow: log-lines.js moves in it.

const EVERY = 600; // ms between two questions while the target runs
const HIDDEN = 20_000; // the same in a hidden tab, for a log that ends when nobody asks (data-keeps)
const KEPT = 5000; // lines on the page
const NEAR = 24; // px from the end that still count as the end

/** @type {WeakMap<Element, {timer: number, fresh: number}>} */
const viewers = new WeakMap();

/** @param {Element} log @param {string} name @returns {any} */
const part = (log, name) => log.querySelector(`[data-log-${name}]`);

/** @param {Element} log */
const follows = (log) => part(log, "follow").getAttribute("aria-pressed") === "true";

/** @param {Element} log @param {boolean} on */
function follow(log, on) {
  const button = part(log, "follow");
  if (on !== follows(log)) button.setAttribute("aria-pressed", String(on));
  const state = viewers.get(log);
  if (state && on) state.fresh = 0;
  const box = part(log, "lines");
  if (on) box.scrollTop = box.scrollHeight;
  label(log);
}

/** @param {Element} log */
function label(log) {
  const fresh = viewers.get(log)?.fresh ?? 0;
  part(log, "follow").querySelector("span").textContent = fresh && !follows(log) ? `${fresh.toLocaleString("en")} new` : "Follow";
}

/** Puts new lines under those that are there; a line that went on gets its rest. @param {Element} log @param {string} html */
function add(log, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const box = part(log, "lines");
  for (const line of [...template.content.children]) {
    const stream = line.classList.contains("bn-l-err") ? "stderr" : line.classList.contains("bn-l-sys") ? "system" : "stdout";
    const open = box.querySelector(`:scope > [data-part="${stream}"]`);
    if (!open) {
      box.append(line);
      continue;
    }
    const replaces = line.hasAttribute("data-over") || (open.hasAttribute("data-returns") && line.hasChildNodes());
    for (const name of ["data-part", "data-returns"]) open.removeAttribute(name);
    for (const name of ["data-part", "data-returns"]) if (line.hasAttribute(name)) open.setAttribute(name, line.getAttribute(name) ?? "");
    if (replaces) open.replaceChildren(...line.childNodes);
    else open.append(...line.childNodes);
  }
  const over = box.childElementCount - KEPT;
  if (over > 0) {
    for (const line of [...box.children].slice(0, over)) line.remove();
    part(log, "earlier").hidden = false;
    const before = Number(box.querySelector("[data-n]")?.getAttribute("data-n")) - 1;
    const link = part(log, "before");
    for (const name of ["href", "data-show-step"]) link?.setAttribute(name, link.getAttribute(name).replace(/(line=|#L)\d+/g, `$1${before}`));
  }
}

/** @param {Element} log */
async function ask(log) {
  const state = viewers.get(log);
  if (!state || !log.isConnected || !log.hasAttribute("data-running")) return;
  let wait = EVERY;
  try {
    if (!document.hidden || log.hasAttribute("data-keeps")) {
      const src = `${log.getAttribute("data-log")}?after=${log.getAttribute("data-after")}`;
      const answer = await fetch(src, { headers: { "HX-Request": "true", "X-Unattended": "1" }, redirect: "manual", cache: "no-store" });
      if (answer.ok) wait = take(log, state, await answer.text(), answer.headers);
      else if (answer.type === "opaqueredirect" || answer.status === 401 || answer.status === 404) return ended(log, "No more is shown: reload the page.");
      else wait = 5_000;
    }
  } catch {
    wait = 3_000; // the network is away; the live state in the top bar tells the person
  }
  state.timer = setTimeout(() => ask(log), document.hidden ? Math.max(wait, log.hasAttribute("data-keeps") ? HIDDEN : 0) : wait);
}

/** @param {Element} log @param {{fresh: number}} state @param {string} html @param {Headers} headers @returns {number} ms to wait */
function take(log, state, html, headers) {
  const following = follows(log);
  if (html.trim()) {
    const before = part(log, "lines").childElementCount;
    add(log, html);
    state.fresh += Math.max(1, part(log, "lines").childElementCount - before);
    if (part(log, "search").value) search(log);
    following ? follow(log, true) : label(log);
  }
  log.setAttribute("data-after", headers.get("X-After") ?? "0");
  if (headers.get("X-Open") === "0") ended(log, headers.get("X-Words") ?? "");
  return headers.get("X-More") === "1" ? 0 : EVERY;
}

/** @param {Element} log @param {string} words */
function ended(log, words) {
  log.removeAttribute("data-running");
  part(log, "state").textContent = words;
  const none = log.querySelector(".bn-log-none");
  if (none) none.textContent = "It printed nothing.";
}

/** Hides the lines without the text. @param {Element} log */
function search(log) {
  const wanted = part(log, "search").value.toLowerCase();
  let found = 0;
  for (const line of part(log, "lines").children) {
    const hit = !wanted || line.textContent.toLowerCase().includes(wanted);
    line.hidden = !hit;
    found += Number(hit);
  }
  const words = `${found.toLocaleString("en")} ${found === 1 ? "line" : "lines"}`;
  const partly = part(log, "form") && !part(log, "earlier").hidden;
  part(log, "found").textContent = !wanted ? "" : partly ? `${words} here, Enter searches all` : words;
}

/** Finds viewers that are new on the page. */
function scan() {
  for (const log of document.querySelectorAll("[data-log]")) {
    if (viewers.has(log)) continue;
    viewers.set(log, { timer: 0, fresh: 0 });
    const box = part(log, "lines");
    part(log, "search").addEventListener("input", () => search(log));
    if (log.hasAttribute("data-part-only")) {
      part(log, "follow").addEventListener("click", () => part(log, "end").click());
      continue;
    }
    box.scrollTop = box.scrollHeight;
    part(log, "follow").addEventListener("click", () => follow(log, !follows(log)));
    box.addEventListener("scroll", () => {
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
      if (atEnd !== follows(log)) follow(log, atEnd);
    }, { passive: true });
    ask(log);
  }
}

/** Shows another target's output, or another part of it, in place. @param {string} src @param {URL} page where it is without scripts */
async function show(src, page) {
  const answer = await fetch(src, { headers: { "HX-Request": "true" }, redirect: "manual" });
  const shown = document.getElementById("output");
  if (!answer.ok || !shown) return location.assign(page);
  const template = document.createElement("template");
  template.innerHTML = await answer.text();
  const inside = shown.contains(document.activeElement);
  shown.replaceWith(template.content);
  if (page.pathname === location.pathname) history.replaceState(history.state, "", page);
  scan();
  const log = /** @type {Element} */ (document.getElementById("output"));
  log.scrollIntoView({ block: "nearest" });
  if (inside) part(log, "lines").focus({ preventScroll: true });
  if (page.hash !== "#output") location.replace(page.hash); // so that the line is the page's target
  document.dispatchEvent(new Event("bn:log"));
}

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest("a[data-show-step]");
  if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  show(link.getAttribute("data-show-step") ?? "", new URL(link.href));
});
document.addEventListener("bn:log-show", (event) => {
  const { src, page } = /** @type {CustomEvent} */ (event).detail;
  show(src, new URL(page, location.href));
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const log of document.querySelectorAll("[data-log][data-running]")) {
    clearTimeout(viewers.get(log)?.timer);
    ask(log);
  }
});
scan();
