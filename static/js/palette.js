// Ctrl-K: a native dialog that asks /search?q= for options and remembers, per person, where they went last.

const dialog = document.getElementById("bn-palette");
const input = dialog?.querySelector("input");
const box = dialog?.querySelector("[role=listbox]");
const memory = `bn-recent:${document.querySelector('meta[name="bn-user"]')?.getAttribute("content") ?? ""}`;
const MOST = 8;
let asked = 0;
/** @type {number | undefined} */ let timer;

/** @typedef {{href: string, text: string, icon: string}} Recent */

/** @returns {Recent[]} */
function recents() {
  try {
    const stored = JSON.parse(localStorage.getItem(memory) ?? "[]");
    return Array.isArray(stored) ? stored.filter((one) => /^\/(?!\/)/.test(one.href)) : [];
  } catch {
    return [];
  }
}

/** @param {Recent} one */
function remember(one) {
  const list = [one, ...recents().filter((old) => old.href !== one.href)].slice(0, MOST);
  try {
    localStorage.setItem(memory, JSON.stringify(list));
  } catch {
    // Without storage there are no recent items.
  }
}

/** @param {Recent} one @returns {Node | undefined} */
function option(one) {
  const template = document.getElementById("bn-recent-item");
  const link = template instanceof HTMLTemplateElement && template.content.firstElementChild?.cloneNode(true);
  if (!(link instanceof HTMLAnchorElement)) return undefined;
  link.href = one.href;
  const use = link.querySelector("use");
  use?.setAttribute("href", `${use.getAttribute("href")?.split("#")[0]}#${one.icon || "history"}`);
  const words = link.querySelector("[data-text]");
  if (words) words.textContent = one.text;
  return link;
}

/** @returns {HTMLElement[]} */
const options = () => [...(box?.querySelectorAll("[role=option]") ?? [])];

/** @param {number} at */
function choose(at) {
  const all = options();
  const index = all.length ? (at + all.length) % all.length : -1;
  all.forEach((el, i) => {
    el.id ||= `bn-opt-${i}`;
    el.setAttribute("aria-selected", String(i === index));
  });
  const chosen = all[index];
  chosen?.scrollIntoView({ block: "nearest" });
  chosen ? input?.setAttribute("aria-activedescendant", chosen.id) : input?.removeAttribute("aria-activedescendant");
}

async function ask() {
  if (!box || !input) return;
  const turn = ++asked;
  const query = input.value.trim();
  const recent = recents().filter((one) => one.text.toLowerCase().includes(query.toLowerCase()));
  const first = recent.map(option).filter((node) => node !== undefined);
  try {
    const answer = await globalThis.bnFetch(`/search?q=${encodeURIComponent(query)}`);
    if (turn !== asked) return;
    const found = document.createElement("template");
    found.innerHTML = answer.ok ? await answer.text() : "";
    if (turn !== asked) return;
    const seen = new Set(recent.map((one) => one.href));
    for (const el of found.content.querySelectorAll("[role=option]")) if (seen.has(el.getAttribute("href") ?? "")) el.remove();
    box.replaceChildren(...first, found.content);
  } catch {
    if (turn === asked) box.replaceChildren(...first);
  }
  const none = dialog?.querySelector("[data-none]");
  if (none instanceof HTMLElement) none.hidden = options().length > 0;
  choose(0);
}

function open() {
  if (!(dialog instanceof HTMLDialogElement) || dialog.open) return;
  dialog.showModal();
  if (input) input.value = "";
  ask();
}

input?.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(ask, 120);
});
dialog?.addEventListener("keydown", (event) => {
  const at = options().findIndex((el) => el.getAttribute("aria-selected") === "true");
  if (event.key === "ArrowDown") choose(at + 1);
  else if (event.key === "ArrowUp") choose(at - 1);
  else if (event.key === "Enter") options()[at]?.click();
  else return;
  event.preventDefault();
});
box?.addEventListener("click", (event) => {
  const link = event.target instanceof Element && event.target.closest("a[role=option]");
  if (!link) return;
  const icon = link.querySelector("use")?.getAttribute("href")?.split("#")[1] ?? "history";
  const text = link.querySelector("[data-text]")?.textContent ?? link.textContent ?? "";
  remember({ href: link.getAttribute("href") ?? "/", text: text.trim(), icon });
});
document.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("[data-palette-open]")) open();
});
document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
  event.preventDefault();
  open();
});

// A detail page is a place one goes back to.
const here = document.querySelector("[data-recent]");
if (here instanceof HTMLElement) {
  remember({ href: location.pathname, text: here.dataset.recent ?? document.title, icon: here.dataset.recentIcon ?? "history" });
}
