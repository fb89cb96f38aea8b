// Toasts: the server's flashes are already in #bn-toasts. Successes leave the corner after 10 s but stay in the bell's
// list; errors stay in the corner, with their id, until they are closed.

const corner = document.getElementById("bn-toasts");
const list = document.getElementById("bn-toast-list");
const bell = document.querySelector("[data-bell]");
const STAY = 10_000; // ms, also how long an undo is offered

/** @param {Element} toast */
function keep(toast) {
  if (!list || !toast.isConnected) return;
  for (const form of toast.querySelectorAll("form")) form.remove(); // its undo has expired
  toast.querySelector("[data-toast-close]")?.remove();
  toast.querySelector("[role]")?.removeAttribute("role");
  list.prepend(toast);
  list.querySelector("[data-none]")?.remove();
  while (list.children.length > 50) list.lastElementChild?.remove();
  bell?.setAttribute("data-new", "");
}

/** @param {Element} toast */
function start(toast) {
  if (toast.getAttribute("data-kind") === "error") return;
  let left = setTimeout(() => keep(toast), STAY);
  // Whoever is reading or reaching for the undo has the time they need.
  for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(left));
  for (const name of ["pointerleave", "focusout"]) {
    toast.addEventListener(name, () => {
      clearTimeout(left);
      left = setTimeout(() => keep(toast), STAY);
    });
  }
}

/**
 * Shows a toast. Text only: nothing here becomes HTML.
 * @param {"success" | "error" | "info"} kind
 * @param {string} text
 * @param {string} [id] of the request, for errors
 */
function show(kind, text, id) {
  const form = document.getElementById("bn-toast-template");
  if (!corner || !(form instanceof HTMLTemplateElement)) return;
  const toast = form.content.firstElementChild?.cloneNode(true);
  if (!(toast instanceof HTMLElement)) return;
  toast.dataset.kind = kind;
  const words = toast.querySelector("[data-text]");
  const small = toast.querySelector("small");
  if (words) words.textContent = text;
  if (small) small.textContent = id ? `Request ${id}` : "";
  corner.append(toast);
  start(toast);
}

document.addEventListener("click", (event) => {
  const close = event.target instanceof Element && event.target.closest("[data-toast-close]");
  const toast = close && close.closest(".bn-toast");
  if (toast) keep(toast);
});
bell?.addEventListener("click", () => bell.removeAttribute("data-new"));

document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = /** @type {CustomEvent} */ (event).detail;
  const words = { 401: "You are signed out. Sign in again.", 403: "You may not do that.", 404: "That is gone.", 409: "That has changed meanwhile. Reload the page.", 413: "That is too large.", 429: "Too many requests. Wait a moment." };
  const text = words[xhr.status] ?? `The server answered ${xhr.status}. Nothing was changed.`;
  show("error", text, xhr.getResponseHeader("X-Request-ID") ?? "");
});
document.addEventListener("htmx:sendError", () => show("error", "The server cannot be reached. Try again."));
// A view can answer a request with HX-Trigger: {"bn:toast": {"kind": "success", "text": "…"}}
document.addEventListener("bn:toast", (event) => {
  const { kind = "info", text = "", id = "" } = /** @type {CustomEvent} */ (event).detail ?? {};
  show(kind, text, id);
});

for (const toast of corner?.querySelectorAll(".bn-toast") ?? []) start(toast);
globalThis.bnToast = show;
