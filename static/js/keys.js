// Keys: / filter, j k move, x select, Enter open, . apply updates, ? help, and the g jumps of [data-hotkey] links.

/** @param {EventTarget | null} target */
function typing(target) {
  return target instanceof HTMLElement && (target.isContentEditable || target.matches("input:not([type=checkbox]), textarea, select"));
}

/** @returns {Element | null} the row that has the cursor */
function current() {
  return document.activeElement?.closest(".bn-list [data-id]") ?? document.querySelector(".bn-list [data-bn-at]");
}

/** @param {Element} row */
function goTo(row) {
  document.querySelector("[data-bn-at]")?.removeAttribute("data-bn-at");
  row.setAttribute("data-bn-at", "");
  const link = row.querySelector("a[href]");
  if (link instanceof HTMLElement) link.focus();
  row.scrollIntoView({ block: "nearest" });
}

/** @param {1 | -1} step */
function move(step) {
  const rows = [...document.querySelectorAll(".bn-list [data-id]")];
  const at = current();
  const next = at ? rows[rows.indexOf(at) + step] : rows[0];
  if (next) goTo(next);
}

/** @type {Object<string, () => void>} */
const actions = {
  j: () => move(1),
  k: () => move(-1),
  x() {
    const tick = current()?.querySelector("input.bn-select");
    if (tick instanceof HTMLElement) tick.click();
  },
  Enter() {
    const link = current()?.querySelector("a[href]");
    if (link instanceof HTMLElement) link.click();
  },
  "/"() {
    const input = document.querySelector("[data-filter-input]");
    if (input instanceof HTMLInputElement) {
      input.focus();
      input.select();
    }
  },
  "."() {
    const note = document.querySelector("[data-live-note]:not([hidden])");
    if (note instanceof HTMLElement) note.click();
  },
  "?"() {
    const help = document.getElementById("bn-help");
    if (help instanceof HTMLDialogElement) help.showModal();
  },
};

document.addEventListener("keydown", (event) => {
  const action = Object.hasOwn(actions, event.key) ? actions[event.key] : undefined;
  if (!action || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (typing(event.target) || document.querySelector("dialog[open], [popover]:popover-open")) return;
  // Enter on a link or a button already does what it says.
  if (event.key === "Enter" && event.target !== document.body) return;
  event.preventDefault();
  action();
});

document.addEventListener("focusin", (event) => {
  const row = event.target instanceof Element && event.target.closest(".bn-list [data-id]");
  if (!row || row.hasAttribute("data-bn-at")) return;
  document.querySelector("[data-bn-at]")?.removeAttribute("data-bn-at");
  row.setAttribute("data-bn-at", "");
});

for (const el of document.querySelectorAll("[data-hotkey]")) {
  globalThis.bnHotkey.install(el, el.getAttribute("data-hotkey"));
}
