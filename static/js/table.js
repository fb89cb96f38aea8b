// Selection in lists: single rows, ranges with shift, the page, and everything that matches. The bulk form posts `ids`,
// or `all=1` with the `query` and the `count` that the person saw, so that the server can refuse a count that drifted.

/** @type {HTMLInputElement | null} the tick that a shift-click extends from */
let anchor = null;

/** @param {Element | Document} root @returns {HTMLInputElement[]} */
const ticks = (root) => [.../** @type {NodeListOf<HTMLInputElement>} */ (root.querySelectorAll("input.bn-select"))];

/** @param {Element} list @returns {HTMLFormElement | null} */
const bulkForm = (list) => list.querySelector("form[data-bulk]");

/** @param {HTMLFormElement} form @param {boolean} on */
function setAll(form, on) {
  for (const input of form.querySelectorAll("input[data-all]")) /** @type {HTMLInputElement} */ (input).disabled = !on;
  form.toggleAttribute("data-everything", on);
}

/** Brings the header tick and the bulk bar in line with the rows. @param {Element} list */
function refresh(list) {
  const all = ticks(list);
  const chosen = all.filter((tick) => tick.checked).length;
  const head = list.querySelector("input[data-select-page]");
  if (head instanceof HTMLInputElement) {
    head.checked = chosen > 0 && chosen === all.length;
    head.indeterminate = chosen > 0 && chosen < all.length;
  }
  const form = bulkForm(list);
  if (!form) return;
  if (chosen < all.length || !chosen) setAll(form, false);
  const total = Number(form.dataset.total);
  const everything = form.hasAttribute("data-everything");
  form.toggleAttribute("data-on", chosen > 0);
  const words = form.querySelector("[data-chosen]");
  if (words) words.textContent = `${(everything ? total : chosen).toLocaleString("en")} selected`;
  const more = form.querySelector("[data-select-all]");
  if (more instanceof HTMLElement) more.hidden = everything || chosen < all.length || total <= all.length;
}

/** @param {Element} list @param {boolean} on */
function tickPage(list, on) {
  for (const tick of ticks(list)) tick.checked = on;
  refresh(list);
}

document.addEventListener("click", (event) => {
  const target = event.target;
  if (!(target instanceof Element)) return;
  const list = target.closest(".bn-list");
  if (!list) return;
  if (target instanceof HTMLInputElement && target.matches(".bn-select")) {
    const all = ticks(list);
    if (event.shiftKey && anchor && all.includes(anchor)) {
      const [from, to] = [all.indexOf(anchor), all.indexOf(target)].sort((a, b) => a - b);
      for (const tick of all.slice(from, to + 1)) tick.checked = target.checked;
    }
    anchor = target;
    refresh(list);
  } else if (target instanceof HTMLInputElement && target.matches("[data-select-page]")) {
    tickPage(list, target.checked);
  } else if (target.closest("[data-select-all]")) {
    const form = bulkForm(list);
    if (form) setAll(form, true);
    refresh(list);
  } else if (target.closest("[data-select-none]")) {
    tickPage(list, false);
  }
});

// Shift-click on a tick would also mark the text between.
document.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target instanceof Element && event.target.matches("input.bn-select")) event.preventDefault();
});

/** The links outside a swapped list carry its query: CSV, and the view that is saved. */
function carryQuery() {
  const query = new URLSearchParams(location.search);
  query.delete("page");
  for (const link of document.querySelectorAll("a[data-keep-query]")) {
    /** @type {HTMLAnchorElement} */ (link).search = query.toString();
  }
  for (const input of document.querySelectorAll("input[data-keep-query]")) {
    /** @type {HTMLInputElement} */ (input).value = query.toString();
  }
}

// The URL is the state: what is not filtered by is not in it.
document.addEventListener("htmx:configRequest", (event) => {
  const { verb, formData } = /** @type {CustomEvent} */ (event).detail;
  if (verb !== "get" || !formData) return;
  for (const [name, value] of [...formData.entries()]) if (value === "") formData.delete(name);
});

// One parameter with commas reads better than ten; without this script the server joins them.
document.addEventListener("formdata", (event) => {
  const { formData } = /** @type {FormDataEvent} */ (event);
  if (!(event.target instanceof Element) || !event.target.matches("form.bn-columns")) return;
  formData.set("cols", formData.getAll("cols").join(","));
});

/** A whole list came: its counts go to the header, and nothing is selected. @param {Event} event */
function swapped(event) {
  const list = event.target instanceof Element ? event.target.closest(".bn-list") : null;
  if (!list) return;
  anchor = null;
  const counts = list.querySelector("[data-counts]")?.getAttribute("data-counts");
  if (counts) globalThis.bnWriteCounts(JSON.parse(counts));
  refresh(list);
}

document.addEventListener("htmx:afterSwap", swapped);
for (const name of ["htmx:pushedIntoHistory", "htmx:replacedInHistory"]) document.addEventListener(name, carryQuery);
for (const name of ["live:patched", "live:moved"]) {
  document.addEventListener(name, (event) => {
    const list = event.target instanceof Element && event.target.closest(".bn-list");
    if (list) refresh(list);
  });
}
// On a phone tabs and chips scroll sideways: the one that is shown comes into sight.
for (const here of document.querySelectorAll(":is(.bn-tabs, .bn-chips) [aria-current]")) {
  const row = here.closest("ul");
  if (row) row.scrollLeft += here.getBoundingClientRect().left - row.getBoundingClientRect().left - 48;
}

// A browser restores ticks when it goes back.
addEventListener("pageshow", () => document.querySelectorAll(".bn-list").forEach(refresh));
